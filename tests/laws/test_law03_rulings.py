"""Law 3 at the desk: a ruling, the settler and the sender meet on one gift; one outcome each, and no credit is lost."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from typing import Any

import httpx
import msgspec
import pytest

from detector.verify import verify
from ledger.errors import Conflict
from tests.support import CREDIT, MEDIUM, REVIEWED, House, Seat, Worker, again, gather, open_door, open_house, seat

RACES = 200
LOCK_S, HOLD_S = 3_600, 10_800
ENDS = {"release": "released", "block": "blocked", "return": "returned"}


@pytest.fixture
async def house(database: str) -> AsyncIterator[House]:
    async with open_house(database, REVIEWED, lock_s=LOCK_S, hold_s=HOLD_S, size=10) as opened:
        yield opened


@pytest.fixture
async def door(database: str, house: House) -> AsyncIterator[httpx.AsyncClient]:
    async with open_door(database, lock_s=LOCK_S, hold_s=HOLD_S) as client:
        yield client


async def move_deadline(house: House, gift: str, in_s: float) -> None:
    """Let a gift's hold run out so many seconds from now."""
    async with house.pool.acquire() as conn, conn.transaction():
        await conn.execute("set local session_replication_role = replica")
        until = await conn.fetchval("select clock_timestamp() + $1 * interval '1 second'", in_s)
        await conn.execute("update ledger.transfers set hold_until = $2 where id = $1", gift, until)
        await conn.execute("update detector.case_gifts set deadline = $2 where gift_id = $1", gift, until)


async def settle_until_taken(house: House, ruled: asyncio.Task[httpx.Response]) -> int:
    """The settler, at work for as long as somebody rules."""
    took = 0
    while not ruled.done():
        took += await house.works.settlement.settle_due(most=1)
    return took


async def case_of(house: House, gift: str) -> str:
    return str(await house.pool.fetchval("select case_id from detector.case_gifts where gift_id = $1", gift))


async def test_a_ruling_and_the_settler_on_one_gift(house: House, door: httpx.AsyncClient) -> None:
    """Two hundred times, with the deadline drawn so that either may be first."""
    lead = await seat(door, house.pool, "carol", "lead")
    draw = random.Random(13)
    outcomes: Counter[str] = Counter()
    for _ in range(RACES):
        a, b = await house.org(amount=1_000 * CREDIT), await house.org()
        gift = await house.sent(a, b, MEDIUM)
        case, act = await case_of(house, gift), draw.choice(["release", "block", "return"])
        await move_deadline(house, gift, draw.uniform(-0.002, 0.02))
        ruled = asyncio.create_task(lead.rule(case, act))
        took = await settle_until_taken(house, ruled)
        answer = await ruled
        while answer.status_code == 409 and not took:  # it came too late for the ruling, and too early for the settler
            took = await house.settle()
        outcomes[await one_outcome(house, lead, gift, case, act, answer, took)] += 1
    assert outcomes["lapsed"] and sum(outcomes.values()) - outcomes["lapsed"], outcomes
    await house.reconcile()


async def one_outcome(
    house: House, lead: Seat, gift: str, case: str, act: str, answer: httpx.Response, took: int
) -> str:
    """The gift's end, said alike by the transfer, its entries, the case, the log and the answer."""
    row, file = await house.transfer(gift), await lead.file(case)
    standing: str = file["gifts"][0]["standing"]
    assert standing == (ENDS[act] if answer.status_code == 200 else "lapsed"), (answer.text, took)
    reason = {"released": None, "blocked": "ruled_block", "returned": "ruled_return", "lapsed": "hold_expired"}
    assert (row["status"], row["reason"]) == ("pending" if standing == "released" else "returned", reason[standing])
    kinds = await house.pool.fetch("select distinct kind from ledger.entries where posting_id like $1", f"{gift}/%")
    assert {one["kind"] for one in kinds} == ({"reserve"} if standing == "released" else {"reserve", "return"})
    told = [one["kind"] for one in file["audit"]]
    assert told.count("case.ended") == 1
    assert sum(told.count(kind) for kind in ("gift.released", "gift.ruled_out", "gift.hold_expired")) == 1
    assert file["case"]["status"] == "ended"
    return standing


