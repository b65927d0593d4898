"""What ends a gift's hour, where the scorer is on machines of its own."""

from __future__ import annotations

from typing import Any

import pytest

from detector.contract import Judged
from ledger.asking import decides


def judged(look: int, verdict: Any, silent: bool = False) -> Judged:
    return Judged(f"c:tr_1.{look}", "tr_1", verdict, [], "", 1, None, None, silent=silent)


# What was heard, and whether it ends the hour: while there is patience with a silent scorer, and when that has ended.
HEARD: dict[str, tuple[Judged | str, bool, bool]] = {
    "a second look approves": (judged(2, "approve"), True, True),
    "a second look holds": (judged(2, "hold"), True, True),
    "a second look blocks": (judged(7, "block"), True, True),
    "a first look that approves may be an old one's record": (judged(1, "approve"), False, False),
    "a first look that holds": (judged(1, "hold"), True, True),
    "a first look that a limit refuses": (judged(1, "block"), True, True),
    "its model is silent": (judged(3, "hold", silent=True), False, True),
    "the way to it is": ("scorer_timeout", False, True),
    "it refuses the question": ("question_refused", False, True),
}


@pytest.mark.parametrize(("heard", "in_time", "too_late"), HEARD.values(), ids=HEARD)
def test_what_ends_the_hour(heard: Judged | str, in_time: bool, too_late: bool) -> None:
    assert (decides(heard, False), decides(heard, True)) == (in_time, too_late)
