"""What many tests need: an open house on a real database, time that passes, worker processes, short policies."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import asyncpg
import httpx
import hypothesis
import msgspec
import polars as pl

from detector import champions
from detector import store as detector_store
from detector.activity import Activity, State
from detector.errors import PolicyMoved
from detector.gift import Event, Gift
from detector.policy import Policy
from ledger import compromise, funding, orgs, reversal, revocation, settlement
from ledger.access import issue_key
from ledger.api import SEND, request_of
from ledger.errors import Conflict
from ledger.funding import Issue, Terms
from ledger.news import News
from ledger.relook import Again
from ledger.transfers import Answer
from lockgate import connections
from lockgate.app import build
from lockgate.config import Settings
from lockgate.works import Works
from models.files import MANIFEST, open_parcel
from models.manifest import decode, sha256

ROOT = Path(__file__).parent.parent
HOUR_US = 3_600_000_000
SECOND_US = 1_000_000
CREDIT = 1_000_000
NEVER_FIRES = '[[rule]]\nname = "never"\nwhen = "amount < 0"\nverdict = "hold"\ndescription = "fires on nothing"\n'
TERMS = Terms(clearing_s=0)

_numbers = itertools.count(1)
T = TypeVar("T")


def examples(most: int, **more: Any) -> hypothesis.settings:
    """Hypothesis on real work: few examples, no deadline, the same ones at every run of CI."""
    calm = [hypothesis.HealthCheck.function_scoped_fixture, hypothesis.HealthCheck.too_slow]
    ci = "CI" in os.environ
    chosen: dict[str, Any] = {"deadline": None, "suppress_health_check": calm, "print_blob": True, **more}
    return hypothesis.settings(
        max_examples=most, derandomize=ci, database=None, stateful_step_count=chosen.pop("steps", 20), **chosen
    )


# --- policies ---


def rule(name: str, when: str, verdict: str = "hold") -> str:
    return f'[[rule]]\nname = "{name}"\nwhen = """{when}"""\nverdict = "{verdict}"\ndescription = "a test"\n'


def limit(name: str, on: str | Sequence[str], window: str, action: str = "block", **quota: int) -> str:
    keys = [on] if isinstance(on, str) else list(on)
    ((kind, most),) = quota.items()
    return (
        f'[[limit]]\nname = "{name}"\non = {msgspec.json.encode(keys).decode()}\nwindow = "{window}"\n'
        f'{kind} = {most}\naction = "{action}"\ndescription = "a test"\n'
    )


def asks(least: int, level: str, max_age: str | None = None) -> str:
    """What gifts of so much or more ask of their sender's identity."""
    age = f'max_age = "{max_age}"\n' if max_age else ""
    return f'[[identity]]\nfrom = {least}\nlevel = "{level}"\n{age}description = "a test"\n'


# --- the pure detector ---


def gift(**facts: Any) -> Gift:
    """A gift from a to b of one micro-credit, except as told."""
    return Gift(**{"id": "g1", "sender": "a", "recipient": "b", "amount": 1, "payload_hash": b"", **facts})


def event(at: int, **facts: Any) -> Event:
    """An admitted event from a to b of one micro-credit, except as told."""
    plain = {"sender": "a", "recipient": "b", "amount": 1, "ip": None, "device": None, "tier": None}
    return Event(**{"at": at, "admitted": True, **plain, **facts})


def remember(policy: Policy, events: Iterable[Event], *also: Gift) -> Activity:
    """Activity as a process has it that saw all of these events."""
    activity = Activity(policy.shapes)
    events = sorted(events, key=lambda one: one.at)
    for one in (*events, *also):
        for key in activity.keys(one):  # type: ignore[arg-type]
            activity.states.setdefault(key, State())
    for one in events:
        activity.add(one)
    return activity


# --- an open house: the works of one process ---


