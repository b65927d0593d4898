"""How held gifts gather into cases, pure: a ring is one piece of work.

Law: a gift joins the oldest case that has not ended and shares an org, an address or a device with it within a day;
where it links several, they become one; but a case that somebody works on is never gathered into another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from msgspec import Struct

SPAN = timedelta(hours=24)
MOST_GIFTS = 500


class Draft(Struct, frozen=True):
    """A gift on its way into a case, by the decision that stopped it, or drew it as a sample."""

    decision_id: str
    kind: str
    gift_id: str
    sender: str
    recipient: str
    amount: int
    ip: str | None
    device: str | None
    at: datetime
    verdict: str
    reasons: list[str]
    score: float | None
    deadline: datetime | None

    @property
    def keys(self) -> list[str]:
        """What links it: either org in any role, so that chains gather; its address; its device."""
        orgs = dict.fromkeys(["o:" + self.sender, "o:" + self.recipient])
        return [*orgs, *(["i:" + self.ip] if self.ip else []), *(["d:" + self.device] if self.device else [])]


@dataclass(slots=True)
class Open:
    """A case that has not ended, as far as gathering goes; `busy` while it is claimed, or a ruling proposed."""

    id: str
    opened_at: datetime
    gifts: int = 0
    busy: bool = False

    @property
    def age(self) -> tuple[datetime, str]:
        return self.opened_at, self.id


@dataclass(frozen=True, slots=True)
class Beside:
    """A case that belongs with what comes by `key`, as if its newest gift were of `at`."""

    case: Open
    key: str
    at: datetime


@dataclass(slots=True)
class Desk:
    """The cases that share a key with some gifts: for each key, the moment of its newest gift in each case."""

    cases: dict[str, Open] = field(default_factory=dict)
    keys: dict[str, dict[str, datetime]] = field(default_factory=dict)

    def note(self, key: str, case: str, at: datetime) -> None:
        held = self.keys.setdefault(key, {})
        held[case] = max(at, held.get(case, at))

    def linked(self, draft: Draft) -> list[Open]:
        """The cases with room that the gift belongs to, oldest first."""
        found = {
            case for key in draft.keys for case, at in self.keys.get(key, {}).items() if draft.at - at < SPAN
        }  # fmt: skip
        return sorted((self.cases[case] for case in found if self.cases[case].gifts < MOST_GIFTS), key=lambda c: c.age)


@dataclass(slots=True)
class Gathered:
    """What becomes of the gifts: cases that open, the case of each gift, which cases were gathered into which, and
    which take no more."""

    opened: list[Open] = field(default_factory=list)
    joined: list[tuple[Draft, str]] = field(default_factory=list)
    merged: dict[str, str] = field(default_factory=dict)
    full: list[str] = field(default_factory=list)

    def last(self, case: str) -> str:
        """The case that a gathered one has become part of."""
        while case in self.merged:
            case = self.merged[case]
        return case


def gather(drafts: Sequence[Draft], desk: Desk, beside: Sequence[Beside] = ()) -> Gathered:
    """Find or open the case of each gift, in order. A sample is a case of its own: it says something of all gifts.

    The cases `beside` become one first, as far as nobody works on them; a gift of the same org joins that one.
    """
    gathered = Gathered()
    unite(beside, desk, gathered)
    for draft in drafts:
        linked = desk.linked(draft) if draft.kind == "hold" else []
        home = min(linked, key=lambda one: (not one.busy, one.age), default=None)
        if home is None:
            home = Open(case_id(draft), draft.at)
            gathered.opened.append(home)
            desk.cases[home.id] = home
        for other in linked:
            if other is not home and not other.busy and home.gifts + other.gifts < MOST_GIFTS:
                merge(other, home, desk, gathered)
        home.gifts += 1
        if home.gifts == MOST_GIFTS:
            gathered.full.append(home.id)
        gathered.joined.append((draft, home.id))
        if draft.kind == "hold":
            for key in draft.keys:
                desk.note(key, home.id, draft.at)
    return gathered


def unite(beside: Sequence[Beside], desk: Desk, gathered: Gathered) -> None:
    """Cases that belong together whatever their age become one."""
    for one in beside:
        desk.cases.setdefault(one.case.id, one.case)
        desk.note(one.key, one.case.id, one.at)
    cases = {one.case.id: desk.cases[one.case.id] for one in beside}
    home = min(cases.values(), key=lambda one: (not one.busy, one.age), default=None)
    for other in cases.values():
        if home and other is not home and not other.busy and home.gifts + other.gifts < MOST_GIFTS:
            merge(other, home, desk, gathered)


def merge(other: Open, home: Open, desk: Desk, gathered: Gathered) -> None:
    gathered.merged[other.id] = home.id
    home.gifts += other.gifts
    del desk.cases[other.id]
    for key, held in desk.keys.items():
        if other.id in held:
            desk.note(key, home.id, held.pop(other.id))


def case_id(draft: Draft) -> str:
    """Made of the decision that opens it, so that a batch that is run again opens the same case."""
    return "cs_" + hashlib.sha256(draft.decision_id.encode()).hexdigest()[:16]
