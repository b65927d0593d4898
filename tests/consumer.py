"""A consumer that polls the event log, in a process of its own that may be killed.

It keeps the events of a page and the cursor in one commit.
"""

from __future__ import annotations

import http.client
import json
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any


class Consumer:
    """Keeps every event in a file, from the first one on. A second one of a seq would be a fault of the log."""

    def __init__(self, home: Path, key: str) -> None:
        self.file, self.key = home / "consumed.db", key
        self.process: subprocess.Popen[bytes] | None = None
        with sqlite3.connect(self.file) as kept:
            kept.execute("create table events (seq integer primary key, kind text, subject text, hash text)")
            kept.execute("create table cursor (after integer)")
            kept.execute("insert into cursor values (0)")
        kept.close()

    def start(self, socket_path: Path) -> None:
        words = [str(socket_path), self.key, str(self.file)]
        self.process = subprocess.Popen([sys.executable, __file__, *words], stderr=subprocess.PIPE)

    def kill(self) -> None:
        if self.process is not None:
            ended = self.process.poll()
            self.process.kill()
            _, said = self.process.communicate()
            assert ended is None, said.decode()
            self.process = None

    def events(self) -> list[Any]:
        with sqlite3.connect(self.file, timeout=30) as kept:
            found = kept.execute("select seq, kind, subject, hash from events order by seq").fetchall()
        kept.close()
        return found


class Connection(http.client.HTTPConnection):
    """HTTP over a worker's socket."""

    def __init__(self, path: str) -> None:
        super().__init__("lockgate", timeout=60)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)


def main(path: str, key: str, file: str) -> None:
    kept = sqlite3.connect(file, timeout=30, isolation_level=None)
    while True:
        (after,) = kept.execute("select after from cursor").fetchone()
        try:
            door = Connection(path)
            door.request("GET", f"/v1/events?after={after}&limit=7", headers={"Authorization": f"Bearer {key}"})
            told = door.getresponse()
            page = json.loads(told.read())
        except (OSError, http.client.HTTPException, json.JSONDecodeError):
            time.sleep(0.02)  # the worker is gone, or coming
            continue
        if told.status == 503:
            time.sleep(0.02)
            continue
        assert told.status == 200, page
        kept.execute("begin immediate")
        rows = [(one["seq"], one["kind"], one["subject"], one["hash"]) for one in page["events"]]
        kept.executemany("insert into events values (?, ?, ?, ?)", rows)
        kept.execute("update cursor set after = ?", (page["next"],))
        kept.execute("commit")
        if not rows:
            time.sleep(0.01)


if __name__ == "__main__":
    main(*sys.argv[1:])