@dataclass(frozen=True, slots=True)
class House:
    """The works of one process on one database, and the platform's acts upon it."""

    dsn: str
    works: Works

    @property
    def pool(self) -> asyncpg.Pool:
        return self.works.pool

    async def activate(self, policy: str) -> int:
        async with self.pool.acquire() as conn:
            return await detector_store.add_policy(conn, policy, "test")

    async def promote(self, parcel: bytes | None, *, role: str = "champion") -> str | None:
        """Give the role to an artifact, or to none; the name that decisions give it."""
        async with self.pool.acquire() as conn, conn.transaction():
            if parcel is None:
                await champions.promote(conn, role, None, "test", "a test")
                return None
            manifest = open_parcel(parcel)[MANIFEST]
            name, sha = decode(manifest).name, sha256(manifest)
            await champions.add(conn, name, sha, parcel, "test")
            await champions.promote(conn, role, sha, "test", "a test")
            return f"{name}@{sha[:12]}"

    async def org(self, name: str = "", *, identity: str = "basic", tier: str = "standard", **more: Any) -> str:
        name = name or f"org{next(_numbers)}"
        owner, created, domain = (more.pop(fact, None) for fact in ("owner", "created_at", "domain"))
        async with self.pool.acquire() as conn:
            with suppress(Conflict):
                await orgs.create(conn, name, tier, identity, owner=owner, created_at=created, domain=domain)
        if more:
            await self.grant(name, **more)
        return name

    async def grant(self, org: str, amount: int, *, origin: str = "purchase", terms: Terms = TERMS, **more: Any) -> str:
        async with self.pool.acquire() as conn, conn.transaction():
            locked = await funding.lock_org(conn, org)
            more.setdefault("expires_at", locked["now"] + timedelta(days=1000))
            row = funding.grant_row(org, Issue(amount, origin, **more), terms, locked["now"])
            await funding.issue(conn, [row])
            return str(row[0])

    async def consume(self, org: str, amount: int, subject: str = "") -> int:
        async with self.pool.acquire() as conn, conn.transaction():
            return await funding.consume(conn, org, amount, subject or f"{org}/use{next(_numbers)}")

    async def revoke(self, grant: str, amount: int | None = None) -> asyncpg.Record:
        async with self.pool.acquire() as conn, conn.transaction():
            return await revocation.revoke(conn, self.works.detector, grant, amount)

    async def reverse(self, transfer: str, amount: int | None = None, **more: Any) -> asyncpg.Record:
        async with self.pool.acquire() as conn, conn.transaction():
            return await reversal.reverse(conn, transfer, amount, "a test", **more)

    async def freeze(self, org: str, frozen: bool = True) -> None:
        async with self.pool.acquire() as conn:
            await orgs.freeze(conn, org, frozen)

    async def send(self, sender: str, recipient: str, amount: int, key: str = "", **more: Any) -> Answer:
        """Through the gate, as the route does it."""
        asked = msgspec.json.encode({"recipient": recipient, "amount": amount, **more})
        actor = _Actor(sender)
        return await self.works.send(request_of(actor, SEND.decode(asked), key or f"k{next(_numbers)}"))  # type: ignore[arg-type]

    async def sent(self, sender: str, recipient: str, amount: int, **more: Any) -> str:
        """The id of a gift that passed the gate."""
        answer = await self.send(sender, recipient, amount, **more)
        assert answer.status == 201, answer
        return str(msgspec.json.decode(answer.body)["id"])

    async def compromised(self, org: str, since: datetime, **more: Any) -> dict[str, Any]:
        """Report an org's account as stolen; what was done."""

        async def once() -> compromise.Reported:
            async with self.pool.acquire() as conn, conn.transaction():
                judge, claim = self.works.detector, compromise.Claim(org, since, "test", "a test", **more)
                return await compromise.report(conn, judge, judge, claim, self.works.relook.hold_s)

        done = await again(once)
        done.seen.close(committed=True)
        return done.answer

    async def reserved(self, sender: str, recipient: str, amount: int, key: str = "") -> str:
        """The id of a gift between the two commits of a ledger that asks a scorer on machines of its own."""
        asked = SEND.decode(msgspec.json.encode({"recipient": recipient, "amount": amount}))
        request = request_of(_Actor(sender), asked, key or f"k{next(_numbers)}")  # type: ignore[arg-type]
        ((told,), _) = await self.works.apart.screening.reserve([request])
        assert isinstance(told, str), told
        return told

    async def settle(self) -> int:
        """Everything that is due now; how many transfers."""
        took, total = 1, 0
        while took:
            took = await again(self.works.settlement.settle_due)
            total += took
        return total

    async def settle_in_bits(self) -> int:
        """Like settle, three at a time, so that several who settle at once meet often; None left means done."""
        took, total = 1, 0
        while took:
            took = await again(lambda: self.works.settlement.settle_due(most=3))
            total += took
        return total

    async def look_again(self, gifts: Sequence[str], news: str = "test", **more: Any) -> list[Again]:
        """Judge waiting gifts again, for a reason of the test's own."""
        return await again(lambda: self.works.relook.judge(gifts, news, **more))

    async def catch_up(self) -> int:
        """Judge again what all news so far touches; how many gifts were looked at."""
        news, looked = News(self.works.relook), 0
        while await news.hear():
            await asyncio.sleep(0.005)
        while took := await again(news.work):
            looked += took
        return looked

    async def know_policy(self) -> None:
        """Load the generation that judges, so that what races next does not begin with it."""

        async def once() -> None:
            async with self.pool.acquire() as conn, conn.transaction():
                (await self.works.detector.gather(conn, [])).close(committed=True)

        await again(once)

    async def expire(self) -> int:
        return await funding.expire_due(self.pool)

    async def cancel(self, sender: str, transfer: str) -> asyncpg.Record:
        return await settlement.cancel(self.pool, self.works.detector, sender, transfer)

    async def transfer(self, name: str) -> asyncpg.Record:
        row = await self.pool.fetchrow("select * from ledger.transfers where id = $1", name)
        assert row is not None, name
        return row

    async def grants(self, org: str) -> list[asyncpg.Record]:
        rows: list[asyncpg.Record] = await self.pool.fetch(
            "select * from ledger.grants where org_id = $1 order by created_at, id", org
        )
        return rows

    async def reconcile(self) -> dict[str, Any]:
        """Law 1, asserted; the sums."""
        async with self.pool.acquire() as conn:
            sums = await funding.reconcile(conn)
        assert sums["balanced"], sums
        return sums

    async def pass_time(self, seconds: float) -> None:
        """Let time pass without waiting: everything that happened or will happen does so that much earlier."""
        async with self.pool.acquire() as conn, conn.transaction():
            # Triggers refuse to change what was recorded; a replica's session skips them.
            await conn.execute("set local session_replication_role = replica")
            for table, column in TIMES:
                await conn.execute(
                    f"update {table} set {column} = {column} - $1 * interval '1 second' where {column} < '9000-01-01'",
                    seconds,
                )
        self.works.detector.activity.states.clear()


