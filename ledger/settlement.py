"""Settlement: due transfers get their second look, then settle, are held, or go back to the sender (laws 3, 4, 9)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

from detector.contract import SYSTEM, Gift, Left, Sitting, Verdict
from ledger import events, store
from ledger.errors import Conflict, NotFound
from ledger.plan import SECOND_LOOK, Plan, slices_of, write
from ledger.scorer import Desk, Scorer
from ledger.stops import against
from ledger.transfers import OPEN, Status
from ledger.waiting import gather, lay_before, parties

BATCH = 100


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
            transaction, sitting, committed = conn.transaction(), None, False
            await transaction.start()
            try:
                due = await lock_due(conn, at, most, skip, ready)
                if not due:
                    return 0
                orgs, slices = await gather(conn, due)
                at_us = None if at is None else store.micros(at)
                sitting = await self.scorer.gather(conn, parties(pending(due), orgs), at=at_us)
                await self.take(conn, due, slices, orgs, sitting)
                await transaction.commit()
                committed = True
                return len(due)
            finally:
                if sitting:
                    sitting.close(committed=committed)
                if not committed and not conn.is_closed():
                    await transaction.rollback()

    async def take(
        self, conn: asyncpg.Connection, due: Sequence[Any], slices: dict[str, list[Any]], orgs: dict[str, Any],
        sitting: Sitting,
    ) -> None:  # fmt: skip
        """Second looks at what is pending; then settle, hold or return all that is due, and tell of it."""
        now = max(store.moment(sitting.now), max(one["now"] for one in due))
        gifts = {gift.id: gift for gift in await lay_before(sitting, conn, pending(due), slices, orgs, now)}
        plan = Plan()
        for one in due:
            self.decide(plan, one, gifts.get(one["id"]), slices[one["id"]], orgs, sitting, now)
        await sitting.record(conn)
        await write(conn, plan, self.hold_s)
        gone = [Left(one.id, "lapsed", now) for one in plan.steps if one.was == Status.HELD]
        await sitting.tell_desk(conn, self.hold_s, gone, now, events.stepped(plan.steps, due, SYSTEM))

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


async def lock_due(
    conn: asyncpg.Connection, at: datetime | None, most: int, skip: int, ready: Sequence[str] | None
) -> list[Any]:
    if ready is None:
        return list(await conn.fetch(store.SQL["due"], at, most, skip))
    return list(await conn.fetch(store.SQL["due_ready"], at, most, skip, ready))


def pending(due: Sequence[Any]) -> list[Any]:
    """Those that are to be judged; of what is held, the hold ran out."""
    return [one for one in due if one["status"] == Status.PENDING]


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
