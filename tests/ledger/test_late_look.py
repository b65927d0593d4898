"""Late looks: a gift that was held for silence alone is judged once somebody can; nothing else is let go by it."""

from __future__ import annotations

from dataclasses import replace

import asyncpg
import pytest

from detector.explaining import Explainer
from detector.verify import verify
from ledger.records import disagreements
from tests.laws.test_law04_never_unjudged import by_hand
from tests.support import NEVER_FIRES, House, again, gather, limit, open_door, rule, seat

MODEL = '[model]\nname = "champion"\nhold_at = 1.0\nblock_at = 1.0\n'
FOUR_EYES = "[review]\nfour_eyes = 5\n"


async def silence(house: House) -> None:
    """No policy judges."""
    async with house.pool.acquire() as conn, conn.transaction():
        await conn.execute("set local session_replication_role = replica")
        await conn.execute("delete from detector.activations")


async def held(house: House, number: int = 1, amount: int = 10) -> list[str]:
    sender, recipient = await house.org(amount=10_000), await house.org()
    names = [await house.sent(sender, recipient, amount) for _ in range(number)]
    assert {(await house.transfer(name))["status"] for name in names} == {"held"}
    return names


async def look(house: House) -> int:
    return await again(house.works.apart.late.take)


async def standing(house: House, names: list[str]) -> list[str]:
    rows = await house.pool.fetch("select status from ledger.transfers where id = any($1) order by id", names)
    return [row["status"] for row in rows]


async def waits(house: House) -> list[list[str]]:
    """The reasons of what waits at the desk."""
    rows = await house.pool.fetch("select reasons from detector.case_gifts where standing = 'waiting' order by gift_id")
    return [row["reasons"] for row in rows]


async def test_gifts_of_a_time_without_a_policy_are_judged_by_the_next_its_limits_included(house: House) -> None:
    await silence(house)
    names = await held(house, 4)
    assert await look(house) == 0, "nobody can judge yet"
    assert await house.pool.fetchval("select count(*) from detector.decisions where look > 1") == 0
    await house.activate(NEVER_FIRES + limit("two", "sender", "1h", count=2))
    # The two that fit were the first; waiting until the hour is over makes no room for more.
    await house.pass_time(7_000)
    assert await look(house) == 4
    assert await standing(house, names) == ["pending", "pending", "returned", "returned"]
    assert await waits(house) == []
    told = [await Explainer(house.pool).explain([f"{name}.2"]) for name in names]
    assert [one.replayed for one in told] == [True] * 4, [one.replay_note for one in told if not one.replayed]
    await house.pass_time(3_700)
    await house.settle()
    assert await standing(house, names) == ["settled", "settled", "returned", "returned"]
    await house.reconcile()
    async with house.pool.acquire() as conn:
        assert (await verify(conn, others=[disagreements])).findings == []


async def test_the_clock_runs_on_from_the_late_look(house: House) -> None:
    await silence(house)
    (name,) = await held(house)
    await house.pass_time(5_000)
    await house.activate(NEVER_FIRES)
    await look(house)
    row = await house.transfer(name)
    assert row["settle_decision_id"] == f"{name}.2"
    left_s = await house.pool.fetchval("select extract(epoch from settle_at - now())::int from ledger.transfers")
    assert 3_500 < left_s <= 3_600
    assert await house.settle() == 0


@pytest.mark.parametrize(
    ("policy", "status", "reasons"),
    [
        (rule("all", "amount > 0"), "held", [["rule:all"]]),
        (rule("all", "amount > 0", "block"), "returned", []),
        (rule("null", "ip = 'x'"), "held", [["degraded:null"]]),
        (rule("no_policy", "ip = 'x'"), "held", [["degraded:no_policy"]]),
        (MODEL + NEVER_FIRES, "held", [["degraded:no_policy"]]),
    ],
    ids=["held", "blocked", "a null", "a null of a rule with the name of a silence", "silent still"],
)
async def test_a_late_look_that_does_not_approve(
    house: House, policy: str, status: str, reasons: list[list[str]]
) -> None:
    await silence(house)
    (name,) = await held(house)
    await house.activate(policy)
    await look(house)
    assert await standing(house, [name]) == [status]
    assert await waits(house) == reasons
    # Judged once, it is an analyst's: a milder policy lets nothing go.
    if "model" not in policy:
        await house.activate(NEVER_FIRES)
        assert await look(house) == 0
        assert await standing(house, [name]) == [status]
    await house.reconcile()


async def test_gifts_held_for_want_of_a_model_go_on_when_one_serves(house: House, parcel: bytes) -> None:
    await house.activate(MODEL + NEVER_FIRES)
    first = await held(house, 2)
    assert (await waits(house)) == [["degraded:model_missing"]] * 2
    assert await look(house) == 0
    await house.promote(parcel)
    assert await look(house) == 2
    assert await standing(house, first) == ["pending", "pending"]
    # At the second look the model is gone again, and comes back.
    await house.pass_time(3_601)
    await house.promote(None)
    await house.settle()
    assert await standing(house, first) == ["held", "held"]
    await house.promote(parcel)
    assert await look(house) == 2
    await house.settle()
    assert await standing(house, first) == ["settled", "settled"]
    await house.reconcile()


