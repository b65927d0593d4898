"""Opens the breaker and closes it: tells the database what this process judged, and asks what all of them did.

Law: whoever opens or closes holds its one row and counts again under it, so that any number of processes open it once;
and the log is told in the same commit. The clock is the database's. Counts are a second old at most, and what a killed
process judged in its last second is not in them: this is an alarm, no limit.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from detector import log as chain
from detector import store
from detector.breaker import Act, BreakerTerms, Count, State, Tally, due
from detector.gift import micros, stamp
from detector.log import SYSTEM, Told
from detector.shelf import Shelf
from detector.store import SQL

log = logging.getLogger(__name__)
UNASKED_S = 0  # no window: a policy without terms only wants to know whether an opening lasts


@dataclass(slots=True)
class Watch:
    """One process's watch over the breaker, by the terms of the generation that judges."""

    pool: asyncpg.Pool
    tally: Tally
    shelf: Shelf = field(default_factory=Shelf)

    async def tick(self) -> Act:
        """Tell, ask, and do what is due; what was done."""
        async with self.pool.acquire() as conn:
            generation = await store.active(conn)
            policy = await self.shelf.policy(conn, generation) if generation is not None else None
            terms = policy.breaker if policy else None
            await self.tell(conn)
            act = due(terms, await state(conn, terms))
            if act is Act.STAY or generation is None:
                return Act.STAY
            async with conn.transaction():
                return await carry_out(conn, terms, generation)

    async def tell(self, conn: asyncpg.Connection) -> None:
        """Add what was judged here since the last time to what all processes did."""
        taken = self.tally.take()
        if not any(count.judged for count in taken):
            return
        try:
            await conn.execute(SQL["breaker_tally"], *taken[0], *taken[1])
        except BaseException:
            self.tally.put_back(taken)
            raise


async def state(conn: asyncpg.Connection, terms: BreakerTerms | None) -> State:
    """How the breaker stands by what was counted in the window of these terms."""
    row = await conn.fetchrow(SQL["breaker_state"], float(terms.window_s if terms else UNASKED_S))
    first = Count(row["first_judged"], row["first_blocked"])
    later = Count(row["later_judged"], row["later_blocked"])
    return State(micros(row["now"]), row["opening"], row["over_at"] and micros(row["over_at"]), first, later)


async def carry_out(conn: asyncpg.Connection, terms: BreakerTerms | None, generation: int) -> Act:
    """Do what is due by a count under the row's lock: somebody else may have done it meanwhile."""
    await conn.execute(SQL["breaker_lock"])
    seen = await state(conn, terms)
    act = due(terms, seen)
    if act in (Act.OPEN, Act.NOTE):
        await conn.execute(SQL["breaker_over"])
    if act is Act.OPEN and terms:
        looks, count = ("first", seen.first) if seen.first.over(terms) else ("later", seen.later)
        row = await conn.fetchrow(SQL["breaker_open"], generation, looks, *count)
        log.error("breaker opened: %s of %s %s looks were blocked", count.blocked, count.judged, looks)
        await chain.append(conn, [Told("breaker.opened", str(row["id"]), SYSTEM, opened(row, terms))])
    elif act in (Act.CALM, Act.NO_TERMS):
        row = await conn.fetchrow(SQL["breaker_close"], seen.opening, act.value)
        log.warning("breaker closed: %s", act.value)
        await chain.append(conn, [Told("breaker.closed", str(row["id"]), SYSTEM, closed(row))])
    return act


def opened(row: Any, terms: BreakerTerms) -> dict[str, Any]:
    """What the log is told of an opening: by which counts, and by which terms."""
    told = {name: row[name] for name in ("generation", "looks", "judged", "blocked")}
    return {**told, "share": terms.share, "window_s": terms.window_s, "opened_at": stamp(row["opened_at"])}


def closed(row: Any) -> dict[str, Any]:
    return {"why": row["closed_why"], "closed_at": stamp(row["closed_at"])}
