"""Events reach an endpoint at least once, whoever is killed: the receiver, the delivering processes, or their sessions.

The receiver is a process that keeps each event once by its webhook-id; worker processes deliver; both are killed with
SIGKILL at random while events are appended.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from pathlib import Path

import asyncpg
import pytest

from detector.contract import Told, append
from ledger import endpoint_work as work
from tests.receiver import ReceiverProcess
from tests.support import House, Worker

SUBJECTS = 12
HUNG_S = 120
SESSIONS = "select pid from pg_stat_activity where datname = current_database() and backend_type = 'client backend'"
# A lease is waited for after each kill of a worker: see `let_time_pass`.
ENVIRON = {
    "LOCKGATE_WEBHOOK_PRIVATE": "allow",
    "LOCKGATE_WEBHOOK_RETRY_S": "0.05",
    "LOCKGATE_WEBHOOK_EVERY_S": "0.05",
    "LOCKGATE_WEBHOOK_TIMEOUT_S": "10",
}


async def tell(house: House, subjects: Sequence[str]) -> None:
    """Append an event of each of these subjects, in one link."""
    async with house.pool.acquire() as conn, conn.transaction():
        await append(conn, [Told("transfer.settled", one, "test", {"amount": 1}) for one in subjects])


async def tell_many(house: House, draw: random.Random, number: int) -> None:
    """Append so many events, a few in each link, in subjects that repeat."""
    while number > 0:
        some = min(number, draw.randint(1, 9))
        await tell(house, [f"tr_{draw.randrange(SUBJECTS)}" for _ in range(some)])
        number -= some


async def let_time_pass(house: House) -> None:
    """The lease that a killed worker left ends now instead of within a minute, and what waits is due."""
    async with house.pool.acquire() as conn, conn.transaction():
        await conn.execute("update ledger.endpoints set leased_until = clock_timestamp() where lease is not null")
        await conn.execute("update ledger.undelivered set next_at = clock_timestamp() where next_at is not null")
        await conn.execute("update ledger.endpoints set due_at = clock_timestamp() where due_at is not null")


async def arrived(house: House, there: ReceiverProcess, number: int) -> None:
    """Wait until so many events are kept; two minutes without any more is a fault, and says how the endpoint stands."""
    before, since = 0, time.monotonic()
    while (kept := len(there.events())) < number:
        if kept > before:
            before, since = kept, time.monotonic()
        if time.monotonic() - since > HUNG_S:
            states = ("endpoints", "undelivered", "deliveries")
            found = [await house.pool.fetch(f"select * from ledger.{name} limit 50") for name in states]
            raise AssertionError((kept, number, found))
        await asyncio.sleep(0.1)


async def endpoint(house: House, there: ReceiverProcess) -> None:
    async with house.pool.acquire() as conn, conn.transaction():
        _, there.secret = await work.add(conn, there.url, ["transfer.*"], "", "test")


async def each_once_and_in_order(house: House, there: ReceiverProcess) -> None:
    rows = await house.pool.fetch("select seq, subject from log.events where kind = 'transfer.settled' order by seq")
    kept = there.events()
    assert sorted(kept) == [tuple(row) for row in rows]
    for subject in {subject for _, subject in kept}:
        seqs = [seq for seq, one in kept if one == subject]
        assert seqs == sorted(seqs), subject
    assert there.arrivals() >= len(kept)


@pytest.mark.parametrize("rounds", [3, pytest.param(40, marks=pytest.mark.soak)])
async def test_whoever_is_killed_every_event_is_kept_once_and_in_order(
    house: House, tmp_path: Path, rounds: int
) -> None:
    draw = random.Random(rounds)
    there = ReceiverProcess(tmp_path, "", trouble=0.05)
    await endpoint(house, there)
    ours = [row[0] for row in await house.pool.fetch(SESSIONS)]
    there.start()
    workers = [Worker(house.dsn, tmp_path, **ENVIRON) for _ in range(2)]
    try:
        for worker in workers:
            worker.await_health()
        for number in range(rounds):
            before = len(there.events())
            await tell_many(house, draw, 120)
            await arrived(house, there, before + draw.randint(1, 60))
            there.kill()
            theirs = [row[0] for row in await house.pool.fetch(SESSIONS) if row[0] not in ours]
            if number % 2:
                victim = workers.pop(draw.randrange(2))
                victim.kill()
                workers.append(Worker(house.dsn, tmp_path, **ENVIRON))
            else:
                await house.pool.fetch("select pg_terminate_backend(pid) from unnest($1::integer[]) as pid", theirs)
            await tell_many(house, draw, 20)
            await asyncio.sleep(draw.random() * 0.3)
            there.start()
            await let_time_pass(house)
        total = await house.pool.fetchval("select count(*) from log.events where kind = 'transfer.settled'")
        await arrived(house, there, total)
        await each_once_and_in_order(house, there)
        shown = work.view((await house.pool.fetch("select *, upto as head from ledger.endpoints"))[0])
        assert shown["enabled"]
    finally:
        for worker in workers:
            worker.stop()
        there.kill()


async def test_a_deliverer_killed_between_the_posts_and_their_record_posts_them_again(
    house: House, tmp_path: Path
) -> None:
    """The worker hangs at the record, behind a lock on the endpoint, when everything is posted; then it is killed."""
    there = ReceiverProcess(tmp_path, "")
    await endpoint(house, there)
    there.start()
    worker = Worker(house.dsn, tmp_path, **ENVIRON)
    blocker = await asyncpg.connect(house.dsn)
    try:
        worker.await_health()
        stop = blocker.transaction()
        await stop.start()
        # the turn may claim and read, and waits only when it records
        await blocker.execute("lock table ledger.deliveries in exclusive mode")
        await tell(house, [f"tr_{number % SUBJECTS}" for number in range(30)])
        await arrived(house, there, 30)
        worker.kill()
        await stop.rollback()
        assert await house.pool.fetchval("select count(*) from ledger.deliveries") == 0
        await let_time_pass(house)
        worker = Worker(house.dsn, tmp_path, **ENVIRON)
        while await house.pool.fetchval("select count(*) from ledger.deliveries where outcome = 'delivered'") < 30:
            await asyncio.sleep(0.05)
        await each_once_and_in_order(house, there)
        assert there.arrivals() > 30
    finally:
        await blocker.close()
        worker.stop()
        there.kill()
