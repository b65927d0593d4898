"""Credits, grants and entries: what an org owns, in which order it burns, and how every movement is written down.

Amounts are integer micro-credits (1 credit = 1_000_000). Law 9: a slice of a grant keeps the grant's nature.
"""

from __future__ import annotations

import enum
import os
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple

from msgspec import Struct

CREDIT = 1_000_000
MOST = 10**15
DRAWN = 256
NEVER = datetime(9999, 1, 1, tzinfo=UTC)


class Account(enum.StrEnum):
    """Whose side of the books an entry stands on: the first two are the org's, the others the platform's."""

    AVAILABLE = "available"
    RESERVED = "reserved"
    ISSUED = "issued"
    CONSUMED = "consumed"
    EXPIRED = "expired"
    REVOKED = "revoked"


class Org(NamedTuple):
    """A party of a gift as the gate reads it, in the order of ledger.gather()'s columns."""

    id: str
    tier: str
    identity: str
    frozen: bool
    owner: str | None
    created_at: datetime
    available: int
    domain: str | None
    identity_at: datetime | None
    caution: str | None  # 'compromised' while that is reported, 'cool_off' for a while after it


class Grant(Struct, gc=False):
    """A parcel of credits as far as spending it goes; the table holds the rest of its nature."""

    id: str
    available: int
    origin: str
    rooted_at: datetime


Slice = tuple[Grant, int]  # so much of one grant


class Entry(NamedTuple):
    """One half of a double-entry posting."""

    posting_id: str
    line: int
    kind: str
    at: datetime
    org_id: str
    grant_id: str
    account: str
    amount: int


def cut(grants: Iterable[Grant], amount: int) -> list[Slice] | None:
    """Slices worth `amount` from grants given in burn order; None if they do not hold as much."""
    slices: list[Slice] = []
    for grant in grants:
        part = grant.available
        if part > amount:
            part = amount
        if part:
            slices.append((grant, part))
            amount -= part
        if not amount:
            return slices
    return None


def posting(kind: str, subject: str, at: datetime, legs: Iterable[tuple[str, str, str, int]]) -> list[Entry]:
    """A balanced posting: each leg is (org, grant, account, amount). Raises ValueError if it does not sum to zero."""
    name = f"{subject}/{kind}"
    entries = [Entry(name, line, kind, at, *leg) for line, leg in enumerate(legs)]
    if sum(entry.amount for entry in entries):
        raise ValueError(f"posting {name} does not sum to zero: {entries}")
    return entries


def new_id(prefix: str, at_ms: int | None = None) -> str:
    """A new id that sorts by time: 48 bits of milliseconds, 64 random bits, in hexadecimal."""
    moment = time.time_ns() // 1_000_000 if at_ms is None else at_ms
    return f"{prefix}_{moment:012x}{chance()}"


# Random bits, drawn for many ids at once, since the system's call costs more than the rest of an id. No two threads get
# the same ones; and a process that forks leaves its own to itself.
SPARE: list[str] = []
os.register_at_fork(after_in_child=SPARE.clear)


def chance() -> str:
    """64 random bits, in hexadecimal."""
    try:
        return SPARE.pop()
    except IndexError:
        drawn = os.urandom(8 * DRAWN).hex()
        SPARE.extend([drawn[start : start + 16] for start in range(16, len(drawn), 16)])
        return drawn[:16]
