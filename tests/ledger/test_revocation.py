"""Revocation: what is unspent comes back wherever it went, what waits in the lock is returned, the rest is owed."""

from __future__ import annotations

import itertools
import random
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import asyncpg
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import Conflict, InsufficientCredits, Invalid
from ledger.revocation import draw
from tests.support import NEVER_FIRES, House, examples, gather, new_key, open_door, open_house, rule

HOUR = 3_601


@pytest.fixture
async def http(house: House) -> AsyncIterator[httpx.AsyncClient]:
    """The platform's client."""
    async with open_door(house.dsn, lock_s=3600) as client:
        client.headers.update(await new_key(house.pool, "platform"))
        yield client


async def give(house: House, sender: str, recipient: str, amount: int) -> str:
    """A gift on its whole way."""
    name = await house.sent(sender, recipient, amount)
    await house.pass_time(HOUR)
    await house.settle()
    assert (await house.transfer(name))["status"] == "settled"
    return name


async def available(house: House, *orgs: str) -> list[int]:
    return [await house.pool.fetchval("select available from ledger.orgs where id = $1", org) for org in orgs]


async def chain(house: House, length: int = 5) -> tuple[str, list[str]]:
    """A purchase of 100 that passes along so many orgs, each keeping 10 and using 4 of them; the root and the orgs."""
    orgs = [await house.org() for _ in range(length + 1)]
    root = await house.grant(orgs[0], 100)
    amount = 100
    for sender, recipient in itertools.pairwise(orgs):
        amount -= 10
        await give(house, sender, recipient, amount)
        await house.consume(sender, 4)
    return root, orgs


async def test_a_purchase_comes_back_from_a_chain_of_five_gifts(house: House) -> None:
    root, orgs = await chain(house)
    assert await available(house, *orgs) == [6, 6, 6, 6, 6, 50]
    record = await house.revoke(root)
    assert (record["amount"], record["taken"], record["receivable"], record["forgone"]) == (100, 80, 20, 0)
    assert await available(house, *orgs) == [0] * 6
    owed = await house.pool.fetch("select org_id, root_id, amount from ledger.receivables")
    assert [tuple(row) for row in owed] == [(orgs[0], root, 20)], "the buyer owes what was used anywhere"
    assert all(
        row["revoked_at"] for row in await house.pool.fetch("select * from ledger.grants where root_id = $1", root)
    )
    assert (await house.reconcile())["revoked"] == 80


async def test_gifts_in_the_lock_are_returned_whole_and_other_slices_go_home(house: House) -> None:
    a, b, c = await house.org(), await house.org(), await house.org()
    root = await house.grant(a, 10)
    other = await house.grant(a, 10, priority=500)
    await give(house, a, b, 3)
    pending, held = await house.sent(a, b, 12), await house.sent(b, c, 2)
    record = await house.revoke(root)
    assert sorted(record["returned"]) == sorted([pending, held])
    for name in (pending, held):
        row = await house.transfer(name)
        assert (row["status"], row["reason"], row["version"]) == ("returned", "credits_revoked", 2)
    assert (record["taken"], record["receivable"]) == (10, 0)
    rows = {row["id"]: (row["available"], row["reserved"]) for row in await house.grants(a)}
    assert rows == {root: (0, 0), other: (10, 0)}
    assert await available(house, a, b, c) == [10, 0, 0]
    await house.reconcile()


async def test_a_held_gift_that_is_returned_leaves_its_case(house: House) -> None:
    await house.activate(NEVER_FIRES + rule("odd", "amount = 5"))
    a, b = await house.org(amount=10), await house.org()
    held = await house.sent(a, b, 5)
    find = (
        "select g.standing, c.ended_at is not null from detector.case_gifts g "
        "join detector.cases c on c.id = g.case_id where g.gift_id = $1"
    )
    assert tuple(await house.pool.fetchrow(find, held)) == ("waiting", False)
    await house.revoke((await house.grants(a))[0]["id"])
    assert tuple(await house.pool.fetchrow(find, held)) == ("returned", True)


