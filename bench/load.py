"""The load generator: a process of its own that sends gifts as fast as they are answered, or at a pace.

`python -m bench.load` reads one Load from stdin and writes one Told to stdout, as JSON. Without a pace it is a
closed loop: each connection sends its next request when the last one is answered, so a server that stalls is asked
less during the stall (coordinated omission; see README.md). With one, requests are due at even times, and each
waits from when it was due, however late a connection was free. Every answer counts, wanted or not; what never
came counts as "none".
"""

from __future__ import annotations

import asyncio
import gc
import math
import random
import re
import secrets
import sys
import time
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import uvloop
from msgspec import Struct

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
STATUS_OF_ONE = re.compile(rb'"status":(\d+),"body":')
PERCENTILES = {"p50_ms": 0.5, "p95_ms": 0.95, "p99_ms": 0.99, "p99.9_ms": 0.999}
# What a request in flight at the end may still take before it counts as never answered.
DRAIN_S = 30.0


class Load(Struct, frozen=True):
    """What to send. `senders` are pairs of org and API key; `gifts` above 1 sends batches of so many; with a `pace`,
    so many requests a second in all; `each` also tells of every answered request when it was due and how long it
    waited.
    """

    port: int
    path: str
    connections: int
    warm_s: float
    seconds: float
    senders: list[tuple[str, str]]
    recipients: list[str]
    amount: int
    gifts: int = 1
    context: bool = False
    pace: float | None = None
    each: bool = False


class Told(Struct, frozen=True):
    """What came back: gifts a second that were told 2xx while measuring, and all answers by status. `due` is by the
    system's monotonic clock, so that another process can tell what was on then; both it and `waited` are nanoseconds.
    """

    rate: float
    answers: dict[str, int]
    latency: dict[str, float]
    cpu_s: float
    due: list[int] = []
    waited: list[int] = []


