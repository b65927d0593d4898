"""A report of a stolen account races with gifts that are sent, cancelled and settled: whatever the order, afterwards
nothing of the org waits unheld or settles; and the database refuses what code would have to forget for that."""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack, suppress
from datetime import datetime
from typing import Any

import asyncpg
import msgspec
import pytest

from ledger.errors import Conflict
from tests.support import House, open_house

ROUNDS = 6


async def race(houses: list[House], org: str, friend: str, seed: int) -> tuple[dict[str, Any], list[int]]:
    """One org's gifts on four connections, and a report among them; what it did, and the answers to what was sent."""
    choose, stopped = random.Random(seed), asyncio.Event()
    since = await houses[0].pool.fetchval("select clock_timestamp()")
    told: list[int] = []
    sent: list[str] = []

    async def send(house: House) -> None:
        while not stopped.is_set():
            answer = await house.send(org, friend, 1)
            told.append(answer.status)
            if answer.status == 201:
                sent.append(msgspec.json.decode(answer.body)["id"])

    async def settle() -> None:
        while not stopped.is_set():
            await houses[2].settle_in_bits()
            await asyncio.sleep(0)

    async def cancel() -> None:
        while not stopped.is_set():
            if sent:
                with suppress(Conflict):  # it settled before
                    await houses[1].cancel(org, choose.choice(sent))
            await asyncio.sleep(0)

    async def report() -> dict[str, Any]:
        while len(sent) < 10 + choose.randrange(20):
            await asyncio.sleep(0)
        answer = await houses[3].compromised(org, since)
        enough = len(told) + 5
        while len(told) < enough:
            await asyncio.sleep(0)
        stopped.set()
        return answer

    *_, answer = await asyncio.gather(send(houses[0]), send(houses[1]), settle(), cancel(), report())
    return answer, told


async def test_whatever_the_order_nothing_of_a_stolen_account_waits_or_settles(database: str) -> None:
    async with AsyncExitStack() as stack:
        houses = [await stack.enter_async_context(open_house(database, lock_s=0, size=3)) for _ in range(4)]
        for house in houses:
            await house.know_policy()
        settled = held = 0
        for seed in range(ROUNDS):
            org, friend = await houses[0].org(amount=100_000), await houses[0].org()
            answer, told = await race(houses, org, friend, seed)
            assert told[-1] == 403
            await houses[2].settle()
            at = datetime.fromisoformat(answer["at"])
            rows = await houses[0].pool.fetch("select * from ledger.transfers where sender = $1", org)
            assert {row["status"] for row in rows} <= {"settled", "held", "cancelled"}
            assert all(row["created_at"] < at for row in rows)
            assert all(row["ended_at"] < at for row in rows if row["status"] == "settled")
            named = {one["id"]: one["now"] for one in answer["gifts"]}
            assert {row["id"]: row["status"] for row in rows if named.get(row["id"]) == "settled"} == {
                name: now for name, now in named.items() if now == "settled"
            }
            assert {row["id"] for row in rows if row["status"] == "held"} <= {
                *(name for name, now in named.items() if now == "held"),
                *answer["in_hand"],
            }
            settled, held = settled + list(named.values()).count("settled"), held + list(named.values()).count("held")
            await houses[0].reconcile()
        assert settled and held, "the race never came to both"


async def test_two_reports_at_once_each_count(house: House) -> None:
    org, friend = await house.org(amount=1_000), await house.org()
    since = await house.pool.fetchval("select clock_timestamp()")
    gifts = {await house.sent(org, friend, 1) for _ in range(5)}
    answers = await asyncio.gather(*(house.compromised(org, since) for _ in range(4)))
    assert sorted(one["was"] for answer in answers for one in answer["gifts"]) == ["held"] * 15 + ["pending"] * 5
    assert all({one["id"] for one in answer["gifts"]} == gifts for answer in answers)
    assert len({answer["case"] for answer in answers}) == 1


REFUSED = {
    "a settlement while the report stands": (
        "update ledger.transfers set status = 'settled', version = version + 1, ended_at = clock_timestamp(), "
        "settle_verdict = 'approve', settle_decision_id = 'x', settle_hash = payload_hash where sender = $1",
        ("compromised_settles_nothing", "never_unjudged"),
    ),
    "a claim about what is to come": (
        "insert into ledger.compromise_reports values ('cr_9', $1, now(), now() + interval '1 s', 'a', 'b', 'hold', 0)",
        ("claimed_no_later_than_reported",),
    ),
    "a report that changes": (
        "update ledger.compromise_reports set detail = 'x' where org_id = $1", ("compromise_reports_append_only",)
    ),
    "a gift that was told of and is forgotten": (
        "delete from ledger.compromised_gifts where report_id <> $1", ("compromised_gifts_append_only",)
    ),
    "a gift that a report leaves waiting": (
        "insert into ledger.compromised_gifts select id, 'tr_1', 'held', 'settled' from ledger.compromise_reports "
        "where org_id = $1",
        ("reported_gifts_never_wait_unheld",),
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
async def test_the_database_refuses(house: House, what: str) -> None:
    statement, constraints = REFUSED[what]
    org, friend = await house.org(amount=1_000), await house.org()
    since = await house.pool.fetchval("select clock_timestamp()")
    await house.sent(org, friend, 1)
    await house.compromised(org, since)
    # A report that did not see the gift, as if code had passed it over.
    await house.sent(friend, org, 1) if "settlement" in what and await grant(house, friend) else None
    if "settlement" in what:
        org = friend
        await house.pool.execute("update ledger.orgs set compromised_at = null where id = $1", friend)
    with pytest.raises(asyncpg.PostgresError) as refused:
        await house.pool.execute(statement, org)
    assert refused.value.constraint_name in constraints


async def grant(house: House, org: str) -> bool:
    await house.grant(org, 1_000)
    return True
