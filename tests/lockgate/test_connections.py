"""Connections that are kept: lent again while they are whole, and never once they broke or were left in a fault."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from lockgate.connections import Kept, pool
from lockgate.group_commit import PASSING


@pytest.fixture
async def kept(database: str) -> AsyncIterator[Kept]:
    kept = Kept(database)
    yield kept
    await kept.close()


@pytest.fixture
async def other(database: str) -> AsyncIterator[asyncpg.Connection]:
    conn = await asyncpg.connect(database)
    yield conn
    await conn.close()


async def server(kept: Kept) -> int:
    """The process number of the server behind the connection that is lent now."""
    async with kept.acquire() as conn:
        pid: int = await conn.fetchval("select pg_backend_pid()")
    return pid


async def gone(other: asyncpg.Connection, pid: int) -> None:
    while await other.fetchval("select count(*) from pg_stat_activity where pid = $1", pid):
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("kind", ["pool", "kept"])
async def test_sessions_take_index_plans_and_are_not_reset(database: str, kind: str) -> None:
    lender = await pool(database, size=2) if kind == "pool" else Kept(database)
    async with lender.acquire() as conn:
        assert await conn.fetchval("SHOW enable_seqscan") == "off"
        assert await conn.fetchval("SHOW plan_cache_mode") == "force_generic_plan"
        assert await conn.fetchval("SHOW timezone") == "UTC"
        assert conn.get_reset_query() == ""
    await lender.close()


async def test_a_pool_keeps_its_sessions(database: str) -> None:
    lender = await pool(database, size=2)
    assert lender.get_size() == lender.get_idle_size() == 2
    await lender.close()


async def test_one_is_lent_again_and_two_at_once_are_two(kept: Kept) -> None:
    first = await server(kept)
    assert await server(kept) == first
    async with kept.acquire() as one, kept.acquire() as two:
        assert await one.fetchval("select pg_backend_pid()") != await two.fetchval("select pg_backend_pid()")
    assert len(kept.idle) == 2


async def test_those_opened_beforehand_are_the_ones_lent(kept: Kept) -> None:
    await kept.open(2)
    opened = {conn.get_server_pid() for conn in kept.idle}
    async with kept.acquire() as one, kept.acquire() as two:
        assert {one.get_server_pid(), two.get_server_pid()} == opened


async def test_who_leaves_by_a_fault_takes_the_connection_along(kept: Kept, other: asyncpg.Connection) -> None:
    first = await server(kept)
    with pytest.raises(asyncpg.UndefinedTableError):
        async with kept.acquire() as conn:
            await conn.execute("begin; select from no_such_table")
    assert await server(kept) != first
    await gone(other, first)


async def test_one_that_broke_while_it_was_idle_is_replaced(kept: Kept, other: asyncpg.Connection) -> None:
    first = await server(kept)
    await other.execute("select pg_terminate_backend($1)", first)
    await gone(other, first)
    await asyncio.sleep(0.1)  # until the loop has read the end
    assert await server(kept) != first


async def test_one_that_broke_while_it_was_lent_is_replaced(kept: Kept, other: asyncpg.Connection) -> None:
    async with kept.acquire() as conn:
        first = await conn.fetchval("select pg_backend_pid()")
        await other.execute("select pg_terminate_backend($1)", first)
        with pytest.raises(PASSING):  # which the gate tries again
            await conn.execute("select 1")
    assert kept.idle == []
    assert await server(kept) != first


async def test_what_is_idle_is_closed_at_the_end(kept: Kept, other: asyncpg.Connection) -> None:
    pid = await server(kept)
    await kept.close()
    await gone(other, pid)
    assert kept.idle == []
