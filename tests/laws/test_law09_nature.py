"""Law 9: a gift changes whose credits they are and nothing else; each can be traced to the purchase it came from."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.tracing import trace
from tests.support import House, examples, open_house

NATURE = ("origin", "root_id", "priority", "expires_at", "giftable", "giftable_at", "rooted_at")

issues = st.tuples(
    st.integers(1, 60),
    st.sampled_from(["purchase", "promo", "gift"]),
    st.sampled_from([0, 7, 1000]),
    st.sampled_from([3, 5, 8, 1000]),
)
hops = st.tuples(st.integers(1, 50), st.sampled_from(["settle", "cancel", "expire hold"]))


async def trip(house: House, grants: list[tuple[int, str, int, int]], chain: list[tuple[int, str]]) -> None:
    """Credits of org 0 pass along the chain, or come back where they were; nothing about them ever changes."""
    orgs = [await house.org() for _ in range(len(chain) + 1)]
    for amount, origin, priority, hours in grants:
        now = await house.pool.fetchval("select clock_timestamp()")
        await house.grant(orgs[0], amount, origin=origin, priority=priority, expires_at=now + timedelta(hours=hours))
    for position, (amount, end) in enumerate(chain):
        sender, recipient = orgs[position], orgs[position + 1]
        before = {row["id"]: row for row in await house.grants(sender)}
        giftable = sum(row["available"] for row in before.values())
        told = await house.send(sender, recipient, min(amount, max(giftable, 1)))
        if told.status != 201:
            return
        name = await house.pool.fetchval("select id from ledger.transfers order by id desc limit 1")
        if end == "cancel":
            await house.cancel(sender, name)
            assert {row["id"]: row for row in await house.grants(sender)} == before
            return
        if end == "expire hold":
            await house.freeze(sender)
        await house.pass_time(3_601)
        await house.settle()
        if end == "expire hold":
            assert (await house.transfer(name))["status"] == "held"
            await house.pass_time(10_801)
            await house.settle()
            assert (await house.transfer(name))["status"] == "returned"
            assert await house.grants(recipient) == []
            return
        await delivered(house, name, recipient)
    await traced(house)


async def delivered(house: House, name: str, recipient: str) -> None:
    """The recipient's grants are the slices: of their parents' nature, and worth together what was sent."""
    row = await house.transfer(name)
    slices = await house.pool.fetch(
        "select e.amount as part, g.* from ledger.entries e join ledger.grants g on g.id = e.grant_id "
        "where e.posting_id = $1 and e.account = 'reserved'",
        f"{name}/reserve",
    )
    assert sum(one["part"] for one in slices) == row["amount"]
    minted = await house.grants(recipient)
    if row["status"] == "settled":
        assert sum(one["amount"] for one in minted) == row["settled_amount"] == row["amount"]
        assert Counter((one["parent_id"], one["amount"]) for one in minted) == Counter(
            (one["id"], one["part"]) for one in slices
        )
    parents = {one["id"]: one for one in slices}
    for one in minted:
        parent = parents[one["parent_id"]]
        assert {part: one[part] for part in NATURE} == {part: parent[part] for part in NATURE}
        assert (one["transfer_id"], one["org_id"], one["created_at"]) == (name, recipient, row["ended_at"])


async def traced(house: House) -> None:
    """Every credit leads to what the platform issued, through its parents as through its root, and none is lost."""
    rows = {row["id"]: row for row in await house.pool.fetch("select * from ledger.grants")}
    held: Counter[str] = Counter()
    for row in rows.values():
        held[row["root_id"]] += row["available"] + row["reserved"]
        steps = row
        while steps["parent_id"]:
            parent = rows[steps["parent_id"]]
            assert steps["expires_at"] == parent["expires_at"]
            steps = parent
        assert steps["id"] == row["root_id"]
    for name, total in held.items():
        gone = await house.pool.fetchval(
            "select coalesce(sum(e.amount), 0) from ledger.entries e join ledger.grants g on g.id = e.grant_id "
            "where g.root_id = $1 and e.account in ('consumed', 'expired', 'revoked')",
            name,
        )
        assert total + gone == rows[name]["amount"]
        async with house.pool.acquire() as conn:
            tree = await trace(conn, name)
        assert sum(tree.totals.values()) == rows[name]["amount"], "a trace leaves out no unit"
        assert all(one.amount + one.came_back == sum(one.fates.values()) for one in tree.nodes)
    await house.reconcile()


def test_chains_of_gifts_keep_the_nature_of_every_credit(
    fresh_databases: tuple[Callable[[], str], Callable[[str], None]],
) -> None:
    make, drop = fresh_databases
    dsn = make()

    @given(st.lists(issues, min_size=1, max_size=4), st.lists(hops, min_size=1, max_size=4))
    @examples(25)
    def property_holds(grants: list[Any], chain: list[Any]) -> None:
        async def play() -> None:
            async with open_house(dsn) as house:
                await trip(house, grants, chain)

        with asyncio.Runner() as runner:
            runner.run(play())

    property_holds()
    drop(dsn)


async def test_a_gift_of_a_gift_comes_home_with_its_root_and_expiry(house: House) -> None:
    a, b = await house.org(amount=10), await house.org()
    (root,) = await house.grants(a)
    for sender, recipient in ((a, b), (b, a)):
        await house.sent(sender, recipient, 10)
        await house.pass_time(3_601)
        await house.settle()
    first, last = await house.grants(a)
    assert (last["root_id"], last["available"]) == (root["id"], 10)
    assert last["expires_at"] == first["expires_at"]
    await traced(house)


async def test_no_gift_outlives_the_expiry_of_what_it_was_cut_from(house: House) -> None:
    a, b = await house.org(), await house.org()
    now = await house.pool.fetchval("select clock_timestamp()")
    await house.grant(a, 10, expires_at=now + timedelta(hours=2))
    await house.sent(a, b, 10)
    await house.pass_time(3_601)
    await house.settle()
    await house.pass_time(3_600)
    assert await house.expire() == 1
    assert (await house.grants(b))[0]["available"] == 0
    assert (await house.reconcile())["expired"] == 10


ALTERATIONS = {
    "origin": "'free_tier'", "root_id": "'x'", "priority": "priority - 1", "expires_at": "expires_at + interval '1 d'",
    "giftable": "not giftable", "giftable_at": "'epoch'", "rooted_at": "'epoch'", "created_at": "'epoch'",
    "amount": "amount + 1", "org_id": "'x'", "parent_id": "'x'", "transfer_id": "'x'", "id": "'x'",
}  # fmt: skip


@pytest.mark.parametrize("column", ALTERATIONS)
async def test_the_database_refuses_to_alter_a_grants_nature(house: House, column: str) -> None:
    await house.org(amount=10)
    with pytest.raises(asyncpg.CheckViolationError) as refused:
        await house.pool.execute(f"update ledger.grants set {column} = {ALTERATIONS[column]}")
    assert refused.value.constraint_name == "grants_keep_their_nature"


FORGERIES = [
    "origin = 'gift'", "root_id = 'x'", "priority = 0", "expires_at = expires_at + interval '1 day'",
    "giftable = false", "giftable_at = 'epoch'", "rooted_at = 'epoch'", "parent_id = 'nosuch'",
]  # fmt: skip


async def test_the_database_refuses_a_slice_of_another_nature_than_its_parent(house: House) -> None:
    a, b = await house.org(amount=10), await house.org()
    await house.sent(a, b, 10)
    await house.pass_time(3_601)
    await house.settle()
    copy = "create temp table forged on commit drop as select * from ledger.grants where org_id = $1"
    for forgery in FORGERIES:
        column, _, value = forgery.partition(" = ")
        async with house.pool.acquire() as conn, conn.transaction():
            await conn.execute(copy, b)
            await conn.execute(f"update forged set id = 'gr_x', available = 0, reserved = 0, {column} = {value}")
            with pytest.raises(asyncpg.CheckViolationError) as refused:
                async with conn.transaction():
                    await conn.execute("insert into ledger.grants select * from forged")
        assert refused.value.constraint_name == "slices_keep_their_nature", forgery
