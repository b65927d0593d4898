"""Law 2: available ≥ 0 per grant and per org, whatever the concurrency."""

from __future__ import annotations

import random

import asyncpg
import pytest

from ledger.errors import InsufficientCredits
from ledger.gate import Gate
from ledger.transfers import Request
from tests.support import House, again, gather, open_house


@pytest.mark.parametrize("seed", range(3))
async def test_racing_gifts_never_overdraw_over_several_processes_connections(house: House, seed: int) -> None:
    """Three works on pools of their own stand in for three processes: they share nothing but PostgreSQL."""
    draw = random.Random(seed)
    async with open_house(house.dsn, None) as second, open_house(house.dsn, None) as third:
        sender = await house.org()
        recipients = [await house.org() for _ in range(4)]
        for _ in range(5):
            await house.grant(sender, 100, priority=draw.randrange(3))
        amounts = [draw.randint(1, 40) for _ in range(60)]
        told = await gather(
            draw.choice([house, second, third]).send(sender, draw.choice(recipients), amount) for amount in amounts
        )
        spent = sum(amount for amount, one in zip(amounts, told, strict=True) if one.status == 201)
        assert {one.status for one in told} == {201, 402}
        assert (await house.reconcile())["reserved"] == spent <= 500
        left = 500 - spent
        # Whoever was refused could not have been served from what is left at the end.
        assert all(a > left for a, one in zip(amounts, told, strict=True) if one.status == 402)


async def test_gifts_and_consumption_race_for_the_same_credits(house: House) -> None:
    sender, recipient = await house.org(amount=100), await house.org()

    async def consume() -> int:
        try:
            await house.consume(sender, 10)
        except InsufficientCredits:
            return 402
        return 201

    async def send() -> int:
        return (await house.send(sender, recipient, 10)).status

    told = await gather([*(consume() for _ in range(12)), *(send() for _ in range(12))])
    assert told.count(201) == 10
    sums = await house.reconcile()
    assert sums["consumed"] + sums["reserved"] == 100


async def test_one_batch_never_spends_twice(house: House) -> None:
    sender, recipient = await house.org(amount=10), await house.org()
    gate: Gate = house.works.gate.commit.__self__  # type: ignore[attr-defined]
    requests = [Request(f"tr_{n}", f"k{n}", sender, recipient, 4, None, None, None, b"") for n in range(5)]
    told = await again(lambda: gate.commit(requests))
    assert [one.status for one in told] == [201, 201, 402, 402, 402]


async def test_an_org_with_very_many_grants_can_send_all_of_it(house: House) -> None:
    sender, recipient = await house.org(), await house.org()
    for _ in range(70):
        await house.grant(sender, 2)
    assert (await house.send(sender, recipient, 141)).status == 402
    assert (await house.send(sender, recipient, 140)).status == 201
    await house.reconcile()


OVERDRAFTS = {
    "org_never_overdrawn": "update ledger.orgs set available = -1",
    "org_reserve_never_negative": "update ledger.orgs set reserved = -1",
    "grant_never_overdrawn": "update ledger.grants set available = -1",
    "grant_reserve_never_negative": "update ledger.grants set reserved = -1",
}


@pytest.mark.parametrize("constraint", OVERDRAFTS)
async def test_the_database_refuses_an_overdraft(house: House, constraint: str) -> None:
    await house.org(amount=10)
    with pytest.raises(asyncpg.CheckViolationError) as refused:
        await house.pool.execute(OVERDRAFTS[constraint])
    assert refused.value.constraint_name == constraint


@pytest.mark.parametrize("account", ["available", "reserved"])
async def test_the_database_refuses_a_balanced_posting_that_overdraws(house: House, account: str) -> None:
    a = await house.org(amount=10)
    (grant,) = await house.grants(a)
    with pytest.raises(asyncpg.CheckViolationError) as refused:
        await house.pool.execute(
            "insert into ledger.entries (posting_id, line, kind, at, org_id, grant_id, account, amount) values "
            "('x/consume', 0, 'consume', now(), $1, $2, $3, -11), ('x/consume', 1, 'consume', now(), $1, $2, "
            "'consumed', 11)",
            a,
            grant["id"],
            account,
        )
    assert refused.value.constraint_name in OVERDRAFTS
    await house.reconcile()


async def test_a_grant_never_holds_more_than_it_was_issued_with(house: House) -> None:
    a = await house.org(amount=10)
    (grant,) = await house.grants(a)
    with pytest.raises(asyncpg.CheckViolationError):
        await house.pool.execute("update ledger.grants set available = 11 where id = $1", grant["id"])