def message_end(seen: bytes) -> int | None:
    """Where the first HTTP message in `seen` ends; None while it is not all there."""
    head = seen.find(b"\r\n\r\n")
    if head < 0:
        return None
    length = LENGTH.search(seen, 0, head)
    end = head + 4 + (int(length[1]) if length else 0)
    return end if end <= len(seen) else None


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of all are not above (nearest rank).

    >>> percentile([1, 2, 3, 4], 0.5), percentile([1, 2, 3, 4], 0.99)
    (2, 4)
    """
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def gift(load: Load, sender: int, recipient: int) -> str:
    """One gift as JSON. With `context`, every org has a device and shares an address with nobody."""
    body = f'"recipient":"{load.recipients[recipient]}","amount":{load.amount}'
    if load.context:
        body += f',"ip":"10.{sender >> 16}.{sender >> 8 & 255}.{sender & 255}","device":"device-{sender:06d}"'
    return f"{{{body}}}"


def requests(load: Load) -> Iterator[bytes]:
    """Requests without end: senders and recipients uniform, every Idempotency-Key new."""
    run, rng = secrets.token_hex(8), random.Random()
    heads = [head(load, key) for _, key in load.senders]
    number = 0
    while True:
        number += 1
        sender = int(rng.random() * len(heads))
        gifts = [gift(load, sender, recipient(load, sender, rng)) for _ in range(load.gifts)]
        body = gifts[0] if load.gifts == 1 else f'{{"transfers":[{",".join(gifts)}]}}'
        yield f"{heads[sender]}{run}-{number:09d}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


def recipient(load: Load, sender: int, rng: random.Random) -> int:
    """Anybody but the sender."""
    count = len(load.recipients)
    chosen = int(rng.random() * count)
    return (chosen + 1) % count if load.recipients[chosen] == load.senders[sender][0] else chosen


def head(load: Load, key: str) -> str:
    """A request up to the value of its Idempotency-Key."""
    return (
        f"POST {load.path} HTTP/1.1\r\nHost: 127.0.0.1:{load.port}\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {key}\r\nIdempotency-Key: "
    )


class Tally:
    """What all connections together were told, and when measuring starts and stops (nanoseconds)."""

    def __init__(self, load: Load) -> None:
        self.gifts = load.gifts
        self.next = requests(load).__next__
        self.due = time.perf_counter_ns()
        self.step = round(1e9 / load.pace) if load.pace else None
        self.start = self.due + round(load.warm_s * 1e9)
        self.stop = self.start + round(load.seconds * 1e9)
        self.answers: Counter[str] = Counter()
        self.good = 0
        self.each, self.latencies = load.each, array("q")
        self.dues, self.waited = array("q"), array("q")

    def turn(self) -> int:
        """When the next request is due: now, or one step after the last."""
        if self.step is None:
            return time.perf_counter_ns()
        due = self.due
        self.due += self.step
        return due

    def count(self, answer: bytes, sent: int, now: int) -> None:
        good = 0
        for status, gifts in statuses(answer, self.gifts).items():
            self.answers[status] += gifts
            good += gifts if status[0] == "2" else 0
        if self.each:
            self.dues.append(sent)
            self.waited.append(now - sent)
        if self.start <= now <= self.stop:
            self.good += good
            self.latencies.append(now - sent)


def statuses(answer: bytes, gifts: int) -> dict[str, int]:
    """How many gifts were told which status; a batch that was refused as a whole tells it to each."""
    status = answer[9:12].decode("ascii", "replace")
    if gifts == 1:
        return {status: 1}
    if status != "200":
        return {status: gifts}
    told = Counter(one.decode() for one in STATUS_OF_ONE.findall(answer))
    missing = gifts - told.total()
    return {**told, "none": missing} if missing else dict(told)


class Connection(asyncio.Protocol):
    """Sends when its turn is due, waits for the answer, takes the next turn, until the time is over."""

    def __init__(self, tally: Tally) -> None:
        self.tally = tally
        self.seen = b""
        self.sent: int | None = None
        self.loop = asyncio.get_running_loop()
        self.done = self.loop.create_future()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.take_turn()

    def take_turn(self) -> None:
        due = self.tally.turn()
        early = due - time.perf_counter_ns()
        if early > 0:
            self.loop.call_later(early / 1e9, self.send, due)
        else:
            self.send(due)

    def send(self, due: int) -> None:
        """A request that is overdue has waited since it was due."""
        if due > self.tally.stop or self.transport.is_closing():
            self.transport.close()
            return
        self.sent = due
        self.transport.write(self.tally.next())

    def data_received(self, data: bytes) -> None:
        self.seen = self.seen + data if self.seen else data
        end = message_end(self.seen)
        if end is None or self.sent is None:
            return
        now = time.perf_counter_ns()
        self.tally.count(self.seen[:end], self.sent, now)
        self.seen = self.seen[end:]
        self.sent = None
        if now < self.tally.stop:
            self.take_turn()
        else:
            self.transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        if self.sent is not None:
            self.tally.answers["none"] += self.tally.gifts
        self.done.set_result(None)


async def run(load: Load) -> Told:
    """Send the load and tell what came back."""
    loop, tally, began_s = asyncio.get_running_loop(), Tally(load), time.process_time()
    connections = []
    for _ in range(load.connections):
        _, connection = await loop.create_connection(lambda: Connection(tally), "127.0.0.1", load.port)
        connections.append(connection)
    _, late = await asyncio.wait(
        [connection.done for connection in connections], timeout=load.warm_s + load.seconds + DRAIN_S
    )
    for connection in connections:
        if connection.done in late:
            connection.transport.abort()
    await asyncio.gather(*late)
    used_s = time.process_time() - began_s
    each = tally.dues.tolist(), tally.waited.tolist()
    return Told(tally.good / load.seconds, dict(tally.answers), latency(tally.latencies), used_s, *each)


def latency(latencies: Sequence[int]) -> dict[str, float]:
    """Percentiles and the maximum, in milliseconds, of nanoseconds; empty where nothing was measured."""
    if not latencies:
        return {}
    ordered = sorted(latencies)
    shares = {name: percentile(ordered, share) / 1e6 for name, share in PERCENTILES.items()}
    return {**shares, "max_ms": ordered[-1] / 1e6}


def main() -> None:
    load = msgspec.json.decode(sys.stdin.buffer.read(), type=Load)
    gc.disable()  # nothing here makes cycles, and a pause would count as the server's
    sys.stdout.buffer.write(msgspec.json.encode(uvloop.run(run(load))))


if __name__ == "__main__":
    main()
