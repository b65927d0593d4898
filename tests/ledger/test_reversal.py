"""Reversal: a settled gift comes back, part by part and never more than it was; what cannot be had is said."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import asyncpg
import httpx
import pytest

from ledger.errors import Conflict, NotFound
from tests.ledger.test_revocation import available, give
from tests.support import House, gather, new_key, open_door, open_house

NATURE = ("origin", "root_id", "priority", "expires_at", "giftable", "giftable_at", "rooted_at")


@pytest.fixture
async def http(house: House) -> AsyncIterator[httpx.AsyncClient]:
    """The platform's client."""
    async with open_door(house.dsn, lock_s=3600) as client:
        client.headers.update(await new_key(house.pool, "platform"))
        yield client


async def test_a_gift_goes_back_to_the_grants_it_was_cut_from(house: House) -> None:
    a, b = await house.org(), await house.org()
    roots = [await house.grant(a, 10, priority=priority) for priority in (1, 2)]
    gift = await give(house, a, b, 15)
    record = await house.reverse(gift, 12)
    assert (record["asked"], record["amount"], record["repaid"]) == (12, 12, 0)
    rows = {row["id"]: row["available"] for row in await house.grants(a)}
    assert rows == {roots[0]: 10, roots[1]: 7}, "nothing new is made of what goes home"
    assert await available(house, a, b) == [17, 3]
    row = await house.transfer(gift)
    assert (row["status"], row["version"], row["settled_amount"]) == ("settled", 2, 15), "a transfer ends once"
    await house.reconcile()


async def test_what_the_gift_lacks_comes_of_the_recipients_other_credits_in_their_own_nature(house: House) -> None:
    a, b, c = await house.org(amount=20), await house.org(), await house.org()
    gift = await give(house, a, b, 10)
    await give(house, b, c, 4)
    other = await house.grant(b, 5, origin="promo", priority=3)
    await house.grant(b, 50, origin="free_tier")
    record = await house.reverse(gift)
    assert (record["asked"], record["amount"], record["repaid"]) == (10, 10, 4)
    _, repaid = await house.grants(a)
    parent = await house.pool.fetchrow("select * from ledger.grants where id = $1", other)
    assert (repaid["parent_id"], repaid["transfer_id"], repaid["amount"]) == (other, gift, 4)
    assert {part: repaid[part] for part in NATURE} == {part: parent[part] for part in NATURE}
    assert await available(house, a, b, c) == [20, 51, 4], (
        "who was given it on keeps it; free credits stay where they are"
    )
    await house.reconcile()


async def test_what_is_used_up_is_not_recovered_and_nobody_goes_below_zero(house: House) -> None:
    a, b = await house.org(amount=10), await house.org()
    gift = await give(house, a, b, 10)
    await house.consume(b, 7)
    record = await house.reverse(gift)
    assert (record["asked"], record["amount"]) == (10, 3)
    assert await available(house, a, b) == [3, 0]
    nothing = await house.reverse(gift)
    assert (nothing["asked"], nothing["amount"]) == (7, 0)
    await house.grant(b, 100)
    later = await house.reverse(gift, 5)
    assert (later["amount"], later["repaid"]) == (5, 5), "what was not recovered may be asked for again"
    only = await house.reverse(gift, only_gift=True)
    assert (only["asked"], only["amount"]) == (2, 0)


async def test_what_expired_stays_expired(house: House) -> None:
    a, b = await house.org(), await house.org()
    now = await house.pool.fetchval("select clock_timestamp()")
    await house.grant(a, 10, expires_at=now + timedelta(hours=2))
    gift = await give(house, a, b, 10)
    await house.pass_time(3_600)
    assert (await house.reverse(gift))["amount"] == 0
    await house.expire()
    assert (await house.reconcile())["expired"] == 10


async def test_only_a_settled_gift_is_reversed_and_never_beyond_what_settled(house: House) -> None:
    a, b = await house.org(amount=30), await house.org()
    with pytest.raises(NotFound):
        await house.reverse("tr_nosuch")
    waits = await house.sent(a, b, 10)
    with pytest.raises(Conflict, match="pending"):
        await house.reverse(waits)
    await house.cancel(a, waits)
    with pytest.raises(Conflict, match="cancelled"):
        await house.reverse(waits)
    gift = await give(house, a, b, 10)
    with pytest.raises(Conflict, match="10 micro-credits"):
        await house.reverse(gift, 11)
    await house.reverse(gift, 4)
    with pytest.raises(Conflict, match="6 micro-credits"):
        await house.reverse(gift, 7)
    await house.reverse(gift)
    with pytest.raises(Conflict, match="reversed already"):
        await house.reverse(gift)


