"""Why a gift was judged so, and what would have changed it, as text. Pure."""

from __future__ import annotations

import textwrap

from rich.text import Text

from detector.case_shapes import CaseGift
from detector.explain_shapes import Alike, Cause, Explanation, ModelSaid, Turn
from detector.review.drawing import VERDICTS, colour, title, wrapped
from detector.review.told import Ink, bar, credits, span

ACTS = {"release": "released", "block": "blocked", "return": "returned", "freeze": "frozen"}
MOST_CONTRIBUTIONS = 12


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