async def test_what_was_taken_back_is_never_cut_again(house: House) -> None:
    a, b = await house.org(amount=10), await house.org()
    (root,) = await house.grants(a)
    await give(house, a, b, 4)
    await house.revoke(root["id"])
    assert (await house.send(a, b, 1)).status == (await house.send(b, a, 1)).status == 402
    copy = "create temp table forged on commit drop as select * from ledger.grants where org_id = $1"
    async with house.pool.acquire() as conn, conn.transaction():
        await conn.execute(copy, b)
        await conn.execute("update forged set id = 'gr_x', revoked_at = null")
        with pytest.raises(asyncpg.CheckViolationError) as refused:
            await conn.execute("insert into ledger.grants select * from forged")
    assert refused.value.constraint_name == "slices_keep_their_nature"


async def test_a_part_takes_the_buyers_own_first_and_owes_only_what_is_not_to_be_had(house: House) -> None:
    a, b, c = await house.org(), await house.org(), await house.org()
    root = await house.grant(a, 100)
    await give(house, a, b, 40)
    await house.consume(b, 15)
    waits = await house.sent(a, c, 20)
    first = await house.revoke(root, 30)
    assert (first["taken"], first["returned"], await available(house, a, b)) == (30, [], [10, 25])
    second = await house.revoke(root, 25)
    assert (second["taken"], second["returned"], await available(house, a, b)) == (25, [], [0, 10])
    third = await house.revoke(root, 15)
    assert (third["taken"], third["returned"]) == (15, [waits])
    assert (await house.transfer(waits))["reason"] == "credits_revoked"
    assert await available(house, a, b) == [15, 0], "a gift goes home whole, and what is not needed of it stays there"
    with pytest.raises(Conflict, match="30 micro-credits"):
        await house.revoke(root, 31)
    last = await house.revoke(root)
    assert (last["amount"], last["taken"], last["receivable"], last["whole"]) == (30, 15, 15, True)
    with pytest.raises(Conflict, match="whole before"):
        await house.revoke(root, 1)
    await house.reconcile()


async def test_a_second_revocation_says_what_the_first_did(house: House) -> None:
    root, orgs = await chain(house, 2)
    first = await house.revoke(root)
    await house.grant(orgs[0], 50)
    assert await house.revoke(root) == first
    assert await available(house, *orgs) == [50, 0, 0]


async def test_racing_revocations_are_one(house: House) -> None:
    root, _ = await chain(house, 2)
    records = await gather(house.revoke(root) for _ in range(6))
    assert all(record == records[0] for record in records)
    assert await house.pool.fetchval("select count(*) from ledger.revocations") == 1


async def test_nobody_owes_what_nobody_bought_nor_what_expired(house: House) -> None:
    a, b = await house.org(), await house.org()
    free = await house.grant(a, 10, origin="promo")
    await house.consume(a, 4)
    record = await house.revoke(free)
    assert (record["taken"], record["receivable"], record["forgone"]) == (6, 0, 4)
    now = await house.pool.fetchval("select clock_timestamp()")
    bought = await house.grant(a, 10, expires_at=now + timedelta(hours=3))
    await give(house, a, b, 5)
    await house.consume(b, 2)
    await house.pass_time(3 * HOUR)
    record = await house.revoke(bought)
    assert (record["taken"], record["receivable"], record["forgone"]) == (0, 2, 8)
    sums = await house.reconcile()
    assert (sums["revoked"], sums["expired"]) == (6, 8)


async def test_a_slice_is_not_revoked_but_its_root(house: House) -> None:
    a, b = await house.org(amount=10), await house.org()
    gift = await give(house, a, b, 4)
    ((root,), (slice_,)) = await house.grants(a), await house.grants(b)
    with pytest.raises(Invalid, match=f"{root['id']}.*{gift}"):
        await house.revoke(slice_["id"])


