"""Law 6: exact limits over four real worker processes; a refused gift burns no budget; nobody deadlocks."""

from __future__ import annotations

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from detector import policy as policies
from detector.limits import Limit
from tests.support import NEVER_FIRES, SECOND_US, House, Worker, gather, limit, new_key, open_house

RACERS = 200


@dataclass(frozen=True, slots=True)
class Race:
    """Four worker processes on one database, and this process to look into it."""

    house: House
    doors: list[httpx.AsyncClient]

    async def sender(self, credits: int = 10**9, **more: Any) -> tuple[str, dict[str, str]]:
        org = await self.house.org(amount=credits, **more)
        return org, await new_key(self.house.pool, "owner", org)

    async def run(self, gifts: Sequence[tuple[dict[str, str], dict[str, Any]]], seed: int) -> list[httpx.Response]:
        """All of them at once, each through a worker drawn at random."""
        draw = random.Random(seed)
        return await gather(
            draw.choice(self.doors).post(
                "/v1/billing/credits/transfer",
                json=body,
                headers={**key, "Idempotency-Key": f"race{seed}-{number}"},
            )
            for number, (key, body) in enumerate(gifts)
        )

    async def judged(self) -> None:
        """No deadlock, and law 1."""
        deadlocks = await self.house.pool.fetchval(
            "select deadlocks from pg_stat_database where datname = current_database()"
        )
        assert deadlocks == 0
        await self.house.reconcile()


@pytest.fixture
async def race(four: tuple[str, list[Worker]]) -> AsyncIterator[Race]:
    dsn, started = four
    async with open_house(dsn) as house:
        doors = [worker.client() for worker in started]
        yield Race(house, doors)
        await gather(door.aclose() for door in doors)


@pytest.mark.parametrize(("seed", "most"), [(1, 37), (2, 1), (3, 150)])
async def test_of_racing_gifts_exactly_as_many_pass_as_the_limit_allows(race: Race, seed: int, most: int) -> None:
    await race.house.activate(limit("exact", "sender", "1h", count=most))
    sender, key = await race.sender()
    recipients = [await race.house.org() for _ in range(20)]
    draw = random.Random(seed)
    told = await race.run([(key, {"recipient": draw.choice(recipients), "amount": 1}) for _ in range(RACERS)], seed)
    assert Counter(one.status_code for one in told) == {201: most, 429: RACERS - most}
    opened = "select count(*) from ledger.transfers where sender = $1 and status = 'pending'"
    assert await race.house.pool.fetchval(opened, sender) == most
    moments = "select count(distinct at) from detector.decisions where sender = $1"
    assert await race.house.pool.fetchval(moments, sender) > 1, "all racers were decided in one batch"
    assert all(one.headers["Retry-After"] for one in told if one.status_code == 429)
    await race.judged()


async def test_a_value_limit_is_exact_too(race: Race) -> None:
    await race.house.activate(limit("exact", "sender", "1h", value=1_000))
    _, key = await race.sender()
    recipient = await race.house.org()
    draw = random.Random(4)
    amounts = [draw.randint(1, 60) for _ in range(RACERS)]
    told = await race.run([(key, {"recipient": recipient, "amount": amount}) for amount in amounts], 4)
    spent = sum(amount for amount, one in zip(amounts, told, strict=True) if one.status_code == 201)
    refused = [amount for amount, one in zip(amounts, told, strict=True) if one.status_code == 429]
    assert spent <= 1_000 and refused
    assert all(amount > 1_000 - spent for amount in refused), "a gift was refused that would have fitted to the end"
    await race.judged()


async def test_a_limit_on_a_tier_is_exact_over_all_its_senders(race: Race) -> None:
    """A tier is known only once its sender is read, so it is locked by a statement of its own."""
    await race.house.activate(limit("exact", "tier", "1h", count=40))
    senders = [await race.sender(tier="racing") for _ in range(8)]
    recipients = [await race.house.org() for _ in range(8)]
    told = await race.run(
        [(senders[n % 8][1], {"recipient": recipients[n % 7], "amount": 1}) for n in range(RACERS)], 7
    )
    assert Counter(one.status_code for one in told) == {201: 40, 429: RACERS - 40}
    await race.judged()


