"""Reading the log: over HTTP and on the command line, page by page, with nothing missed and nothing twice."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import httpx
import pytest
from typer.testing import CliRunner

from detector import log
from detector.log import Event, Told, event_hash
from lockgate import cli, connections
from tests.support import gather, new_key, open_door

KINDS = ("org.created", "transfer.created", "transfer.settled", "case.opened")


async def tell(conn: asyncpg.Connection, number: int, **more: Any) -> None:
    told = Told(KINDS[number % 4], f"s{number % 3}", "ann" if number % 2 else "bob", {"n": number, **more})
    await log.append(conn, [told])


@pytest.fixture
async def door(database: str) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client with a platform's key, on a log of 24 events after the keys' own."""
    pool = await connections.pool(database, size=2)
    key, auditor = await new_key(pool, "platform"), await new_key(pool, "auditor", name="otto")
    async with pool.acquire() as conn:
        for number in range(24):
            await tell(conn, number)
    async with open_door(database) as http:
        http.headers.update(key)
        http.auditor = auditor  # type: ignore[attr-defined]
        yield http
    await pool.close()


async def ask(http: httpx.AsyncClient, **query: Any) -> dict[str, Any]:
    told = await http.get("/v1/events", params=query)
    assert told.status_code == 200, told.text
    found: dict[str, Any] = told.json()
    return found


async def test_events_are_read_in_order_page_by_page_by_platform_and_auditors(door: httpx.AsyncClient) -> None:
    pages, after = [], 0
    while (page := await ask(door, after=after, limit=7))["events"]:
        pages.append(page)
        after = page["next"]
    events = [one for page in pages for one in page["events"]]
    assert [one["seq"] for one in events] == list(range(1, 27)) and after == 26 == pages[0]["head"]["seq"]
    assert [one["kind"] for one in events[:3]] == ["key.created", "key.created", "org.created"]
    assert events[5] | {"at": 0, "hash": 0, "link": 6} == {
        "seq": 6, "link": 6, "at": 0, "kind": KINDS[3], "subject": "s0", "actor": "ann", "body": {"n": 3}, "hash": 0,
    }  # fmt: skip
    assert events[-1]["hash"] != pages[0]["head"]["hash"] and len(pages[0]["head"]["hash"]) == 64
    assert (await ask(door, after=26)) == {"events": [], "next": 26, "head": pages[0]["head"]}
    told = await door.get("/v1/events", headers=door.auditor)  # type: ignore[attr-defined]
    assert [one["seq"] for one in told.json()["events"]] == list(range(1, 27))


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"kind": "transfer.*"}, {"transfer.created", "transfer.settled"}),
        ({"kind": "transfer.settled"}, {"transfer.settled"}),
        ({"kind": "nothing.yet"}, set()),
        ({"subject": "s1"}, set(KINDS)),
        ({"subject": "s1", "kind": "case.*", "actor": "ann"}, {"case.opened"}),
        ({"subject": "s1", "kind": "case.*", "actor": "bob"}, set()),
    ],
)
async def test_filters_leave_out_what_is_not_asked_for(door: httpx.AsyncClient, query: Any, found: set[str]) -> None:
    page = await ask(door, **query)
    assert {one["kind"] for one in page["events"]} == found and page["next"] == 26
    assert all(one["subject"] == query.get("subject", one["subject"]) for one in page["events"])
    if found:
        first = await ask(door, **query, limit=1)
        rest = await ask(door, **query, after=first["next"])
        assert first["events"] + rest["events"] == page["events"]


async def test_what_cannot_be_asked_is_refused_with_the_cure(door: httpx.AsyncClient) -> None:
    for query, status, said in [
        ({"kind": "Transfer"}, 422, "ask for one such as transfer.settled"),
        ({"limit": 1001}, 422, "less than or equal to 1000"),
        ({"wait_s": 31}, 422, "less than or equal to 30"),
        ({"after": -1}, 422, "greater than or equal to 0"),
        ({"after": 27}, 409, "event 27 is not in this log, which ends at 26"),
    ]:
        told = await door.get("/v1/events", params=query)
        assert (told.status_code, said in told.text) == (status, True), told.text
    assert (await door.get("/v1/events", headers={"Authorization": ""})).status_code == 401


