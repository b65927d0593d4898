"""The parts of a case as text: head, timeline, gifts, notes, audit. Pure: the same for the terminal and for `show`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rich.text import Text

from detector.case_shapes import Case, CaseFile, CaseGift, Ruling
from detector.explain_shapes import Past
from detector.review.drawing import VERDICTS, colour, spread, wrapped
from detector.review.told import (
    Ink,
    brief,
    clock_ink,
    count,
    credits,
    cut,
    holder,
    hour,
    left_s,
    parsed,
    some,
    span,
)  # fmt: skip

STANDINGS = {"waiting": "accent", "released": "good", "settled": "good", "blocked": "bad"}


def head(case: Case, rulings: Sequence[Ruling], now: datetime, me: str | None, width: int, ink: Ink) -> Text:
    """What the case is about, in four lines."""
    left = left_s(case.deadline, now)
    clock = f"{span(left)} left" if left and left > 0 else "its time is over" if left is not None else ""
    text = Text("case ", ink.soft).append(case.id, f"bold {ink.accent}").append(f"  {standing(case)}", ink.ink)
    spread(text, Text(clock if case.status != "ended" else "", f"bold {clock_ink(left, ink)}"), width)
    line = Text(f"{brief(case.at_risk)} at risk", f"bold {ink.ink}")
    line.append(f" of {brief(case.amount)}" if case.amount != case.at_risk else "", ink.soft)
    line.append(f" · loss {brief(case.expected_loss)}", ink.ink).append(f" · ×{case.waiting}/{case.gifts}", ink.soft)
    text.append("\n").append_text(spread(line, scored(case.score, ink), width))
    text.append("\n").append(cut(f"{some(case.senders, 2)} → {some(case.recipients, 2)}", width), ink.ink)
    text.append("\n").append_text(claim_line(case, rulings, now, me, width, ink))
    return text


def standing(case: Case) -> str:
    marks = [case.status if case.status == "ended" else "", "escalated" if case.escalated else ""]
    return " · ".join([*filter(None, marks), *(["sample"] if case.kind == "sample" else [])])


def scored(score: float | None, ink: Ink) -> Text:
    return Text("no score", ink.soft) if score is None else Text(f"score {score:.2f}", ink.ink)


def claim_line(case: Case, rulings: Sequence[Ruling], now: datetime, me: str | None, width: int, ink: Ink) -> Text:
    """Who has the case in hand; before all else, what waits for a second person."""
    proposed = next((one for one in rulings if one.status == "proposed"), None)
    if proposed is not None:
        asks = "another person confirms" if proposed.by == me else "y confirms, x refuses"
        told = f"⚑ {proposed.by}: {proposed.act} {brief(proposed.amount)}; {asks}"
        return Text(cut(told, width), f"bold {ink.warn}")
    by = holder(case, now)
    assigned = f" · for {case.assigned_to}" if case.assigned_to else ""
    if case.status == "ended":
        return Text(f"ended {hour(case.ended_at, now)}" if case.ended_at else "ended", ink.soft)
    if by is None:
        return Text(cut(f"○ nobody has claimed it{assigned}", width), ink.soft)
    until = span(left_s(case.claimed_until, now))
    name, colour = ("you", ink.good) if by == me else (by, ink.warn)
    return Text(cut(f"● claimed by {name}, {until} left{assigned}", width), colour)


# --- timeline, gifts, notes, audit ---


def timeline(past: Sequence[Past], this: str, now: datetime, width: int, ink: Ink) -> Text:
    """What the parties did, newest first; the gift in question is marked."""
    text = Text()
    day = None
    for one in sorted(past, key=lambda each: each.at, reverse=True):
        moment = parsed(one.at)
        if moment.date() != day:
            day = moment.date()
            text.append(f"{moment:%A, %d %B %Y}\n", f"bold {ink.soft}")
        here = one.id == this
        text.append("▶" if here else " ", ink.accent).append(f"{moment:%H:%M} ", ink.soft)
        text.append(f"{brief(one.amount):>5} ", f"bold {ink.ink}" if here else ink.ink)
        tail = Text(one.verdict, colour(ink, VERDICTS, one.verdict))
        if one.fraud is not None:
            tail.append(" ✗ fraud" if one.fraud else " ✓ good", ink.bad if one.fraud else ink.good)
        names = Text(f"{one.sender} → {one.recipient}", f"bold {ink.ink}" if here else ink.ink)
        names.append(f"  {one.role}", ink.soft)
        text.append_text(spread(names, tail, max(20, width - 13))).append("\n")
    return text if past else Text("The parties have no other gifts.", ink.soft)


def gifts(
    file: CaseFile, at: int, marked: frozenset[str], now: datetime, width: int, ink: Ink, *, ids: bool = False
) -> Text:
    """Every gift of the case, two lines each; `at` is the one under the cursor, `marked` are those to rule on. With
    `ids` they have their ids, and no boxes to mark."""
    text = Text()
    for place, one in enumerate(file.gifts):
        tone = colour(ink, STANDINGS, one.standing, ink.soft)
        here = place == at
        line = Text("▶" if here else " ", ink.accent).append("☑ " if one.id in marked else "☐ ", ink.accent)
        if ids:
            line = Text(f"{one.id}  ", ink.accent)
        elif one.standing != "waiting":
            line = Text("▶" if here else " ", ink.accent).append("  ", ink.soft)
        line.append(f"{one.sender} → {one.recipient}", f"bold {ink.ink}" if here else ink.ink)
        amount = Text(f"{credits(one.amount)} ", f"bold {ink.ink}")
        text.append_text(spread(line, amount, width)).append("\n")
        left = left_s(one.deadline, now)
        said = f"{one.standing}" + (f" {span(left)}" if one.standing == "waiting" and left is not None else "")
        score = "" if one.score is None else f"{one.score:.2f} "
        more = Text(f"   {score}{', '.join(one.reasons)}", ink.soft)
        text.append_text(spread(more, Text(f"{said} ", tone), width)).append("\n")
    return text


def notes(file: CaseFile, now: datetime, width: int, ink: Ink) -> Text:
    text = Text()
    for ruling in file.rulings:
        tone = ink.warn if ruling.status == "proposed" else ink.soft if ruling.status != "done" else ink.ink
        said = f"{ruling.act} {count(len(ruling.gifts), 'gift')}, {credits(ruling.amount)} credits: {ruling.status}"
        text.append("§ ", tone).append(said, f"bold {tone}").append(f"  {ruling.by} {hour(ruling.at, now)}", ink.soft)
        if ruling.second:
            text.append(f", then {ruling.second} {hour(ruling.second_at or ruling.at, now)}", ink.soft)
        text.append("\n")
        wrapped(text, ruling.why, width, ink.ink)
    for note in file.notes:
        text.append("\n" if len(text) else "").append(note.author, f"bold {ink.accent}")
        text.append(f"  {hour(note.at, now)}\n", ink.soft)
        for line in note.text.splitlines():
            wrapped(text, line, width, ink.ink)
    return text if len(text) else Text("No notes and no rulings yet.", ink.soft)


def audit(file: CaseFile, now: datetime, width: int, ink: Ink) -> Text:
    """What happened to the case, oldest first, as the log has it."""
    text = Text()
    for one in file.audit:
        text.append(f"{one.seq:>7} ", ink.soft).append(f"{hour(one.at, now)}  ", ink.soft)
        text.append(one.kind, f"bold {ink.ink}").append(f"  {one.actor}\n", ink.accent)
        if one.text:
            wrapped(text, one.text, width, ink.soft, indent=8)
    return text if file.audit else Text("The log holds nothing of this case.", ink.soft)


def weightiest(file: CaseFile) -> list[CaseGift]:
    """The gift to look at first: among those that wait the one with most to lose. None where there is no gift."""
    order = sorted(file.gifts, key=lambda one: (one.standing != "waiting", -one.amount * (one.score or 0.5)))
    return order[:1]
