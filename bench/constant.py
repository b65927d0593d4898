"""A server that only answers 201: what the load generator reaches against it is its own ceiling."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import uvloop

from bench.load import message_end

ANSWER = b"HTTP/1.1 201 Created\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"


class Constant(asyncio.Protocol):
    """Waits for a whole request, then answers."""

    def __init__(self) -> None:
        self.seen = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.seen = self.seen + data if self.seen else data
        while (end := message_end(self.seen)) is not None:
            self.seen = self.seen[end:]
            self.transport.write(ANSWER)


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Constant, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
