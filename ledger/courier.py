"""One HTTP/1.1 connection to an endpoint. Law: it leads to the address that was checked, and nothing is followed.

What comes back is read as far as the status and a short excerpt need it; the time for all of it is bounded.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any, Final

from ledger.endpoints import Reply
from ledger.errors import TargetRefused
from ledger.http_answer import Garbled, HttpAnswer
from ledger.targets import Target, addresses

MOST_READ: Final = 65_536  # more than any sane head; an answer's body beyond it is not ours to read
EXCERPT: Final = 200
LONGEST_PAUSE_S: Final = 86_400.0
AGENT: Final = "Lockgate-Webhooks/1"


class NoAnswer(ConnectionError):
    """The other side hung up before it answered."""


class Courier:
    """Posts to one target, over one connection while the other side keeps it open. Not for two posts at once."""

    def __init__(self, target: Target, private: bool) -> None:
        self.target, self.private = target, private
        self.reader: asyncio.StreamReader | None = None
        self.writer: asyncio.StreamWriter | None = None
        self.answer = HttpAnswer()

    async def post(self, headers: Mapping[str, str], body: bytes, timeout_s: float) -> Reply:
        """Post a body, and how that ended; a fault of the other side is a Reply too."""
        began = time.monotonic()
        self.answer = HttpAnswer()
        error = None
        try:
            async with asyncio.timeout(timeout_s):
                await self.exchange(self.request(headers, body))
        except (OSError, TargetRefused, Garbled) as fault:
            error = told(fault, timeout_s)
        if error or not (self.answer.whole and self.answer.keeps):
            self.close()
        latency_ms = round((time.monotonic() - began) * 1000)
        if not self.answer.status:
            return Reply(None, error or "the answer has no status", latency_ms)
        return Reply(self.answer.status, None, latency_ms, retry_after(self.answer.headers), excerpt(self.answer.body))

    def request(self, headers: Mapping[str, str], body: bytes) -> bytes:
        fixed = {"host": self.target.authority, "user-agent": AGENT, "content-type": "application/json"}
        lines = [f"{name}: {value}\r\n" for name, value in {**fixed, **headers, "content-length": len(body)}.items()]
        return f"POST {self.target.path} HTTP/1.1\r\n{''.join(lines)}\r\n".encode() + body

    async def exchange(self, request: bytes) -> None:
        """Ask, on the open connection or a new one; one that was closed between two posts is opened again."""
        if self.writer is not None:
            try:
                return await self.ask(request)
            except ConnectionError:
                self.close()
                if self.answer.length:
                    raise
        await self.connect()
        await self.ask(request)

    async def connect(self) -> None:
        """Open a connection to the first address that takes one; each was checked just now."""
        host = self.target.host
        tls: dict[str, Any] = {"ssl": trust(), "server_hostname": host} if self.target.secure else {}
        fault: OSError | None = None
        for address in await addresses(self.target, self.private):
            try:
                self.reader, self.writer = await asyncio.open_connection(address, self.target.port, **tls)
                return
            except ssl.SSLError:
                raise  # another address would not be trusted for it
            except OSError as error:
                fault = error
        raise fault or TargetRefused(f"{host} has no address")

    async def ask(self, request: bytes) -> None:
        assert self.reader is not None and self.writer is not None
        answer = self.answer = HttpAnswer()
        self.writer.write(request)
        await self.writer.drain()
        await answer.read(self.reader, MOST_READ)
        if not answer.status and answer.length < MOST_READ:
            raise NoAnswer("the connection was closed without an answer")

    def close(self) -> None:
        if self.writer is not None:
            self.writer.transport.abort()
        self.reader = self.writer = None


@lru_cache(maxsize=1)
def trust() -> ssl.SSLContext:
    """Whom a server's certificate must come from: the system's authorities, or those of SSL_CERT_FILE."""
    return ssl.create_default_context()


def told(fault: Exception, timeout_s: float) -> str:
    """What the operator reads of a failed request."""
    if isinstance(fault, TargetRefused):
        return f"refused: {fault.detail}"
    if isinstance(fault, TimeoutError):
        return f"no answer in {timeout_s:g} s"
    if isinstance(fault, ssl.SSLError):
        return f"TLS: {getattr(fault, 'verify_message', '') or fault.reason or fault}"
    if isinstance(fault, NoAnswer) or not isinstance(fault, OSError):
        return str(fault)
    return f"no connection: {fault.strerror or fault}"


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a Retry-After header asks for, at most a day; None where it says none.

    >>> retry_after({"retry-after": "120"}), retry_after({"retry-after": "soon"})
    (120.0, None)
    """
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), LONGEST_PAUSE_S)
    try:
        wait_s = parsedate_to_datetime(text).timestamp() - time.time()
    except ValueError:
        return None
    return min(max(wait_s, 0.0), LONGEST_PAUSE_S)


def excerpt(body: bytearray) -> str | None:
    """The beginning of an answer's body as one line of text."""
    text = body[: 4 * EXCERPT].decode("utf-8", "replace")
    return "".join(one if one.isprintable() else " " for one in text)[:EXCERPT].strip() or None