@pytest.mark.parametrize("seed", range(2))
async def test_revoking_races_with_the_gate_settlement_cancelling_and_consumption(house: House, seed: int) -> None:
    """Three works stand in for three processes. Whatever comes first, the parts explain the purchase exactly."""
    draws = random.Random(seed)
    async with open_house(house.dsn, None) as second, open_house(house.dsn, None) as third:
        works = (house, second, third)
        orgs = [await house.org() for _ in range(4)]
        roots = [await house.grant(org, 60) for org in orgs for _ in range(2)]
        gifts = [await house.sent(*draws.sample(orgs, 2), draws.randint(5, 20)) for _ in range(16)]
        await house.pass_time(HOUR)
        for one in works:
            await one.know_policy()

        async def send() -> None:
            told = await draws.choice(works).send(*draws.sample(orgs, 2), draws.randint(1, 30))
            assert told.status in (201, 402)

        async def consume() -> None:
            try:
                await draws.choice(works).consume(draws.choice(orgs), draws.randint(1, 20))
            except InsufficientCredits:
                return

        async def cancel(name: str) -> None:
            row = await house.transfer(name)
            try:
                await draws.choice(works).cancel(row["sender"], name)
            except Conflict:
                return

        acts = [send() for _ in range(30)] + [consume() for _ in range(15)] + [cancel(name) for name in gifts[:6]]
        acts += [draws.choice(works).revoke(root) for root in roots[::2] * 2]
        acts += [draws.choice(works).revoke(root, 7) for root in roots[1::2] * 2]
        acts += [one.settle_in_bits() for one in works]
        draws.shuffle(acts)
        await gather(acts)
        await explained(house, roots)


async def explained(house: House, roots: list[str]) -> None:
    """Law 1 by root, and nothing left of those that were taken back whole."""
    await house.reconcile()
    for root in roots:
        row = await house.pool.fetchrow(
            "select (select coalesce(sum(available + reserved), 0) from ledger.grants where root_id = $1) as unspent, "
            "(select coalesce(sum(e.amount), 0) from ledger.entries e join ledger.grants g on g.id = e.grant_id "
            " where g.root_id = $1 and e.account = 'consumed') as consumed, "
            "(select coalesce(sum(taken), 0) from ledger.revocations where grant_id = $1) as taken, "
            "(select coalesce(sum(receivable), 0) from ledger.receivables r join ledger.revocations v "
            " on v.id = r.revocation_id where v.grant_id = $1) as owed, "
            "(select bool_or(whole) from ledger.revocations where grant_id = $1) as whole",
            root,
        )
        assert row["unspent"] + row["consumed"] + row["taken"] == 60
        if row["whole"]:
            assert (row["unspent"], row["owed"]) == (0, row["consumed"])


# --- the plan is pure ---

grants_ = st.lists(st.tuples(st.integers(0, 9), st.lists(st.integers(1, 9), max_size=3)), min_size=1, max_size=6)


@given(grants_, st.integers(0, 200))
@examples(200)
def test_a_draw_takes_what_is_wanted_or_all_there_is(shape: list[tuple[int, list[int]]], want: int) -> None:
    grants = [{"id": f"g{n}", "available": free} for n, (free, _) in enumerate(shape)]
    waiting, slices = [], {}
    for n, (_, parts) in enumerate(shape):
        for part in parts:
            name = f"t{len(waiting)}"
            waiting.append({"id": name})
            slices[name] = [{"id": f"g{n}", "root_id": "r", "part": part}, {"id": "x", "root_id": "s", "part": 5}]
    drawn = draw(grants, waiting, slices, "r", want)
    free, locked = sum(one for one, _ in shape), sum(map(sum, (parts for _, parts in shape)))
    assert drawn.taken == min(want, free + locked)
    assert bool(drawn.returning) == (want > free and locked > 0), "the lock is touched only where it is needed"
    back = [slices[one["id"]][0]["part"] for one in drawn.returning]
    assert not back or free + sum(back[:-1]) < want, "no gift is returned without need"


# --- the same in SQL ---

