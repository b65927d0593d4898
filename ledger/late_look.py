"""Late looks: a gift that was held for silence alone is judged once somebody can, and an approval then lets it go on.

It was never judged, so nothing grows milder by itself: what a rule, a list, a limit or a model ever said anything
about, and what an analyst has in hand, is theirs. `ledger.judge_release` keeps the same law in SQL
(`ledger.never_judged`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import asyncpg

from detector.contract import SYSTEM, Decision, Left, Mark, Sitting, Told, Verdict, silent
from ledger import events, store
from ledger.asking import Asking, speaks
from ledger.plan import Plan, slices_of, write
from ledger.scorer import Hears, House
from ledger.stops import against
from ledger.transfers import Status
from ledger.waiting import lay_before, parties

BATCH = 100
# So many in a row that nobody could judge: the rest could not be judged either.
GIVE_UP = 3


@dataclass(slots=True)
class LateLooks:
    """One process's: in process it judges itself, else it asks first."""

    pool: asyncpg.Pool
    house: House
    asking: Asking | None = None
    ear: Hears | None = None
    after: Mark | None = field(default=None)

    async def take(self, most: int = BATCH) -> int:
        """One pass over the next `most` gifts; how many were judged."""
        if self.asking and self.asking.resting:
            return 0
        marks = await self.house.unjudged(self.pool, self.after, most)
        self.after = marks[-1] if len(marks) == most else None
        names = [mark.gift for mark in marks]
        house: House = self.house
        if self.asking and self.ear and names:
            heard = await self.asking.ask(names)
            names = [name for name in names if name in heard and speaks(heard[name])]
            house = self.ear.hears(heard)
        judged = missed = 0
        for name in names:
            if await self.look(name, house):
                judged, missed = judged + 1, 0
            else:
                missed += 1
            if missed == GIVE_UP:
                break
        return judged

    async def look(self, name: str, house: House) -> bool:
        """Judge one gift that is still held and unjudged; whether that came to more than silence."""
        async with self.pool.acquire() as conn:
            transaction, sitting, committed = conn.transaction(), None, False
            await transaction.start()
            try:
                found = await waiting(conn, name)
                if found is None:
                    return False
                transfer, orgs, _ = found
                sitting = await house.gather(conn, parties([transfer], orgs))
                if not await judge(conn, sitting, *found):
                    return False
                await transaction.commit()
                committed = True
                return True
            finally:
                if sitting:
                    sitting.close(committed=committed)
                if not committed and not conn.is_closed():
                    await transaction.rollback()


async def waiting(conn: asyncpg.Connection, name: str) -> tuple[Any, dict[str, Any], list[Any]] | None:
    """A held gift that nobody judged, locked with its parties; None where it is another's by now."""
    rows = await conn.fetch(store.SQL["transfers_lock"], [name])
    if not rows or rows[0]["status"] != Status.HELD or not await conn.fetchval(store.SQL["never_judged"], name):
        return None
    named = sorted({rows[0]["sender"], rows[0]["recipient"]})
    orgs = {org["id"]: org for org in await conn.fetch(store.SQL["lock_orgs"], named)}
    if rows[0]["hold_until"] <= max(org["now"] for org in orgs.values()):
        return None
    return rows[0], orgs, (await slices_of(conn, [name]))[name]


async def judge(
    conn: asyncpg.Connection, sitting: Sitting, transfer: Any, orgs: dict[str, Any], slices: list[Any]
) -> bool:
    """The first look that counts, and what follows from it; nothing where it came to silence again."""
    now = max(store.moment(sitting.now), transfer["created_at"])
    [gift] = await lay_before(sitting, conn, [transfer], {transfer["id"]: slices}, orgs, now, late=True)
    decision = sitting.decide(gift)
    if silent(decision.hits):
        return False
    await sitting.record(conn)
    stop = against(transfer, orgs, sitting.identity, now) if decision.verdict is Verdict.APPROVE else None
    if stop:
        sitting.stop(decision, stop)
    status = await step(conn, transfer, slices, decision, stop, now)
    left_s = int((transfer["hold_until"] - now).total_seconds())
    left = Left(gift.id, "returned" if status is Status.RETURNED else "released", now)
    await sitting.tell_desk(conn, left_s, [left], now, told(transfer, status))
    return True


async def step(
    conn: asyncpg.Connection, transfer: Any, slices: Sequence[Any], decision: Decision, stop: str | None, now: datetime
) -> Status:
    """An approved gift goes on, a blocked one goes back, any other is held on, by a decision from now on."""
    if decision.verdict is Verdict.BLOCK:
        plan = Plan()
        plan.give_back(transfer, slices, Status.RETURNED, "second_look", now)
        await write(conn, plan, 0)
        return Status.RETURNED
    if decision.verdict is Verdict.HOLD or stop:
        return Status.HELD
    await conn.execute(store.SQL["unjudged_release"], transfer["id"], now, decision.id, decision.gift.payload_hash)
    return Status.PENDING


def told(transfer: Any, status: Status) -> list[Told]:
    if status is Status.PENDING:
        return [events.released(transfer, SYSTEM)]
    if status is Status.RETURNED:
        return [events.of_transfer("transfer.returned", transfer, SYSTEM, {"reason": "second_look"})]
    return []
