"""Allow and block lists, pure. Law: an entry counts at a moment with added_at ≤ moment < its expiry or removal.

A block entry on any party, address, device, means of payment or domain of a gift is a block. An allow entry on the
sender's side lets the holds of rules and of the model not count; limits, blocks and whatever is degraded still do.
The same lookups serve the gate, which knows the entries that stand, and a back-test, which knows all there ever were.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from msgspec import structs

from detector.gift import Gift, Hit, Verdict, micros

ALLOW, BLOCK = "allow", "block"
DOMAIN = "domain"
BY = "list"
# Which facts of a gift an entry of a kind is held against; an allow entry, against the sender's side alone.
SENDERS = (
    ("org", "sender"),
    ("ip", "ip"),
    ("device", "device"),
    ("fingerprint", "fingerprint"),
    ("domain", "sender_domain"),
)
EVERYBODY = (*SENDERS, ("org", "recipient"), ("domain", "recipient_domain"))
ALLOWABLE = ("rule", "model")
FOR_EVER = 2**63 - 1


class Entry(NamedTuple):
    """One entry and when it counts, in microseconds: from `since` until just before `until`."""

    id: int
    list: str
    kind: str
    value: str
    since: int
    until: int

    @classmethod
    def of(
        cls, id: int, list: str, kind: str, value: str,
        added_at: datetime, expires_at: datetime | None, removed_at: datetime | None,
    ) -> Entry:  # fmt: skip
        ends = [micros(at) for at in (expires_at, removed_at) if at is not None]
        return cls(id, list, kind, plain(kind, value), micros(added_at), min(ends, default=FOR_EVER))

    def counts(self, now: int) -> bool:
        return self.since <= now < self.until


Table = dict[str, list[Entry]]  # the entries of one list and kind, by value


@dataclass(frozen=True, slots=True)
class Lists:
    """Both lists, as of one version of them: `blocked` and `allowing` are what to ask, fact by fact of a gift."""

    version: int = 0
    entries: Sequence[Entry] = ()
    blocked: list[tuple[str, str, Table]] = field(init=False)
    allowing: list[tuple[str, str, Table]] = field(init=False)

    def __post_init__(self) -> None:
        tables: dict[tuple[str, str], Table] = {}
        for entry in self.entries:
            tables.setdefault((entry.list, entry.kind), {}).setdefault(entry.value, []).append(entry)
        for name, facts, to in ((BLOCK, EVERYBODY, "blocked"), (ALLOW, SENDERS, "allowing")):
            asked = [(kind, fact, tables[name, kind]) for kind, fact in facts if (name, kind) in tables]
            object.__setattr__(self, to, asked)

    def hits(self, gift: Gift, now: int) -> list[Hit]:
        """A block for each fact of the gift that is on the block list."""
        return [
            Hit(BY, f"block_{kind}", Verdict.BLOCK.word, {fact: getattr(gift, fact), "entry": entry.id})
            for kind, fact, table in self.blocked
            if (entry := found(kind, table, getattr(gift, fact), now))
        ]

    def allowed(self, gift: Gift, now: int) -> str | None:
        """The allow entry that the sender's side of the gift is on, as a hit names what waived it."""
        for kind, fact, table in self.allowing:
            entry = found(kind, table, getattr(gift, fact), now)
            if entry:
                return f"{BY}:allow_{kind}:{entry.id}"
        return None


def found(kind: str, table: Table, value: str | None, now: int) -> Entry | None:
    """The entry that counts now for a value, if there is one."""
    if value is None:
        return None
    for name in sought(kind, value):
        for entry in table.get(name, ()):
            if entry.counts(now):
                return entry
    return None


NONE = Lists()


def waive(hits: Iterable[Hit], by: str | None) -> list[Hit]:
    """Hits as an allow entry leaves them: the holds of rules and of the model stay on record and no longer count."""
    return [
        structs.replace(hit, waived_by=by)
        if by and hit.by in ALLOWABLE and hit.verdict == Verdict.HOLD.word and hit.waived_by is None
        else hit
        for hit in hits
    ]


def plain(kind: str, value: str) -> str:
    """A value as it is compared: a domain in small letters, without a dot at its end.

    >>> plain("domain", "Mail.Example.COM."), plain("device", "A")
    ('mail.example.com', 'A')
    """
    return value.lower().rstrip(".") if kind == DOMAIN else value


def sought(kind: str, value: str) -> Iterable[str]:
    """The values that an entry of this kind may have to mean this one."""
    return names(value) if kind == DOMAIN else (value,)


def names(value: str) -> Iterator[str]:
    """What an entry may say to mean this domain: itself, and each one above it.

    >>> list(names("A.example.com"))
    ['a.example.com', 'example.com', 'com']
    """
    name = plain(DOMAIN, value)
    yield name
    while "." in name:
        name = name.partition(".")[2]
        yield name
