"""The parts of a case as text: why, timeline, gifts, notes, audit. Pure: the same for the terminal and for `show`."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from datetime import datetime

from rich.text import Text

from detector.case_shapes import Alike, Case, CaseFile, CaseGift, Cause, Explanation, ModelSaid, Past, Ruling, Turn
from detector.review.told import (
    Ink,
    bar,
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

VERDICTS = {"approve": "good", "hold": "warn", "block": "bad"}
STANDINGS = {"waiting": "accent", "released": "good", "settled": "good", "blocked": "bad"}
ACTS = {"release": "released", "block": "blocked", "return": "returned", "freeze": "frozen"}
MOST_CONTRIBUTIONS = 12


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


def spread(line: Text, end: Text, width: int) -> Text:
    """`end` at the right edge; what there is no room for on the left is cut."""
    line.truncate(max(0, width - end.cell_len - 1), overflow="ellipsis", pad=True)
    return line.append(" ").append_text(end)


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


# --- why ---


def why(told: Explanation, gift: CaseGift | None, width: int, ink: Ink) -> Text:
    """Why the gift was judged so, and what would have changed it."""
    text = Text()
    text.append(told.verdict.upper(), f"bold {colour(ink, VERDICTS, told.verdict)}")
    text.append(f"  {told.gift}" if gift is None else f"  {credits(gift.amount)} credits", f"bold {ink.ink}")
    if gift is not None:
        text.append(f"  {gift.sender} → {gift.recipient}", ink.ink)
    text.append(f"\ndecision {told.decision}, generation {told.generation}\n", ink.soft)
    for cause in told.causes:
        cause_lines(text, cause, width, ink)
    model(text, told.model, width, ink)
    if told.turns:
        title(text, "What would have changed it", ink)
        for turn in told.turns:
            turn_lines(text, turn, width, ink)
    if told.alike:
        title(text, "Cases like it", ink)
        for alike in told.alike:
            text.append_text(alike_line(alike, ink))
    return text


def cause_lines(text: Text, cause: Cause, width: int, ink: Ink) -> None:
    tone = colour(ink, VERDICTS, cause.verdict)
    text.append("\n▌ ", tone).append(cause.name, f"bold {ink.ink}").append(f"  {cause.by} · {cause.verdict}\n", tone)
    for words, style in ((cause.description, ink.ink), (cause.false_alarms, ink.soft)):
        if words:
            wrapped(text, f"false alarms: {words}" if words is cause.false_alarms else words, width, style)
    if cause.seen:
        # No-break spaces keep a name beside its value.
        facts = (f"{name} = {value_of(name, value)}" for name, value in cause.seen.items())
        seen = "  ".join(fact.replace(" ", "\u00a0") for fact in facts)
        wrapped(text, f"saw {seen}", width, ink.accent)


def value_of(name: str, value: object) -> str:
    """A fact as it was seen: amounts in credits, spans as clocks, the rest as it stands."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "nothing"}[value]
    if isinstance(value, int) and ("amount" in name or "_sum" in name or name.endswith("available")):
        return f"{credits(value)} credits"
    if isinstance(value, int | float) and name.endswith("_s"):
        return span(value) if value > 0 else f"{value:g} s"
    return f"{value:,.4g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def model(text: Text, said: ModelSaid, width: int, ink: Ink) -> None:
    title(text, f"Model {said.model}" if said.model else "Model", ink)
    if said.score is not None:
        text.append_text(scale(said, width, ink))
    most = max((abs(one.contribution) for one in said.contributions), default=0)
    room = 8 if width < 60 else 14
    for one in said.contributions[:MOST_CONTRIBUTIONS]:
        tone = ink.bad if one.contribution > 0 else ink.good
        text.append(f"  {one.contribution:+.2f} ", tone)
        text.append(f"{bar(abs(one.contribution) / most if most else 0, room):{room}} ", tone)
        words = one.words.removesuffix("; raises the score").removesuffix("; lowers the score")  # its sign says so
        rest = textwrap.wrap(words, max(12, width - room - 10)) or [one.feature]
        text.append(rest[0] + "\n", ink.ink)
        for more in rest[1:]:
            text.append(" " * (room + 9) + more + "\n", ink.ink)
    if said.note:
        wrapped(text, said.note, width, ink.soft)