async def test_who_waits_gets_an_event_when_it_comes_and_nothing_else(door: httpx.AsyncClient, database: str) -> None:
    conn = await asyncpg.connect(database)
    waiting = [asyncio.create_task(ask(door, after=26, wait_s=30, kind="transfer.settled")) for _ in range(3)]
    await asyncio.sleep(0.1)
    await tell(conn, 0)
    await asyncio.sleep(0.4)
    assert [one.exception() for one in waiting if one.done()] == [], "an event of another kind is none to wait for"
    await tell(conn, 2)
    pages = await gather(waiting)
    assert [[one["seq"] for one in page["events"]] for page in pages] == [[28]] * 3
    assert (await ask(door, after=28, wait_s=1))["events"] == []
    await conn.close()


async def test_a_consumer_among_racing_writers_sees_every_event_once_in_order(
    door: httpx.AsyncClient, database: str
) -> None:
    draw, done = random.Random(5), asyncio.Event()

    async def write(nr: int) -> None:
        conn = await asyncpg.connect(database)
        for number in range(25):
            transaction = conn.transaction()
            await transaction.start()
            await tell(conn, number, writer=nr)
            await asyncio.sleep(draw.random() / 500)  # the head is held: others wait, readers do not
            await (transaction.rollback if number % 5 == 0 else transaction.commit)()
        await conn.close()

    async def read() -> list[dict[str, Any]]:
        seen, after = [], 26
        while True:
            last = done.is_set()
            page = await ask(door, after=after, limit=draw.randrange(1, 9), wait_s=0)
            seen += page["events"]
            after = page["next"]
            if last and after == page["head"]["seq"]:
                return seen

    readers = [asyncio.create_task(read()) for _ in range(2)]
    await gather(write(nr) for nr in range(4))
    done.set()
    for seen in await gather(readers):
        assert [one["seq"] for one in seen] == list(range(27, 107)), "80 of 100 were committed"
        assert [json.loads(json.dumps(one["body"]))["n"] % 5 for one in seen].count(0) == 0


def test_the_command_lists_with_filters_and_says_how_to_go_on(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", database)
    run = CliRunner().invoke

    async def fill() -> None:
        conn = await asyncpg.connect(database)
        for number in range(8):
            await tell(conn, number, text="a\nb")
        await conn.close()

    assert run(cli.app, ["events", "list"]).stdout == "0 of 0 events; no more at present\n"
    asyncio.run(fill())
    told = run(cli.app, ["events", "list", "--limit", "3"]).stdout.splitlines()
    assert [one.split()[0] for one in told[:3]] == ["1", "2", "3"] and told[3] == "3 of 8 events; more with --after 3"
    assert told[0].endswith('org.created s0 by bob {"n":0,"text":"a\\nb"}')
    last = run(cli.app, ["events", "list", "--last", "3", "--kind", "transfer.*"]).stdout.splitlines()
    assert [one.split()[0] for one in last] == ["6", "7", "2"]
    shape = json.loads(run(cli.app, ["events", "list", "--subject", "s1", "--json"]).stdout)
    assert [one["body"]["n"] for one in shape["events"]] == [1, 4, 7] and (shape["next"], shape["head"]["seq"]) == (
        8,
        8,
    )
    one = shape["events"][0]
    plain = Event(one["seq"], one["link"], "", one["kind"], one["subject"], one["actor"], '{"n":1,"text":"a\\nb"}', b"")
    moment = int(asyncio.run(at_of(database, one["seq"])))
    assert event_hash(plain._replace(at=str(moment))).hex() == one["hash"], "what is served makes the hash"
    refused = run(cli.app, ["events", "list", "--kind", "x"])
    assert refused.exit_code == 1 and "ask for one such as transfer.settled" in str(refused.exception)


async def at_of(dsn: str, seq: int) -> str:
    conn = await asyncpg.connect(dsn)
    found: str = await conn.fetchval("select log.micros(at) from log.events where seq = $1", seq)
    await conn.close()
    return found