async def test_what_a_person_has_in_hand_is_theirs(house: House) -> None:
    """A claim keeps it for a while; a proposal for good."""
    await house.activate(FOUR_EYES + MODEL + NEVER_FIRES)
    (name,) = await held(house)
    async with open_door(house.dsn) as door:
        alice = await seat(door, house.pool, "alice")
        (case,) = await alice.queue()
        assert (await alice.claim(case["id"])).status_code == 200
        await house.activate(NEVER_FIRES)
        assert await look(house) == 0
        async with by_hand(house) as conn:
            assert await let_go(conn, name) == "holds_are_lifted_by_a_ruling"
        await house.pool.execute("update detector.cases set claimed_until = now()")
        async with by_hand(house) as conn:
            assert await let_go(conn, name) is None, "or else the refusals would prove nothing"
        assert (await alice.claim(case["id"])).status_code == 200
        await house.activate(FOUR_EYES + NEVER_FIRES)
        told = await alice.rule(case["id"], "return")
        assert (told.status_code, told.json()["rulings"][0]["status"]) == (200, "proposed")
        await house.pool.execute("update detector.cases set claimed_until = now()")
        assert await look(house) == 0
        async with by_hand(house) as conn:
            assert await let_go(conn, name) == "holds_are_lifted_by_a_ruling"


APPROVED = (
    "insert into detector.decisions (id, look, at, verdict, payload_hash, sender, recipient, amount, seq, refused, "
    "hits, vector, generation) select id || '.' || $2::text, $2::text::int, {at}, {verdict}, {hash}, sender, "
    "recipient, amount, 0, false, '[]', '[]', 1 from ledger.transfers where id = $1"
)
LET_GO = (
    "update ledger.transfers set status = 'pending', version = version + 1, hold_until = null, lock_left_s = null, "
    "settle_at = now(), settle_decision_id = id || '.' || $2::text, settle_verdict = 'approve', "
    "settle_hash = payload_hash where id = $1"
)
HONEST = {"at": "clock_timestamp()", "verdict": "'approve'", "hash": "payload_hash"}


async def let_go(conn: asyncpg.Connection, name: str, look: str = "5", **lie: str) -> str | None:
    """By hand, as a late look does it; what refuses."""
    await conn.execute(APPROVED.format(**{**HONEST, **lie}), name, look)
    try:
        await conn.execute(LET_GO, name, look)
    except asyncpg.CheckViolationError as error:
        return error.constraint_name
    return None


@pytest.mark.parametrize(
    "lie",
    [{"verdict": "'hold'"}, {"verdict": "'block'"}, {"hash": "sha256('x')"}, {"at": "created_at - interval '1 s'"}],
    ids=lambda lie: next(iter(lie)) + ":" + next(iter(lie.values())),
)  # fmt: skip
async def test_the_database_lets_nothing_go_by_another_decision(house: House, lie: dict[str, str]) -> None:
    await silence(house)
    (name,) = await held(house)
    async with by_hand(house) as conn:
        assert await let_go(conn, name) is None
    async with by_hand(house) as conn:
        assert await let_go(conn, name, **lie) == "holds_are_lifted_by_a_ruling"
    await house.pool.execute(APPROVED.format(**HONEST), name, "4")  # in another transaction
    async with by_hand(house) as conn:
        with pytest.raises(asyncpg.CheckViolationError, match="lifted by a ruling"):
            await conn.execute(LET_GO, name, "4")


@pytest.mark.parametrize(
    "policy",
    [rule("all", "amount > 0"), rule("null", "ip = 'x'"), rule("no_policy", "ip = 'x'"),
     limit("none", "sender", "1h", "hold", count=1) + NEVER_FIRES],
    ids=["a rule", "a null", "a null with the name of a silence", "a limit"],
)  # fmt: skip
async def test_the_database_lets_go_nothing_that_was_judged(house: House, policy: str) -> None:
    sender, recipient = await house.org(amount=100), await house.org()
    await house.activate(policy)
    await house.sent(sender, recipient, 1)
    name = await house.sent(sender, recipient, 1)
    assert await standing(house, [name]) == ["held"]
    async with by_hand(house) as conn:
        assert await let_go(conn, name) == "holds_are_lifted_by_a_ruling"


async def test_what_the_ledger_holds_on_its_own_account_is_no_silence(house: House, parcel: bytes) -> None:
    """A report of a stolen account comes while no model serves: the hold is the report's."""
    sender, recipient = await house.org(amount=100), await house.org()
    name = await house.sent(sender, recipient, 10)
    await house.activate(MODEL + NEVER_FIRES)
    await again(lambda: house.works.relook.judge([name], "report", stop="stolen"))
    assert await waits(house) == [["degraded:model_missing", "ledger:stolen"]]
    await house.promote(parcel)
    assert await look(house) == 0
    async with by_hand(house) as conn:
        assert await let_go(conn, name) == "holds_are_lifted_by_a_ruling"


async def test_two_processes_judge_a_gift_late_once(house: House) -> None:
    await silence(house)
    names = await held(house, 6)
    await house.activate(NEVER_FIRES)
    await house.know_policy()
    took = await both(house)
    assert sum(took) == 6
    assert await standing(house, names) == ["pending"] * 6
    assert await house.pool.fetchval("select count(*) from detector.decisions where look > 1") == 6


async def both(house: House) -> list[int]:
    return await gather(again(replace(house.works.apart.late).take) for _ in range(2))
