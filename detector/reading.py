"""Reading the log, page by page. Law: whoever keeps the cursor misses no event and sees none twice, for ever.

Events become visible link after link, in the order of their places, since the head's lock is held until the commit: so
what stands up to the head that was read is whole, and a page never passes over an event that is yet to come.
"""

from __future__ import annotations

import asyncio
import re
import time
from typing import Any, NamedTuple

import asyncpg
import msgspec
from msgspec import Struct

from detector.errors import CursorAhead, Malformed
from detector.gift import stamp
from detector.store import SQL

MOST = 1_000
REACH = 100_000  # events that one page looks through at most, where few are of the kind that is asked for
LOOK_EVERY_S = 0.2
KIND = re.compile(r"[a-z]+\.(?:[a-z_]+|\*)")


class LogEvent(Struct):
    """One event of the log. `hash` is over its place, its link, its moment and all texts; `body` as it was hashed, an
    object; a text where somebody changed it so that it is none."""

    seq: int
    link: int
    at: str
    kind: str
    subject: str
    actor: str
    body: msgspec.Raw | str
    hash: str


class LogHead(Struct):
    """The newest event and link. Worth keeping elsewhere: a tail that is cut off together with it shows only there."""

    seq: int
    link: int
    hash: str


class LogPage(Struct):
    """One page, in order; `next` is what to ask `after` the next time, also where nothing was there yet."""

    events: list[LogEvent]
    next: int
    head: LogHead


class Wanted(NamedTuple):
    """Which events: those after a place, of one subject, kind ("transfer.settled", or "transfer.*") or actor."""

    after: int = 0
    limit: int = MOST
    subject: str | None = None
    kind: str | None = None
    actor: str | None = None


async def page(conn: asyncpg.Connection | asyncpg.Pool, wanted: Wanted) -> LogPage:
    """The events wanted, as far as there are any. Raises Malformed for a kind that none can be of, CursorAhead."""
    kind, prefix = kind_of(wanted.kind)
    row = await conn.fetchrow(SQL["log_head"])
    head = LogHead(row["seq"], row["link"], row["hash"].hex()) if row else LogHead(0, 0, "")
    if wanted.after > head.seq:
        raise CursorAhead(
            f"event {wanted.after} is not in this log, which ends at {head.seq}: the cursor is another database's, or "
            "this one was restored to an earlier state, and what came after it is lost"
        )
    reach = head.seq if wanted.subject is not None else min(head.seq, wanted.after + REACH)
    bounds = wanted.after, reach, wanted.limit, kind, prefix, wanted.actor
    named = (wanted.subject,) if wanted.subject is not None else ()
    rows = await conn.fetch(SQL["log_page_of" if named else "log_page"], *bounds, *named)
    return LogPage(list(map(shown, rows)), rows[-1]["seq"] if len(rows) == wanted.limit else reach, head)


def kind_of(asked: str | None) -> tuple[str | None, str | None]:
    """A kind, or how all that are meant begin."""
    if asked is None:
        return None, None
    if not KIND.fullmatch(asked):
        raise Malformed(f"kind {asked!r} is none; ask for one such as transfer.settled, or for all of transfer.*")
    return (None, asked[:-1]) if asked.endswith("*") else (asked, None)


def shown(row: Any) -> LogEvent:
    return LogEvent(**{**row, "at": stamp(row["at"]), "body": body_of(row["body"])})


def body_of(text: str) -> msgspec.Raw | str:
    try:
        told = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text
    return msgspec.Raw(text.encode()) if isinstance(told, dict) else text


class Newest:
    """Waits for the log to grow; however many wait in a process, one question is asked at a time."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self.pool = pool
        self.seq = 0
        self.looking: asyncio.Task[None] | None = None

    async def page(self, wanted: Wanted, wait_s: float) -> LogPage:
        """A page with events, or the empty one of the last moment."""
        ends = time.monotonic() + wait_s
        while True:
            found = await page(self.pool, wanted)
            self.seq = max(self.seq, found.head.seq)
            if found.events or not await self.grows(found.next, ends):
                return found
            wanted = wanted._replace(after=found.next)

    async def grows(self, beyond: int, ends: float) -> bool:
        """Whether there are events beyond a place before the time ends."""
        while self.seq <= beyond:
            left = ends - time.monotonic()
            if left <= 0:
                return False
            looking = self.looking
            if looking is None or looking.done():
                looking = self.looking = asyncio.create_task(self.look(min(LOOK_EVERY_S, left)))
            # Not awaited itself: who gives up waiting must not end it for the others.
            await asyncio.wait([looking])
            looking.result()
        return time.monotonic() < ends

    async def look(self, wait_s: float) -> None:
        await asyncio.sleep(wait_s)
        self.seq = await self.pool.fetchval("select seq from log.head") or 0
