"""The detector in process: whatever it remembers is proved fresh against PostgreSQL, on any number of processes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from detector import store
from detector.errors import PolicyMoved
from detector.gift import Decision, Gift
from detector.judge import Detector
from lockgate import connections
from tests.support import again, gather, gift, limit, rule

ONE_KEY = limit("three", "sender", "1h", count=3)


@pytest.fixture
async def pool(database: str) -> AsyncIterator[asyncpg.Pool]:
    pool = await connections.pool(database, size=5)
    yield pool
    await pool.close()


async def activate(pool: asyncpg.Pool, policy: str) -> int:
    async with pool.acquire() as conn:
        return await store.add_policy(conn, policy, "test")


async def judge(pool: asyncpg.Pool, detector: Detector, *gifts: Gift, fail: bool = False) -> list[Decision]:
    """One batch, committed, or given up after it was decided."""

    async def once() -> list[Decision]:
        async with pool.acquire() as conn:
            transaction = conn.transaction()
            await transaction.start()
            sitting, committed = None, False
            try:
                sitting = await detector.gather(conn, gifts)
                told = [sitting.decide(one) for one in gifts]
                await sitting.record(conn)
                if not fail:
                    await transaction.commit()
                    committed = True
                return told
            finally:
                if sitting:
                    sitting.close(committed=committed)
                if not committed:
                    await transaction.rollback()

    return await again(once)


def numbered(count: int, prefix: str = "g", **facts: Any) -> list[Gift]:
    return [gift(id=f"{prefix}{n}", **facts) for n in range(count)]


async def test_two_processes_in_turn_share_one_budget(pool: asyncpg.Pool) -> None:
    await activate(pool, ONE_KEY)
    here, there = Detector(), Detector()
    refused = []
    for turn in range(5):
        (told,) = await judge(pool, (here, there)[turn % 2], gift(id=f"g{turn}"))
        refused.append(told.refused)
    assert refused == [False, False, False, True, True]


async def test_a_process_that_starts_anew_knows_what_was(pool: asyncpg.Pool) -> None:
    await activate(pool, ONE_KEY)
    await judge(pool, Detector(), *numbered(3))
    (told,) = await judge(pool, Detector(), gift(id="after"))
    assert told.refused and told.hits[0].seen["used"] == 3


async def test_a_batch_that_was_given_up_is_forgotten(pool: asyncpg.Pool) -> None:
    await activate(pool, ONE_KEY)
    detector = Detector()
    await judge(pool, detector, *numbered(3, "lost"), fail=True)
    told = await judge(pool, detector, *numbered(4))
    assert [one.refused for one in told] == [False, False, False, True]


async def test_racing_batches_of_one_process_share_one_budget(pool: asyncpg.Pool) -> None:
    await activate(pool, ONE_KEY)
    detector = Detector()
    await judge(pool, detector, gift(id="first", sender="z"))
    told = await gather(judge(pool, detector, *numbered(2, f"b{n}_")) for n in range(5))
    assert sum(not one.refused for batch in told for one in batch) == 3


async def test_a_second_look_counts_nobody_twice(pool: asyncpg.Pool) -> None:
    await activate(pool, ONE_KEY)
    detector = Detector()
    await judge(pool, detector, *numbered(2))
    await judge(pool, detector, *numbered(2, look=2))
    told = await judge(pool, Detector(), *numbered(2, "later"))
    assert [one.refused for one in told] == [False, True]


async def test_a_later_look_says_that_it_is_one_and_sees_the_gift_in_its_activity(pool: asyncpg.Pool) -> None:
    await activate(pool, rule("first", "look = 1 and pair_count_30d >= 1") + rule("later", "look = 2 and amount > 5"))
    detector = Detector()
    (first,) = await judge(pool, detector, gift(amount=6))
    (later,) = await judge(pool, detector, gift(amount=6, look=2))
    seen = [dict(zip(detector.policy.vectors.names, one.vector, strict=True)) for one in (first, later)]  # type: ignore[union-attr]
    assert [(one["look"], one["pair_count_30d"]) for one in seen] == [(1, 0), (2, 1)]
    assert (first.reasons, later.reasons) == ([], ["rule:later"])


async def test_no_two_batches_share_a_moment_of_one_party(pool: asyncpg.Pool) -> None:
    await activate(pool, ONE_KEY.replace("3", "1000"))
    detectors = [Detector() for _ in range(3)]
    told = await gather(judge(pool, detectors[n % 3], *numbered(2, f"b{n}_")) for n in range(12))
    moments = [batch[0].at for batch in told]
    assert len(set(moments)) == len(moments)


# --- generations ---


async def test_a_new_generation_judges_at_once_and_counts_the_past(pool: asyncpg.Pool) -> None:
    detector = Detector()
    assert await activate(pool, ONE_KEY) == 1
    await judge(pool, detector, *numbered(2))
    assert await activate(pool, ONE_KEY.replace("count = 3", "count = 2")) == 2
    (told,) = await judge(pool, detector, gift(id="after"))
    assert told.refused and told.generation == 2


async def test_without_any_generation_gifts_are_held(pool: asyncpg.Pool) -> None:
    (told,) = await judge(pool, Detector(), gift())
    assert told.reasons == ["degraded:no_policy"]


@pytest.mark.parametrize("on", ["ip", "device", "tier"])
async def test_a_limit_on_a_new_kind_of_key_counts_what_came_before_it(pool: asyncpg.Pool, on: str) -> None:
    """A key that was never locked before has a past all the same: gifts judged when no limit read it."""
    detector = Detector()
    await activate(pool, ONE_KEY.replace("count = 3", "count = 100"))
    await judge(pool, detector, *numbered(3, **{on: "x"}))
    await activate(pool, limit("new", on, "1h", count=3))
    (told,) = await judge(pool, detector, gift(id="after", sender="c", **{on: "x"}))
    assert told.refused, "the first process to lock the key began to count from nothing"


async def test_a_batch_that_waited_while_the_policy_changed_uses_the_new_activity(
    pool: asyncpg.Pool, database: str
) -> None:
    """Two batches of a cold process wait for one key; the first adopts the generation, the second must see it whole."""
    await activate(pool, limit("one", "recipient", "1h", count=1))
    await judge(pool, Detector(), gift(id="before", sender="s"))
    detector = Detector()
    blocker = await asyncpg.connect(database)
    try:
        transaction = blocker.transaction()
        await transaction.start()
        await blocker.execute("select from detector.keys where key = 'o:b' for update")
        racing = [asyncio.create_task(judge(pool, detector, gift(id=f"g{n}", sender=f"s{n}"))) for n in range(2)]
        while await waiting(blocker) < 2:
            await asyncio.sleep(0.01)
        await transaction.rollback()
        told = await gather(racing)
    finally:
        await blocker.close()
    assert [one.refused for (one,) in told] == [True, True], "a batch was decided with the activity of the old policy"


async def waiting(conn: asyncpg.Connection) -> int:
    found: int = await conn.fetchval(
        "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    )
    return found


async def test_moving_to_a_new_generation_is_said(pool: asyncpg.Pool) -> None:
    await activate(pool, ONE_KEY)
    async with pool.acquire() as conn, conn.transaction():
        with pytest.raises(PolicyMoved, match="generation 1"):
            await Detector().gather(conn, [gift()])


async def test_rolling_back_walks_the_generations_that_judged(pool: asyncpg.Pool) -> None:
    for count in (1, 2, 3):
        await activate(pool, limit("n", "sender", "1h", count=count))
    async with pool.acquire() as conn:
        assert await store.roll_back(conn, "test") == (3, 2)
        assert await store.active(conn) == 2
        assert await store.roll_back(conn, "test") == (2, 1)
        assert await store.roll_back(conn, "test") is None


# --- the record ---


async def test_a_decision_is_recorded_with_all_that_it_saw(pool: asyncpg.Pool) -> None:
    await activate(pool, rule("r", "amount > 0 and ip = 'x'"))
    asked = gift(ip="x", device="d", tier="gold", payload_hash=b"h")
    (told,) = await judge(pool, Detector(), asked)
    async with pool.acquire() as conn:
        (row,) = await store.decisions(conn, ["g1.1"])
    assert store.micros(row["at"]) == told.at
    assert store.HITS.decode(row["hits"]) == list(told.hits)
    assert (row["verdict"], row["refused"], row["generation"], row["payload_hash"]) == ("hold", False, 1, b"h")
    assert (row["ip"], row["device"], row["tier"], row["look"]) == ("x", "d", "gold", 1)


async def test_the_record_is_append_only(pool: asyncpg.Pool) -> None:
    await activate(pool, ONE_KEY)
    await judge(pool, Detector(), gift())
    columns = {"decisions": "id", "policies": "generation", "activations": "author", "outcomes": "outcome"}
    for table, column in columns.items():
        for change in ("delete from {0}", "truncate {0} cascade", "update {0} set {1} = {1}"):
            with pytest.raises(asyncpg.RestrictViolationError, match="append-only"):
                await pool.execute(change.format(f"detector.{table}", column))