async def test_a_refused_gift_leaves_every_other_budget_as_it_was(race: Race) -> None:
    """Ten pairs may do 3 each, the sender 25: did a refused pair burn the sender's budget, fewer would pass."""
    await race.house.activate(limit("pair", "pair", "1h", count=3) + limit("sender", "sender", "1h", count=25))
    sender, key = await race.sender()
    recipients = [await race.house.org() for _ in range(10)]
    told = await race.run([(key, {"recipient": recipients[n % 10], "amount": 1}) for n in range(RACERS)], 5)
    assert Counter(one.status_code for one in told) == {201: 25, 429: RACERS - 25}
    rows = await race.house.pool.fetch(
        "select recipient, count(*) from ledger.transfers where sender = $1 group by 1", sender
    )
    assert all(row["count"] <= 3 for row in rows)
    await race.judged()


MIXED = (
    limit("sender", "sender", "1h", count=12)
    + limit("pair", "pair", "1h", count=5)
    + limit("recipient", "recipient", "1h", value=400)
    + limit("ip", "ip", "1h", count=15)
    + limit("device", ["device", "sender"], "1h", value=200)
    + limit("hold", "recipient", "1h", "hold", count=4)
)


@pytest.mark.parametrize("seed", [6, 7])
async def test_mixed_keys_agree_with_counting_by_hand(race: Race, seed: int) -> None:
    """Every decision that four processes took, in the order they took them, is the one that counting by hand takes."""
    await race.house.activate(MIXED)
    draw = random.Random(seed)
    senders = [await race.sender() for _ in range(6)]
    recipients = [await race.house.org() for _ in range(4)] + [name for name, _ in senders[:2]]
    context = [None, f"x{seed}", f"y{seed}"]
    gifts = []
    for _ in range(RACERS):
        name, key = draw.choice(senders)
        body = {
            "recipient": draw.choice([one for one in recipients if one != name]),
            "amount": draw.randint(1, 50),
            "ip": draw.choice(context),
            "device": draw.choice(context),
        }
        gifts.append((key, body))
    told = await race.run(gifts, seed)
    assert {one.status_code for one in told} == {201, 429}
    rows = await race.house.pool.fetch(
        "select * from detector.decisions where sender = any($1) and look = 1 order by at, seq",
        [name for name, _ in senders],
    )
    assert len(rows) == RACERS
    past: dict[Any, list[tuple[int, int]]] = defaultdict(list)
    limits = policies.read(MIXED).limits
    for row in rows:
        exceeded = [one.name for one in limits if over(one, row, past)]
        refused = any(name != "hold" for name in exceeded)
        assert row["refused"] == refused, (dict(row), exceeded)
        assert row["verdict"] == ("block" if refused else "hold" if exceeded else "approve"), (dict(row), exceeded)
        if not refused:
            for one in limits:
                past[key_of(one, row)].append((micros(row), 1 if one.count is not None else row["amount"]))
    await race.judged()


def key_of(one: Limit, row: Any) -> tuple[Any, ...]:
    names = [name for key in one.on for name in (("sender", "recipient") if key == "pair" else (key,))]
    return (one.name, *(row[name] for name in names))


def over(one: Limit, row: Any, past: dict[Any, list[tuple[int, int]]]) -> bool:
    key = key_of(one, row)
    if None in key:
        return False
    inside = [weight for at, weight in past[key] if at > micros(row) - one.window_s * SECOND_US]
    return sum(inside) + (1 if one.count is not None else row["amount"]) > (one.count or one.value or 0)


def micros(row: Any) -> int:
    return int(row["at"].timestamp() * SECOND_US + 0.5)


async def test_senders_that_gift_to_each_other_never_deadlock(race: Race) -> None:
    await race.house.activate(NEVER_FIRES)
    members = [await race.sender(1_000) for _ in range(5)]
    draw = random.Random(8)
    gifts = []
    for _ in range(RACERS):
        (_, key), (other, _) = draw.sample(members, 2)
        gifts.append((key, {"recipient": other, "amount": 1, "ip": draw.choice("pqr"), "device": draw.choice("st")}))
    told = await race.run(gifts, 8)
    assert Counter(one.status_code for one in told) == {201: RACERS}
    await race.judged()


async def test_a_cold_process_is_as_exact_as_a_warm_one(house: House) -> None:
    """Its first batches race while it has yet to load the policy."""
    await house.activate(limit("exact", "recipient", "1h", count=5))
    senders = [await house.org(amount=100) for _ in range(30)]

    async def late(cold: House, turn: int, sender: str, recipient: str) -> int:
        for _ in range(turn):
            await asyncio.sleep(0)
        return (await cold.send(sender, recipient, 1)).status

    for _ in range(12):
        recipient = await house.org()
        async with open_house(house.dsn, None) as cold:
            told = await gather(late(cold, 3 * n, sender, recipient) for n, sender in enumerate(senders))
        assert Counter(told) == {201: 5, 429: 25}
