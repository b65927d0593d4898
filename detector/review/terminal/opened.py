"""How the full screen is opened: on which look, and on which cases."""

from __future__ import annotations

import os
from collections.abc import Mapping

from detector.review import filters
from detector.review.desk import Desk
from detector.review.errors import ReviewError
from detector.review.terminal.app import ReviewApp

# The second number of COLORFGBG is the background; these are the light ones of the sixteen.
LIGHT_GROUNDS = {"7", "15"}


def screen(desk: Desk, look: str, find: str) -> None:
    """Run the terminal until it is left."""
    # 'mine' needs the name on the key; anything else of the line is checked before the screen opens.
    me = desk.me().name if "mine" in find.split() else None
    # Left behind by a shell or a readline, they would be believed instead of the terminal, through every resize.
    for stale in ("COLUMNS", "LINES"):
        os.environ.pop(stale, None)
    app = ReviewApp(desk, look, filters.read(find, me))
    app.run()
    if app.return_code:
        raise ReviewError("the terminal ended with a fault")


def look(environ: Mapping[str, str], *, light: bool, dark: bool) -> str:
    """Light or dark: as asked for, else as LOCKGATE_LOOK says, else as the terminal tells of its background.

    >>> look({}, light=False, dark=False), look({"COLORFGBG": "0;15"}, light=False, dark=False)
    ('lockgate-dark', 'lockgate-light')
    """
    if light or dark:
        return "lockgate-light" if light else "lockgate-dark"
    chosen = environ.get("LOCKGATE_LOOK", "").strip().lower()
    if chosen in ("light", "dark"):
        return f"lockgate-{chosen}"
    return "lockgate-light" if environ.get("COLORFGBG", "").rpartition(";")[2] in LIGHT_GROUNDS else "lockgate-dark"
