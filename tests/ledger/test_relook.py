"""Waiting gifts judged again: what each verdict does, what it leaves on record, and that it only grows stricter."""

from __future__ import annotations

import msgspec
import pytest

from ledger.relook import Again
from tests.support import CREDIT, NEVER_FIRES, House, gather, limit, open_house, rule

LOCK_S, HOLD_S = 3_600, 10_800
HOLDS, BLOCKS = rule("all", "amount > 0"), rule("all", "amount > 0", "block")


async def pair(house: House) -> tuple[str, str]:
    return await house.org(amount=1_000 * CREDIT), await house.org()


async def decisions(house: House, gift: str) -> list[tuple[str, str]]:
    rows = await house.pool.fetch(
        "select id, verdict from detector.decisions where left(id, -2) = $1 order by id", gift
    )
    return [(row["id"].removeprefix(gift), row["verdict"]) for row in rows]


async def reasons(house: House, gift: str) -> list[list[str]]:
    """Why the gift waits in cases, by its decisions."""
    rows = await house.pool.fetch("select reasons from detector.case_gifts where gift_id = $1 order by at", gift)
    return [list(row["reasons"]) for row in rows]


FATES = [
    # policy by now, forced stop, what happened to the parties → status, reason, verdicts on record, why it waits
    ("approve", NEVER_FIRES, None, None, "pending", None, ["approve"], []),
    ("hold", HOLDS, None, None, "held", "news:test", ["approve", "hold"], [["rule:all"]]),
    ("block", BLOCKS, None, None, "returned", "news:test", ["approve", "block"], []),
    ("forced", NEVER_FIRES, "taken", None, "held", "news:test", ["approve", "approve"], [["ledger:taken"]]),
    ("forced hold", HOLDS, "taken", None, "held", "news:test", ["approve", "hold"], [["rule:all", "ledger:taken"]]),
    ("forced block", BLOCKS, "taken", None, "returned", "news:test", ["approve", "block"], []),
    ("frozen", NEVER_FIRES, None, "frozen = true", "held", "news:test", ["approve"] * 2, [["ledger:party_frozen"]]),
    ("unverified", NEVER_FIRES, None, "identity = 'none'", "held", "news:test", ["approve"] * 2,
     [["ledger:identity_required"]]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("policy", "stop", "then", "status", "reason", "verdicts", "why"),
    [fate[1:] for fate in FATES],
    ids=[fate[0] for fate in FATES],
)
async def test_what_a_verdict_does_to_a_waiting_gift(
    house: House, policy: str, stop: str | None, then: str | None, status: str, reason: str | None,
    verdicts: list[str], why: list[list[str]],
) -> None:  # fmt: skip
    a, b = await pair(house)
    gift, other = await house.sent(a, b, CREDIT), await house.sent(a, b, CREDIT)
    await house.pass_time(600)
    await house.activate(policy)
    if then:
        await house.pool.execute(f"update ledger.orgs set {then} where id = $1", a)
    before = await house.transfer(other)
    (told,) = await house.look_again([gift], stop=stop)
    row = await house.transfer(gift)
    recorded = await decisions(house, gift)
    assert told == Again(gift, status, f"{gift}.2" if len(recorded) > 1 else None)
    assert (row["status"], row["reason"], [verdict for _, verdict in recorded]) == (status, reason, verdicts)
    assert await reasons(house, gift) == why
    assert await house.transfer(other) == before, "nobody asked about this one"
    if status == "held":
        assert LOCK_S - 600 - 60 < row["lock_left_s"] <= LOCK_S - 600, "the clock stands where it was stopped"
        assert (row["hold_until"] - row["created_at"]).total_seconds() == pytest.approx(HOLD_S + 600, abs=60)
    await house.reconcile()


async def test_what_does_not_wait_approved_is_passed_over(house: House) -> None:
    a, b = await pair(house)
    await house.activate(rule("medium", "amount = 2") + rule("large", "amount = 3", "block"))
    held, blocked = await house.sent(a, b, 2), await house.sent(a, b, 3)
    cancelled, settled = await house.sent(a, b, 1), await house.sent(a, b, 1)
    await house.cancel(a, cancelled)
    await house.pass_time(LOCK_S + 1)
    await house.settle()
    names = [held, blocked, cancelled, settled, "tr_nobody"]
    before = [await house.transfer(one) for one in names[:4]]
    assert [row["status"] for row in before] == ["held", "blocked", "cancelled", "settled"]
    for policy in (NEVER_FIRES, BLOCKS):
        await house.activate(policy)
        assert await house.look_again(names, stop="taken") == []
    assert [await house.transfer(one) for one in names[:4]] == before


async def test_an_approval_that_stands_teaches_nothing_and_is_no_record(house: House) -> None:
    """Look after look, the limits and windows are as they were, and the settling look has its own number."""
    a, b = await pair(house)
    gift = await house.sent(a, b, CREDIT)
    counts = rule("busy", "sender_count_24h > 1")
    await house.activate(counts)
    for _ in range(3):
        assert await house.look_again([gift]) == [Again(gift, "pending", None)]
    await house.pass_time(LOCK_S + 1)
    await house.settle()
    assert (await house.transfer(gift))["status"] == "settled"
    assert await decisions(house, gift) == [(".1", "approve"), (".2", "approve")]


async def test_limits_stay_exact_however_often_it_is_looked_again(house: House) -> None:
    """By a process that remembers the parties, and by one that does not; neither spoils what the gate remembers."""
    await house.activate(NEVER_FIRES + limit("few", "sender", "1h", count=4))
    async with open_house(house.dsn, None) as other:
        a, b = await pair(house)
        gifts = [await house.sent(a, b, 1) for _ in range(2)]
        for one in (house, other, other, house):
            assert [seen.status for seen in await one.look_again(gifts)] == ["pending"] * 2
        assert not other.works.detector.activity.states, "what is looked at again is not remembered for it"
        told = [await one.send(a, b, 1) for one in (other, house, other, house)]
    assert [answer.status for answer in told] == [201, 201, 429, 429]


async def test_a_batch_is_one_case_where_it_belongs_together(house: House) -> None:
    a, b = await pair(house)
    gifts = [await house.sent(a, b, CREDIT) for _ in range(5)]
    told = await house.look_again(gifts, stop="taken")
    assert [one.status for one in told] == ["held"] * 5
    (case,) = await house.pool.fetch("select * from detector.cases where ended_at is null")
    assert await house.pool.fetchval("select count(*) from detector.case_gifts where case_id = $1", case["id"]) == 5
    (mark,) = await house.pool.fetch("select * from ledger.orgs where id = $1", a)
    assert mark["reserved"] == 5 * CREDIT


async def test_cancelling_settling_and_looking_again_race_to_one_end(house: House) -> None:
    """Law 3: two works look again, two settle and everything is cancelled once; each gift is taken by one of them."""
    async with open_house(house.dsn, None) as second:
        a, b = await pair(house)
        gifts = [await house.sent(a, b, 1 + n % 3) for n in range(36)]
        await house.pass_time(LOCK_S + 1)
        await house.activate(rule("odd", "amount = 1") + rule("even", "amount = 2", "block"))
        for one in (house, second):
            await one.know_policy()

        async def cancel(gift: str) -> str:
            try:
                return str((await second.cancel(a, gift))["status"])
            except Exception as error:
                return type(error).__name__

        looks = [(house, second)[n % 2].look_again(gifts[n * 6 : n * 6 + 12]) for n in range(6)]
        told = await gather(
            [*looks, house.settle_in_bits(), second.settle_in_bits(), *(cancel(one) for one in gifts[::3])]
        )
        await house.settle()  # who settles passes over what others hold locked
        rows = {row["id"]: row for row in await house.pool.fetch("select * from ledger.transfers")}
        assert {row["version"] for row in rows.values() if row["status"] != "cancelled"} == {2}
        ends = {n: {rows[gift]["status"] for gift in gifts if rows[gift]["amount"] == n} for n in (1, 2, 3)}
        assert ends[1] <= {"held", "cancelled"} and ends[2] <= {"returned"} and ends[3] <= {"settled"}, ends
        stepped = [one.gift for seen in told[:6] for one in seen if one.status != "pending"]  # type: ignore[union-attr]
        assert len(stepped) == len(set(stepped)), "no gift is taken twice"
        ended = await house.pool.fetch(
            "select distinct posting_id, split_part(posting_id, '/', 1) as id from ledger.entries "
            "where kind in ('settle', 'return')"
        )
        assert len(ended) == len({row["id"] for row in ended}), "no gift's credits come to two ends"
        await house.reconcile()


async def test_only_an_analyst_makes_milder(house: House) -> None:
    """Held by news, and the news is over: it stays held, whoever looks again."""
    a, b = await pair(house)
    gift = await house.sent(a, b, CREDIT)
    await house.activate(HOLDS)
    await house.look_again([gift])
    await house.activate(NEVER_FIRES)
    assert await house.look_again([gift]) == []
    row = await house.pool.fetchrow("select hits from detector.decisions where id = $1", f"{gift}.2")
    assert row is not None and [hit["name"] for hit in msgspec.json.decode(row["hits"])] == ["all"]
    assert (await house.transfer(gift))["status"] == "held"
