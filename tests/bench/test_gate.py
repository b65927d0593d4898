"""The gate benchmark counts right: its generator, its arithmetic, and one whole run with tiny durations."""

from __future__ import annotations

import asyncio
import json
import pstats
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench import report
from bench.gate import send
from bench.ground import raised, tps
from bench.load import Load, latency, message_end, percentile, requests, run, statuses
from bench.servers import ROOT, constant
from detector import policy
from ledger.api import BATCH, SEND

SENDERS = [(f"org_{number}", f"key_{number}") for number in range(5)]
KEYS = {
    "pgbench_tps", "noop_rps", "typed_rps", "single_gps", "batch_gps", "hot_gps", "single_vs_pgbench",
    "batch_vs_pgbench", "single_vs_noop", "single_vs_typed", "hot_vs_single", "p50_ms", "p95_ms", "p99_ms",
    "p99.9_ms", "load_ceiling_rps", "rounds", "workers", "statuses", "transfers", "reconciled", "goals", "faults",
}  # fmt: skip


def load(port: int = 1, **changes: Any) -> Load:
    usual = {"path": "/gifts", "connections": 3, "warm_s": 0.05, "seconds": 0.2, "amount": 7}
    people = {"senders": SENDERS, "recipients": [org for org, _ in SENDERS]}
    return Load(port=port, **{**usual, **people, **changes})


class Server:
    """A tiny server that keeps what it was asked and answers in turn, byte by byte if it must."""

    def __init__(self, *answers: bytes, piecemeal: bool = False, pause_s: float = 0.0) -> None:
        self.answers = answers
        self.piecemeal = piecemeal
        self.pause_s = pause_s
        self.asked: list[bytes] = []

    async def __aenter__(self) -> int:
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        port: int = self.server.sockets[0].getsockname()[1]
        return port

    async def __aexit__(self, *error: object) -> None:
        self.server.close()
        await self.server.wait_closed()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen = b""
        while data := await reader.read(65536):
            seen += data
            if (end := message_end(seen)) is not None:
                self.asked.append(seen[:end])
                seen = seen[end:]
                await self.answer(writer, self.answers[len(self.asked) % len(self.answers)])
        writer.close()

    async def answer(self, writer: asyncio.StreamWriter, answer: bytes) -> None:
        if not answer:
            writer.close()
        await asyncio.sleep(self.pause_s)
        step = 7 if self.piecemeal else len(answer)
        for start in range(0, len(answer), step or 1):
            writer.write(answer[start : start + step])
            await asyncio.sleep(0)


def answer(status: str, body: bytes = b"{}") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


@pytest.mark.parametrize("piecemeal", [False, True])
async def test_every_answer_is_counted_once(piecemeal: bool) -> None:
    server = Server(answer("201 Created"), answer("429 Too Many Requests"), piecemeal=piecemeal)
    async with server as port:
        told = await run(load(port))
    assert sum(told.answers.values()) == len(server.asked)
    assert told.answers["201"] == len(server.asked) // 2
    assert told.answers["429"] == len(server.asked) - told.answers["201"]
    assert 0 < told.rate * 0.2 <= told.answers["201"]
    assert told.latency["p50_ms"] <= told.latency["p99_ms"] <= told.latency["max_ms"]


async def test_each_request_is_a_gift_under_its_own_key() -> None:
    server = Server(answer("201 Created"))
    async with server as port:
        await run(load(port))
    keys = Counter(field(one, "Idempotency-Key") for one in server.asked)
    assert keys.total() == len(server.asked) and set(keys.values()) == {1}
    for one in server.asked:
        sender = dict((key, org) for org, key in SENDERS)[field(one, "Authorization").removeprefix("Bearer ")]
        gift = SEND.decode(one.partition(b"\r\n\r\n")[2])
        assert gift.recipient != sender and gift.amount == 7


def field(request: bytes, name: str) -> str:
    lines = request.decode().split("\r\n")
    return next(line.removeprefix(f"{name}: ") for line in lines if line.startswith(f"{name}: "))


async def test_a_connection_that_is_cut_is_an_answer_that_never_came() -> None:
    async with Server(b"") as port:
        told = await run(load(port))
    assert told.answers == {"none": 3} and told.rate == 0


async def test_at_a_pace_no_more_is_asked_than_is_due() -> None:
    server = Server(answer("201 Created"))
    async with server as port:
        told = await run(load(port, pace=40.0))
    assert 0 < told.answers["201"] == len(server.asked) <= 40 * 0.25 + 1


async def test_at_a_pace_a_request_waits_from_when_it_was_due() -> None:
    """Each answer takes 0.1 s, and a request is due every 0.05 s: the second waits for the first."""
    async with Server(answer("201 Created"), pause_s=0.1) as port:
        told = await run(load(port, pace=20.0, connections=1, warm_s=0.0, seconds=1.0))
    assert told.latency["max_ms"] >= 150


def test_the_generator_runs_in_its_own_process() -> None:
    with constant() as port:
        told = send(load(port))
    assert set(told.answers) == {"201"} and told.rate > 0 and told.cpu_s > 0


