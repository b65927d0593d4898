"""The event log: one gap-free chain, whoever appends at once; and hashes that two languages make alike (law 12)."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector import log, store
from detector.chain import Head
from detector.gift import micros
from detector.log import NOTHING, Event, Link, Told, event_hash, link_hash
from detector.verify import verify
from lockgate import connections
from tests.support import ROOT, examples

# every text that PostgreSQL can hold: all of Unicode but NUL and surrogates
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=60)
MOMENTS = st.datetimes(min_value=datetime(1, 1, 1), max_value=datetime(9999, 12, 31, 23, 59, 59, 999_999)).map(
    lambda at: at.replace(tzinfo=UTC)
)
PLACES = st.integers(1, 2**63 - 1)
HASHES = st.binary(min_size=32, max_size=32)


async def test_both_languages_make_one_hash_of_any_event_and_link(database: str) -> None:
    conn = await asyncpg.connect(database)
    loop = asyncio.get_running_loop()

    @examples(300)
    @given(PLACES, PLACES, MOMENTS, TEXTS, TEXTS, TEXTS, TEXTS)
    def alike(seq: int, link: int, at: datetime, kind: str, subject: str, actor: str, body: str) -> None:
        asked = conn.fetchval("select log.event_hash($1,$2,$3,$4,$5,$6,$7)", seq, link, at, kind, subject, actor, body)
        theirs = asyncio.run_coroutine_threadsafe(asked, loop).result()
        assert theirs == event_hash(Event(seq, link, str(micros(at)), kind, subject, actor, body, b""))

    @examples(100)
    @given(PLACES, PLACES, PLACES, MOMENTS, HASHES, st.lists(HASHES, min_size=1, max_size=5))
    def linked(id: int, first: int, last: int, at: datetime, previous: bytes, hashes: list[bytes]) -> None:
        asked = conn.fetchval("select log.link_hash($1,$2,$3,$4,$5,$6)", id, first, last, at, previous, hashes)
        theirs = asyncio.run_coroutine_threadsafe(asked, loop).result()
        assert theirs == link_hash(Link(id, first, last, str(micros(at)), previous, b""), hashes)

    await asyncio.to_thread(alike)
    await asyncio.to_thread(linked)
    await conn.close()


def test_no_two_lists_of_texts_read_alike() -> None:
    plain = Event(1, 1, "0", "a.b", "x", "y", "{}", b"")
    assert event_hash(plain._replace(subject="x1:y", actor="")) != event_hash(plain._replace(subject="x", actor="1:y"))
    assert event_hash(plain._replace(subject="", actor="x\n1:y")) != event_hash(plain._replace(subject="x", actor="y"))


async def test_what_is_appended_is_there_in_order_and_chained(database: str) -> None:
    conn = await asyncpg.connect(database)
    before = await conn.fetchval("select clock_timestamp()")
    assert await log.append(conn, []) is None
    await log.append(conn, [Told("a.b", "é", "ann", {"n": 1}), Told("c.d", "y", "bob", {"t": "ü\0"})])
    assert await log.append(conn, [Told("a.b", "z", "ann", {})]) == 3
    rows = [Event(*row) for row in await conn.fetch(store.SQL["log_events"])]
    assert [(one.seq, one.link, one.kind, one.subject, one.actor, one.body) for one in rows] == [
        (1, 1, "a.b", "é", "ann", '{"n":1}'),
        (2, 1, "c.d", "y", "bob", '{"t":"ü\\u0000"}'),
        (3, 2, "a.b", "z", "ann", "{}"),
    ]
    assert [event_hash(one) for one in rows] == [one.hash for one in rows]
    links = [Link(*row) for row in await conn.fetch(store.SQL["log_links"])]
    assert links[0].previous == NOTHING and links[1].previous == links[0].hash
    assert links[0].hash == link_hash(links[0], [one.hash for one in rows[:2]])
    assert micros(before) <= int(rows[0].at) <= int(rows[2].at)
    report = await verify(conn)
    assert report == (3, 2, Head(3, 2, links[1].hash), [])
    await conn.close()


@pytest.mark.parametrize(
    ("statement", "constraint"),
    [
        ("update log.events set body = '{}'", "events_append_only"),
        ("delete from log.events", "events_append_only"),
        ("truncate log.events", "events_append_only"),
        ("update log.links set at = now()", "links_append_only"),
        ("delete from log.links", "links_append_only"),
        ("delete from log.head", "head_append_only"),
        (
            "insert into log.head (sole, seq, link, at, hash) select sole, seq, link, at, hash from log.head",
            "head_append_only",
        ),
        ("update log.head set seq = seq + 1, link = link + 1", "head_steps"),
        ("update log.head set hash = sha256('x')", "head_steps"),
        (
            "insert into log.events select seq + 1, link, at, kind, subject, actor, body, hash from log.events "
            "order by seq desc limit 1",
            "events_fit",
        ),
        (
            "insert into log.links select id + 1, last_seq + 1, last_seq + 1, at, hash, hash from log.links "
            "order by id desc limit 1",
            "links_follow",
        ),
        (
            "insert into log.links select id + 2, last_seq + 1, last_seq + 1, at, hash, hash from log.links",
            "links_follow",
        ),
        (
            "insert into log.links select id + 1, last_seq + 1, last_seq + 1, at, sha256(''), hash from log.links",
            "links_follow",
        ),
    ],
)
async def test_the_database_itself_refuses_whatever_is_no_append(
    database: str, statement: str, constraint: str
) -> None:
    conn = await asyncpg.connect(database)
    await log.append(conn, [Told("a.b", "x", "ann", {})])
    with pytest.raises(asyncpg.RestrictViolationError) as refused:
        await conn.execute(statement)
    assert refused.value.constraint_name == constraint
    assert not (await verify(conn)).findings
    await conn.close()


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ((["a.b"], [], ["c"], ["{}"]), "give as many of each"),
        ((["a.b"], ["x"], ["c"], ["[]"]), "events_body_check"),
        ((["a.b"], ["x"], ["c"], ["{"]), "invalid input syntax for type json"),
        ((["A b"], ["x"], ["c"], ["{}"]), "events_kind_check"),
        ((["a.b"] * 100_001,) + (["{}"] * 100_001,) * 3, "at most 100000 at once"),
    ],
)
async def test_an_append_that_cannot_be_read_leaves_nothing(
    database: str, arrays: tuple[list[str], ...], said: str
) -> None:
    conn = await asyncpg.connect(database)
    with pytest.raises(asyncpg.PostgresError, match=said):
        await conn.fetchval(store.SQL["log_append"], *arrays)
    assert await verify(conn) == (0, 0, Head(0, 0, NOTHING), [])
    await conn.close()


async def test_whatever_is_told_reads_the_same_as_a_statement_of_its_own(database: str) -> None:
    conn = await asyncpg.connect(database)
    loop = asyncio.get_running_loop()

    @examples(60)
    @given(st.lists(st.tuples(TEXTS, TEXTS, TEXTS), min_size=1, max_size=4), st.sampled_from(["on", "off"]))
    def alike(texts: list[tuple[str, str, str]], backslashes: str) -> None:
        told = [Told("a.b", subject, actor, {"n": text}) for subject, actor, text in texts]

        async def both() -> list[list[tuple[str, ...]]]:
            said = f"set escape_string_warning = off; set standard_conforming_strings = {backslashes}"
            await conn.execute(f"{said}; {log.appending(told)}")
            await log.append(conn, told)
            rows = await conn.fetch("select kind, subject, actor, body from log.events order by seq desc limit $1",
                                    2 * len(told))  # fmt: skip
            return [list(map(tuple, some)) for some in (rows[: len(told)], rows[len(told) :])]

        one, other = asyncio.run_coroutine_threadsafe(both(), loop).result()
        assert one == other

    await asyncio.to_thread(alike)
    with pytest.raises(ValueError, match="zero byte"):
        log.appending([Told("a.b", "\0", "w", {})])
    assert (await verify(conn)).findings == []
    await conn.close()


async def test_many_who_append_at_once_make_one_chain_without_a_gap(database: str) -> None:
    pool = await connections.pool(database, size=12)

    async def tell(writer: int) -> None:
        for number in range(20):
            async with pool.acquire() as conn:
                transaction = conn.transaction()
                await transaction.start()
                await log.append(conn, [Told("a.b", f"{writer}", "w", {"n": number})] * (1 + number % 3))
                await (transaction.rollback if number % 5 == 4 else transaction.commit)()

    await asyncio.gather(*[tell(writer) for writer in range(24)])
    async with pool.acquire() as conn:
        report = await verify(conn)
        # of 20 appends each, 4 are rolled back
        kept = sum(1 + number % 3 for number in range(20) if number % 5 != 4)
        assert (report.events, report.links, report.findings) == (24 * kept, 24 * 16, [])
        rows = await conn.fetch("select seq, at, subject, body from log.events order by seq")
        assert [row["seq"] for row in rows] == list(range(1, len(rows) + 1))
        assert [row["at"] for row in rows] == sorted(row["at"] for row in rows)
    await pool.close()


APPENDING = """
import asyncio, sys, asyncpg
from detector import log
async def go():
    conn = await asyncpg.connect(sys.argv[1])
    while True:
        async with conn.transaction():
            await log.append(conn, [log.Told("a.b", "x", "w", {"t": "y" * 1000})] * 50)
        print("told", flush=True)
asyncio.run(go())
"""


async def test_killed_while_they_append_nobody_leaves_a_gap(database: str) -> None:
    for _ in range(3):
        command = [sys.executable, "-c", APPENDING, database]
        writers = [
            subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)})
            for _ in range(3)
        ]
        for one in writers:
            assert one.stdout
            for _ in range(3):
                await asyncio.to_thread(one.stdout.readline)
        for one in writers:
            one.send_signal(signal.SIGKILL)
            one.communicate()
    conn = await asyncpg.connect(database)
    await log.append(conn, [Told("a.b", "last", "w", {})])
    report = await verify(conn)
    assert report.findings == [] and report.events == (report.links - 1) * 50 + 1 and report.links > 27
    await conn.close()
