"""Laws 10 and 11 for the model: what the gate read of a gift is what a history of the same gifts says, to the bit, on
any number of processes, cold or warm; and a recorded decision scores the same again."""

from __future__ import annotations

import itertools
import random
from typing import Any

import asyncpg
import msgspec
import numpy as np
import polars as pl

from detector import labels
from detector.contract import Label
from detector.feature_table import HASH, NAMES
from detector.gift import Gift, micros
from detector.model_vector import FACTS, vectors
from models.artifact import read_packed
from tests.support import CREDIT, SECOND_US, House, again, gather, limit, new_key, open_house, rule, workers
from training.features import features

POLICY = (
    '[model]\nname = "champion"\nhold_at = 1.0\nblock_at = 1.0\n'
    + limit("often", "sender", "1h", count=9)
    + rule("large", "amount > 400000000")
)
ORGS = 7


async def founded(house: House, count: int = ORGS) -> list[str]:
    return [await house.org(f"org{n}", amount=100_000 * CREDIT) for n in range(count)]


async def label(house: House, gift: str, fraud: bool) -> None:
    async with house.pool.acquire() as conn, conn.transaction():
        (told,) = await labels.note(conn, [(gift, Label(gift, fraud, "test"))], "test")
    assert isinstance(told, labels.Labelled), told


async def traffic(houses: list[House], orgs: list[str], turns: int, chance: random.Random) -> None:
    """Bursts at processes in turn, some gifts held by a rule or refused by a limit; labels; days that pass."""
    sent: list[str] = []
    for turn in range(turns):
        house = houses[turn % len(houses)]
        pairs = [chance.sample(orgs, 2) for _ in range(chance.choice([1, 1, 3, 8]))]
        amounts = [chance.choice([1, 10, 10, 11, 30, 450]) * CREDIT for _ in pairs]
        answers = await gather(house.send(*pair, amount) for pair, amount in zip(pairs, amounts, strict=True))
        told = [msgspec.json.decode(one.body) for one in answers]
        sent += [one["id"] for one in told if one["status"] == "pending"]
        if sent and chance.random() < 0.4:
            gift = sent.pop(chance.randrange(len(sent)))
            await label(chance.choice(houses), gift, chance.random() < 0.5)
        if chance.random() < 0.2:
            await house.pass_time(chance.choice([600, 3_600, 86_400, 6 * 86_400]))
            for other in houses:
                other.works.detector.activity.states.clear()


async def recorded(pool: asyncpg.Pool) -> tuple[list[Any], dict[str, Any]]:
    looks = "select * from detector.decisions where look = 1 and features is not null order by at, seq"
    known = {row["gift_id"]: row for row in await pool.fetch("select * from detector.labels")}
    return await pool.fetch(looks), known


def history(rows: list[Any], known: dict[str, Any]) -> pl.DataFrame:
    """Recorded first looks as a history: the facts as they were recorded, labels as they are known today."""
    told = []
    for row in rows:
        name = row["id"].removesuffix(".1")
        facts = dict(zip(FACTS, msgspec.json.decode(row["features"]), strict=False))
        plain = {key: row[key] for key in ("at", "sender", "recipient", "amount")}
        of = known.get(name)
        told.append({"id": name, **facts, **plain, "fraud": of and of["fraud"], "label_at": of and of["label_at"]})
    time, fact = pl.Datetime("us", "UTC"), dict.fromkeys(FACTS, pl.Int64)
    schema = {"id": pl.String, **fact, "at": time, "sender": pl.String, "recipient": pl.String}
    return pl.DataFrame(told, {**schema, "amount": pl.Int64, "fraud": pl.Boolean, "label_at": time})


def assert_same(stored: Any, table: pl.DataFrame) -> None:
    """The vectors of recorded features against those of a history, bit for bit."""
    expected = table.select(NAMES).cast(pl.Float64).fill_null(float("nan")).to_numpy()
    for row, (one, other) in enumerate(zip(stored, expected, strict=True)):
        if one.tobytes() != np.ascontiguousarray(other).tobytes():
            differ = [(name, a, b) for name, a, b in zip(NAMES, one, other, strict=True) if str(a) != str(b)]
            raise AssertionError(f"row {row}: (column, gate, history) {differ}")