def test_a_batch_is_counted_gift_by_gift() -> None:
    told = b'{"results":[{"status":201,"body":{"id":"a"}},{"status":402,"body":{"status":402,"code":"x"}}]}'
    assert statuses(answer("200 OK", told), 2) == {"201": 1, "402": 1}
    assert statuses(answer("200 OK", told), 3) == {"201": 1, "402": 1, "none": 1}
    assert statuses(answer("503 Service Unavailable"), 100) == {"503": 100}
    assert statuses(answer("201 Created"), 1) == {"201": 1}


def test_a_batch_is_what_the_api_takes() -> None:
    body = next(requests(load(gifts=100, context=True))).partition(b"\r\n\r\n")[2]
    gifts = BATCH.decode(body).transfers
    assert len(gifts) == 100
    assert len({gift.ip for gift in gifts}) == 1


def test_a_message_ends_where_its_length_says() -> None:
    whole = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\nx: y\r\n\r\nabc"
    assert message_end(whole) == message_end(whole + b"more") == len(whole)
    assert all(message_end(whole[:cut]) is None for cut in range(len(whole)))
    assert message_end(b"HTTP/1.1 204 No Content\r\n\r\n") == 27


def test_percentiles_are_nearest_rank() -> None:
    hundred = list(range(1, 101))
    assert [percentile(hundred, share) for share in (0.5, 0.95, 0.99, 0.999, 1)] == [50, 95, 99, 100, 100]
    assert percentile([5], 0.5) == percentile([5], 0.999) == 5
    told = latency([number * 1_000_000 for number in reversed(hundred)])
    assert told == {"p50_ms": 50, "p95_ms": 95, "p99_ms": 99, "p99.9_ms": 100, "max_ms": 100}
    assert latency([]) == {}


def test_pgbench_is_read_as_it_prints() -> None:
    printed = "number of transactions actually processed: 9\nlatency = 1 ms\ntps = 12.25 (without …)\n"
    assert tps(printed) == (12.25, 9)


def test_the_default_policy_is_raised_out_of_reach() -> None:
    text = (ROOT / "detector" / "policy.toml").read_text()
    usual, high = policy.read(text), policy.read(raised(text))
    for before, after in zip(usual.limits, high.limits, strict=True):
        assert (after.count or after.value) == min((before.count or before.value or 0) * 10**6, 10**18)
    assert "sender_attempt_count_1h >= 30000000" in raised(text)
    assert [rule.name for rule in high.rules] == [rule.name for rule in usual.rules]


def lap(rate: float) -> Any:
    return SimpleNamespace(rate=rate, latency={"p50_ms": rate}, us={})


BOOKS = {"reconciled": True, "transfers": {"pending": 2, "held": 1}}
STATUSES = {"pgbench": {"committed": 9}, "noop": {"200": 9}, "single": {"201": 3}}


def test_ratios_are_taken_round_by_round() -> None:
    laps = [{"pgbench": lap(under), "single": lap(over)} for under, over in [(100, 80), (1000, 100), (10, 9)]]
    told = report.build({}, laps, STATUSES, BOOKS)
    assert told["pgbench_tps"] == 100 and told["single_gps"] == 80
    assert told["goals"] == {"single_vs_pgbench": {"goal": 0.7, "reached": 0.8, "met": True}}
    assert told["spread"]["single_vs_pgbench"] == {"min": 0.1, "median": 0.8, "max": 0.9}
    assert told["p50_ms"] == 80 and told["faults"] == []


@pytest.mark.parametrize(
    ("statuses", "books", "fault"),
    [
        ({"single": {"201": 3, "429": 1}}, {}, "1 answered 429"),
        ({"noop": {"201": 3}}, {}, "noop: 3 answered 201"),
        ({"single": {"201": 4}}, {}, "4 gifts were answered 201, but 3 transfers are recorded"),
        ({}, {"reconciled": False}, "do not balance"),
        ({}, {"transfers": {"pending": 2, "blocked": 1}}, "1 gifts were blocked"),
    ],
)
def test_what_was_wrong_is_named(statuses: dict[str, Any], books: dict[str, Any], fault: str) -> None:
    assert fault in "; ".join(report.faults({**STATUSES, **statuses}, {**BOOKS, **books}))


def bench(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench.cli", "gate", "--json", "--orgs", "60", "--rounds", "1", *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_a_whole_run_has_every_figure_and_reconciles() -> None:
    done = bench("--seconds", "0.3", "--scale", "1")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told.keys() >= KEYS
    assert told["reconciled"] is True and told["faults"] == []
    assert set(told["goals"]) == {"single_vs_pgbench", "batch_vs_pgbench", "single_vs_noop", "hot_vs_single"}
    sent = sum(told["statuses"][phase]["201"] for phase in ("single", "batch", "hot"))
    assert sent == sum(told["transfers"].values())


def test_one_phase_alone_shows_where_the_time_goes(tmp_path: Path) -> None:
    done = bench("--phase", "batch", "--seconds", "0.3", "--context", "--profile", str(tmp_path / "gate.prof"))
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert set(told["statuses"]) == {"batch"} and told["goals"] == {}
    functions = {name for _, _, name in pstats.Stats(str(tmp_path / "gate.prof")).stats}  # type: ignore[attr-defined]
    assert {"commit", "send_batch"} <= functions