async def test_racing_reversals_come_to_at_most_what_settled(house: House) -> None:
    """Twelve reversals of 3 on three works, while the recipient uses and gives on; law 3 and law 2."""
    async with open_house(house.dsn, None) as second, open_house(house.dsn, None) as third:
        works = (house, second, third)
        a, b, c = await house.org(amount=20), await house.org(), await house.org()
        gift = await give(house, a, b, 20)

        async def reverse(number: int) -> int:
            try:
                record = await works[number % 3].reverse(gift, 3)
            except Conflict:
                return 0
            return int(record["amount"])

        async def spend(number: int) -> int:
            told = await works[number % 3].send(b, c, 2)
            return 2 if told.status == 201 else 0

        taken, spent = await gather([gather(map(reverse, range(12))), gather(map(spend, range(6)))])
        assert sum(taken) + sum(spent) <= 20 and sum(taken) >= 3
        assert await house.pool.fetchval("select sum(amount) from ledger.reversals") == sum(taken)
        assert await available(house, a, b) == [sum(taken), 20 - sum(taken) - sum(spent)]
        await house.reconcile()


async def test_reversing_races_with_revoking(house: House) -> None:
    async with open_house(house.dsn, None) as second:
        a, b = await house.org(), await house.org()
        root = await house.grant(a, 40)
        gifts = [await give(house, a, b, 10) for _ in range(3)]

        async def reverse(name: str) -> int:
            return int((await second.reverse(name))["amount"])

        record, *taken = await gather([house.revoke(root), *map(reverse, gifts)])
        assert record["taken"] == 40 and set(taken) <= {0, 10}
        assert await available(house, a, b) == [0, 0]
        await house.reconcile()


EXCESSES = {"more than settled": "$1, 11, 11", "an unsettled gift": "$2, 1, 1", "no gift": "'tr_x' || $1 || $2, 1, 1"}


@pytest.mark.parametrize("excess", EXCESSES)
async def test_the_database_refuses_a_reversal_of(house: House, excess: str) -> None:
    a, b = await house.org(amount=30), await house.org()
    settled, waits = await give(house, a, b, 10), await house.sent(a, b, 10)
    with pytest.raises(asyncpg.CheckViolationError) as refused:
        await house.pool.execute(
            "insert into ledger.reversals (id, at, repaid, reason, transfer_id, asked, amount) "
            f"select 'x', now(), 0, 'r', {EXCESSES[excess]} where $1::text || $2::text is not null",
            *(settled, waits),
        )
    assert refused.value.constraint_name == "reversed_at_most_settled"


# --- over HTTP ---


async def post(http: httpx.AsyncClient, gift: str, key: str, **body: Any) -> httpx.Response:
    path = f"/v1/transfers/{gift}/reversals"
    return await http.post(path, json={"reason": "stolen account", **body}, headers={"Idempotency-Key": key})


async def test_the_platform_reverses_once_under_a_key(http: httpx.AsyncClient, house: House) -> None:
    a, b = await house.org(amount=20), await house.org()
    gift = await give(house, a, b, 10)
    first = await post(http, gift, "k", amount=4)
    assert (first.status_code, first.json()["amount"], first.json()["not_recovered"]) == (201, 4, 0)
    again = await post(http, gift, "k", amount=4)
    assert (again.status_code, again.content) == (201, first.content)
    assert (await post(http, gift, "k", amount=5)).json()["code"] == "idempotency_key_reused"
    refused = await post(http, gift, "k2", amount=7)
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    assert (await post(http, gift, "k2", amount=7)).content == refused.content, "a refusal is kept too"
    assert await available(house, a, b) == [14, 6]
    for org in (a, b):
        reader = await new_key(house.pool, "reader", org)
        seen = (await http.get(f"/v1/billing/credits/transfers/{gift}", headers=reader)).json()
        assert (seen["status"], seen["settled_amount"], seen["reversed_amount"]) == ("settled", 10, 4)
        (row,) = (await http.get("/v1/billing/credits/transfers", headers=reader)).json()["transfers"]
        assert row["reversed_amount"] == 4
    listed = (await http.get(f"/v1/transfers/{gift}/reversals")).json()["reversals"]
    assert listed == [first.json()]


async def test_racing_requests_of_one_key_reverse_once(http: httpx.AsyncClient, house: House) -> None:
    a, b = await house.org(amount=20), await house.org()
    gift = await give(house, a, b, 10)
    told = await gather(post(http, gift, "k", amount=2) for _ in range(6))
    assert {one.status_code for one in told} <= {201, 409} and 201 in {one.status_code for one in told}
    assert all(one.json()["code"] == "still_running" for one in told if one.status_code == 409)
    assert await available(house, a, b) == [12, 8]


async def test_what_a_reversal_needs(http: httpx.AsyncClient, house: House) -> None:
    a, b = await house.org(amount=20), await house.org()
    gift = await give(house, a, b, 10)
    path = f"/v1/transfers/{gift}/reversals"
    assert (await http.post(path, json={"reason": "x"})).status_code == 400
    key = {"Idempotency-Key": "k"}
    for body in ({}, {"reason": ""}, {"reason": "x", "amount": 0}, {"reason": "x", "extra": 1}):
        told = await http.post(path, json=body, headers=key)
        assert (told.status_code, told.json()["code"]) == (422, "invalid"), body
    owner = await new_key(house.pool, "owner", a)
    assert (await http.post(path, json={"reason": "x"}, headers=key | owner)).status_code == 403
    assert (await http.get(path, headers=owner)).status_code == 403
    assert (await http.get("/v1/transfers/tr_no/reversals")).status_code == 404
    assert (await post(http, "tr_no", "k3")).status_code == 404