EXCESSES = {
    "more than was bought": "('x', $1, $2, now(), false, 11, 11, 0, 0, '{}'::text[], null)",
    "more owed than was used": "('x', $1, $2, now(), false, 5, 0, 5, 0, '{}'::text[], null)",
    "a debt of somebody else": "('x', $1, $3, now(), false, 5, 5, 0, 0, '{}'::text[], null)",
    "nothing that exists": "('x', 'gr_no' || $1, $2, now(), false, 5, 5, 0, 0, '{}'::text[], null)",
    "parts that do not add up": "('x', $1, $2, now(), false, 5, 4, 0, 0, '{}'::text[], null)",
}


@pytest.mark.parametrize("excess", EXCESSES)
async def test_the_database_refuses_a_revocation_of(house: House, excess: str) -> None:
    a, b = await house.org(amount=10), await house.org()
    (root,) = await house.grants(a)
    with pytest.raises(asyncpg.CheckViolationError) as refused:
        await house.pool.execute(
            f"insert into ledger.revocations select * from (values {EXCESSES[excess]}) v "
            "where $2::text || $3::text is not null",
            *(root["id"], a, b),
        )
    assert refused.value.constraint_name in ("revoked_at_most_once", "revocation_explains_every_unit")


async def test_the_database_refuses_to_mark_a_grant_that_still_has_credits(house: House) -> None:
    await house.org(amount=10)
    with pytest.raises(asyncpg.CheckViolationError) as refused:
        await house.pool.execute("update ledger.grants set revoked_at = now()")
    assert refused.value.constraint_name == "revoked_has_nothing_available"


# --- over HTTP ---


async def test_the_platform_revokes_and_sees_what_is_owed(http: httpx.AsyncClient, house: House) -> None:
    root, orgs = await chain(house, 2)
    first = await http.post(f"/v1/grants/{root}/revoke", json={"reason": "chargeback"})
    told: dict[str, Any] = first.json()
    assert first.status_code == 200
    assert (told["grant_id"], told["revoked"], told["receivable"], told["whole"]) == (root, 92, 8, True)
    assert told["reason"] == "chargeback" and told["at"].endswith("Z")
    assert (await http.post(f"/v1/grants/{root}/revoke")).content == first.content
    owed = (await http.get("/v1/receivables", params={"org": orgs[0]})).json()
    assert [(one["org_id"], one["root_id"], one["amount"]) for one in owed["receivables"]] == [(orgs[0], root, 8)]
    assert (await http.get("/v1/receivables", params={"org": orgs[1]})).json()["receivables"] == []


async def test_a_part_needs_a_key_and_is_taken_once_under_it(http: httpx.AsyncClient, house: House) -> None:
    a = await house.org(amount=10)
    (root,) = await house.grants(a)
    path, key = f"/v1/grants/{root['id']}/revoke", {"Idempotency-Key": "dispute-1"}
    assert (await http.post(path, json={"amount": 4})).json()["code"] == "invalid"
    first = await http.post(path, json={"amount": 4}, headers=key)
    again = await http.post(path, json={"amount": 4}, headers=key)
    assert (first.status_code, first.content, first.json()["revoked"]) == (200, again.content, 4)
    assert again.headers["idempotency-replayed"] == "true"
    other = await http.post(path, json={"amount": 5}, headers=key)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert await available(house, a) == [6]
    too_much = await http.post(path, json={"amount": 7}, headers={"Idempotency-Key": "dispute-2"})
    assert (too_much.status_code, too_much.json()["code"]) == (409, "conflict")


async def test_only_the_platform_revokes(http: httpx.AsyncClient, house: House) -> None:
    a = await house.org(amount=10)
    (root,) = await house.grants(a)
    owner = await new_key(house.pool, "owner", a)
    assert (await http.post(f"/v1/grants/{root['id']}/revoke", headers=owner)).status_code == 403
    assert (await http.get("/v1/receivables", headers=owner)).status_code == 403
    for body in ({"amount": 0}, {"amount": 1.5}, {"reason": ""}, {"reason": "a\nb"}, {"extra": 1}):
        told = await http.post(f"/v1/grants/{root['id']}/revoke", json=body)
        assert (told.status_code, told.json()["code"]) == (422, "invalid"), body
