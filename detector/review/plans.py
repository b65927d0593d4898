"""What a ruling would do, before it is done: what the confirmation shows, in the terminal and at the prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from detector.case_shapes import CaseFile, CaseGift, Ruling
from detector.review.errors import Conflict, NotThere
from detector.review.told import count, credits
from detector.shapes import Act

EFFECTS: dict[str, tuple[str, ...]] = {
    "release": (
        "Pending again, on the clock where it stopped. The reasons that you saw hold no more; new ones and every "
        "block do. Remembered as good.",
    ),
    "block": ("The credits go back to their senders now. Remembered as fraud.",),
    "return": ("The credits go back to their senders now. Nothing is remembered.",),
    "freeze": ("They cannot send until they are thawed. The gifts stay held.",),
}
SECOND = "Above the four-eyes amount it waits for another person."
VERBS = {"release": "Release", "block": "Block", "return": "Return", "freeze": "Freeze"}


@dataclass(frozen=True, slots=True)
class Plan:
    """A ruling as it would be asked for. `lines` are its gifts with their amounts, or its orgs."""

    act: Act
    title: str
    lines: tuple[tuple[str, str], ...]
    amount: int
    gifts: tuple[str, ...]
    orgs: tuple[str, ...]
    effects: tuple[str, ...]


def plan(file: CaseFile, act: Act, chosen: Sequence[str] | None = None, orgs: Sequence[str] | None = None) -> Plan:
    """The ruling on the chosen gifts, by default on all that wait. Raises where there is nothing to rule on."""
    gifts = [find(file, one) for one in chosen] if chosen else [one for one in file.gifts if one.standing == "waiting"]
    for one in gifts:
        if one.standing != "waiting":
            raise Conflict(f"gift {one.id} waits no more: {how_it_left(file, one)}", "gift_ruled")
    if not gifts:
        how = "; ".join(dict.fromkeys(how_it_left(file, one) for one in file.gifts))
        raise Conflict(f"no gift of case {file.case.id} waits for a ruling: {how}", "case_ended")
    amount = sum(one.amount for one in gifts)
    names = tuple(one.id for one in gifts)
    if act == "freeze":
        frozen = tuple(dict.fromkeys(orgs or [one.sender for one in gifts]))
        return Plan(
            act,
            f"Freeze {count(len(frozen), 'org')}?",
            tuple((one, "") for one in frozen),
            amount,
            names,
            frozen,
            EFFECTS[act],
        )
    lines = tuple((f"{one.sender} → {one.recipient}", credits(one.amount)) for one in gifts)
    title = f"{VERBS[act]} {count(len(gifts), 'gift')}, {credits(amount)} credits?"
    return Plan(act, title, lines, amount, names, (), (*EFFECTS[act], SECOND))


def how_it_left(file: CaseFile, gift: CaseGift) -> str:
    """How a gift left its case: who ruled it so, and when."""
    ruling = next((one for one in file.rulings if one.id == gift.ruling), None)
    return f"{gift.standing} by {ruling.by} on {ruling.at}" if ruling else f"{gift.standing} without a ruling"


def find(file: CaseFile, gift: str) -> CaseGift:
    for one in file.gifts:
        if one.id == gift:
            return one
    raise NotThere(f"case {file.case.id} holds no gift {gift!r}")


def proposal(file: CaseFile, ruling: str | None = None) -> Ruling:
    """The ruling that waits for a second person; by its id where it is named."""
    waiting = [one for one in file.rulings if one.status == "proposed" and ruling in (None, one.id)]
    if ruling is not None and not any(one.id == ruling for one in file.rulings):
        raise NotThere(f"case {file.case.id} has no ruling {ruling!r}")
    if not waiting:
        raise Conflict(f"nothing of case {file.case.id} waits for a second person", "not_proposed")
    if len(waiting) > 1:
        names = ", ".join(f"{one.id} ({one.act} {credits(one.amount)} by {one.by})" for one in waiting)
        raise Conflict(f"case {file.case.id} has several proposals, name one: {names}", "several_proposals")
    return waiting[0]


def proposed(ruling: Ruling) -> str:
    """What would be confirmed or refused, and what it would do."""
    what = f"{VERBS[ruling.act]} {count(len(ruling.gifts), 'gift')}, {credits(ruling.amount)} credits: {ruling.why}"
    return "\n".join((what, *EFFECTS[ruling.act]))


def newest(file: CaseFile, by: str | None = None) -> Ruling:
    """The ruling that was made last."""
    rulings = [one for one in file.rulings if by in (None, one.by)]
    if not rulings:
        raise NotThere(f"case {file.case.id} has no ruling")
    return max(rulings, key=lambda one: one.at)


def by_id(file: CaseFile, ruling: str) -> Ruling:
    return next(one for one in file.rulings if one.id == ruling)


def done(ruling: Ruling) -> str:
    """What became of it, in one line."""
    what = f"{ruling.act} of {count(len(ruling.gifts), 'gift')}, {credits(ruling.amount)} credits"
    if ruling.status == "proposed":
        return f"Proposed: {what}. Another person confirms it."
    if ruling.status == "refused":
        return f"Refused: {what}. The gifts wait on."
    return f"Done: {what}."
