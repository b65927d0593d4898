"""HTTP to a scorer: connections are kept, and what is no whole answer is none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from ledger.http_answer import Garbled
from ledger.way import Way

PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n"
INTERIM = b"HTTP/1.1 103 Early\r\n\r\n"
UPGRADE = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"
HANG_UP = b"<hang up>"
LAST = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"


class Told:
    """What a server was asked, and on how many connections."""

    def __init__(self) -> None:
        self.connections = 0
        self.asked: list[bytes] = []


@asynccontextmanager
async def serving(answer: Callable[[int], bytes | None]) -> AsyncIterator[tuple[Way, Told]]:
    """A server that answers the n-th request so; with None it hangs up instead."""
    told = Told()
    served: list[tuple[Any, asyncio.StreamWriter]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        told.connections += 1
        served.append((asyncio.current_task(), writer))
        while head := await reader.read(100_000):
            told.asked.append(head)
            said = answer(len(told.asked))
            if said is None:
                break
            writer.write(said.removesuffix(HANG_UP))
            if said.endswith(HANG_UP):
                break
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    way = Way(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/base/", "secret")
    try:
        yield way, told
    finally:
        way.close()
        server.close()
        for task, writer in served:
            writer.transport.abort()
            await asyncio.wait([task])
        await asyncio.sleep(0.01)  # what was closed is gone by now


async def test_connections_are_kept_and_one_that_ended_meanwhile_is_replaced() -> None:
    turns: list[bytes | None] = [PLAIN, CHUNKED, PLAIN, None, PLAIN, LAST, PLAIN]
    async with serving(lambda number: turns[number - 1]) as (way, told):
        assert [await way.post("/v1/x", b"{}") for _ in range(3)] == [(200, b"ok"), (503, b"ok"), (200, b"ok")]
        assert told.connections == 1
        assert told.asked[0].startswith(b"POST /base/v1/x HTTP/1.1\r\nHost: 127.0.0.1:")
        assert b"\r\nAuthorization: Bearer secret\r\n" in told.asked[0]
        assert await way.post("/v1/x", b"{}") == (200, b"ok")  # hung up on, and asked again
        assert (told.connections, len(told.asked)) == (2, 5)
        assert await way.post("/v1/x", b"{}") == (200, b"ok")  # the last on its connection
        assert await way.post("/v1/x", b"{}") == (200, b"ok")
        assert told.connections == 3


@pytest.mark.parametrize(
    "answer",
    [HANG_UP, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok" + HANG_UP, b"220 smtp\r\n", b"\x16\x03\x01" * 9,
     PLAIN + PLAIN, b"HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n" + b"x" * 8_000_001,
     b"HTTP/1.1 200 OK\r\n\r\nok" + HANG_UP, INTERIM + PLAIN, INTERIM + HANG_UP, UPGRADE],
    ids=["nothing", "too short", "another protocol", "noise", "two answers", "endless", "no length", "interim",
         "interim alone", "an upgrade"],
)  # fmt: skip
async def test_what_is_no_whole_answer_is_none(answer: bytes) -> None:
    async with serving(lambda number: answer) as (way, _):
        with pytest.raises(Garbled):
            await way.post("/", b"{}")
        assert way.idle == []


async def test_a_deadline_drops_the_connection() -> None:
    async with serving(lambda number: b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\no") as (way, told):
        for _ in range(2):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await way.post("/", b"{}")
        assert (told.connections, way.idle) == (2, [])
