"""HTTP/1.1 to one host over kept connections, as little as asking a scorer needs: POST JSON, read the answer.

An answer counts whole or not at all. No redirect is followed, no proxy asked, no cookie kept.
"""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from urllib.parse import urlsplit

from ledger.http_answer import Garbled, HttpAnswer

MOST_ANSWER = 8_000_000
MOST_IDLE = 8


class Gone(ConnectionError):
    """A kept connection had ended by the time it was used; nothing of an answer came."""


@dataclass(slots=True)
class Line:
    """One connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def post(self, head: bytes, body: bytes, *, kept: bool) -> HttpAnswer:
        """The whole answer; it says whether the connection can be used again."""
        answer = HttpAnswer()
        try:
            self.writer.write(head + body)
            await self.writer.drain()
            await answer.read(self.reader, MOST_ANSWER)
        except ConnectionError as error:
            raise Gone(str(error)) if kept and not answer.length else error from error
        if kept and not answer.length:
            raise Gone("it was closed")
        if answer.messages > 1:  # an interim one too: no scorer of ours sends any
            raise Garbled("more than one answer to one question")
        if not answer.whole:
            cut = answer.length < MOST_ANSWER
            raise Garbled("the answer ends in its middle" if cut else f"an answer of over {MOST_ANSWER} bytes")
        return answer

    def close(self) -> None:
        self.writer.close()


class Way:
    """A way to one host."""

    def __init__(self, url: str, bearer: str) -> None:
        parts = urlsplit(url)
        self.tls = ssl.create_default_context() if parts.scheme == "https" else None
        self.host = parts.hostname or ""
        self.port = parts.port or (443 if self.tls else 80)
        self.base = parts.path.rstrip("/")
        named = f"[{self.host}]" if ":" in self.host else self.host
        self.head = (
            f"Host: {named}:{self.port}\r\nAuthorization: Bearer {bearer}\r\n"
            "Content-Type: application/json\r\nAccept: application/json\r\n"
        )
        self.idle: list[Line] = []

    async def post(self, path: str, body: bytes) -> tuple[int, bytes]:
        """Status and body. Raises OSError where nobody answers, Garbled where what does speaks no HTTP.

        The caller's deadline is a cancellation: what was under way is dropped with its connection.
        """
        head = f"POST {self.base}{path} HTTP/1.1\r\n{self.head}Content-Length: {len(body)}\r\n\r\n".encode()
        while self.idle:
            try:
                return await self.on(self.idle.pop(), head, body, kept=True)
            except Gone:
                continue
        reader, writer = await asyncio.open_connection(self.host, self.port, ssl=self.tls)
        return await self.on(Line(reader, writer), head, body, kept=False)

    async def on(self, line: Line, head: bytes, body: bytes, *, kept: bool) -> tuple[int, bytes]:
        reusable = False
        try:
            answer = await line.post(head, body, kept=kept)
            reusable = answer.keeps
            return answer.status, bytes(answer.body)
        finally:
            if reusable and len(self.idle) < MOST_IDLE:
                self.idle.append(line)
            else:
                line.close()

    def close(self) -> None:
        while self.idle:
            self.idle.pop().close()
