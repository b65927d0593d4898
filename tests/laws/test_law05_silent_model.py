"""Law 5 for the model: whatever keeps it from judging holds the gift and says why; a later promotion mends it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from detector import champions
from detector.feature_table import HASH, NAMES
from detector.gift import Verdict
from detector.model_vector import RECORDED
from detector.policy import ModelTerms
from detector.serving import Serving
from models import artifact, files
from models.artifact import Content, read_packed
from tests.support import CREDIT, NEVER_FIRES, House, gather, open_door, open_house

JUDGED = '[model]\nname = "champion"\nhold_at = 1.0\nblock_at = 1.0\n' + NEVER_FIRES
# By the artifact's own thresholds.
OWN = '[model]\nname = "champion"\n' + NEVER_FIRES


def altered(content: Content) -> bytes:
    made = artifact.build(content)
    trees = bytearray(made[files.TREES])
    trees[len(trees) // 2] ^= 1
    return files.parcel({**made, files.TREES: bytes(trees)})


def truncated(content: Content) -> bytes:
    made = artifact.build(content)
    return files.parcel({**made, files.TREES: made[files.TREES][:-7]})


def other_table(content: Content) -> bytes:
    return files.parcel(artifact.build(replace(content, feature_table_hash="0" * 64)))


def old(content: Content) -> bytes:
    return files.parcel(artifact.build(replace(content, created_at=datetime.now(UTC) - timedelta(days=91))))


def unbounded(content: Content) -> bytes:
    calibration = msgspec.structs.replace(content.calibration, thresholds={})
    return files.parcel(artifact.build(replace(content, calibration=calibration)))


def nothing(content: Content) -> None:
    return None


FAULTS: list[tuple[str, Callable[[Content], bytes | None], str]] = [
    (JUDGED, nothing, "model_missing"),
    (JUDGED, truncated, "model_truncated"),
    (JUDGED, altered, "model_altered"),
    (JUDGED, other_table, "model_mismatched"),
    (JUDGED, old, "model_stale"),
    (OWN, unbounded, "model_unbounded"),
]


@pytest.mark.parametrize(("policy", "made", "reason"), FAULTS, ids=[reason for _, _, reason in FAULTS])
async def test_a_model_that_cannot_judge_holds_and_a_later_one_mends_it(
    database: str, small: Content, parcel: bytes, policy: str, made: Callable[[Content], bytes | None], reason: str
) -> None:
    async with open_house(database, policy) as house, open_door(database) as door:
        await house.promote(made(replace(small, name="spoilt")))
        a, b = await house.org(amount=100 * CREDIT), await house.org()
        gift = await house.sent(a, b, CREDIT)
        assert (await house.transfer(gift))["status"] == "held"
        assert await seen(house, gift) == ("hold", [f"degraded:{reason}"], None)
        health = (await door.get("/healthz")).json()
        assert (health["status"], health["reason"], health["model"] is None) == ("degraded", reason, reason not in LATE)
        name = await house.promote(parcel)
        verdict, reasons, model = await seen(house, await house.sent(a, b, CREDIT))
        assert model == name and not any(one.startswith("degraded") for one in reasons), reasons
        if policy is JUDGED:
            assert verdict == "approve"
        health = (await door.get("/healthz")).json()
        assert (health["status"], health["model"]) == ("ok", name)


# What is found only when the model is to judge: which model it is, is known.
LATE = ("model_stale", "model_unbounded")


async def seen(house: House, gift: str, look: int = 1) -> tuple[str, list[str], str | None]:
    row = await house.pool.fetchrow("select * from detector.decisions where id = $1", f"{gift}.{look}")
    assert row is not None
    return row["verdict"], [f"{one['by']}:{one['name']}" for one in msgspec.json.decode(row["hits"])], row["model"]


async def test_a_parcel_that_was_cut_off_holds(house: House, parcel: bytes) -> None:
    await house.activate(JUDGED)
    async with house.pool.acquire() as conn:
        await champions.add(conn, "cut", "c" * 64, parcel[:-100], "test")
        await champions.promote(conn, champions.CHAMPION, "c" * 64, "test", "a test")
    gift = await house.sent(await house.org(amount=CREDIT), await house.org(), CREDIT)
    assert await seen(house, gift) == ("hold", ["degraded:model_malformed"], None)


async def test_an_artifact_under_another_hash_than_its_own_holds(house: House, parcel: bytes) -> None:
    await house.activate(JUDGED)
    async with house.pool.acquire() as conn:
        await champions.add(conn, "other", "d" * 64, parcel, "test")
        await champions.promote(conn, champions.CHAMPION, "d" * 64, "test", "a test")
    gift = await house.sent(await house.org(amount=CREDIT), await house.org(), CREDIT)
    assert await seen(house, gift) == ("hold", ["degraded:model_altered"], None)


async def test_an_unsigned_artifact_holds_where_a_key_is_configured(database: str, parcel: bytes) -> None:
    async with open_house(database, JUDGED) as house:
        await house.promote(parcel)
        house.works.detector.trusted_key = "ab" * 32
        gift = await house.sent(await house.org(amount=CREDIT), await house.org(), CREDIT)
        assert await seen(house, gift) == ("hold", ["degraded:model_unsigned"], None)


async def test_an_old_model_blocks_where_the_policy_says_so(house: House, small: Content) -> None:
    await house.activate(JUDGED.replace("hold_at", 'when_old = "block"\nhold_at'))
    await house.promote(old(small))
    gift = await house.sent(await house.org(amount=CREDIT), await house.org(), CREDIT)
    assert await seen(house, gift) == ("block", ["degraded:model_stale"], None)


async def test_the_policy_may_let_a_model_grow_older(house: House, small: Content) -> None:
    await house.activate(JUDGED.replace("hold_at", 'max_age = "100d"\nhold_at'))
    name = await house.promote(old(small))
    gift = await house.sent(await house.org(amount=CREDIT), await house.org(), CREDIT)
    assert await seen(house, gift) == ("approve", [], name)


async def test_a_model_that_fails_later_holds_at_the_second_look(house: House, small: Content, parcel: bytes) -> None:
    await house.activate(JUDGED)
    await house.promote(parcel)
    gift = await house.sent(await house.org(amount=CREDIT), await house.org(), CREDIT)
    await house.promote(altered(replace(small, name="spoilt")))
    await house.pass_time(3_700)
    await house.settle()
    assert (await house.transfer(gift))["status"] == "held"
    assert await seen(house, gift, 2) == ("hold", ["degraded:model_altered"], None)


@pytest.mark.parametrize("thing", ["not a number", "a failure"])
def test_a_score_that_is_none_holds(parcel: bytes, thing: str) -> None:
    """The very model that was loaded, with a slope that no artifact gets past the score check; or another width."""
    model = read_packed(parcel, features=NAMES, feature_table_hash=HASH)
    platt = msgspec.structs.replace(model.calibration.platt, a=float("nan"))
    broken = replace(model, calibration=msgspec.structs.replace(model.calibration, platt=platt))
    if thing == "a failure":
        broken = replace(model, features=model.features[1:])
    looks: list[Any] = [(0, (1,) * len(RECORDED), None), (0, (None,) * len(RECORDED), None)]
    said = list(Serving(model.sha256, broken).opinions(ModelTerms("champion"), looks, 0))
    assert len(said) == 2 and {one.score for one in said} == {None}
    for one in said:
        assert one.hit is not None and (one.hit.reason, one.hit.verdict) == ("degraded:model_fault", "hold")


def test_the_most_severe_threshold_that_a_score_comes_up_to_speaks(parcel: bytes) -> None:
    model = read_packed(parcel, features=NAMES, feature_table_hash=HASH)
    looks: list[Any] = [(0, (None,) * len(RECORDED), None)]
    serving = Serving(model.sha256, model)
    (plain,) = serving.opinions(ModelTerms("champion", 1.0, 1.0), looks, 0)
    assert plain.hit is None and plain.score is not None and 0 < plain.score < 1
    (held,) = serving.opinions(ModelTerms("champion", plain.score, 1.0), looks, 0)
    (blocked,) = serving.opinions(ModelTerms("champion", plain.score / 2, plain.score), looks, 0)
    for one, verdict in ((held, Verdict.HOLD), (blocked, Verdict.BLOCK)):
        assert one.hit is not None and one.hit.seen == {"score": plain.score, "threshold": plain.score}
        assert (one.hit.reason, one.hit.verdict) == ("model:small", verdict.word)


async def test_a_champion_is_swapped_while_gifts_run(house: House, small: Content, parcel: bytes) -> None:
    """Every decision names one, the old one before and the new one after, and nobody waits for it."""
    newer = files.parcel(artifact.build(replace(small, name="newer")))
    await house.activate(JUDGED)
    first = await house.promote(parcel)
    orgs = [await house.org(amount=1_000 * CREDIT) for _ in range(8)]
    sending, done = [], asyncio.Event()

    async def send(number: int) -> None:
        while not done.is_set() or len(sending) < 200:
            sending.append(await house.sent(orgs[number], orgs[(number + 1) % 8], CREDIT))

    async def swap() -> str | None:
        while len(sending) < 80:
            await asyncio.sleep(0)
        name = await house.promote(newer)
        done.set()
        return name

    *_, second = await gather([*(send(number) for number in range(8)), swap()])
    rows = await house.pool.fetch("select model, verdict from detector.decisions order by at, seq")
    named = [row["model"] for row in rows]
    turned = named.index(second)
    assert {row["verdict"] for row in rows} == {"approve"} and turned >= 80
    assert set(named[:turned]) == {first} and set(named[turned:]) == {second}
