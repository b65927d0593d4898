"""Brings the log's events to endpoints: claim an endpoint, read what it is to have, post it, record how that ended.

Law: what was answered with success is recorded, or posted again; the cursor moves in the commit that keeps what failed,
so that a process may die anywhere. One process works on an endpoint at a time, and begins no post that could outlast
its lease.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import asyncpg

from detector.contract import SYSTEM, Told, append
from ledger import endpoints, store
from ledger.courier import Courier
from ledger.credits import new_id
from ledger.endpoints import Due, Terms, Tried, Turn
from ledger.signatures import sign
from ledger.targets import read
from ledger.views import stamp

log = logging.getLogger(__name__)
FAULTS: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError)
ENDPOINTS_AT_ONCE: Final = 32
CONNECTIONS: Final = 2  # of the pool that all of a process lives on but its gate
POSTS_AT_ONCE: Final = 8  # to one endpoint
BATCH: Final = 100  # events of one turn
LANE: Final = 20  # of one subject, of those that wait
SPAN: Final = 5_000  # of the log that one turn looks through for events that are wanted
# An endpoint that so many subjects fail at is offered nothing new; what waits is tried again, each at its time.
MOST_FAILING: Final = 100
MOST_WAITING: Final = 10_000
TURN_S: Final = 15.0  # a turn begins no post after this
LEASE_S: Final = 60.0  # a turn and its last post, with time to record them
TIDY_EVERY_S: Final = 600.0
TIDY_MOST: Final = 10_000


@dataclass(frozen=True, slots=True)
class Claimed:
    """An endpoint's row as it was claimed, and when by this process's own clock."""

    row: Any
    began: float

    def __getitem__(self, name: str) -> Any:
        return self.row[name]

    def elapsed_s(self) -> float:
        return time.monotonic() - self.began


@dataclass(frozen=True, slots=True)
class Deliverer:
    """Delivers for all endpoints; any number of processes may do so at once."""

    pool: asyncpg.Pool
    terms: Terms
    turnstile: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(CONNECTIONS))

    async def deliver_for_ever(self, every_s: float) -> None:
        """Deliver what there is, looking for more every so often; a fault is logged and tried again, never fatal."""
        turns: set[asyncio.Task[None]] = set()
        tidy_at = time.monotonic() + TIDY_EVERY_S
        try:
            while True:
                try:
                    claimed = await self.claim(ENDPOINTS_AT_ONCE - len(turns))
                    turns |= {asyncio.create_task(self.take_turn(one)) for one in claimed}
                    if time.monotonic() > tidy_at:
                        tidy_at = time.monotonic() + TIDY_EVERY_S
                        await self.tidy()
                except FAULTS as error:
                    log.warning("deliveries: %s: %s; trying again", type(error).__name__, error)
                except Exception:
                    log.exception("deliveries: a fault of ours; trying again")
                # With nothing to do this is the pause; with something, the next turn begins when one has ended.
                pause = asyncio.create_task(asyncio.sleep(every_s))
                done, _ = await asyncio.wait({*turns, pause}, return_when=asyncio.FIRST_COMPLETED)
                pause.cancel()
                turns -= done
        finally:
            for one in turns:
                one.cancel()
            await asyncio.gather(*turns, return_exceptions=True)

    async def deliver_due(self, at: datetime | None = None) -> int:
        """One turn of each endpoint that has work; how many had. `at` stands in for the clock."""
        claimed = await self.claim(ENDPOINTS_AT_ONCE, at)
        for one in claimed:
            await self.take_turn(one)
        return len(claimed)

    async def claim(self, most: int, at: datetime | None = None) -> list[Claimed]:
        """Endpoints that are ours for LEASE_S."""
        if most <= 0:
            return []
        began = time.monotonic()
        terms = (new_id("ls"), most, LEASE_S, at, MOST_FAILING, MOST_WAITING)
        return [Claimed(row, began) for row in await self.pool.fetch(store.SQL["endpoints_claim"], *terms)]

    async def take_turn(self, endpoint: Claimed) -> None:
        """Read, post and record for one claimed endpoint. A fault leaves the lease to end by itself, so that what
        fails to be recorded is not posted in a circle."""
        try:
            upto, dues = await self.read(endpoint)
            posts = Posts(endpoint, self.terms)
            await posts.run([due for due in dues if not due.behind])
            left = [due for due in dues if due.seq not in posts.tried]
            tried = list(posts.tried.values())
            turn = endpoints.turn(endpoint["failing_since"], tried, left, endpoint["now"], self.terms)
            await self.record(endpoint, upto, turn, sorted({due.subject for due in dues}))
        except asyncio.CancelledError:
            await self.release(endpoint)
            raise
        except FAULTS as error:
            log.warning("endpoint %s: %s: %s; trying again", endpoint["id"], type(error).__name__, error)
        except Exception:  # whatever it is, the next endpoint must not wait for it
            log.exception("endpoint %s: its turn failed; trying again", endpoint["id"])

    async def read(self, endpoint: Claimed) -> tuple[int, list[Due]]:
        """How far the cursor goes in this turn, and what the endpoint is to have: what waits, then what is new."""
        key, upto = endpoint["id"], endpoint["upto"]
        async with self.turnstile, self.pool.acquire() as conn:
            dues = await conn.fetch(store.SQL["endpoint_due"], key, endpoint["now"], BATCH, LANE)
            most = BATCH - len(dues)
            if endpoint["open"] and most and endpoint["head"] > upto:
                until = min(upto + SPAN, endpoint["head"])
                news = await conn.fetch(store.SQL["endpoint_news"], key, upto, until, endpoint["kinds"], most)
                upto = news[-1]["seq"] if len(news) == most else until
                dues += news
        return upto, [Due(*row) for row in dues]

    async def record(self, endpoint: Claimed, upto: int, turn: Turn, subjects: Sequence[str]) -> None:
        """Keep what a turn came to, in one commit; where the lease was lost, what was posted is all that is kept."""
        key, now = endpoint["id"], endpoint["now"]
        async with self.turnstile, self.pool.acquire() as conn, conn.transaction():
            row = await conn.fetchrow(store.SQL["endpoint_held"], key, endpoint["lease"])
            if turn.deliveries:
                await conn.execute(store.SQL["deliveries_add"], key, *store.columns(turn.deliveries, 9))
            if row is None:
                return log.info("endpoint %s: its lease was lost; what was posted may be posted again", key)
            if turn.done:
                await conn.execute(store.SQL["undelivered_done"], key, turn.done)
            if turn.waiting:
                await conn.execute(store.SQL["undelivered_keep"], key, *store.columns(turn.waiting, 5))
            if turn.done or turn.waiting:
                await conn.execute(store.SQL["undelivered_next"], key, subjects, now)
            if turn.hurry:
                await conn.execute(store.SQL["undelivered_hurry"], key, now)
            state = (upto, turn.failing_since, turn.not_before, turn.disabled, now)
            await conn.execute(store.SQL["endpoint_record"], key, *state)
            if turn.disabled and row["disabled_at"] is None:
                await append(conn, [disabled(endpoint, turn)])

    async def release(self, endpoint: Claimed) -> None:
        """Let others work on an endpoint at once; where that fails the lease ends by itself."""
        try:
            await self.pool.execute(store.SQL["endpoint_release"], endpoint["id"], endpoint["lease"])
        except FAULTS as error:
            log.warning("endpoint %s: %s: %s", endpoint["id"], type(error).__name__, error)

    async def tidy(self) -> int:
        """Let go of deliveries that were kept long enough; how many."""
        gone = took = TIDY_MOST
        while took == TIDY_MOST:
            took = await self.pool.fetchval(store.SQL["deliveries_tidy"], self.terms.keep_s, TIDY_MOST)
            gone += took
        return gone - TIDY_MOST


class Posts:
    """The posts of one turn: lanes side by side, a few at once, until one asks for a stop or the time is over."""

    def __init__(self, endpoint: Claimed, terms: Terms) -> None:
        self.endpoint, self.terms = endpoint, terms
        self.target = read(endpoint["url"], private=True)  # the addresses are judged by each connection
        self.tried: dict[int, Tried] = {}
        self.stopped = False

    async def run(self, dues: Sequence[Due]) -> None:
        lanes = endpoints.lanes(dues)
        queue = iter(lanes)
        async with asyncio.TaskGroup() as hands:
            for _ in range(min(POSTS_AT_ONCE, len(lanes))):
                hands.create_task(self.work(queue))

    async def work(self, queue: Any) -> None:
        """Take one lane after another, on one connection; a lane ends with its first failure."""
        courier = Courier(self.target, self.terms.private)
        try:
            for lane in queue:
                for due in lane:
                    if self.stopped or self.endpoint.elapsed_s() > TURN_S:
                        return
                    if not await self.post(courier, due):
                        break
        finally:
            courier.close()

    async def post(self, courier: Courier, due: Due) -> bool:
        at = self.endpoint["now"] + timedelta(seconds=self.endpoint.elapsed_s())
        one = self.endpoint
        keys = endpoints.secrets(one["secret"], one["old_secret"], one["old_until"], at)
        body = due.message()
        reply = await courier.post(sign(keys, due.name, int(at.timestamp()), body), body, self.terms.timeout_s)
        self.tried[due.seq] = Tried(due, at, reply, random.random())
        self.stopped = self.stopped or endpoints.stops(reply)
        return reply.delivered


def disabled(endpoint: Claimed, turn: Turn) -> Told:
    """What the log is told of an endpoint that gets nothing more."""
    why = {"why": turn.disabled, "failing_since": stamp(turn.failing_since)}
    return Told("endpoint.disabled", endpoint["id"], SYSTEM, why)
