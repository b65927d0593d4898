"""Law 8: what was acknowledged is there, once; what was not is retried to one outcome.

Worker processes are killed with SIGKILL, their database sessions are cut, and commits are made to look ambiguous.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import parse_qs, quote, urlsplit

import asyncpg
import httpx
import pytest

from detector.errors import PolicyMoved
from detector.verify import verify
from tests.support import NEVER_FIRES, House, Worker, gather, new_key, open_door, open_house, rule, workers

SEND = "/v1/billing/credits/transfer"
GIFTS = 120


class Load:
    """Gifts under keys of their own, sent through any of several doors, and what was acknowledged."""

    def __init__(self, house: House, sender: str, recipient: str, key: dict[str, str]) -> None:
        self.house, self.sender, self.recipient, self.key = house, sender, recipient, key
        self.acknowledged: dict[str, bytes] = {}
        self.unclear: set[str] = set()

    @classmethod
    async def open(cls, house: House) -> Load:
        sender, recipient = await house.org(amount=10**6), await house.org()
        return cls(house, sender, recipient, await new_key(house.pool, "owner", sender))

    async def send(self, door: httpx.AsyncClient, name: str) -> None:
        try:
            told = await door.post(
                SEND, json={"recipient": self.recipient, "amount": 3}, headers={**self.key, "Idempotency-Key": name}
            )
        except httpx.TransportError:
            self.unclear.add(name)
            return
        if told.status_code == 201:
            assert self.acknowledged.setdefault(name, told.content) == told.content
            self.unclear.discard(name)
        else:
            # Nothing else may be said about a gift that is possible.
            assert told.status_code in (409, 503), told.text
            self.unclear.add(name)

    async def settle_the_unclear(self, door: httpx.AsyncClient) -> None:
        while self.unclear:
            await gather(self.send(door, name) for name in sorted(self.unclear))

    async def each_is_there_once(self, door: httpx.AsyncClient) -> None:
        """The acknowledged are found under the ids that were told, and asking again tells the same bytes."""
        rows = await self.house.pool.fetch("select id from ledger.transfers where recipient = $1", self.recipient)
        told = {httpx.Response(200, content=body).json()["id"] for body in self.acknowledged.values()}
        assert sorted(row["id"] for row in rows) == sorted(told)
        await gather(self.send(door, name) for name in sorted(self.acknowledged))
        assert not self.unclear
        await self.house.reconcile()
        reserved = await self.house.pool.fetchval("select reserved from ledger.orgs where id = $1", self.sender)
        assert reserved == 3 * len(self.acknowledged)
        judged = "select count(*) from detector.decisions where recipient = $1"
        assert await self.house.pool.fetchval(judged, self.recipient) == len(self.acknowledged)
        opened = await self.house.pool.fetch("select subject as id from log.events where kind = 'transfer.created'")
        all_there = await self.house.pool.fetch("select id from ledger.transfers")
        assert sorted(opened) == sorted(all_there)
        await self.each_held_one_waits_once()

    async def each_held_one_waits_once(self) -> None:
        """In a case, as the log tells it."""
        held = await self.house.pool.fetch("select id from ledger.transfers where status = 'held' order by id")
        waiting = await self.house.pool.fetch(
            "select gift_id as id from detector.case_gifts where standing = 'waiting' order by gift_id"
        )
        assert held == waiting
        told = "select sum(json_array_length(body::json -> 'gifts')) from log.events where kind in ($1, $2)"
        assert (await self.house.pool.fetchval(told, "case.opened", "case.joined") or 0) == len(held)
        async with self.house.pool.acquire() as conn:
            assert (await verify(conn)).findings == []


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


@pytest.mark.parametrize("policy", [NEVER_FIRES, rule("every", "amount > 0")], ids=["approved", "held"])
async def test_killing_a_worker_in_the_middle_of_load_loses_and_doubles_nothing(house: House, policy: str) -> None:
    await house.activate(policy)
    with workers(house.dsn, 2) as (victim, survivor):
        async with survivor.client() as safe:
            for round_, after in enumerate((3, 50)):
                if round_:
                    victim = Worker(house.dsn, victim.path.parent)
                    victim.await_health()
                try:
                    async with victim.client() as doomed:
                        load = await Load.open(house)
                        await through_a_kill(load, doomed, safe, victim, after)
                finally:
                    victim.stop()
                await load.settle_the_unclear(safe)
                assert len(load.acknowledged) == GIFTS
                await load.each_is_there_once(safe)


async def through_a_kill(
    load: Load, doomed: httpx.AsyncClient, safe: httpx.AsyncClient, victim: Worker, after: int
) -> None:
    doors = [doomed, safe]
    queue = iter(range(GIFTS))

    async def sender(number: int) -> None:
        for turn in queue:
            await load.send(doors[(number + turn) % 2], f"k{turn}")

    senders = [asyncio.create_task(sender(number)) for number in range(24)]
    await until(lambda: len(load.acknowledged) >= after)
    victim.kill()
    await gather(senders)
    assert load.unclear, "the worker was killed when nothing was under way"


async def test_a_killed_worker_starts_again_and_settles_what_it_left(house: House) -> None:
    environ = {"LOCKGATE_LOCK_HOURS": str(1 / 3600), "LOCKGATE_SETTLE_EVERY_S": "0.05"}
    load = await Load.open(house)
    with workers(house.dsn, 1, **environ) as (first,):
        async with first.client() as door:
            await gather(load.send(door, f"k{turn}") for turn in range(40))
        first.kill()
        second = Worker(house.dsn, first.path.parent, **environ)
        try:
            second.await_health()
            waits = "select count(*) from ledger.transfers where status = 'pending'"
            while await house.pool.fetchval(waits):
                await asyncio.sleep(0.05)
        finally:
            second.stop()
    statuses = await house.pool.fetch("select status, count(*) from ledger.transfers group by 1")
    assert [tuple(row) for row in statuses] == [("settled", len(load.acknowledged))] == [("settled", 40)]
    received = sum(grant["amount"] for grant in await house.grants(load.recipient))
    assert received == 120
    await house.reconcile()


async def test_cutting_every_database_session_under_load_loses_and_doubles_nothing(house: House) -> None:
    async with open_door(house.dsn) as door:
        load = await Load.open(house)
        queue = iter(range(GIFTS))

        async def sender() -> None:
            for turn in queue:
                await load.send(door, f"k{turn}")

        senders = [asyncio.create_task(sender()) for _ in range(16)]
        async with house.pool.acquire() as conn:
            for after in (2, 30, 60, 90):
                # What a slow machine could not send again in time is unclear, and may stay so until the end.
                await until(lambda after=after: len(load.acknowledged) + len(load.unclear) >= after)  # type: ignore[misc]
                await conn.execute(
                    "select pg_terminate_backend(pid) from pg_stat_activity "
                    "where datname = current_database() and pid <> pg_backend_pid()"
                )
        await gather(senders)
        await load.settle_the_unclear(door)
        assert len(load.acknowledged) == GIFTS
        await load.each_is_there_once(door)


# --- ambiguous commits ---


class Proxy:
    """Stands between the application and PostgreSQL, and cuts a connection at a commit, in one of three ways."""

    def __init__(self, server: Path, how: str, chance: float, seed: int) -> None:
        self.server, self.how, self.chance = server, how, chance
        self.draw = random.Random(seed)
        self.cuts = 0
        self.away = False
        self.open: list[asyncio.StreamWriter] = []

    def leave(self) -> None:
        """As if the server went away: nobody is connected, and nobody can connect."""
        self.away = True
        for writer in self.open:
            writer.close()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.away:
            return writer.close()
        self.open.append(writer)
        below, above = await asyncio.open_unix_connection(str(self.server))
        cut, done = asyncio.Event(), asyncio.Event()
        pumps = [
            asyncio.create_task(self.requests(reader, above, cut, done)),
            asyncio.create_task(self.replies(below, writer, cut, done)),
        ]
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
        for end in (above, writer):
            end.close()

    async def requests(
        self, reader: asyncio.StreamReader, above: asyncio.StreamWriter, cut: asyncio.Event, done: asyncio.Event
    ) -> None:
        while sent := await reader.read(65_536):
            if is_commit(sent) and self.draw.random() < self.chance:
                self.cuts += 1
                cut.set()
                if self.how == "before it arrives":
                    return
                above.write(sent)
                while not has_rows(sent):
                    more = await reader.read(65_536)
                    sent += more
                    above.write(more)
                await above.drain()
                if self.how == "after it is done":
                    await done.wait()
                return
            above.write(sent)
            await above.drain()

    async def replies(
        self, below: asyncio.StreamReader, writer: asyncio.StreamWriter, cut: asyncio.Event, done: asyncio.Event
    ) -> None:
        while told := await below.read(65_536):
            if cut.is_set():
                if b"COMMIT\x00" in told:
                    done.set()
                continue  # and tell nobody
            writer.write(told)
            await writer.drain()


def is_commit(sent: bytes) -> bool:
    """The simple query that ends a transaction, alone or after COPYs."""
    return sent[:1] == b"Q" and sent[5 : 1 + int.from_bytes(sent[1:5])].lower().rstrip(b";\x00").endswith(b"commit")


def has_rows(sent: bytes) -> bool:
    """Whether the rows of every COPY before the commit are there, each ended by a CopyDone."""
    return sent.count(b"c\x00\x00\x00\x04") >= sent.count(b" from stdin ")


@asynccontextmanager
async def between(dsn: str, how: str, chance: float, seed: int) -> AsyncIterator[tuple[str, Proxy]]:
    """A DSN that leads through a proxy."""
    asked = parse_qs(urlsplit(dsn).query)
    server = Path(asked["host"][0]) / f".s.PGSQL.{asked['port'][0]}"
    with TemporaryDirectory(prefix="lockgate-proxy-") as home:
        proxy = Proxy(server, how, chance, seed)
        listener = await asyncio.start_unix_server(proxy.serve, str(Path(home) / ".s.PGSQL.5432"))
        try:
            database = urlsplit(dsn).path
            yield f"postgresql://postgres:@{database}?host={quote(home)}&port=5432", proxy
        finally:
            listener.close()


@pytest.mark.parametrize("how", ["before it arrives", "right after it was sent", "after it is done"])
async def test_a_commit_of_which_nobody_heard_is_one_outcome(house: House, how: str) -> None:
    load = await Load.open(house)
    async with between(house.dsn, how, 0.4, seed=7) as (dsn, proxy), open_door(dsn) as door:
        queue = iter(range(40))

        async def sender() -> None:
            for turn in queue:
                await load.send(door, f"k{turn}")

        await gather(sender() for _ in range(4))
        await load.settle_the_unclear(door)
        assert proxy.cuts >= 3
        assert len(load.acknowledged) == 40
        await load.each_is_there_once(door)


async def test_while_the_database_is_away_the_answer_is_503_and_later_the_gift_is_sent_once(house: House) -> None:
    load = await Load.open(house)
    async with between(house.dsn, "", 0, seed=1) as (dsn, proxy), open_door(dsn) as door:
        await load.send(door, "before")
        proxy.leave()
        body = {"recipient": load.recipient, "amount": 3}
        headers = {**load.key, "Idempotency-Key": "during"}
        told = await door.post(SEND, json=body, headers=headers)
        assert (told.status_code, told.json()["code"]) == (503, "unavailable"), told.text
        assert told.headers["content-type"] == "application/problem+json"
        health = await door.get("/healthz")
        assert (health.status_code, health.json()["status"]) == (503, "unavailable")
        proxy.away = False
        await load.send(door, "during")
        assert load.acknowledged.keys() == {"before", "during"}
        await load.each_is_there_once(door)


async def test_a_read_while_the_database_is_away_is_503_too(house: House) -> None:
    load = await Load.open(house)
    async with between(house.dsn, "", 0, seed=1) as (dsn, proxy), open_door(dsn) as door:
        await load.send(door, "before")
        proxy.leave()
        balance = await door.get("/v1/billing/credits/balance", headers=load.key)
        assert (balance.status_code, balance.json()["code"]) == (503, "unavailable")


@pytest.mark.parametrize("how", ["before it arrives", "after it is done"])
async def test_a_settlement_of_which_nobody_heard_happens_once(house: House, how: str) -> None:
    sender, recipient = await house.org(amount=100), await house.org()
    for _ in range(10):
        await house.sent(sender, recipient, 5)
    await house.pass_time(3_601)
    async with between(house.dsn, how, 0.5, seed=3) as (dsn, proxy), open_house(dsn, None, size=2) as behind:
        await until_settled(house, behind)
        assert proxy.cuts >= 1
    assert [grant["amount"] for grant in await house.grants(recipient)] == [5] * 10
    await house.reconcile()


async def until_settled(house: House, behind: House) -> None:
    waits = "select count(*) from ledger.transfers where status = 'pending'"
    while await house.pool.fetchval(waits):
        await tried(lambda: behind.works.settlement.settle_due(most=2))


async def tried(act: Callable[[], Awaitable[object]]) -> None:
    """Like the settlement loop: a fault is tried again."""
    try:
        await act()
    except (asyncpg.PostgresError, asyncpg.InterfaceError, PolicyMoved, OSError):
        await asyncio.sleep(0.01)
