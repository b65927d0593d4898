"""Receivers of webhooks, on real sockets: one in the test's own loop that says what it is told to, and one in a process
of its own that keeps what it got durably and may be killed.

The signature is checked by the published recipe, not by our own code.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import random
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ledger.endpoints import Reply

HEADERS = {"webhook-id": "evt_1", "webhook-timestamp": "1", "webhook-signature": "v1,"}
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass(frozen=True, slots=True)
class Got:
    """One post as it arrived."""

    name: str
    at: int
    signatures: list[str]
    body: bytes
    connection: int

    @property
    def event(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self.body)
        return told

    @property
    def seq(self) -> int:
        return int(self.event["data"]["seq"])

    @property
    def subject(self) -> str:
        return str(self.event["data"]["subject"])

    def signed_by(self, secret: str) -> bool:
        return signature(secret, self.name, self.at, self.body) in self.signatures


def signature(secret: str, name: str, at: int, body: bytes) -> str:
    key = base64.b64decode(secret.split("_", 1)[1])
    made = hmac.new(key, f"{name}.{at}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(made).decode()}"


def reply(status: int, *, headers: str = "", body: str = "") -> bytes:
    return f"HTTP/1.1 {status} Told\r\n{headers}Content-Length: {len(body)}\r\n\r\n{body}".encode()


@dataclass(slots=True)
class Receiver:
    """Answers each post with the bytes that `says` gives for it; None hangs up without a word."""

    says: Callable[[Got], bytes | None] = lambda got: OK
    got: list[Got] = field(default_factory=list)
    port: int = 0
    connections: int = 0
    hold: asyncio.Event | None = None  # while it is not set, nothing is answered

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?to=us"

    def seqs(self, subject: str | None = None) -> list[int]:
        return [one.seq for one in self.got if subject in (None, one.subject)]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        mine = self.connections
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = head.decode().split("\r\n")
                assert lines[0] == "POST /hook?to=us HTTP/1.1", lines[0]
                headers = dict(line.split(": ", 1) for line in lines[1:-2])
                body = await reader.readexactly(int(headers["content-length"]))
                found = Got(
                    headers["webhook-id"],
                    int(headers["webhook-timestamp"]),
                    headers["webhook-signature"].split(),
                    body,
                    mine,
                )
                self.got.append(found)
                if self.hold is not None:
                    await self.hold.wait()
                told = self.says(found)
                if told is None:
                    return
                writer.write(told)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()


@asynccontextmanager
async def receiver(says: Callable[[Got], bytes | None] = lambda got: OK, tls: Any = None) -> AsyncIterator[Receiver]:
    """A receiver on a free port of this machine."""
    made = Receiver(says)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0, ssl=tls)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()


async def posted(url: str, timeout_s: float = 20, private: bool = True) -> Reply:
    """One post to a URL, over a connection of its own, and how it ended."""
    from ledger.courier import Courier
    from ledger.targets import read

    courier = Courier(read(url, private=True), private)
    try:
        return await courier.post(HEADERS, b"{}", timeout_s)
    finally:
        courier.close()


# --- a process of its own ---


class ReceiverProcess:
    """Keeps each event once by its webhook-id, in a file, before it answers; may be killed and started again."""

    def __init__(self, home: Path, secret: str, trouble: float = 0.0) -> None:
        self.file, self.secret, self.trouble = home / "received.db", secret, trouble
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    def start(self) -> None:
        words = [str(self.port), str(self.file), self.secret, str(self.trouble)]
        self.process = subprocess.Popen([sys.executable, __file__, *words], stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"up\n"

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            assert self.process.stdout is not None
            self.process.stdout.close()
            self.process = None

    def rows(self, statement: str) -> Sequence[Any]:
        with sqlite3.connect(self.file, timeout=30) as kept:
            found = kept.execute(statement).fetchall()
        kept.close()
        return found

    def events(self) -> list[tuple[int, str]]:
        """Seq and subject of each event, in the order in which they were first kept."""
        return [tuple(row) for row in self.rows("select seq, subject from events order by nr")]

    def arrivals(self) -> int:
        return int(self.rows("select count(*) from arrivals")[0][0])


def keep(file: str, name: str, seq: int | None, subject: str | None) -> None:
    kept = sqlite3.connect(file, timeout=30, isolation_level=None)
    kept.execute("pragma synchronous = off")  # what is killed is the process, not the machine
    kept.execute("begin immediate")
    kept.execute("insert into arrivals (id) values (?)", (name,))
    kept.execute("insert or ignore into events (id, seq, subject) values (?, ?, ?)", (name, seq, subject))
    kept.execute("commit")
    kept.close()


def main(port: str, file: str, secret: str, trouble: str) -> None:
    kept = sqlite3.connect(file, timeout=30)
    kept.execute("pragma journal_mode = wal")
    for table in (
        "events (nr integer primary key, id text unique, seq integer, subject text)",
        "arrivals (nr integer primary key, id text)",
    ):
        kept.execute(f"create table if not exists {table}")
    kept.commit()
    kept.close()
    draw = random.Random(time.time_ns())

    class Hook(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            name, at = self.headers["webhook-id"], int(self.headers["webhook-timestamp"])
            fits = signature(secret, name, at, body) in self.headers["webhook-signature"].split()
            if not fits or abs(time.time() - at) > 300:
                return self.answer(401)
            if draw.random() < float(trouble):
                return self.answer(500)
            data = json.loads(body)["data"]
            keep(file, name, data.get("seq"), data.get("subject"))  # a test has neither
            return self.answer(500 if draw.random() < float(trouble) else 204)

        def answer(self, status: int) -> None:
            self.send_response(status)
            if status != 204:
                self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *words: Any) -> None:
            return

    ThreadingHTTPServer.daemon_threads = True
    server = ThreadingHTTPServer(("127.0.0.1", int(port)), Hook)
    print("up", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
