"""Law 7: the same key and body give the same bytes, at any age and from any process; another body is refused."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

import asyncpg
import httpx
import pytest

from tests.support import NEVER_FIRES, House, Worker, gather, limit, new_key, open_door, open_house, rule

SEND = "/v1/billing/credits/transfer"


async def post(door: httpx.AsyncClient, key: dict[str, str], name: str, body: dict[str, Any]) -> httpx.Response:
    return await door.post(SEND, json=body, headers={**key, "Idempotency-Key": name})


async def test_every_kind_of_answer_is_given_again_to_the_byte_also_after_a_restart(house: House) -> None:
    await house.activate(
        rule("medium", "amount between 5 and 6")
        + rule("large", "amount = 7", "block")
        + limit("n", "sender", "1h", count=2)
    )
    sender, recipient = await house.org(amount=100), await house.org()
    key = await new_key(house.pool, "owner", sender)
    gifts = {
        "pending": ({"recipient": recipient, "amount": 1, "note": "é"}, 201),
        "held": ({"recipient": recipient, "amount": 5}, 201),
        "refused": ({"recipient": recipient, "amount": 1}, 429),
        "poor": ({"recipient": recipient, "amount": 1_000}, 402),
        "nobody": ({"recipient": "nosuch", "amount": 1}, 422),
    }
    first: dict[str, bytes] = {}
    async with open_door(house.dsn) as door:
        for name, (body, status) in gifts.items():
            told = await post(door, key, name, body)
            assert told.status_code == status, told.text
            first[name] = told.content
    # All of it is possible by now; and yet the answers stand.
    await house.pass_time(400 * 86_400)
    await house.grant(sender, 10_000)
    await house.org("nosuch")
    await house.activate(NEVER_FIRES)
    async with open_door(house.dsn) as door:
        for name, (body, status) in gifts.items():
            told = await post(door, key, name, body)
            assert (told.status_code, told.content) == (status, first[name])
            assert told.headers["Idempotency-Replayed"] == "true"
            other = await post(door, key, name, {**body, "amount": 2})
            assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
            # The refusal did not replace the answer.
            assert (await post(door, key, name, body)).content == first[name]
    assert await house.pool.fetchval("select count(*) from ledger.transfers") == 2


async def test_a_gift_that_settled_still_answers_as_it_began(house: House) -> None:
    sender, recipient = await house.org(amount=10), await house.org()
    first = await house.send(sender, recipient, 10, key="k")
    await house.pass_time(3_601)
    await house.settle()
    again = await house.send(sender, recipient, 10, key="k")
    assert again.body == first.body and json.loads(again.body)["status"] == "pending"


async def test_every_field_belongs_to_the_meaning_and_white_space_does_not(house: House) -> None:
    sender, recipient, other = await house.org(amount=100), await house.org(), await house.org()
    await house.send(sender, recipient, 1, key="k", note="n", ip="i", device="d")
    plain = {"recipient": recipient, "amount": 1, "note": "n", "ip": "i", "device": "d"}
    changes: list[dict[str, Any]] = [{"recipient": other}, {"amount": 2}, {"note": "m"}, {"note": None}, {"ip": "j"},
                                     {"ip": None}, {"device": "e"}, {"device": None}]  # fmt: skip
    for change in changes:
        asked = {**plain, **change}
        told = await house.send(sender, asked.pop("recipient"), asked.pop("amount"), key="k", **asked)
        assert told.status == 422, change
    assert (await house.send(sender, recipient, 1, key="k", device="d", ip="i", note="n")).replayed


async def test_keys_are_each_orgs_own(house: House) -> None:
    a, b = await house.org(amount=10), await house.org(amount=10)
    first, second = await house.send(a, b, 1, key="k"), await house.send(b, a, 1, key="k")
    assert (first.status, second.status) == (201, 201) and first.body != second.body


async def test_while_it_runs_the_key_is_refused_and_then_answered(house: House) -> None:
    sender, recipient = await house.org(amount=10), await house.org()
    async with house.pool.acquire() as holder:
        transaction = holder.transaction()
        await transaction.start()
        await holder.execute("select from ledger.orgs where id = $1 for update", sender)
        first = asyncio.create_task(house.send(sender, recipient, 1, key="k"))
        await asyncio.sleep(0)
        second = await house.send(sender, recipient, 1, key="k")
        assert (second.status, json.loads(second.body)["code"]) == (409, "still_running")
        await transaction.rollback()
    told = await first
    assert (await house.send(sender, recipient, 1, key="k")).body == told.body


@pytest.mark.parametrize("amount", [1, 10**6], ids=["admitted", "too-much"])
async def test_racing_duplicates_over_four_processes_are_one_gift(four: tuple[str, list[Worker]], amount: int) -> None:
    dsn, started = four
    doors = [worker.client() for worker in started]
    async with open_house(dsn) as house:
        sender, recipient = await house.org(amount=1_000), await house.org()
        key = await new_key(house.pool, "owner", sender)
        body = {"recipient": recipient, "amount": amount}
        keys = [f"k{n}" for n in range(10)]
        told = await gather(post(doors[n % 4], key, name, body) for n in range(20) for name in keys)
        answered: dict[str, set[bytes]] = {name: set() for name in keys}
        statuses: Counter[int] = Counter()
        for position, one in enumerate(told):
            statuses[one.status_code] += 1
            if one.status_code != 409:
                answered[keys[position % 10]].add(one.content)
        assert set(statuses) <= {201 if amount == 1 else 402, 409}
        assert {len(bodies) for bodies in answered.values()} == {1}
        count = await house.pool.fetchval("select count(*) from ledger.transfers where sender = $1", sender)
        assert count == (10 if amount == 1 else 0)
        await house.reconcile()
    await gather(door.aclose() for door in doors)


async def test_a_batch_that_is_run_again_gives_the_same_bytes(house: House) -> None:
    """Whatever happened to the first run: nobody needs to know whether its commit did."""
    from ledger.transfers import Request
    from tests.support import again

    sender, recipient = await house.org(amount=5), await house.org()
    requests = [Request(f"tr_{n}", f"k{n % 6}", sender, recipient, 1, None, None, None, b"") for n in range(9)]
    first = await again(lambda: house.works.gate.commit(requests))
    second = await house.works.gate.commit(requests)
    assert [one.status for one in first] == [201] * 5 + [402] + [201] * 3
    assert [one.body for one in second] == [one.body for one in first]
    assert [one.replayed for one in first] == [False] * 6 + [True] * 3 and all(one.replayed for one in second)


async def test_the_database_keeps_one_answer_a_key(house: House) -> None:
    sender, recipient = await house.org(amount=5), await house.org()
    await house.send(sender, recipient, 1, key="k")
    with pytest.raises(asyncpg.UniqueViolationError):
        await house.pool.execute(
            "insert into ledger.answers (org_id, key, body_hash, status, body) values ($1, 'k', '', 201, '')", sender
        )
