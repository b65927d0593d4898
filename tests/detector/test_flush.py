"""Several COPYs and the commit in one flush, on real PostgreSQL: all of it is there, or nothing is."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from detector.flush import ENCODERS, Flush, Table, begin
from lockgate.group_commit import PASSING

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "bool": st.booleans(),
    "bytea": st.binary(max_size=5000),
    "float8": st.floats(),
    "int2": st.integers(-(2**15), 2**15 - 1),
    "int4": st.integers(-(2**31), 2**31 - 1),
    "int8": st.integers(-(2**63), 2**63 - 1),
    "json": TEXT.map(lambda said: json.dumps({"said": said}, ensure_ascii=False).encode()),
    "text": TEXT | st.sampled_from(["\\.", "\\N", "\t", "\r\n", "\\"]) | st.text("é", min_size=2500, max_size=2500),
    "timestamptz": st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC)).map(
        lambda at: at.replace(fold=0)
    ),
}
ROWS = st.lists(st.tuples(*(st.none() | VALUES[kind] for kind in ENCODERS)), max_size=20)
LEFT = Table("kept.left_rows", id="int4", said="text")
RIGHT = Table("kept.right_rows", id="int4")


@pytest.fixture
async def conn(database: str) -> AsyncIterator[asyncpg.Connection]:
    conn = await asyncpg.connect(database)
    await conn.execute(
        "create schema kept; create table kept.left_rows (id int primary key, said text);"
        "create table kept.right_rows (id int check (id > 0))"
    )
    yield conn
    await conn.close()


async def count(conn: asyncpg.Connection) -> tuple[int, int]:
    left, right = "(select count(*) from kept.left_rows)", "(select count(*) from kept.right_rows)"
    return tuple(await conn.fetchrow(f"select {left}, {right}"))


async def test_the_driver_is_as_the_flush_needs_it(conn: asyncpg.Connection) -> None:
    begin(conn)
    begun = await conn.fetchval("select $1::int", 7) == 7 and conn.is_in_transaction()
    assert begun, "asyncpg no longer passes over the answers to a begin that was written before its own statement"
    async with asyncio.timeout(20):
        async with Flush(conn, (LEFT, RIGHT), end=("commit",)) as flush:
            flush.write([(1, "one")], [(1,), (2,)])
    told = "asyncpg no longer passes over CopyInResponse in a simple query, or Connection._transport is another thing"
    assert await count(conn) == (1, 2), told
    assert not conn.is_in_transaction(), "asyncpg no longer hears of a commit at the end of a query with COPYs"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
@given(rows=ROWS)
async def test_every_value_reads_as_it_was_written(conn: asyncpg.Connection, rows: list[tuple[Any, ...]]) -> None:
    table = Table("pg_temp.all_kinds", **{f"c_{kind}": kind for kind in ENCODERS}, nr="int4")
    await conn.execute("drop table if exists pg_temp.all_kinds")
    columns = ", ".join(f"c_{kind} {kind}" for kind in ENCODERS)
    await conn.execute(f"create temporary table all_kinds ({columns}, nr int)")
    async with Flush(conn, (table,)) as flush:
        flush.write([(*row, nr) for nr, row in enumerate(rows)])
    found = await conn.fetch("select * from all_kinds order by nr")
    written = [
        [one.decode() if kind == "json" and one else one for kind, one in zip(ENCODERS, row, strict=True)]
        for row in rows
    ]
    assert [repr([*row][:-1]) for row in found] == [repr(row) for row in written]


async def test_pieces_are_recorded_in_order_under_one_commit(conn: asyncpg.Connection) -> None:
    begin(conn)
    await conn.fetchval("select $1::int", 1)
    async with Flush(conn, (LEFT, RIGHT), pieces=3, end=("commit",)) as flush:
        for piece in range(3):
            flush.write([(piece, "x" * 300_000)], [])
            await asyncio.sleep(0)
    assert await count(conn) == (3, 0)


@pytest.mark.parametrize("faulty", [0, 1, 2])
async def test_where_one_row_is_refused_nothing_is_recorded(conn: asyncpg.Connection, faulty: int) -> None:
    begin(conn)
    await conn.fetchval("select $1::int", 1)
    with pytest.raises(asyncpg.CheckViolationError):
        async with Flush(conn, (LEFT, RIGHT), pieces=3, end=("commit",)) as flush:
            for piece in range(3):
                flush.write([(piece, "said")], [(-1 if piece == faulty else 1,)])
                await asyncio.sleep(0.01)
    assert conn.is_in_transaction()
    await conn.execute("rollback")
    assert await count(conn) == (0, 0)


@pytest.mark.parametrize("written", [0, 1, 2])
async def test_who_leaves_by_a_fault_records_nothing(conn: asyncpg.Connection, written: int) -> None:
    begin(conn)
    await conn.fetchval("select $1::int", 1)
    with pytest.raises(ZeroDivisionError):
        async with Flush(conn, (LEFT, RIGHT), pieces=3, end=("commit",)) as flush:
            for piece in range(written):
                flush.write([(piece, "said")], [(1,)])
                await asyncio.sleep(0.01)
            print(1 / 0)
    await conn.execute("rollback")
    assert await count(conn) == (0, 0) and not conn.is_in_transaction()


async def test_a_piece_that_cannot_be_encoded_records_nothing(conn: asyncpg.Connection) -> None:
    begin(conn)
    await conn.fetchval("select $1::int", 1)
    with pytest.raises(ValueError, match="zip"):
        async with Flush(conn, (LEFT, RIGHT), end=("commit",)) as flush:
            flush.write([(1, "one", "too many")], [])
    await conn.execute("rollback")
    assert await count(conn) == (0, 0)


async def test_a_piece_that_was_forgotten_is_a_fault_and_no_wait_for_ever(conn: asyncpg.Connection) -> None:
    begin(conn)
    await conn.fetchval("select $1::int", 1)
    with pytest.raises(AssertionError, match="1 pieces"):
        async with Flush(conn, (LEFT, RIGHT), pieces=2, end=("commit",)) as flush:
            flush.write([(1, "one")], [])
    await conn.execute("rollback")
    assert await count(conn) == (0, 0)


async def test_a_connection_that_is_lost_between_two_pieces_is_a_passing_fault(
    conn: asyncpg.Connection, database: str
) -> None:
    other = await asyncpg.connect(database)
    pid = await other.fetchval("select pg_backend_pid()")
    begin(other)
    await other.fetchval("select $1::int", 1)
    with pytest.raises(PASSING):
        async with Flush(other, (LEFT, RIGHT), pieces=2, end=("commit",)) as flush:
            flush.write([(1, "one")], [])
            await asyncio.sleep(0.05)
            await conn.execute("select pg_terminate_backend($1)", pid)
            await asyncio.sleep(0.05)
            flush.write([(2, "two")], [])
    assert other.is_closed() and await count(conn) == (0, 0)


async def test_who_is_cancelled_while_he_waits_gets_the_connection_back(
    conn: asyncpg.Connection, database: str
) -> None:
    """A lock keeps the flush from ending; cancelled, it records nothing, and what follows works."""
    other = await asyncpg.connect(database)
    async with other.transaction():
        await other.execute("insert into kept.left_rows values (1, 'first')")
        begin(conn)
        await conn.fetchval("select $1::int", 1)

        async def record() -> None:
            async with Flush(conn, (LEFT, RIGHT), end=("commit",)) as flush:
                flush.write([(1, "second")], [(1,)])

        task = asyncio.create_task(record())
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await conn.execute("rollback")
    assert await count(conn) == (1, 0)
    await other.close()
