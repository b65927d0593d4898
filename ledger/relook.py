"""Waiting gifts judged again before their hour, because something became known. Law: a verdict only grows stricter.

An approval that stands changes nothing and leaves no decision: the one that the gift waits by is still the last word.
A hold stops the clock where it is and opens a case; a block sends the gift back. What is held, or has ended, is passed
over: nothing but an analyst makes milder, and nothing ends twice (law 3). Where a judge is silent, its silence is no
news of the gift, which waits on: it never settles on that (law 5), and what ends the silence is news again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import asyncpg

from detector.contract import SYSTEM, Decision, Gift, Sitting, Verdict, silent
from ledger import events, store
from ledger.plan import Plan, write
from ledger.scorer import Scorer
from ledger.stops import against
from ledger.transfers import Status
from ledger.waiting import gather, lay_before, parties


class Again(NamedTuple):
    """What became of one waiting gift: `status` as it is now, `decision` where a new one was recorded."""

    gift: str
    status: str
    decision: str | None


class Task(NamedTuple):
    """Gifts to be judged again together, and why; `id` where they stand in a list for it."""

    gifts: Sequence[str]
    news: str
    id: int | None = None


Choose = Callable[[asyncpg.Connection], Awaitable[Task | None]]


@dataclass(frozen=True, slots=True)
class Relook:
    """Judges waiting gifts again. Any number of processes may do so at once."""

    pool: asyncpg.Pool
    scorer: Scorer
    hold_s: int

    async def judge(
        self, gifts: Sequence[str], news: str, *, stop: str | None = None, at: datetime | None = None
    ) -> list[Again]:
        """Judge those of these gifts that wait, in one transaction; see `look_again`."""

        async def asked(conn: asyncpg.Connection) -> Task:
            return Task(gifts, news)

        return await self.carry_out(asked, stop=stop, at=at)

    async def carry_out(self, choose: Choose, *, stop: str | None = None, at: datetime | None = None) -> list[Again]:
        """Judge what is chosen inside the same transaction, if anything is."""
        async with self.pool.acquire() as conn:
            seen = None
            committed = False
            transaction = conn.transaction()
            await transaction.start()
            try:
                task = await choose(conn)
                if task:
                    seen = await look_again(conn, self.scorer, task.gifts, task.news, self.hold_s, stop=stop, at=at)
                await transaction.commit()
                committed = True
                return seen.gifts if seen else []
            finally:
                if seen:
                    seen.close(committed=committed)
                if not committed and not conn.is_closed():
                    await transaction.rollback()


@dataclass(frozen=True, slots=True)
class Seen:
    """What was done to gifts inside a transaction that has yet to end; say how it ended, by `close`."""

    gifts: list[Again]
    sitting: Sitting | None

    def close(self, *, committed: bool) -> None:
        if self.sitting:
            self.sitting.close(committed=committed)


async def look_again(
    conn: asyncpg.Connection, scorer: Scorer, gifts: Sequence[str], news: str, hold_s: int, *, stop: str | None = None,
    at: datetime | None = None, beside: Sequence[str] = (), actor: str = SYSTEM,
) -> Seen:  # fmt: skip
    """Judge those of these gifts that wait approved, inside the caller's transaction, of which only the log may follow.

    `news` says what became known: the transfers' reason is `news:<news>`. With `stop`, no verdict is milder than a
    hold, and the case says `ledger:<stop>`; the cases in which gifts `beside` wait become one with it. The log hears
    that `actor` did it. `at` stands in for the clock. Raises PolicyMoved where another generation judges by now: the
    caller begins its transaction anew.
    """
    waiting = await conn.fetch(store.SQL["pending_lock"], sorted(gifts), at)
    if not waiting:
        return Seen([], None)
    orgs, slices = await gather(conn, waiting)
    at_us = None if at is None else store.micros(at)
    sitting = await scorer.gather(conn, parties(waiting, orgs), at=at_us, later=True)
    try:
        now = max(store.moment(sitting.now), max(one["now"] for one in waiting))
        judged = await lay_before(sitting, conn, waiting, slices, orgs, now)
        plan, found = decide(waiting, judged, slices, orgs, sitting, f"news:{news}", stop, now)
        if plan.steps:
            await sitting.record(conn)
            await write(conn, plan, hold_s)
            await sitting.tell_desk(conn, hold_s, (), now, events.stepped(plan.steps, waiting, actor), beside)
    except BaseException:
        sitting.close(committed=False)
        raise
    return Seen(found, sitting)


def decide(
    waiting: Sequence[Any], gifts: Sequence[Gift], slices: dict[str, list[Any]], orgs: dict[str, Any], sitting: Sitting,
    reason: str, stop: str | None, now: datetime,
) -> tuple[Plan, list[Again]]:  # fmt: skip
    """What becomes of each gift. Decisions that change nothing are let go: nothing is to be recorded of them."""
    plan = Plan()
    told = [
        decide_one(plan, transfer, gift, slices[gift.id], orgs, sitting, reason, stop, now)
        for transfer, gift in zip(waiting, gifts, strict=True)
    ]
    sitting.let_go([decision for _, decision in told if decision is not None])
    return plan, [again for again, _ in told]


def decide_one(
    plan: Plan, transfer: Any, gift: Gift, slices: list[Any], orgs: dict[str, Any], sitting: Sitting, reason: str,
    stop: str | None, now: datetime,
) -> tuple[Again, Decision | None]:  # fmt: skip
    """Approve leaves all as it is, hold holds, block returns; what became of it, and the decision that nobody needs."""
    decision = sitting.decide(gift)
    if decision.verdict is Verdict.BLOCK:
        plan.give_back(transfer, slices, Status.RETURNED, reason, now)
        return Again(gift.id, Status.RETURNED.value, decision.id), None
    if decision.verdict is Verdict.APPROVE or silent(decision.hits):
        stop = stop or against(transfer, orgs, sitting.identity, now)
        if stop is None:
            return Again(gift.id, Status.PENDING.value, None), decision
    if stop:
        sitting.stop(decision, stop)
    plan.hold(transfer, decision, now, reason)
    return Again(gift.id, Status.HELD.value, decision.id), None
