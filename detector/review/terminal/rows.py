"""One case as two lines of the queue. Pure: the moment and who looks are arguments."""

from __future__ import annotations

from datetime import datetime

from rich.text import Text

from detector.case_shapes import Case
from detector.review.told import Ink, brief, clock_ink, cut, holder, left_s, some, span

WIDE = 44


def heading(width: int, ink: Ink) -> Text:
    risk = " at risk" if width >= WIDE else ""
    gifts = "  gifts" if width >= WIDE else " gift"
    return Text(f"    left   loss{risk}{gifts} claim".ljust(width)[:width], ink.soft)


def row(case: Case, now: datetime, me: str | None, width: int, ink: Ink, here: str) -> tuple[Text, Text]:
    """The clock, what it may cost and who has it; then what the case is about. `here` is the mark in front."""
    by = holder(case, now)
    theirs = by is not None and by != me
    base = ink.soft if theirs else ink.ink
    left = left_s(case.deadline, now)
    clock = "ended" if case.status == "ended" else span(left)
    first = Text(here, ink.accent).append(f"{clock:>7} ", f"bold {ink.soft if theirs else clock_ink(left, ink)}")
    first.append(f"{brief(case.expected_loss):>6}", f"bold {base}")
    if width >= WIDE:
        first.append(f"{brief(case.at_risk):>8}", base)
    gifts = f"×{case.waiting}" if case.waiting == case.gifts else f"×{case.waiting}/{case.gifts}"
    first.append(f"{gifts:>{7 if width >= WIDE else 5}} ", base)
    who, tone = claim(case, by, me, ink)
    first.append(cut(who, max(0, width - first.cell_len)), tone)
    second = Text(" " * 2)
    for flag, sign in ((case.proposed, "⚑ "), (case.escalated, "▲ "), (case.kind == "sample", "◇ ")):
        second.append(sign if flag else "", ink.warn)
    # Most reasons are rules: only what is none says what it is.
    reasons = some([name.removeprefix("rule:") for name in case.reasons], 2 if width >= WIDE else 1)
    second.append(cut(reasons, max(8, width - 24 if width >= WIDE else width // 2 - 2)), base)
    second.append(f"  {some(case.senders)} → {some(case.recipients)}", ink.soft)
    for line in (first, second):
        line.no_wrap = True
        line.truncate(width, overflow="ellipsis", pad=True)
    return first, second


def claim(case: Case, by: str | None, me: str | None, ink: Ink) -> tuple[str, str]:
    if by is not None:
        return ("● you", ink.good) if by == me else (f"● {by}", ink.soft)
    return (f"→ {case.assigned_to}", ink.accent) if case.assigned_to else ("", ink.soft)
