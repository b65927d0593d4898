"""A ledger and its scorer as two real processes on two databases, with a process between them that can misbehave."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import asyncpg
import httpx

from detector import store as detector_store
from ledger.access import issue_key
from tests.support import NEVER_FIRES, House, Worker, new_key, open_house

MISBEHAVING = Path(__file__).parent / "faults" / "misbehaving.py"
SEND = "/v1/billing/credits/transfer"
# Long enough for an honest answer on a busy machine, and far from how long a client waits.
DEADLINE_MS = 2_500


@dataclass(slots=True)
class Apart:
    """Both processes' databases, and how the way between them behaves."""

    ledger_dsn: str
    scorer_dsn: str
    home: Path
    scorer: Worker
    environ: dict[str, str] = field(default_factory=dict)
    ledgers: list[Worker] = field(default_factory=list)
    between: list[subprocess.Popen[bytes]] = field(default_factory=list)
    port: int = 0

    def beside(self, ledger_dsn: str) -> Apart:
        """The same scorer, and the same way to it, for another ledger."""
        self.way("pass") if self.between else self.begin()
        return replace(self, ledger_dsn=ledger_dsn, environ=dict(self.environ), ledgers=[])

    def end(self) -> None:
        for worker in self.ledgers:
            worker.stop()

    def begin(self) -> None:
        """Open the way; at the same port again, where there was one before."""
        self.way("pass")
        arguments = [str(self.scorer.path), str(self.home / "way"), str(self.port)]
        between = subprocess.Popen([sys.executable, str(MISBEHAVING), *arguments], stdout=subprocess.PIPE)
        self.between.append(between)
        assert between.stdout is not None
        self.port = int(between.stdout.readline())

    def refuse(self) -> None:
        """From now on nobody listens at that port."""
        between = self.between.pop()
        between.kill()
        between.communicate()

    def way(self, how: str) -> None:
        """pass, or how to misbehave from now on."""
        draft = self.home / "draft"
        draft.write_text(how)
        draft.rename(self.home / "way")  # nobody reads half of it

    def ledger(self) -> Worker:
        """Another process of the ledger, healthy."""
        worker = Worker(self.ledger_dsn, self.home, **self.environ)
        self.ledgers.append(worker)
        worker.await_health()
        return worker

    @asynccontextmanager
    async def house(self) -> Any:
        """The ledger's database as tests read it."""
        async with open_house(self.ledger_dsn, None) as house:
            yield house


@contextmanager
def apart(ledger_dsn: str, scorer_dsn: str, policy: str = NEVER_FIRES, **environ: str) -> Iterator[Apart]:
    """A scorer that is up, the way to it, and what a ledger's process needs to know; all ended at the end."""
    with TemporaryDirectory(prefix="lockgate-apart-") as home, asyncio.Runner() as runner:
        key = runner.run(prepare(scorer_dsn, policy))
        scorer = Worker(scorer_dsn, Path(home), LOCKGATE_ONLY="detector")
        pair = Apart(ledger_dsn, scorer_dsn, Path(home), scorer)
        try:
            pair.begin()
            pair.environ = {
                "LOCKGATE_ONLY": "ledger",
                "LOCKGATE_SCORER": f"http://127.0.0.1:{pair.port}",
                "LOCKGATE_SCORER_KEY": key,
                "LOCKGATE_SCORER_DEADLINE_MS": str(DEADLINE_MS),
                "LOCKGATE_SETTLE_EVERY_S": "0.2",
                **environ,
            }
            scorer.await_health()
            yield pair
        finally:
            while pair.between:
                pair.refuse()
            pair.end()
            scorer.stop()


async def prepare(dsn: str, policy: str) -> str:
    """A scorer's database that judges, and the key of the ledger that will ask."""
    conn = await asyncpg.connect(dsn)
    try:
        await detector_store.add_policy(conn, policy, "test")
        return await issue_key(conn, "service", "ledger")
    finally:
        await conn.close()


@dataclass(slots=True)
class Sender:
    """An org with credits, its key, and where it sends to."""

    house: House
    org: str
    recipient: str
    key: dict[str, str]
    sent: int = 0

    @classmethod
    async def new(cls, house: House, amount: int = 10**9) -> Sender:
        org, recipient = await house.org(amount=amount), await house.org()
        return cls(house, org, recipient, await new_key(house.pool, "owner", org))

    async def send(self, door: httpx.AsyncClient, key: str = "", amount: int = 10) -> httpx.Response:
        self.sent += 1
        headers = {**self.key, "Idempotency-Key": key or f"{self.org}-{self.sent}"}
        return await door.post(SEND, json={"recipient": self.recipient, "amount": amount}, headers=headers)


async def until(met: Callable[[], Awaitable[Any]], within_s: float = 60) -> Any:
    """What `met` gives once that is true."""
    for _ in range(int(within_s / 0.1)):
        if found := await met():
            return found
        await asyncio.sleep(0.1)
    raise AssertionError(f"not met in {within_s} s")


async def reasons(house: House, decision: str) -> list[str]:
    """Verdict and reasons of a recorded decision."""
    verdict, hits = await house.pool.fetchrow("select verdict, hits from detector.decisions where id = $1", decision)
    return [verdict, *(f"{hit['by']}:{hit['name']}" for hit in json.loads(hits))]
