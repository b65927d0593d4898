"""Walks the whole log in one snapshot, and sets the records beside what the log told of them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

import asyncpg

from detector import store
from detector.chain import LONGEST, Chain, Head, behind
from detector.finding import Finding
from detector.log import Event, Link
from detector.records import disagreements

BATCH = 5_000
BEFORE_ALL, AFTER_ALL = -(2**63), 2**63 - 1
PLACE = attrgetter("seq")
Step = Callable[[int, int], None]  # events walked, of so many
Beside = Callable[[asyncpg.Connection], Awaitable[list[Finding]]]


class Report(NamedTuple):
    """What a walk found: nothing, if all is as it was appended."""

    events: int
    links: int
    head: Head | None
    findings: list[Finding]


async def verify(
    conn: asyncpg.Connection, step: Step = lambda done, total: None, others: Sequence[Beside] = ()
) -> Report:
    """Check the chain, and the records beside it (`others`: those of whoever else tells the log), in one snapshot, so
    that work may go on meanwhile."""
    async with conn.transaction(isolation="repeatable_read", readonly=True):
        report = await check(conn, step)
        told = [one for beside in others for one in await beside(conn)]
        return report._replace(findings=report.findings + told)


async def check(conn: asyncpg.Connection, step: Step = lambda done, total: None) -> Report:
    """The same, in the caller's snapshot."""
    report = await walk(conn, step)
    return report._replace(findings=report.findings + await disagreements(conn))


async def walk(conn: asyncpg.Connection, step: Step = lambda done, total: None) -> Report:
    row = await conn.fetchrow(store.SQL["log_head"])
    head = Head(*row) if row else None
    chain, read, links = Chain(), Reader(await conn.cursor(store.SQL["log_events"])), 0
    async for link, follower in pairs(await conn.cursor(store.SQL["log_links"])):
        after = follower or (behind(head) if head else None)
        furthest = max(link.last_seq, after.first_seq - 1 if after else 0)
        upcoming = await read.up_to(min(furthest, chain.end + 2 * LONGEST))
        chain.take(link, upcoming, after)
        read.leave(chain.end)
        links += 1
        step(read.count, head.seq if head else 0)
    chain.finish(await read.up_to(AFTER_ALL), head)
    return Report(read.count, links, head, chain.findings())


class Reader:
    """Events in order, as far ahead as is asked for."""

    def __init__(self, cursor: Any) -> None:
        self.cursor = cursor
        self.ahead: list[Event] = []
        self.passed = 0
        self.last = BEFORE_ALL
        self.count = 0

    async def up_to(self, seq: int) -> list[Event]:
        """The events that were not passed yet, up to a place."""
        while self.last <= seq and self.last < AFTER_ALL:
            rows = await self.cursor.fetch(BATCH)
            self.ahead = self.ahead[self.passed :] + [Event(*row) for row in rows]
            self.passed = 0
            self.count += len(rows)
            self.last = rows[-1]["seq"] if len(rows) == BATCH else AFTER_ALL
        return self.ahead[self.passed : bisect_right(self.ahead, seq, key=PLACE)]

    def leave(self, seq: int) -> None:
        """Pass the events up to a place."""
        self.passed = max(self.passed, bisect_right(self.ahead, seq, key=PLACE))


async def pairs(cursor: Any) -> AsyncIterator[tuple[Link, Link | None]]:
    """Every link with the one after it."""
    before = None
    while rows := await cursor.fetch(BATCH):
        for link in [Link(*row) for row in rows]:
            if before:
                yield before, link
            before = link
    if before:
        yield before, None
