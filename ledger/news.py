"""From news to gifts judged again. Law: what happened once is looked at by somebody, whoever dies meanwhile.

Triggers note what happened in its own transaction (`detector.news`). It is taken up once nobody is left who judges
without knowing it: until then a gate may still be recording an approval that the news would have stopped. The gifts
that it may touch are then listed, found by index; and each piece of the list is judged and struck off in one commit.
"""

from __future__ import annotations

import logging
from datetime import datetime
from typing import NamedTuple

import asyncpg

from ledger import store
from ledger.relook import Relook, Task

log = logging.getLogger(__name__)
PIECE = 100
MOST_NEWS = 1_000


class Standing(NamedTuple):
    """What is still to be done: news that is not taken up yet, gifts that are listed, and since when; and the process
    of the oldest transaction that news waits for, with its start."""

    news: int
    news_since: datetime | None
    gifts: int
    gifts_since: datetime | None
    writer: int | None
    writing_since: datetime | None


class News:
    """One worker of any number; it does one thing at a time."""

    def __init__(self, relook: Relook) -> None:
        self.relook = relook
        self.doing: Task | None = None

    async def hear(self) -> bool:
        """Take up what there is of news; whether some has to wait."""
        pool = self.relook.pool
        if not await pool.fetchval("select exists (select from detector.news)"):
            return False
        await pool.execute(store.SQL["news_notice"])
        news, gifts = await pool.fetchrow(store.SQL["news_list"], MOST_NEWS, PIECE)
        if news:
            log.info("%d news touch %d waiting gifts, which are judged again", news, gifts)
        return bool(await pool.fetchval("select exists (select from detector.news)"))

    async def work(self) -> int:
        """Judge the next piece again; how many gifts it named. Where that fails, `set_aside` makes way for others."""
        self.doing = None
        await self.relook.carry_out(self.next)
        return len(self.doing.gifts) if self.doing else 0

    async def next(self, conn: asyncpg.Connection) -> Task | None:
        row = await conn.fetchrow(store.SQL["relook_take"])
        self.doing = Task(row["gifts"], row["what"], row["id"]) if row else None
        return self.doing

    async def set_aside(self) -> None:
        """What failed is tried gift by gift; one that fails alone waits for its settling look, which says so again."""
        if self.doing:
            gifts = await self.relook.pool.fetchval(store.SQL["relook_aside"], self.doing.id)
            if gifts and len(gifts) == 1:
                log.error("gift %s could not be judged again and was passed over", gifts[0])


async def standing(conn: asyncpg.Connection) -> Standing:
    return Standing(*await conn.fetchrow(store.SQL["relook_status"]))
