"""An HTTP/1.1 answer as it is read, by the server's own parser. Law: no more is read than the caller allows.

What of it counts is the caller's to say: an endpoint's status is enough, a scorer's answer counts whole or not at all.
"""

from __future__ import annotations

import asyncio
from typing import Final

import httptools

READ: Final = 65_536
NO_HTTP: Final = (httptools.HttpParserError, httptools.HttpParserUpgrade)


class Garbled(Exception):
    """What came back is no HTTP answer, or none that counts."""


class HttpAnswer:
    """One answer, as far as it was read, whatever ended the reading. The parser calls the `on_` methods."""

    def __init__(self) -> None:
        self.parser = httptools.HttpResponseParser(self)
        self.status = 0  # until the head that counts was read
        self.headers: dict[str, str] = {}
        self.body = bytearray()
        self.length = 0  # of all that was read, heads and framing included
        self.messages = 0  # interim answers and unasked ones too
        self.whole = self.keeps = False

    async def read(self, reader: asyncio.StreamReader, most: int) -> None:
        """Read until it is whole, `most` bytes came or the connection ended. Raises ConnectionError, and Garbled."""
        while not self.whole and self.length < most:
            some = await reader.read(min(READ, most - self.length))
            if not some:
                return  # a body without a length ends so too; nothing tells it from one that was cut off
            self.length += len(some)
            try:
                self.parser.feed_data(some)
            except NO_HTTP as error:
                raise Garbled(f"the answer is no HTTP that was asked for: {error}") from error

    def on_message_begin(self) -> None:
        self.messages += 1

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        # The parser knows these of the message that it is reading alone.
        status = self.parser.get_status_code()
        if status >= 200:
            self.status, self.keeps = status, self.parser.should_keep_alive()
        else:  # an interim answer: the one that counts follows
            self.headers = {}

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.whole = self.status > 0