async def test_a_storm_over_many_cases_ends_without_deadlock(four: tuple[str, list[Worker]]) -> None:
    """Senders, cancels, claims, rulings and two settlers at once on a few orgs, whose gifts gather all the time."""
    dsn, started = four
    async with AsyncExitStack() as stack:
        house = await stack.enter_async_context(open_house(dsn, REVIEWED, lock_s=1, hold_s=2, size=10))
        doors = [await stack.enter_async_context(worker.client()) for worker in started]
        names = [await house.org(amount=10**9 * CREDIT) for _ in range(8)]
        seats = [await seat(doors[n % 4], house.pool, f"lead{n}", "lead") for n in range(8)]
        gifts: list[tuple[str, str]] = []

        async def sends(seed: int) -> None:
            draw = random.Random(seed)
            for _ in range(25):
                a, b = draw.sample(names, 2)
                answer = await house.send(a, b, draw.choice([5, MEDIUM, MEDIUM]))
                if answer.status == 201:
                    gifts.append((a, msgspec.json.decode(answer.body)["id"]))
                assert answer.status in (201, 403, 422), answer  # a party may be frozen at this moment

        async def cancels(seed: int) -> None:
            draw = random.Random(seed)
            for _ in range(30):
                await asyncio.sleep(0.05)
                if gifts:
                    sender, gift = draw.choice(gifts[-3:])
                    with suppress(Conflict):
                        await house.cancel(sender, gift)

        async def reviews(one: Seat, seed: int) -> None:
            draw = random.Random(seed)
            for _ in range(12):
                for case in await one.queue(limit=5):
                    told: list[Any] = [await one.claim(case["id"]), await one.act(case["id"], "notes", {"text": "x"})]
                    told.append(await one.rule(case["id"], draw.choice(["release", "block", "return", "freeze"])))
                    assert {answer.status_code for answer in told} <= {200, 409}, [answer.text for answer in told]
                await gather(house.freeze(name, False) for name in names)

        async def settles() -> None:
            while not over.is_set():
                await again(lambda: house.works.settlement.settle_due(most=5))
                await asyncio.sleep(0.005)

        over = asyncio.Event()
        jobs = [*(sends(seed) for seed in range(4)), *(cancels(seed) for seed in range(2)), asyncio.sleep(4)]
        jobs += [reviews(one, seed) for seed, one in enumerate(seats)]
        async with asyncio.TaskGroup() as settlers:
            for _ in range(2):
                settlers.create_task(settles())
            try:
                async with asyncio.TaskGroup() as group:
                    for job in jobs:
                        group.create_task(job)
            finally:
                over.set()
        ends = "select status, count(*) as n from ledger.transfers where sender = any($1) group by 1"
        found = {row["status"]: row["n"] for row in await house.pool.fetch(ends, names)}
        assert {"settled", "returned", "cancelled"} <= found.keys(), found
        await consistent(house, names)


async def consistent(house: House, names: list[str]) -> None:
    """Every held gift waits in one case that has not ended; sums and proposals are as their rows say."""
    assert await house.pool.fetchval("select sum(deadlocks) from pg_stat_database") == 0
    held = await house.pool.fetch("select id from ledger.transfers where status = 'held' and sender = any($1)", names)
    waiting = await house.pool.fetch(
        "select g.gift_id as id from detector.case_gifts g join detector.cases c on c.id = g.case_id "
        "where g.standing = 'waiting' and c.ended_at is null and g.sender = any($1)", names,
    )  # fmt: skip
    assert sorted(one["id"] for one in held) == sorted(one["id"] for one in waiting)
    wrong = await house.pool.fetchval(
        "select count(*) from detector.cases c left join ("
        " select case_id, count(*) as waiting, sum(amount) as at_risk from detector.case_gifts"
        " where standing = 'waiting' group by 1) g"
        " on g.case_id = c.id where c.waiting <> coalesce(g.waiting, 0) or c.at_risk <> coalesce(g.at_risk, 0)"
        " or (c.ended_at is null) <> (c.waiting > 0)"
    )
    assert wrong == 0
    async with house.pool.acquire() as conn:
        assert (await verify(conn)).findings == []
    await house.reconcile()
