"""Settlement: due transfers get their second look, then settle, are held, or go back to the sender (laws 3, 4, 9).

Plan is pure: it turns a transfer, its slices and a verdict into the step, grants and entries that follow. A slice whose
grant expired or was revoked meanwhile goes where its grant went, whatever becomes of the gift.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import asyncpg

from detector.contract import SYSTEM, Decision, Gift, Left, Parties, Verdict
from ledger import events, store
from ledger.credits import Account, Entry, new_id, posting
from ledger.decide import PROMOTIONAL, YOUNG_US
from ledger.errors import Conflict, NotFound
from ledger.scorer import Desk, Scorer
from ledger.stops import against
from ledger.transfers import OPEN, Status

BATCH = 100
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


@dataclass(frozen=True, slots=True)
class Settlement:
    """Works through due transfers, a batch in one transaction. Any number of processes may do so at once."""

    pool: asyncpg.Pool
    scorer: Scorer
    hold_s: int

    async def settle_due(
        self, at: datetime | None = None, *, most: int = BATCH, skip: int = 0, ready: Sequence[str] | None = None
    ) -> int:
        """Settle, hold or return up to `most` due transfers; how many it took.

        `at` stands in for the clock; `skip` passes over the first ones, where a caller works around a failing one. Of
        pending ones only those that are `ready`, where a scorer on machines of its own had to be asked first.
        """
        async with self.pool.acquire() as conn:
            sitting = None
            committed = False
            transaction = conn.transaction()
            await transaction.start()
            try:
                if ready is None:
                    due = await conn.fetch(store.SQL["due"], at, most, skip)
                else:
                    due = await conn.fetch(store.SQL["due_ready"], at, most, skip, ready)
                if not due:
                    return 0
                orgs, slices = await gather(conn, due)
                judged = [one for one in due if one["status"] == Status.PENDING]
                at_us = None if at is None else store.micros(at)
                sitting = await self.scorer.gather(conn, parties(judged, orgs), at=at_us)
                now = max(store.moment(sitting.now), max(one["now"] for one in due))
                gifts = {one["id"]: gift_of(one, slices[one["id"]], orgs, now) for one in judged}
                await sitting.recall(conn, list(gifts.values()))
                sitting.look([(gift, None) for gift in gifts.values()])
                plan = Plan()
                for one in due:
                    self.decide(plan, one, gifts.get(one["id"]), slices[one["id"]], orgs, sitting, now)
                await sitting.record(conn)
                await write(conn, plan, self.hold_s)
                gone = [Left(one.id, "lapsed", now) for one in plan.steps if one.was == Status.HELD]
                await sitting.tell_desk(conn, self.hold_s, gone, now, events.stepped(plan.steps, due, SYSTEM))
                await transaction.commit()
                committed = True
                return len(due)
            finally:
                if sitting:
                    sitting.close(committed=committed)
                if not committed and not conn.is_closed():
                    await transaction.rollback()

    def decide(
        self,
        plan: Plan,
        transfer: Any,
        gift: Gift | None,
        slices: list[Any],
        orgs: dict[str, Any],
        sitting: Any,
        now: datetime,
    ) -> None:
        """The second look: approve settles, block returns, anything else holds. A hold that ran out has no gift."""
        if gift is None:
            return plan.give_back(transfer, slices, Status.RETURNED, "hold_expired", now)
        decision = sitting.decide(gift)
        if decision.verdict is Verdict.BLOCK:
            return plan.give_back(transfer, slices, Status.RETURNED, SECOND_LOOK, now)
        stop = against(transfer, orgs, sitting.identity, now)
        if decision.verdict is Verdict.APPROVE and stop is None:
            return plan.settle(transfer, slices, decision, now)
        if decision.verdict is Verdict.APPROVE:
            sitting.stop(decision, stop)
        return plan.hold(transfer, decision, now)


async def gather(conn: asyncpg.Connection, transfers: Sequence[Any]) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """Lock both parties of every locked transfer in id order, then read the slices; each by its id."""
    named = sorted({party for one in transfers for party in (one["sender"], one["recipient"])})
    orgs = {org["id"]: org for org in await conn.fetch(store.SQL["lock_orgs"], named)}
    return orgs, await slices_of(conn, [one["id"] for one in transfers])


def parties(transfers: Iterable[Any], orgs: dict[str, Any]) -> list[Parties]:
    return [
        Parties(one["sender"], one["recipient"], one["ip"], one["device"], orgs[one["sender"]]["tier"])
        for one in transfers
    ]


def gift_of(transfer: Any, slices: Sequence[Any], orgs: dict[str, Any], now: datetime) -> Gift:
    """The gift as it stands now; what was true only at its beginning (the sender's balance) is kept from then."""
    sender, recipient = orgs[transfer["sender"]], orgs[transfer["recipient"]]
    tops = [one["rooted_at"] for one in slices if one["origin"] == "purchase"]
    return Gift(
        transfer["id"],
        transfer["sender"],
        transfer["recipient"],
        transfer["amount"],
        transfer["payload_hash"],
        transfer["ip"],
        transfer["device"],
        sender["tier"],
        recipient["tier"],
        sender["identity"],
        seconds(now, sender["created_at"]),
        seconds(now, recipient["created_at"]),
        transfer["sender_available"],
        seconds(now, max(tops)) if tops else None,
        sender["owner"] is not None and sender["owner"] == recipient["owner"],
        look=transfer["version"] + 1,
        promo_amount=sum(one["part"] for one in slices if one["origin"] in PROMOTIONAL),
        young_amount=sum(one["part"] for one in slices if young(one, now)),
        revoked_amount=sum(one["part"] for one in slices if one["in_doubt"]),
        sender_domain=sender["domain"],
        recipient_domain=recipient["domain"],
    )


def young(piece: Any, now: datetime) -> bool:
    """A charge-back may still take it, as at the first look (ledger.decide)."""
    return bool(piece["origin"] == "purchase" and store.micros(piece["rooted_at"]) > store.micros(now) - YOUNG_US)


def seconds(now: datetime, since: datetime) -> int:
    return max(0, store.micros(now) - store.micros(since)) // 1_000_000


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


async def cancel(pool: asyncpg.Pool, desk: Desk, sender: str, transfer_id: str) -> asyncpg.Record:
    """Cancel an unsettled transfer of the sender's; its credits return at once. Twice is as good as once."""
    async with pool.acquire() as conn, conn.transaction():
        transfer = await conn.fetchrow(store.SQL["transfer_lock"], transfer_id, sender)
        if transfer is None:
            raise NotFound(f"no transfer {transfer_id!r} sent by this org")
        if transfer["status"] in OPEN:
            locked = await conn.fetch(store.SQL["lock_orgs"], [sender])
            slices = await slices_of(conn, [transfer_id])
            plan = Plan()
            plan.give_back(transfer, slices[transfer_id], Status.CANCELLED, "cancelled", locked[0]["now"])
            await write(conn, plan, 0)
            held = transfer["status"] == Status.HELD
            gone = [Left(transfer_id, "cancelled", locked[0]["now"])] if held else []
            await desk.left(conn, gone, events.stepped(plan.steps, [transfer], sender))
        elif transfer["status"] != Status.CANCELLED:
            raise Conflict(f"transfer {transfer_id} is {transfer['status']} already and cannot be cancelled")
        row: asyncpg.Record = await conn.fetchrow(store.SQL["transfer"], transfer_id, sender)
        return row
