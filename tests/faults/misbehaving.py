"""A process between a ledger and its scorer that misbehaves as told: `misbehaving.py SCORER_SOCKET FILE PORT`.

It prints its port (0 takes a free one). FILE holds how, and may change at any time: `pass`, a status, `cut`, `upgrade`,
`hang` or `slow` with seconds, or one of CHANGES.
"""

from __future__ import annotations

import http.client
import json
import socket
import sys
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


def results(change: Callable[[dict[str, Any]], Any]) -> Callable[[bytes], bytes]:
    """Change each result of an answer."""

    def changed(answer: bytes) -> bytes:
        told = json.loads(answer)
        told["results"] = [change(one) for one in told["results"]]
        return json.dumps(told).encode()

    return changed


def approved(result: dict[str, Any], **lies: Any) -> dict[str, Any]:
    return {**result, "verdict": "approve", "reasons": [], **lies}


CHANGES: dict[str, Callable[[bytes], bytes]] = {
    "garbage": lambda answer: b"\x00\xff{]",
    "half": lambda answer: answer[: len(answer) // 2],
    "nan": results(lambda one: approved(one, score=float("nan"))),
    "beyond": results(lambda one: approved(one, score=1.5)),
    "word": results(lambda one: approved(one, verdict="allow")),
    "wrong_id": results(lambda one: approved(one, gift="tr_another")),
    "wrong_hash": results(lambda one: approved(one, payload_hash="00" * 32)),
    "wrong_look": results(lambda one: approved(one, id=one["id"][:-1] + "7")),
    "twice": lambda answer: json.dumps({**json.loads(answer), "results": 2 * json.loads(answer)["results"]}).encode(),
    "missing": lambda answer: json.dumps({**json.loads(answer), "results": []}).encode(),
    "version": lambda answer: json.dumps({**json.loads(answer), "contract": 99}).encode(),
    "unbound": results(lambda one: {name: told for name, told in one.items() if name != "payload_hash"}),
    "refused": results(lambda one: {"gift": one["gift"], "error": {"status": 422, "code": "gift_conflict"}}),
}  # fmt: skip


class Scorer(http.client.HTTPConnection):
    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(sys.argv[1])


class Between(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        how, _, seconds = MODE.read_text().strip().partition(" ")
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if how == "hang":
            time.sleep(float(seconds or 60))
        if how in ("hang", "cut"):
            self.close_connection = True
            return
        if how == "upgrade":
            self.wfile.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")
            return
        if how.isdigit():
            return self.answer(int(how), b'{"title": "on purpose"}')
        scorer = Scorer("scorer", timeout=60)
        scorer.request("POST", self.path, body, dict(self.headers))
        told = scorer.getresponse()
        answer = told.read()
        scorer.close()
        if how == "slow":  # the scorer judged, and its answer comes too late
            time.sleep(float(seconds or 1))
        self.answer(told.status, CHANGES.get(how, lambda same: same)(answer))

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        try:
            self.wfile.write(body)
        except OSError:
            self.close_connection = True  # the ledger did not wait

    def log_message(self, *told: Any) -> None:
        pass


if __name__ == "__main__":
    MODE = Path(sys.argv[2])
    ThreadingHTTPServer.daemon_threads = True
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[3])), Between)
    print(server.server_address[1], flush=True)
    server.serve_forever()
