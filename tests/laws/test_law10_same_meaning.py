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
from detector.feature_table import BESIDES, HASH, IDENTITIES, NAMES
from detector.gift import Gift, micros
from detector.model_vector import RECORDED, vectors
from models.artifact import read_packed
from tests.support import CREDIT, SECOND_US, House, again, gather, limit, new_key, open_house, rule, workers
from training.features import features

POLICY = (
    '[model]\nname = "champion"\nhold_at = 1.0\nblock_at = 1.0\n'
    + limit("often", "sender", "1h", count=9)
    + rule("large", "amount > 400000000")
)
ORGS = 7
RANKS = {rank: word for word, rank in IDENTITIES.items()}
TEXT = pl.String()
GIFT = {
    "at": pl.Datetime("us", "UTC"), "sender": TEXT, "recipient": TEXT, "amount": pl.Int64(), "verdict": TEXT,
    "ip": TEXT, "device": TEXT, "fingerprint": TEXT,
}  # fmt: skip


async def founded(house: House, count: int = ORGS) -> list[str]:
    return [await house.org(f"org{n}", amount=100_000 * CREDIT) for n in range(count)]


async def label(house: House, gift: str, fraud: bool) -> None:
    async with house.pool.acquire() as conn, conn.transaction():
        (told,) = await labels.note(conn, [(gift, Label(gift, fraud, "test"))], "test")
    assert isinstance(told, labels.Labelled), told


def place(chance: random.Random) -> dict[str, str]:
    return {"ip": f"10.0.0.{chance.randrange(3)}", "device": f"device-{chance.randrange(4)}"}


async def traffic(houses: list[House], orgs: list[str], turns: int, chance: random.Random) -> None:
    """Bursts at processes in turn, some gifts held by a rule or refused by a limit; labels; days that pass."""
    sent: list[str] = []
    for turn in range(turns):
        house = houses[turn % len(houses)]
        pairs = [chance.sample(orgs, 2) for _ in range(chance.choice([1, 1, 3, 8]))]
        amounts = [chance.choice([1, 10, 10, 11, 30, 450]) * CREDIT for _ in pairs]
        places = [{} if chance.random() < 0.3 else place(chance) for _ in pairs]
        asked = zip(pairs, amounts, places, strict=True)
        answers = await gather(house.send(*pair, amount, **where) for pair, amount, where in asked)
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
    known = {row["gift_id"]: row for row in await pool.fetch("select * from detector.labels")}
    return await pool.fetch("select * from detector.decisions where look = 1 order by at, seq"), known


def history(rows: list[Any], known: dict[str, Any]) -> pl.DataFrame:
    """Recorded first looks as a history: the facts as they were recorded, labels as they are known today."""
    told = []
    for row in rows:
        name = row["id"].removesuffix(".1")
        found = msgspec.json.decode(row["features"]) if row["features"] else [None] * len(RECORDED)
        facts = {name: value for name, value in zip(RECORDED, found, strict=True) if name in BESIDES}
        facts["identity"] = RANKS.get(facts["identity"])
        plain = {key: row[key] for key in GIFT}
        of = known.get(name)
        told.append({"id": name, **facts, **plain, "fraud": of and of["fraud"], "label_at": of and of["label_at"]})
    time = pl.Datetime("us", "UTC")
    schema = {"id": pl.String, **dict.fromkeys(BESIDES, pl.Int64), "identity": pl.String, **GIFT}
    return pl.DataFrame(told, {**schema, "fraud": pl.Boolean, "label_at": time})


def assert_same(stored: Any, table: pl.DataFrame) -> None:
    """The vectors of recorded features against those of a history, bit for bit."""
    expected = table.select(NAMES).cast(pl.Float64).fill_null(float("nan")).to_numpy()
    for row, (one, other) in enumerate(zip(stored, expected, strict=True)):
        if one.tobytes() != np.ascontiguousarray(other).tobytes():
            differ = [(name, a, b) for name, a, b in zip(NAMES, one, other, strict=True) if str(a) != str(b)]
            raise AssertionError(f"row {row}: (column, gate, history) {differ}")


async def test_the_gate_reads_what_a_history_says(database: str, parcel: bytes) -> None:
    """Approved gifts teach; what was held or refused is an attempt, and seen itself like any other."""
    async with open_house(database, POLICY) as house, open_house(database, None) as other:
        await house.promote(parcel)
        await traffic([house, other], await founded(house), 90, random.Random(5))
        rows, known = await recorded(house.pool)
    assert {"approve", "hold", "block"} == {row["verdict"] for row in rows} and len(known) > 10
    looked = [place for place, row in enumerate(rows) if row["features"]]
    assert len(looked) > 100 and all(rows[place]["feature_table"] == HASH for place in looked)
    stored = vectors([msgspec.json.decode(rows[place]["features"]) for place in looked])
    assert_same(stored, features(history(rows, known))[looked])


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
                if turn % 7 == 3:
                    said = {"gift": f"g{turn}", "fraud": turn % 2 == 0, "source": "test"}
                    noted = await doors[turn // 7 % 2].post("/v1/labels", json=said, headers=service)
                    assert noted.status_code == 200, noted.text
            await gather(door.aclose() for door in doors)
        rows, known = await recorded(house.pool)
    assert len(rows) == 60 and len({row["verdict"] for row in rows}) > 1 and len(known) > 3
    assert_same(vectors([msgspec.json.decode(row["features"]) for row in rows]), features(history(rows, known)))