def scale(said: ModelSaid, width: int, ink: Ink) -> Text:
    """The score on a line from 0 to 1, with the thresholds marked on it."""
    score = said.score or 0.0
    room = max(10, width - 18)
    tone = ink.good
    for at, named in ((said.hold_at, ink.warn), (said.block_at, ink.bad)):
        tone = named if at is not None and score >= at else tone
    filled = round(score * room)
    line = Text("  0 ", ink.soft).append("━" * filled, tone).append("─" * (room - filled), ink.soft)
    for at, named in ((said.hold_at, ink.warn), (said.block_at, ink.bad)):
        if at is not None and 0 <= at <= 1:
            place = 4 + min(room - 1, round(at * room))
            line.stylize(named, place, place + 1)
            line = line[:place] + Text("┃", named) + line[place + 1 :]
    line.append(" 1 ", ink.soft).append(f" {score:.3f}\n", f"bold {tone}")
    marks = [
        f"{word} from {at:.3g}" for word, at in (("hold", said.hold_at), ("block", said.block_at)) if at is not None
    ]
    return line.append(f"  {', '.join(marks)}\n" if marks else "", ink.soft)


def turn_lines(text: Text, turn: Turn, width: int, ink: Ink) -> None:
    text.append(f"  {turn.what:11} ", ink.soft)
    if turn.to is None:
        text.append("nothing found that turns it\n", ink.soft)
    else:
        tone = colour(ink, VERDICTS, turn.verdict or "")
        text.append(f"{side(turn, turn.was)} → {side(turn, turn.to)}", ink.ink).append(
            f"  {turn.verdict}\n", f"bold {tone}"
        )
    if turn.words:
        wrapped(text, turn.words, width, ink.soft, indent=14 if width >= 60 else 4)


def side(turn: Turn, said: str) -> str:
    """One side of a turn; amounts come in micro-credits."""
    return credits(int(said)) if turn.what == "amount" and said.isdigit() else said


def alike_line(alike: Alike, ink: Ink) -> Text:
    ruled = ", ".join(f"{number} {ACTS.get(act, act)}" for act, number in alike.acts.items()) or "not ruled on"
    line = Text(f"  {alike.likeness:.0%} ", ink.accent).append(f"{alike.case}  ", ink.ink).append(ruled, ink.ink)
    return line.append(f"  {', '.join(alike.reasons)}\n", ink.soft)


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
    return text if len(text) else Text("No notes and no rulings yet. Press n to write the first note.", ink.soft)


def audit(file: CaseFile, now: datetime, width: int, ink: Ink) -> Text:
    """What happened to the case, oldest first, as the log has it."""
    text = Text()
    for one in file.audit:
        text.append(f"{one.seq:>7} ", ink.soft).append(f"{hour(one.at, now)}  ", ink.soft)
        text.append(one.kind, f"bold {ink.ink}").append(f"  {one.actor}\n", ink.accent)
        if one.text:
            wrapped(text, one.text, width, ink.soft, indent=8)
    return text if file.audit else Text("The log holds nothing of this case.", ink.soft)


def title(text: Text, words: str, ink: Ink) -> None:
    text.append("\n" + words + "\n", f"bold {ink.accent}")


def wrapped(text: Text, words: str, width: int, style: str, indent: int = 2) -> None:
    for line in textwrap.wrap(words, max(12, width - indent)):
        text.append(" " * indent + line + "\n", style)


def colour(ink: Ink, table: dict[str, str], word: str, otherwise: str | None = None) -> str:
    tone: str = getattr(ink, table[word]) if word in table else (otherwise or ink.ink)
    return tone


def weightiest(file: CaseFile) -> list[CaseGift]:
    """The gift to look at first: among those that wait the one with most to lose. None where there is no gift."""
    order = sorted(file.gifts, key=lambda one: (one.standing != "waiting", -one.amount * (one.score or 0.5)))
    return order[:1]