TIMES = [
    *(("ledger.orgs", name) for name in ("created_at", "identity_at", "compromised_at", "cool_until")),
    *(("ledger.grants", name) for name in ("expires_at", "giftable_at", "rooted_at", "created_at", "revoked_at")),
    *(("ledger.transfers", name) for name in ("created_at", "settle_at", "hold_until", "ended_at")),
    *((f"ledger.{name}", "at") for name in ("entries", "revocations", "receivables", "reversals")),
    *(("ledger.compromise_reports", name) for name in ("since", "at")),
    ("detector.decisions", "at"),
    ("detector.labels", "at"),
    *(("detector.cases", name) for name in ("opened_at", "deadline", "claimed_until", "ended_at")),
    *(("detector.case_gifts", name) for name in ("at", "deadline", "left_at")),
    ("detector.case_keys", "at"),
    *(("detector.rulings", name) for name in ("at", "deadline", "second_at")),
    ("detector.labels", "label_at"),
    *(("detector.breaker_openings", name) for name in ("opened_at", "closed_at")),
    ("detector.breaker", "over_at"),
    ("detector.breaker_tallies", "at"),
    ("ledger.questions", "lease_until"),
    *(("detector.list_entries", name) for name in ("added_at", "expires_at", "removed_at")),
]


@dataclass(frozen=True, slots=True)
class _Actor:
    org_id: str


async def again(act: Callable[[], Awaitable[T]]) -> T:
    """What `act` gives once it knows the generation that judges."""
    while True:
        try:
            return await act()
        except PolicyMoved:
            continue


@asynccontextmanager
async def open_house(
    dsn: str, policy: str | None = NEVER_FIRES, *, lock_s: int = 3600, hold_s: int = 10_800, size: int = 6
) -> AsyncIterator[House]:
    """A house whose doors close at the end. Without a policy the one that is active stays."""
    pool = await connections.pool(dsn, size=size)
    try:
        house = House(dsn, Works.build(pool, Settings(database_url=dsn, lock_s=lock_s, hold_s=hold_s)))
        if policy is not None:
            await house.activate(policy)
        yield house
    finally:
        await pool.close()


