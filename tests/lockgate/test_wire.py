"""The short way answers as the framework's does, over real sockets; and uvicorn's books of a connection stay right."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from lockgate.wire import MOST_BODY
from tests.support import House, Worker, new_key, open_house, workers

PATH = "/v1/billing/credits/transfer"
Told = tuple[int, dict[str, str], bytes]


@dataclass(frozen=True, slots=True)
class Line:
    """What is written to, and read from, one worker's socket, in the name of one sender."""

    house: House
    worker: Worker
    recipient: str
    key: str

    def request(
        self, name: str, amount: int = 5, *, extra: Sequence[str] = (), body: str | None = None, version: str = "1.1"
    ) -> bytes:
        """The bytes of one request. A gift in HTTP/1.0 goes the framework's way."""
        told = json.dumps({"recipient": self.recipient, "amount": amount}) if body is None else body
        own = ["Host: x", f"Authorization: {self.key}", f"Idempotency-Key: {name}", f"Content-Length: {len(told)}"]
        return "\r\n".join([f"POST {PATH} HTTP/{version}", *own, *extra, "", told]).encode()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_unix_connection(str(self.worker.path))
        try:
            yield reader, writer
        finally:
            writer.close()

    async def ask(self, *requests: bytes) -> list[Told]:
        """Write all of them at once; their answers, in order."""
        async with self.open() as (reader, writer):
            writer.write(b"".join(requests))
            return [await answer(reader) for _ in requests]

    async def recorded(self) -> int:
        found: int = await self.house.pool.fetchval(
            "select count(*) from ledger.transfers where recipient = $1", self.recipient
        )
        return found


async def answer(reader: asyncio.StreamReader) -> Told:
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)
    status, *lines = head.decode().rstrip().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    return int(status.split()[1]), headers, await reader.readexactly(int(headers.get("content-length", 0)))


async def line_to(house: House, worker: Worker) -> Line:
    sender, recipient = await house.org(amount=10_000), await house.org()
    key = (await new_key(house.pool, "owner", sender))["Authorization"]
    line = Line(house, worker, recipient, key)
    await line.ask(line.request("first"))  # the key is remembered from here on
    return line


@pytest.fixture
async def line(four: tuple[str, list[Worker]]) -> AsyncIterator[Line]:
    dsn, started = four
    async with open_house(dsn) as house:
        yield await line_to(house, started[0])


CASES = {
    "a gift that was sent before": {"name": "first"},
    "more than there is": {"name": "dear", "amount": 10**9},
    "another body under the key": {"name": "first", "amount": 7},
    "a body that is no JSON": {"name": "k", "body": "{"},
    "a field that is wrong": {"name": "k", "amount": -1},
    "a key that is none": {"name": "", "amount": 5},
    "two keys": {"name": "first", "extra": ["Idempotency-Key: second"]},
    "another's secret": {"name": "k", "extra": ["Authorization: Bearer lg_owner_nobody"]},
    "a body that is long": {"name": "k", "body": " " * (MOST_BODY + 1)},
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
async def test_both_ways_give_the_same_answer(line: Line, case: dict[str, object]) -> None:
    ((status, headers, body),) = await line.ask(line.request(**case))  # type: ignore[arg-type]
    ((other, others, bytes_),) = await line.ask(line.request(**case, version="1.0"))  # type: ignore[arg-type]
    # What was said under a key is said again; that it was said before is a header.
    again = {"date", "connection", "idempotency-replayed", "ratelimit", "ratelimit-policy"}
    assert (status, body) == (other, bytes_)
    assert [pair for pair in headers.items() if pair[0] not in again] == [
        pair for pair in others.items() if pair[0] not in again
    ]


async def test_a_replay_has_all_its_headers_in_order_on_both_ways(line: Line) -> None:
    ((_, headers, _),) = await line.ask(line.request("first"))
    ((_, others, _),) = await line.ask(line.request("first", version="1.0"))
    assert list(headers) == [name for name in others if name != "connection"]
    assert headers["idempotency-replayed"] == "true"


async def test_requests_that_come_together_are_answered_in_order(line: Line) -> None:
    names = ["a", "b", "c", "d"]
    told = await line.ask(*[line.request(name, amount) for amount, name in enumerate(names, 1)])
    assert [(status, json.loads(body)["amount"]) for status, _, body in told] == [(201, n) for n in (1, 2, 3, 4)]


async def test_a_request_in_pieces_and_one_after_it(line: Line) -> None:
    async with line.open() as (reader, writer):
        request = line.request("pieces")
        for start in range(0, len(request), 40):
            writer.write(request[start : start + 40])
            await writer.drain()
            await asyncio.sleep(0.001)
        first = await answer(reader)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        second = await answer(reader)
        writer.write(line.request("after"))
        third = await answer(reader)
    assert [told[0] for told in (first, second, third)] == [201, 200, 201]


async def test_who_waits_for_permission_to_continue_is_given_it(line: Line) -> None:
    head, _, body = line.request("patient", extra=["Expect: 100-continue"]).partition(b"\r\n\r\n")
    async with line.open() as (reader, writer):
        writer.write(head + b"\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100")
        writer.write(body)
        assert (await answer(reader))[0] == 201


async def test_who_asks_to_close_is_closed(line: Line) -> None:
    async with line.open() as (reader, writer):
        writer.write(line.request("last", extra=["Connection: close"]))
        assert (await answer(reader))[0] == 201
        assert await asyncio.wait_for(reader.read(), 60) == b""


async def test_a_client_that_leaves_finds_its_gift_later(line: Line) -> None:
    """Its row is locked, so it cannot be answered before its client went."""
    before = await line.recorded()
    async with line.house.pool.acquire() as conn, conn.transaction():
        await conn.execute("select from ledger.orgs for update")
        async with line.open() as (_, writer):
            writer.write(line.request("left"))
            await writer.drain()
            await asyncio.sleep(0.2)
    while (told := (await line.ask(line.request("left")))[0])[0] == 409:
        assert json.loads(told[2])["code"] == "still_running"
    assert (told[0], await line.recorded()) == (201, before + 1)


async def test_a_stop_waits_for_an_answer_and_a_fault_is_told_as_a_problem(house: House) -> None:
    with workers(house.dsn, 1) as (worker,):
        line = await line_to(house, worker)
        await house.pool.execute("alter table ledger.answers rename to gone")
        ((status, headers, body),) = await line.ask(line.request("fault"))
        await house.pool.execute("alter table ledger.gone rename to answers")
        assert (status, headers["content-type"]) == (500, "application/problem+json")
        assert json.loads(body)["code"] == "fault"
        assert "UndefinedTableError" in worker.log.read_text()
        async with line.open() as (reader, writer):
            async with house.pool.acquire() as conn, conn.transaction():
                await conn.execute("select from ledger.orgs for update")
                writer.write(line.request("end"))
                await writer.drain()
                await asyncio.sleep(0.2)
                worker.process.terminate()
                await asyncio.sleep(0.2)
            assert (await answer(reader))[0] == 201
            assert await asyncio.wait_for(reader.read(), 60) == b"", "and then the line is closed"
        assert worker.process.wait(60) == -signal.SIGTERM, "uvicorn passes the signal on once all is done"
