"""How a process speaks to its database: a pool for all that it does, and connections that the gate keeps to itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

SESSION = {
    "application_name": "lockgate",
    # Every statement is a small set-based batch over big tables. The planner, asked before statistics exist
    # or with arrays of unknown length, now and then prefers reading a whole table; it must always take the
    # index plan, planned once, and never pay for compiling it.
    "jit": "off",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "plan_cache_mode": "force_generic_plan",
    # With that, statistics need tell no more than sizes: a tenth of the usual sample does for our own `analyze`.
    "default_statistics_target": "10",
    "timezone": "UTC",
}


class Connection(asyncpg.Connection):
    """Skips the round trip that resets a session on release: no statement of ours changes its session."""

    __slots__ = ()

    def get_reset_query(self) -> str:
        return ""


# Connections that stay open and keep their prepared statements for ever.
STANDING: dict[str, Any] = {
    "connection_class": Connection,
    "server_settings": SESSION,
    "max_cached_statement_lifetime": 0,
}


async def pool(dsn: str, *, size: int) -> asyncpg.Pool[Any]:
    """A pool of `size` standing connections."""
    return await asyncpg.create_pool(dsn, min_size=size, max_size=size, max_inactive_connection_lifetime=0, **STANDING)


class Kept:
    """As many connections as its user ever has in use at once, lent without waiting for anything.

    A pool's taking back is a task and several turns of the loop, and the answers of a batch would wait for it. A
    connection that broke, or whose user left by an exception, is not lent again.
    """

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self.idle: list[asyncpg.Connection] = []

    async def open(self, number: int) -> None:
        """Open so many, before anybody waits for one."""
        for _ in range(number):
            self.idle.append(await asyncpg.connect(self.dsn, **STANDING))

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[asyncpg.Connection]:
        """A connection for the length of an `async with`; one is opened only where none is idle."""
        conn = await self.connection()
        try:
            yield conn
        except BaseException:
            conn.terminate()
            raise
        if not conn.is_closed():
            self.idle.append(conn)

    async def connection(self) -> asyncpg.Connection:
        while True:
            if not self.idle:
                await self.open(1)
            conn = self.idle.pop()
            if not conn.is_closed():
                return conn

    async def close(self) -> None:
        """Close what is idle; nobody uses any more."""
        while self.idle:
            await self.idle.pop().close()