@asynccontextmanager
async def open_door(dsn: str, **settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client of the whole application, in this process, once it has looked at what was news; it then rests."""
    calm = {"settle_every_s": 3600.0, "clearing_s": 0}
    app = build(Settings(database_url=dsn, **{**calm, **settings}))
    async with app.router.lifespan_context(app):
        if settings.get("only") != "detector":
            await rest(dsn)
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://lockgate") as client:
            yield client


async def rest(dsn: str, most_s: float = 5.0) -> None:
    """Until the news of before is judged: a gift that the application looks at just then is locked, and whoever settles
    passes over it. What has to wait for somebody's open transaction is not waited for."""
    conn = await asyncpg.connect(dsn)
    busy = "select exists (select from detector.news) or exists (select from ledger.relooks)"
    deadline, quiet = time.monotonic() + most_s, 0
    while quiet < 2 and time.monotonic() < deadline:
        quiet = 0 if await conn.fetchval(busy) else quiet + 1
        await asyncio.sleep(0.02)
    await conn.close()


async def new_key(pool: asyncpg.Pool, role: str, org: str | None = None, name: str = "test") -> dict[str, str]:
    """The header of a fresh API key."""
    async with pool.acquire() as conn:
        return {"Authorization": f"Bearer {await issue_key(conn, role, name, org)}"}


# --- worker processes ---


class Worker:
    """One real uvicorn process on a socket of its own."""

    def __init__(self, dsn: str, home: Path, **environ: str) -> None:
        self.path = home / f"worker{next(_numbers)}.sock"
        self.log = self.path.with_suffix(".log")
        calm = {"LOCKGATE_SETTLE_EVERY_S": "3600", "PYTHONUNBUFFERED": "1"}
        command = [sys.executable, "-m", "uvicorn", "lockgate.app:create", "--factory", "--no-access-log"]
        command += ["--http", "lockgate.wire:Wire"]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*command, "--uds", str(self.path)],
                cwd=ROOT,
                env={**os.environ, **calm, **environ, "DATABASE_URL": dsn},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def client(self) -> httpx.AsyncClient:
        transport = httpx.AsyncHTTPTransport(uds=str(self.path), limits=httpx.Limits(max_connections=100))
        return httpx.AsyncClient(transport=transport, base_url="http://lockgate", timeout=120)

    def await_health(self, most_s: float = 120) -> None:
        deadline = time.monotonic() + most_s
        while not self.listens():
            assert self.process.poll() is None and time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(self.path)), base_url="http://lockgate") as client:
            assert client.get("/healthz", timeout=most_s).status_code == 200, self.log.read_text()

    def listens(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(self.path))
            except (FileNotFoundError, ConnectionRefusedError):
                return False
        return True

    def kill(self) -> None:
        """As the kernel does it, without a word."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()


@contextmanager
def workers(dsn: str, number: int, **environ: str) -> Iterator[list[Worker]]:
    """So many healthy worker processes on one database, ended at the end."""
    with TemporaryDirectory(prefix="lockgate-workers-") as home:
        started: list[Worker] = []
        try:
            started += [Worker(dsn, Path(home), **environ) for _ in range(number)]
            for worker in started:
                worker.await_health()
            yield started
        finally:
            for worker in started:
                worker.stop()


# --- the desk ---

REVIEWED = rule("medium", "amount >= 100000000") + '[review]\nclaim = "10m"\nfour_eyes = 1000000000\n'
MEDIUM = 100 * CREDIT  # held by REVIEWED
LARGE = 1_000 * CREDIT  # held, and ruled on by two people


@dataclass(frozen=True, slots=True)
class Seat:
    """One person at the desk: their key, on a client of the API."""

    client: httpx.AsyncClient
    key: dict[str, str]

    async def ask(self, path: str, **query: Any) -> httpx.Response:
        return await self.client.get(f"/v1/cases{path}", headers=self.key, params=query)

    async def act(self, case: str, act: str, body: Any = None) -> httpx.Response:
        return await self.client.post(f"/v1/cases/{case}/{act}", headers=self.key, json={} if body is None else body)

    async def queue(self, **query: Any) -> list[dict[str, Any]]:
        told = await self.ask("", **query)
        assert told.status_code == 200, told.text
        found: list[dict[str, Any]] = told.json()["cases"]
        return found

    async def file(self, case: str) -> dict[str, Any]:
        told = await self.ask(f"/{case}")
        assert told.status_code == 200, told.text
        found: dict[str, Any] = told.json()
        return found

    async def claim(self, case: str) -> httpx.Response:
        """Claim a case as it stands now."""
        return await self.act(case, "claim", {"version": (await self.file(case))["case"]["version"]})

    async def rule(self, case: str, act: str, **more: Any) -> httpx.Response:
        return await self.act(case, "rulings", {"act": act, "why": "a test", **more})

    async def ruled(self, case: str, act: str, **more: Any) -> dict[str, Any]:
        """Claim and rule; the case's file after it."""
        assert (await self.claim(case)).status_code == 200
        told = await self.rule(case, act, **more)
        assert told.status_code == 200, told.text
        found: dict[str, Any] = told.json()
        return found


async def seat(client: httpx.AsyncClient, pool: asyncpg.Pool, name: str, role: str = "analyst") -> Seat:
    return Seat(client, await new_key(pool, role, name=name))


async def gather(jobs: Iterable[Awaitable[T]]) -> list[T]:
    return list(await asyncio.gather(*jobs))


# --- rings ---


def one_ring(history: pl.DataFrame) -> list[tuple[str, str]]:
    """Sender and recipient of each gift of the largest ring: orgs that gave crosswise, and nobody else."""
    groups: list[list[tuple[str, str]]] = []
    for row in history.filter(pl.col("typology") == "collusive_ring").iter_rows(named=True):
        pair = row["sender"], row["recipient"]
        linked = [group for group in groups if any(set(pair) & set(one) for one in group)]
        groups = [group for group in groups if group not in linked] + [[pair, *(one for g in linked for one in g)]]
    ring = max(groups, key=len)
    assert 8 <= len(ring) <= 200, len(ring)
    return ring
