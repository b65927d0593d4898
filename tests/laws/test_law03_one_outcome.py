"""Law 3: a transfer ends once; cancel, settle and the end of a hold race to one winner."""

from __future__ import annotations

from collections import Counter

import asyncpg
import pytest

from ledger.errors import Conflict
from ledger.plan import Plan, slices_of, write
from ledger.transfers import STEPS, Status
from tests.support import NEVER_FIRES, House, gather, open_house, rule

MEDIUM = NEVER_FIRES + rule("medium", "amount = 5")


async def try_cancel(house: House, sender: str, name: str) -> str:
    try:
        row = await house.cancel(sender, name)
    except Conflict:
        return "refused"
    return str(row["status"])


async def endings(house: House) -> dict[str, list[str]]:
    """The ends that each transfer's credits came to, by its postings."""
    rows = await house.pool.fetch(
        "select distinct split_part(posting_id, '/', 1) as id, kind from ledger.entries "
        "where kind in ('settle', 'return')"
    )
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(row["id"], []).append(row["kind"])
    return found


@pytest.mark.parametrize("amount", [4, 5], ids=["settling", "hold-expiring"])
async def test_cancelling_races_with_the_end_of_the_wait(house: House, amount: int) -> None:
    """Three works settle while each of 40 gifts is cancelled twice; every gift comes to one end."""
    await house.activate(MEDIUM)
    async with open_house(house.dsn, None) as second, open_house(house.dsn, None) as third:
        sender, recipient = await house.org(amount=1_000), await house.org()
        gifts = [await house.sent(sender, recipient, amount) for _ in range(40)]
        await house.pass_time(10_801)
        for one in (house, second, third):
            await one.know_policy()
        cancels = [try_cancel((house, second)[n % 2], sender, name) for name in gifts for n in range(2)]
        settling = [one.settle_in_bits() for one in (house, second, third)]
        told = await gather([*cancels[:40], *settling, *cancels[40:]])
        rows = await house.pool.fetch("select id, status, version from ledger.transfers")
        statuses = Counter(row["status"] for row in rows)
        assert set(statuses) <= {"cancelled", "settled" if amount == 4 else "returned"}
        assert {row["version"] for row in rows} == {2}
        assert {name: len(kinds) for name, kinds in (await endings(house)).items()} == dict.fromkeys(gifts, 1)
        cancelled = [one for one in told if one == "cancelled"]
        assert len(cancelled) == 2 * statuses["cancelled"], "both cancellations of a gift get the same answer"
        sums = await house.reconcile()
        assert sums["reserved"] == 0
        received = sum(grant["amount"] for grant in await house.grants(recipient))
        assert received == amount * statuses["settled"]


async def test_racing_cancellations_are_one(house: House) -> None:
    sender, recipient = await house.org(amount=10), await house.org()
    name = await house.sent(sender, recipient, 10)
    assert await gather(try_cancel(house, sender, name) for _ in range(8)) == ["cancelled"] * 8
    assert (await house.transfer(name))["version"] == 2
    assert await endings(house) == {name: ["return"]}


async def test_racing_settlements_deliver_once(house: House) -> None:
    async with open_house(house.dsn, None) as second:
        sender, recipient = await house.org(amount=300), await house.org()
        for _ in range(30):
            await house.sent(sender, recipient, 10)
        await house.pass_time(3_601)
        took = await gather(one.settle_in_bits() for one in (house, second, house, second))
        assert sum(took) == 30
        assert [grant["amount"] for grant in await house.grants(recipient)] == [10] * 30
        await house.reconcile()


async def test_a_plan_made_of_an_old_reading_is_refused_whole(house: House) -> None:
    sender, recipient = await house.org(amount=10), await house.org()
    name = await house.sent(sender, recipient, 10)
    old = await house.transfer(name)
    await house.cancel(sender, name)
    plan = Plan()
    async with house.pool.acquire() as conn:
        slices = await slices_of(conn, [name])
        plan.give_back(old, slices[name], Status.RETURNED, "late", old["created_at"])
        with pytest.raises((Conflict, asyncpg.PostgresError)):
            async with conn.transaction():
                await write(conn, plan, 0)
    await house.reconcile()


STARTS = {"pending": 4, "held": 5, "blocked": 6}
BLOCKS = MEDIUM + rule("large", "amount = 6", "block")


async def test_the_database_refuses_every_step_that_the_table_does_not_allow(house: House) -> None:
    await house.activate(BLOCKS)
    sender, recipient = await house.org(amount=1_000), await house.org()
    made = {"settled": await house.sent(sender, recipient, 4)}
    await house.pass_time(3_601)
    await house.settle()
    made["returned"] = await house.sent(sender, recipient, 5)
    await house.pass_time(10_801)
    await house.settle()
    made["cancelled"] = await house.sent(sender, recipient, 4)
    await house.cancel(sender, made["cancelled"])
    made |= {status: await house.sent(sender, recipient, amount) for status, amount in STARTS.items()}
    made["screening"] = await house.reserved(sender, recipient, 4)
    assert made.keys() == {status.value for status in Status}
    for was, name in made.items():
        assert (await house.transfer(name))["status"] == was
        for then in Status:
            if then not in STEPS[Status(was)]:
                constraint = await step(house, name, then.value)
                assert constraint == "transfers_end_once", f"{was} to {then.value}: {constraint}"
    await house.reconcile()


async def step(house: House, name: str, status: str, version: int = 1) -> str | None:
    """Take a step by hand, with columns that fit it; the constraint that refused it."""
    try:
        await house.pool.execute(
            "update ledger.transfers set status = $2::text, version = version + $3, "
            "ended_at = case when $2 not in ('pending', 'held') then clock_timestamp() end, "
            "settle_at = case when $2 <> 'held' then clock_timestamp() end, "
            "lock_left_s = case when $2 = 'held' then 0 end, "
            "hold_until = case when $2 = 'held' then clock_timestamp() end where id = $1",
            name, status, version,
        )  # fmt: skip
    except asyncpg.CheckViolationError as error:
        return error.constraint_name
    return None


async def test_the_database_refuses_a_step_that_does_not_move_the_version_by_one(house: House) -> None:
    sender, recipient = await house.org(amount=10), await house.org()
    name = await house.sent(sender, recipient, 10)
    for version in (0, 2, -1):
        assert await step(house, name, "cancelled", version) == "transfers_end_once"


async def test_what_was_judged_never_changes(house: House) -> None:
    sender, recipient = await house.org(amount=10), await house.org()
    name = await house.sent(sender, recipient, 10, note="n")
    for change in ("amount = 9", "recipient = 'x'", "sender = 'x'", "note = 'm'", "payload_hash = ''",
                   "created_at = now()", "decision_id = 'x'", "ip = 'x'", "sender_available = 0"):  # fmt: skip
        with pytest.raises(asyncpg.CheckViolationError) as refused:
            await house.pool.execute(f"update ledger.transfers set {change}, version = version + 1 where id = $1", name)
        assert refused.value.constraint_name == "transfers_keep_their_payload", change