async def test_the_gate_reads_what_a_history_says(database: str, parcel: bytes) -> None:
    """Approved gifts teach; what was held or refused is seen as the last gift of a history of its own."""
    async with open_house(database, POLICY) as house, open_house(database, None) as other:
        await house.promote(parcel)
        await traffic([house, other], await founded(house), 90, random.Random(5))
        rows, known = await recorded(house.pool)
        verdicts = [row["verdict"] for row in rows]
        assert {"approve", "hold", "block"} == set(verdicts) and len(known) > 10
        approved = [row for row in rows if row["verdict"] == "approve"]
    stored = {row["id"]: msgspec.json.decode(row["features"]) for row in rows}
    assert all(row["feature_table"] == HASH for row in rows)
    assert_same(vectors([stored[row["id"]] for row in approved]), features(history(approved, known)))
    for place, row in enumerate(rows):
        if row["verdict"] != "approve":
            before = [one for one in rows[:place] if one["verdict"] == "approve"]
            assert_same(vectors([stored[row["id"]]]), features(history([*before, row], known)).tail(1))


async def test_a_recorded_decision_scores_the_same_again(database: str, parcel: bytes) -> None:
    """Law 11, whatever was scored with it, and in whatever batch."""
    async with open_house(database, POLICY) as house:
        name = await house.promote(parcel)
        await traffic([house], await founded(house), 20, random.Random(7))
        rows, _ = await recorded(house.pool)
    model = read_packed(parcel, features=NAMES, feature_table_hash=HASH)
    rescored = model.score(vectors([msgspec.json.decode(row["features"]) for row in rows]))
    assert [row["score"] for row in rows] == rescored.tolist() and len({row["score"] for row in rows}) > 5
    assert {row["model"] for row in rows} == {name}


async def test_a_process_that_wakes_knows_what_one_that_ran_on_knows(database: str, parcel: bytes) -> None:
    async with open_house(database, POLICY) as warm:
        await warm.promote(parcel)
        orgs = await founded(warm)
        await traffic([warm], orgs, 60, random.Random(9))
        await gather(warm.send(*pair, CREDIT) for pair in itertools.permutations(orgs, 2))
        async with open_house(database, None) as cold:
            asked = [Gift(f"g{n}", *pair, CREDIT, b"") for n, pair in enumerate(itertools.permutations(orgs, 2))]
            seen = [await features_of(one, asked) for one in (warm, cold)]
    assert seen[0] == seen[1] and len({*seen[0]}) > ORGS


async def features_of(house: House, gifts: list[Gift]) -> list[Any]:
    """What a process reads of gifts a second from now, without letting any of them happen."""

    async def once() -> list[Any]:
        async with house.pool.acquire() as conn:
            transaction = conn.transaction()
            await transaction.start()
            latest = await conn.fetchval("select max(at) from detector.decisions")
            at = micros(latest) + SECOND_US
            sitting = await house.works.detector.gather(conn, gifts, at=at)
            try:
                return [sitting.opinion(gift).features for gift in gifts]
            finally:
                sitting.close(committed=False)
                await transaction.rollback()

    return await again(once)


async def test_two_worker_processes_in_turn_are_one(database: str, parcel: bytes) -> None:
    """Each gift at another process than the one before, over the same few parties; labels come in through both."""
    async with open_house(database, POLICY) as house:
        await house.promote(parcel)
        service = await new_key(house.pool, "service", name="shop")
        orgs, chance = [f"s{n}" for n in range(5)], random.Random(11)
        with workers(database, 2) as started:
            doors = [worker.client() for worker in started]
            for turn in range(60):
                sender, recipient = chance.sample(orgs, 2)
                asked = {"id": f"g{turn}", "sender": sender, "recipient": recipient, "sender_available": 10**9}
                told = await doors[turn % 2].post("/v1/score", json={**asked, "amount": CREDIT}, headers=service)
                assert told.status_code == 200, told.text
                if turn % 7 == 3 and told.json()["verdict"] == "approve":
                    said = {"gift": f"g{turn}", "fraud": turn % 2 == 0, "source": "test"}
                    noted = await doors[turn // 7 % 2].post("/v1/labels", json=said, headers=service)
                    assert noted.status_code == 200, noted.text
            await gather(door.aclose() for door in doors)
        rows, known = await recorded(house.pool)
    approved = [row for row in rows if row["verdict"] == "approve"]
    assert len(rows) == 60 and len(approved) > 30 and len(known) > 3
    assert_same(vectors([msgspec.json.decode(row["features"]) for row in approved]), features(history(approved, known)))
