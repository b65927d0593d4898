"""What becomes of transfers: the steps that they take, with the grants and entries that follow. Laws 3, 4, 9.

Plan is pure. A slice whose grant expired or was revoked meanwhile goes where its grant went, whatever becomes of the
gift. `write` takes every step of a plan, or none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import asyncpg

from detector.contract import Decision
from ledger import store
from ledger.credits import Account, Entry, new_id, posting
from ledger.errors import Conflict
from ledger.transfers import Status

SECOND_LOOK = "second_look"


class Minted(NamedTuple):
    """A grant that the recipient gets: a slice of the sender's, of the same nature."""

    id: str
    org_id: str
    origin: str
    root_id: str
    parent_id: str
    transfer_id: str
    priority: int
    expires_at: datetime
    giftable: bool
    giftable_at: datetime
    rooted_at: datetime
    created_at: datetime
    amount: int


class Step(NamedTuple):
    """One step of a transfer, by compare-and-set on the status and version it was read with."""

    id: str
    was: str
    version: int
    status: str
    reason: str | None
    at: datetime
    decision_id: str | None = None
    verdict: str | None = None
    hash: bytes | None = None
    settled_amount: int | None = None


@dataclass(slots=True)
class Plan:
    """What a batch of steps writes."""

    steps: list[Step] = field(default_factory=list)
    minted: list[Minted] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)

    def settle(self, transfer: Any, slices: Sequence[Any], decision: Decision, at: datetime) -> None:
        """Deliver the live slices; a gift of which nothing is live goes back."""
        if not any(fate(one, at) is Account.AVAILABLE for one in slices):
            return self.give_back(transfer, slices, Status.RETURNED, "credits_lapsed", at)
        minted, legs = [], []
        for one in slices:
            account = fate(one, at)
            legs.append((transfer["sender"], one["id"], Account.RESERVED.value, -one["part"]))
            if account is Account.AVAILABLE:
                grant = mint(one, transfer, at)
                minted.append(grant)
                legs.append((transfer["recipient"], grant.id, account.value, one["part"]))
            else:
                legs.append((transfer["sender"], one["id"], account.value, one["part"]))
        self.minted += minted
        self.entries += posting("settle", transfer["id"], at, legs)
        settled = sum(grant.amount for grant in minted)
        self.step(transfer, Status.SETTLED, None, at, decision, settled)

    def give_back(self, transfer: Any, slices: Sequence[Any], status: Status, reason: str, at: datetime) -> None:
        """Every slice back to the grant it was cut from, or where that grant went."""
        legs = [
            leg
            for one in slices
            for leg in (
                (transfer["sender"], one["id"], Account.RESERVED.value, -one["part"]),
                (transfer["sender"], one["id"], fate(one, at).value, one["part"]),
            )
        ]
        self.entries += posting("return", transfer["id"], at, legs)
        self.step(transfer, status, reason, at)

    def hold(self, transfer: Any, decision: Decision, at: datetime, reason: str = SECOND_LOOK) -> None:
        """Stop the clock until an analyst rules, or the hold runs out."""
        self.step(transfer, Status.HELD, reason, at, decision)

    def step(
        self, transfer: Any, status: Status, reason: str | None, at: datetime,
        decision: Decision | None = None, settled: int | None = None,
    ) -> None:  # fmt: skip
        step = Step(transfer["id"], transfer["status"], transfer["version"], status.value, reason, at)
        if decision:
            step = step._replace(
                decision_id=decision.id,
                verdict=decision.verdict.word,
                hash=decision.gift.payload_hash,
                settled_amount=settled,
            )
        self.steps.append(step)


def fate(piece: Any, at: datetime) -> Account:
    """Where a slice goes when it is let go: back to being available, unless its grant is gone."""
    if piece["revoked_at"] is not None:
        return Account.REVOKED
    return Account.EXPIRED if piece["expires_at"] <= at else Account.AVAILABLE


def mint(piece: Any, transfer: Any, at: datetime) -> Minted:
    """The recipient's grant: new id, new owner, everything else the slice's (law 9)."""
    return Minted(
        new_id("gr"),
        transfer["recipient"],
        piece["origin"],
        piece["root_id"],
        piece["id"],
        transfer["id"],
        piece["priority"],
        piece["expires_at"],
        piece["giftable"],
        piece["giftable_at"],
        piece["rooted_at"],
        at,
        piece["part"],
    )


async def slices_of(conn: asyncpg.Connection, transfers: Sequence[str]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {name: [] for name in transfers}
    for row in await conn.fetch(store.SQL["slices"], [f"{name}/reserve" for name in transfers]):
        found[row["of_transfer"]].append(row)
    return found


async def write(conn: asyncpg.Connection, plan: Plan, hold_s: int) -> None:
    """Take every step, or none. Raises Conflict where a transfer is no longer as it was read."""
    taken = await conn.fetchval(
        store.SQL["step"],
        *store.columns(plan.minted, 13),
        *store.columns(plan.steps, 10),
        *store.columns(plan.entries, 8),
        hold_s,
    )
    if taken != len(plan.steps):
        raise Conflict(f"{len(plan.steps) - taken} of {len(plan.steps)} transfers changed meanwhile; read them again")
