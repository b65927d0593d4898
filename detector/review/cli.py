"""`lockgate review …`: the analyst's desk. Without a command it opens the full-screen terminal.

Exit status: 0 done, 1 a fault, 2 a question that cannot be asked, 3 somebody was faster or the moment has passed,
4 proposed and waits for a second person, 5 the key may not, 6 there is no such case, gift or ruling.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from detector.review import access
from detector.review.cli_acts import (
    assign,
    block,
    claim,
    confirm,
    escalate,
    freeze,
    note,
    refuse,
    release,
    send_back,
    unclaim,
)  # fmt: skip
from detector.review.cli_ends import mended
from detector.review.cli_reads import export, listing, show
from detector.review.desk import Desk

app = typer.Typer(invoke_without_command=True)


@app.callback()
def review(
    ctx: typer.Context,
    light: Annotated[bool, typer.Option("--light", help="Dark on light, in the full-screen terminal.")] = False,
    dark: Annotated[bool, typer.Option("--dark", help="Light on dark.")] = False,
    find: Annotated[str, typer.Option(help="Begin with these cases, such as 'sender:acme min:500 mine'.")] = "",
) -> None:
    """The analyst's desk: read and rule on what is held.

    Without a command it opens the full-screen terminal.

    LOCKGATE_URL says where the service is (http://127.0.0.1:8080 by
    default), LOCKGATE_KEY whose key asks. Or keep the key in a file that
    only you can read: ~/.config/lockgate/key, or what LOCKGATE_KEY_FILE names.

    Exit status: 0 done, 1 a fault, 2 usage, 3 somebody was faster or the
    moment has passed, 4 proposed and waits for a second person, 5 the key
    may not, 6 there is no such case, gift or ruling.
    """
    if ctx.invoked_subcommand is not None:
        return
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        typer.echo("lockgate review: the full screen needs a terminal; 'lockgate review list' does not", err=True)
        raise typer.Exit(2)
    with mended(False):
        way = access.read(os.environ)
        from detector.review.terminal import opened

        opened.screen(Desk(way), opened.look(os.environ, light=light, dark=dark), find)


COMMANDS: dict[str, Callable[..., None]] = {
    "list": listing,
    "show": show,
    "claim": claim,
    "unclaim": unclaim,
    "note": note,
    "release": release,
    "block": block,
    "return": send_back,
    "freeze": freeze,
    "escalate": escalate,
    "assign": assign,
    "confirm": confirm,
    "refuse": refuse,
    "export": export,
}
for name, command in COMMANDS.items():
    app.command(name)(command)
