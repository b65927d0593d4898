"""Law 12: whatever is done to a row of the log behind its triggers' backs, `verify` finds it and names the row."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import asyncpg
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from detector import log
from detector.finding import Finding
from detector.log import Event, Told, event_hash
from detector.verify import verify, walk
from lockgate.postgres import with_database
from tests.support import examples

# 14 events in 8 links: 1 | 2 3 | 4 5 6 | 7 | 8 9 | 10 11 12 | 13 | 14
LENGTHS = (1, 2, 3, 1, 2, 3, 1, 1)
LAST = sum(LENGTHS)
COLUMNS = {
    "link": "link % 8 + 1",
    "at": "at + interval '1 microsecond'",
    "kind": "kind || 'x'",
    "subject": "subject || ' '",
    "actor": "'mallory'",
    "body": "replace(body, '1', '2') || ' '",
    "hash": "sha256(hash)",
}
LINK_COLUMNS = {
    "first_seq": "first_seq - 1",
    "last_seq": "last_seq + 1",
    "at": "at + interval '1 second'",
    "previous": "sha256(previous)",
    "hash": "sha256(hash)",
}


@pytest.fixture(scope="module")
def long_told(server: str, template: str) -> Iterator[str]:
    """A database with a log of some length, for all that is done to it and undone again."""
    dsn = with_database(server, "law12")
    with asyncio.Runner() as runner:
        runner.run(at_once(server, f"create database law12 template {template}"))
        runner.run(at_once(dsn))
        yield dsn
        runner.run(at_once(server, "drop database law12 with (force)"))


async def at_once(dsn: str, statement: str = "") -> None:
    conn = await asyncpg.connect(dsn)
    await (conn.execute(statement) if statement else tell(conn))
    await conn.close()


@pytest.fixture
async def told(long_told: str) -> AsyncIterator[asyncpg.Connection]:
    """The log, on the connection of somebody whom no trigger stops; what is done is undone in the end."""
    conn = await asyncpg.connect(long_told)
    await conn.execute("set session_replication_role = replica")
    transaction = conn.transaction()
    await transaction.start()
    yield conn
    await transaction.rollback()
    await conn.close()


async def tell(conn: asyncpg.Connection) -> None:
    for nr, length in enumerate(LENGTHS):
        await log.append(conn, [Told("case.note", f"c{nr}", "ann", {"n": 1, "of": place}) for place in range(length)])
    assert (await verify(conn)).findings == []
    await conn.execute("alter table log.events drop constraint events_pkey, drop constraint events_kind_check")
    await conn.execute("alter table log.links drop constraint links_pkey cascade, drop constraint links_check")


async def found(conn: asyncpg.Connection) -> set[tuple[str, str, Any]]:
    """What is found: what was done, to which table, to which row."""
    return {(one.what, one.table, one.seq or one.id) for one in (await walk(conn)).findings}


@pytest.mark.parametrize("seq", [1, 2, 5, 6, 7, LAST])
@pytest.mark.parametrize("column", COLUMNS)
async def test_an_edited_event_is_named(told: asyncpg.Connection, column: str, seq: int) -> None:
    await told.execute(f"update log.events set {column} = {COLUMNS[column]} where seq = $1", seq)
    assert await found(told) == {("edited", "log.events", seq)}
    (finding,) = (await walk(told)).findings
    assert finding.kind and finding.kind.startswith("case.note")


@pytest.mark.parametrize("column", COLUMNS)
async def test_all_events_edited_are_all_named(told: asyncpg.Connection, column: str) -> None:
    await told.execute(f"update log.events set {column} = {COLUMNS[column]}")
    assert await found(told) == {("edited", "log.events", seq) for seq in range(1, LAST + 1)}


@pytest.mark.parametrize("seq", [1, 2, 5, 6, 7, LAST])
async def test_an_edited_event_whose_hash_was_made_anew_is_named_by_its_link(
    told: asyncpg.Connection, seq: int
) -> None:
    await told.execute(
        "update log.events set actor = 'mallory', hash = log.event_hash(seq, link, at, kind, subject, 'mallory', body) "
        "where seq = $1",
        seq,
    )
    (finding,) = (await walk(told)).findings
    link = await told.fetchval("select link from log.events where seq = $1", seq)
    assert finding.what == "replaced" and finding.detail.startswith(f"link {link} is over other events")


async def test_everything_made_anew_up_to_one_link_shows_at_the_next(told: asyncpg.Connection) -> None:
    await told.execute(
        "update log.events set actor = 'mallory', hash = log.event_hash(seq, link, at, kind, subject, 'mallory', body) "
        "where seq = 7"
    )
    await told.execute(
        "update log.links l set hash = log.link_hash(id, first_seq, last_seq, at, previous, "
        "(select array_agg(hash order by seq) from log.events e where e.link = l.id)) where id = 4"
    )
    assert await found(told) == {("replaced", "log.links", "5")}


@pytest.mark.parametrize("seq", [1, 2, 5, 6, 7, LAST])
async def test_a_dropped_event_is_named(told: asyncpg.Connection, seq: int) -> None:
    await told.execute("delete from log.events where seq = $1", seq)
    assert await found(told) == {("dropped", "log.events", seq)}


@pytest.mark.parametrize("seq", [1, 2, 5, 7])
async def test_a_gap_closed_up_is_found_with_every_row_that_moved(told: asyncpg.Connection, seq: int) -> None:
    await told.execute("delete from log.events where seq = $1", seq)
    await told.execute("update log.events set seq = seq - 1 where seq > $1", seq)
    moved = {("reordered", "log.events", place) for place in range(seq, LAST)}
    assert await found(told) == moved | {("dropped", "log.events", seq)}


@pytest.mark.parametrize("many", [1, 2, 5, LAST])
async def test_a_cut_tail_is_found_by_the_head(told: asyncpg.Connection, many: int) -> None:
    await told.execute("delete from log.events where seq > $1", LAST - many)
    assert await found(told) == {("dropped", "log.events", seq) for seq in range(LAST - many + 1, LAST + 1)}
    await told.execute("delete from log.links where first_seq > $1", LAST - many)
    links = await told.fetchval("select coalesce(max(id), 0) from log.links")
    dropped = {("dropped", "log.events", seq) for seq in range(LAST - many + 1, LAST + 1)}
    assert await found(told) == dropped | {("dropped", "log.links", str(id)) for id in range(links + 1, 9)}


async def test_a_truncated_log_is_found_by_the_head(told: asyncpg.Connection) -> None:
    await told.execute("truncate log.events, log.links")
    dropped = {("dropped", "log.events", seq) for seq in range(1, LAST + 1)}
    assert await found(told) == dropped | {("dropped", "log.links", str(id)) for id in range(1, 9)}


async def test_a_tail_cut_off_with_a_head_made_to_match_shows_only_against_a_head_kept_elsewhere(
    told: asyncpg.Connection,
) -> None:
    kept = (await walk(told)).head
    await told.execute("delete from log.events where seq > 12")
    await told.execute("delete from log.links where id > 6")
    await told.execute("update log.head h set seq = 12, link = 6, hash = l.hash from log.links l where l.id = 6")
    report = await walk(told)
    assert report.findings == [] and report.head != kept, "no chain without an anchor outside can see this"


@pytest.mark.parametrize(("one", "other"), [(1, 2), (2, 3), (4, 6), (3, 9), (1, LAST)])
@pytest.mark.parametrize(
    "columns", ["seq", "link at kind subject actor body hash", "kind subject actor body hash", "body subject"]
)
async def test_two_events_that_changed_places_are_named(
    told: asyncpg.Connection, columns: str, one: int, other: int
) -> None:
    pairs = ", ".join(f"{name} = b.{name}" for name in columns.split())
    await told.execute(
        f"update log.events a set {pairs} from log.events b "
        "where a.seq in ($1, $2) and b.seq in ($1, $2) and a.seq <> b.seq",
        one,
        other,
    )
    assert await found(told) == {("reordered", "log.events", one), ("reordered", "log.events", other)}


async def test_an_event_behind_the_last_is_named(told: asyncpg.Connection) -> None:
    await told.execute(
        "insert into log.events select seq + 1, link, at, kind, subject, actor, body, "
        "log.event_hash(seq + 1, link, at, kind, subject, actor, body) from log.events where seq = $1",
        LAST,
    )
    assert await found(told) == {("inserted", "log.events", LAST + 1)}


async def test_an_event_before_the_first_is_named(told: asyncpg.Connection) -> None:
    await told.execute(
        "insert into log.events select -4, link, at, kind, subject, actor, body, hash from log.events where seq = 3"
    )
    assert await found(told) == {("inserted", "log.events", -4)}


@pytest.mark.parametrize("seq", [1, 2, 3, 5, 7])
async def test_an_event_put_between_two_is_named_with_every_row_that_moved(told: asyncpg.Connection, seq: int) -> None:
    await told.execute("update log.events set seq = seq + 1 where seq >= $1", seq)
    await told.execute(
        "insert into log.events select seq - 1, link, at, kind, 'new', actor, body, "
        "log.event_hash(seq - 1, link, at, kind, 'new', actor, body) from log.events where seq = $1",
        seq + 1,
    )
    moved = {("reordered", "log.events", place) for place in range(seq + 1, LAST + 2)}
    assert await found(told) == moved | {("inserted", "log.events", seq)}


@pytest.mark.parametrize("link", [1, 2, 4, 8])
@pytest.mark.parametrize("column", LINK_COLUMNS)
async def test_an_edited_link_is_named(told: asyncpg.Connection, column: str, link: int) -> None:
    await told.execute(f"update log.links set {column} = {LINK_COLUMNS[column]} where id = $1", link)
    assert await found(told) == {("edited", "log.links", str(link))}
    (finding,) = (await walk(told)).findings
    assert finding.detail == f"changed: {column}"


@pytest.mark.parametrize("link", [1, 2, 4, 8])
async def test_a_dropped_link_is_named(told: asyncpg.Connection, link: int) -> None:
    await told.execute("delete from log.links where id = $1", link)
    assert await found(told) == {("dropped", "log.links", str(link))}


async def test_a_link_and_its_events_dropped_are_named(told: asyncpg.Connection) -> None:
    await told.execute("delete from log.links where id = 3")
    await told.execute("delete from log.events where link = 3")
    assert await found(told) == {("dropped", "log.links", "3"), *(("dropped", "log.events", seq) for seq in (4, 5, 6))}


@pytest.mark.parametrize(
    "change", ["seq = seq - 1", "link = link - 1", "hash = sha256(hash)", "seq = seq - 3, link = 6"]
)
async def test_an_edited_head_is_found(told: asyncpg.Connection, change: str) -> None:
    await told.execute(f"update log.head set {change}")
    assert {one.table for one in (await walk(told)).findings} == {"log.head"}


async def test_a_dropped_head_is_found(told: asyncpg.Connection) -> None:
    await told.execute("delete from log.head")
    assert await found(told) == {("dropped", "log.head", None)}


HARM: list[Callable[[int, int], str]] = [
    lambda a, b: f"update log.events set body = body || ' ' where seq = {a}",
    lambda a, b: f"update log.events set seq = {b} where seq = {a}",
    lambda a, b: f"update log.events set at = 'infinity' where seq = {a}",
    lambda a, b: f"update log.events set actor = null where seq = {a}",
    lambda a, b: f"delete from log.events where seq = {a}",
    lambda a, b: f"delete from log.events where seq >= {a}",
    lambda a, b: f"update log.events set seq = seq + {b} where seq > {a}",
    lambda a, b: f"update log.links set last_seq = {b} where id = {a}",
    lambda a, b: f"update log.links set first_seq = {b}, last_seq = last_seq - 1 where id = {a % 8 + 1}",
    lambda a, b: f"update log.links set id = id + {b} where id >= {a % 8 + 1}",
    lambda a, b: f"delete from log.links where id = {a % 8 + 1}",
    lambda a, b: f"update log.links set last_seq = 9223372036854775807 where id = {a % 8 + 1}",
    lambda a, b: f"update log.events set seq = -seq where seq = {a}",
    lambda a, b: f"insert into log.events select * from log.events where seq = {a}",
    lambda a, b: f"insert into log.links select * from log.links where id = {a % 8 + 1}",
    lambda a, b: f"update log.head set seq = seq + {b}",
]  # fmt: skip


async def test_no_harm_goes_unseen_whatever_it_is_and_verify_never_fails_on_it(
    fresh_databases: tuple[Callable[[], str], Callable[[str], None]],
) -> None:
    make, drop = fresh_databases
    dsn = await asyncio.to_thread(make)
    conn = await asyncpg.connect(dsn)
    await tell(conn)
    await conn.execute("set session_replication_role = replica")
    await conn.execute("alter table log.events alter actor drop not null, drop constraint events_at_check")
    loop = asyncio.get_running_loop()
    harms = st.lists(
        st.tuples(st.sampled_from(HARM), st.integers(1, LAST), st.integers(1, LAST)), min_size=1, max_size=3
    )

    async def harmed(done: list[tuple[Callable[[int, int], str], int, int]]) -> tuple[bool, list[Finding]]:
        transaction = conn.transaction()
        await transaction.start()
        try:
            before = await rows(conn)
            for act, a, b in done:
                await conn.execute(act(a, b))
            return before != await rows(conn), (await walk(conn)).findings
        finally:
            await transaction.rollback()

    @examples(150)
    @given(harms)
    @example([(HARM[13], 4, 1)])
    @example([(HARM[14], 4, 1)])
    @example([(HARM[11], 3, 1)])
    def seen(done: list[tuple[Callable[[int, int], str], int, int]]) -> None:
        changed, findings = asyncio.run_coroutine_threadsafe(harmed(done), loop).result()
        assert bool(findings) == changed

    await asyncio.to_thread(seen)
    await conn.close()
    await asyncio.to_thread(drop, dsn)


async def rows(conn: asyncpg.Connection) -> list[Any]:
    tables = ("log.events", "log.links", "log.head")
    return [await conn.fetch(f"select t::text from {table} t order by 1") for table in tables]


def test_a_place_is_part_of_the_hash() -> None:
    plain = Event(1, 1, "0", "a.b", "x", "y", "{}", b"")
    others = [plain._replace(seq=2), plain._replace(link=2), plain._replace(at="1")]
    assert event_hash(plain) not in [event_hash(one) for one in others]
