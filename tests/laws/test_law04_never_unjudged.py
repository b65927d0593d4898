"""Law 4: nothing settles before its hour, while held, or without a live approval of exactly its payload.

Who writes SQL by hand, past all of our code, is refused by the database, which names the law.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from tests.support import NEVER_FIRES, House, limit, rule

SETTLE = (
    "update ledger.transfers set status = 'settled', version = version + 1, ended_at = clock_timestamp(), "
    "settle_decision_id = $2, settle_verdict = 'approve', settle_hash = payload_hash, settled_amount = amount "
    "where id = $1"
)
JUDGE = (
    "insert into detector.decisions (id, at, seq, look, sender, recipient, amount, verdict, refused, hits, vector, "
    "generation, payload_hash) select $2::text, clock_timestamp(), 0, 2, {sender}, {recipient}, {amount}, {verdict}, "
    "false, '[]', '[]', 1, {hash} from ledger.transfers where id = $1"
)
HONEST = {
    "sender": "sender",
    "recipient": "recipient",
    "amount": "amount",
    "verdict": "'approve'",
    "hash": "payload_hash",
}


async def due(house: House, *, hours: float = 1.01) -> str:
    """A pending gift of an hour ago."""
    sender, recipient = await house.org(amount=100), await house.org()
    name = await house.sent(sender, recipient, 10, note="n")
    await house.pass_time(hours * 3600)
    return name


@asynccontextmanager
async def by_hand(house: House) -> AsyncIterator[asyncpg.Connection]:
    """A transaction that is undone."""
    async with house.pool.acquire() as conn:
        transaction = conn.transaction()
        await transaction.start()
        try:
            yield conn
        finally:
            await transaction.rollback()


async def refused(conn: asyncpg.Connection, name: str, decision: str = "forged", sql: str = SETTLE) -> str | None:
    try:
        await conn.execute(sql, name, *([decision] if "$2" in sql else []))
    except asyncpg.CheckViolationError as error:
        return error.constraint_name
    return None


async def test_an_honest_settlement_by_hand_passes(house: House) -> None:
    """Or else the refusals below would prove nothing."""
    name = await due(house)
    async with by_hand(house) as conn:
        await conn.execute(JUDGE.format(**HONEST), name, "forged")
        assert await refused(conn, name) is None


@pytest.mark.parametrize(
    "lie",
    [{"verdict": "'hold'"}, {"verdict": "'block'"}, {"amount": "amount - 1"}, {"sender": "recipient"},
     {"recipient": "sender"}, {"hash": "sha256('x')"}],
    ids=lambda lie: next(iter(lie)) + ":" + next(iter(lie.values())),
)  # fmt: skip
async def test_a_decision_that_does_not_approve_this_very_gift(house: House, lie: dict[str, str]) -> None:
    name = await due(house)
    async with by_hand(house) as conn:
        await conn.execute(JUDGE.format(**{**HONEST, **lie}), name, "forged")
        assert await refused(conn, name) == "never_unjudged"


async def test_no_decision_at_all(house: House) -> None:
    name = await due(house)
    first = f"{name}.1"
    for decision in ("nosuch", first):
        async with by_hand(house) as conn:
            assert await refused(conn, name, decision) == "never_unjudged"
    without = SETTLE.replace("settle_decision_id = $2, settle_verdict = 'approve', ", "")
    async with by_hand(house) as conn:
        assert await refused(conn, name, sql=without) == "never_unjudged"


async def test_an_approval_from_another_transaction(house: House) -> None:
    name = await due(house)
    await house.pool.execute(JUDGE.format(**HONEST), name, "yesterday")
    async with by_hand(house) as conn:
        assert await refused(conn, name, "yesterday") == "never_unjudged"


async def test_an_approval_of_before_the_hour(house: House) -> None:
    name = await due(house)
    early = JUDGE.format(**HONEST).replace("clock_timestamp()", "settle_at - interval '1 microsecond'")
    async with by_hand(house) as conn:
        await conn.execute(early, name, "forged")
        assert await refused(conn, name) == "never_unjudged"


async def test_settling_before_the_hour(house: House) -> None:
    name = await due(house, hours=0.9)
    for sql in (SETTLE, SETTLE.replace("status =", "settle_at = created_at, status =")):
        async with by_hand(house) as conn:
            await conn.execute(JUDGE.format(**HONEST), name, "forged")
            assert await refused(conn, name, sql=sql) == "never_unjudged"


async def test_moving_the_hour_alone_is_no_step(house: House) -> None:
    name = await due(house, hours=0.5)
    async with by_hand(house) as conn:
        sql = "update ledger.transfers set settle_at = now(), version = version + 1 where id = $1"
        assert await refused(conn, name, sql=sql) == "transfers_end_once"


async def test_settling_what_is_held(house: House) -> None:
    await house.activate(rule("all", "amount > 0"))
    name = await due(house, hours=2)
    for extra in ("", "settle_at = now() - interval '1 s', hold_until = null, lock_left_s = null, "):
        async with by_hand(house) as conn:
            await conn.execute(JUDGE.format(**HONEST), name, "forged")
            sql = SETTLE.replace("status =", f"{extra}status =", 1)
            assert await refused(conn, name, sql=sql) in ("transfers_end_once", "held_stops_the_clock")


async def test_settling_what_was_blocked_or_returned(house: House) -> None:
    await house.activate(rule("large", "amount > 50", "block"))
    sender, recipient = await house.org(amount=100), await house.org()
    blocked, cancelled = await house.sent(sender, recipient, 60), await house.sent(sender, recipient, 10)
    await house.cancel(sender, cancelled)
    for name in (blocked, cancelled):
        async with by_hand(house) as conn:
            await conn.execute(JUDGE.format(**HONEST), name, "forged")
            assert await refused(conn, name) in ("transfers_end_once", "never_unjudged")


async def test_a_transfer_that_is_born_ended(house: House) -> None:
    name = await due(house)
    for status, constraints in {
        "settled": {"transfers_start_unsettled", "never_unjudged"},
        "returned": {"transfers_start_unsettled"},
        "cancelled": {"transfers_start_unsettled"},
    }.items():
        async with by_hand(house) as conn:
            copy = (
                "insert into ledger.transfers select (jsonb_populate_record(t, jsonb_build_object('id', 'tr_x', "
                f"'status', '{status}', 'ended_at', now(), 'settle_decision_id', 'd', 'settle_verdict', 'approve'))).* "
                "from ledger.transfers t where id = $1"
            )
            assert await refused(conn, name, sql=copy) in constraints


async def test_a_payload_whose_hash_is_of_another(house: House) -> None:
    """The hash is computed again from what the row says, so a forged pair of hash and decision does not help."""
    name = await due(house)
    async with by_hand(house) as conn:
        await conn.execute("set local session_replication_role = replica")
        await conn.execute("update ledger.transfers set note = 'another' where id = $1", name)
        await conn.execute("set local session_replication_role = origin")
        await conn.execute(JUDGE.format(**HONEST), name, "forged")
        assert await refused(conn, name) == "never_unjudged"


# --- the second look ---


async def look_again(house: House, policy: str) -> Any:
    """What becomes of a gift that was approved, when another policy judges at its hour."""
    sender, recipient = await house.org(amount=100), await house.org()
    name = await house.sent(sender, recipient, 10)
    await house.pass_time(3_601)
    await house.activate(policy)
    assert await house.settle() == 1
    return await house.transfer(name)


@pytest.mark.parametrize(
    ("policy", "status", "reason"),
    [
        (NEVER_FIRES, "settled", None),
        (rule("all", "amount > 0"), "held", "second_look"),
        (rule("all", "amount > 0", "block"), "returned", "second_look"),
        (rule("null", "ip = 'x'", "block"), "held", "second_look"),
        (limit("tiny", "sender", "30d", count=1), "settled", None),
    ],
)
async def test_the_second_look_decides(house: House, policy: str, status: str, reason: str | None) -> None:
    row = await look_again(house, policy)
    assert (row["status"], row["reason"]) == (status, reason)
    await house.reconcile()


async def test_who_loses_its_standing_meanwhile_settles_nothing(house: House) -> None:
    for spoil in ("frozen = true where id = $1", "frozen = true where id = $2", "identity = 'none' where id = $1"):
        sender, recipient = await house.org(amount=100), await house.org()
        name = await house.sent(sender, recipient, 10)
        await house.pool.execute(
            f"with both_named as (select $1::text, $2::text) update ledger.orgs set {spoil}", sender, recipient
        )
        await house.pass_time(3_601)
        await house.settle()
        assert (await house.transfer(name))["status"] == "held", spoil


async def test_a_hold_that_nobody_rules_on_goes_back_however_long_it_waits(house: House) -> None:
    row = await look_again(house, rule("all", "amount > 0"))
    await house.activate(NEVER_FIRES)
    await house.pass_time(10_000)
    assert await house.settle() == 0
    await house.pass_time(801)
    assert await house.settle() == 1
    row = await house.transfer(row["id"])
    assert (row["status"], row["reason"]) == ("returned", "hold_expired")


async def test_a_fault_of_the_detector_holds_at_both_looks(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*args: Any, **kwargs: Any) -> Any:
        raise ZeroDivisionError("a fault of ours")

    sender, recipient = await house.org(amount=100), await house.org()
    good = await house.sent(sender, recipient, 10)
    monkeypatch.setattr("detector.sitting.decide", fails)
    bad = await house.sent(sender, recipient, 10)
    assert (await house.transfer(bad))["status"] == "held"
    await house.pass_time(3_601)
    await house.settle()
    assert (await house.transfer(good))["status"] == "held"
    hits = await house.pool.fetch(
        "select hits::text from detector.decisions where id = any($1)", [f"{good}.2", f"{bad}.1"]
    )
    assert all('"degraded"' in row["hits"] and '"fault"' in row["hits"] for row in hits)


async def test_without_an_active_policy_nothing_settles(house: House) -> None:
    name = await due(house)
    async with house.pool.acquire() as conn, conn.transaction():
        await conn.execute("set local session_replication_role = replica")
        await conn.execute("delete from detector.activations")
    await house.settle()
    row = await house.transfer(name)
    assert (row["status"], row["settle_verdict"]) == ("held", "hold")


async def test_settling_before_the_hour_with_a_forged_clock(house: House) -> None:
    """The times that a statement writes are claims; the database has a clock of its own."""
    name = await due(house, hours=0.5)
    forged = "(select settle_at from ledger.transfers where id = $1)"
    async with by_hand(house) as conn:
        await conn.execute(JUDGE.format(**HONEST).replace("clock_timestamp()", "settle_at"), name, "forged")
        sql = SETTLE.replace("ended_at = clock_timestamp()", f"ended_at = {forged}")
        assert await refused(conn, name, sql=sql) == "never_unjudged"
