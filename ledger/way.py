"""HTTP/1.1 to one host over kept connections, as little as asking a scorer needs: POST JSON, read the answer.

The server's own parser (httptools) reads the answers. No redirect is followed, no proxy asked, no cookie kept.
"""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httptools

MOST_ANSWER = 8_000_000
MOST_IDLE = 8
READ = 65_536


class Garbled(Exception):
    """What came back is no HTTP answer, or longer than any that we would read."""


class Gone(ConnectionError):
    """A kept connection had ended by the time it was used; nothing of an answer came."""


@dataclass(slots=True)
class Reply:
    """An answer as far as it was read; the parser calls these by name."""

    parser: httptools.HttpResponseParser = field(init=False)
    status: int = 0
    body: bytearray = field(default_factory=bytearray)
    whole: bool = False
    keeps: bool = False

    def __post_init__(self) -> None:
        self.parser = httptools.HttpResponseParser(self)

    def on_message_begin(self) -> None:
        if self.whole:
            raise Garbled("more than one answer to one question")

    def on_headers_complete(self) -> None:
        # The parser knows these of the message that it is reading alone.
        self.status, self.keeps = self.parser.get_status_code(), self.parser.should_keep_alive()

    def on_body(self, body: bytes) -> None:
        self.body += body
        if len(self.body) > MOST_ANSWER:
            raise Garbled(f"an answer of over {MOST_ANSWER} bytes")

    def on_message_complete(self) -> None:
        self.whole = True


@dataclass(slots=True)
class Line:
    """One connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def post(self, head: bytes, body: bytes, *, kept: bool) -> Reply:
        """The whole answer; it says whether the connection can be used again."""
        try:
            self.writer.write(head + body)
            await self.writer.drain()
        except ConnectionError as error:
            raise Gone(str(error)) if kept else error from error
        reply = Reply()
        begun = False
        while not reply.whole:
            try:
                read = await self.reader.read(READ)
            except ConnectionError as error:
                raise Gone(str(error)) if kept and not begun else error from error
            if not read:
                raise Gone("it was closed") if kept and not begun else Garbled("the answer ends in its middle")
            begun = True
            feed(reply.parser, read)
        return reply

    def close(self) -> None:
        self.writer.close()


def feed(parser: httptools.HttpResponseParser, read: bytes) -> None:
    try:
        parser.feed_data(read)
    except (httptools.HttpParserError, httptools.HttpParserCallbackError) as error:
        raise Garbled(f"no HTTP: {error}") from error


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
            reply = await line.post(head, body, kept=kept)
            reusable = reply.keeps
            return reply.status, bytes(reply.body)
        finally:
            if reusable and len(self.idle) < MOST_IDLE:
                self.idle.append(line)
            else:
                line.close()

    def close(self) -> None:
        while self.idle:
            self.idle.pop().close()
