"""How a batch asks its model: waves, one call, and second looks that never see their own gift."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from detector import labels
from detector.contract import Label
from detector.model_vector import LABELS, RECORDED
from models import artifact, files
from models.artifact import Content
from tests.support import CREDIT, NEVER_FIRES, House, again, gather, gift

JUDGED = '[model]\nname = "champion"\nhold_at = 1.0\nblock_at = 1.0\n' + NEVER_FIRES


@pytest.fixture
async def judged(house: House, parcel: bytes) -> House:
    """A house whose model judges, and holds nothing."""
    await house.activate(JUDGED)
    await house.promote(parcel)
    return house


async def label(house: House, gift: str, fraud: bool = True) -> None:
    async with house.pool.acquire() as conn, conn.transaction():
        await labels.note(conn, [(gift, Label(gift, fraud, "test"))], "test")


async def features(house: House, gift: str, look: int) -> dict[str, Any]:
    row = await house.pool.fetchrow("select * from detector.decisions where id = $1", f"{gift}.{look}")
    assert row is not None and row["features"] is not None, row
    return dict(zip(RECORDED, msgspec.json.decode(row["features"]), strict=True)) | {"score": row["score"]}


async def waves(house: House, *pairs: str) -> list[int]:
    async def once() -> list[int]:
        gifts = [gift(id=f"g{n}", sender=pair[0], recipient=pair[1]) for n, pair in enumerate(pairs)]
        async with house.pool.acquire() as conn, conn.transaction():
            sitting = await house.works.detector.gather(conn, gifts)
            found = [list(wave) for wave in sitting.waves(gifts)]
            sitting.close(committed=True)
        assert [one for wave in found for one in wave] == gifts
        return [len(wave) for wave in found]

    return await again(once)


async def test_a_wave_ends_where_a_party_comes_again(judged: House) -> None:
    assert await waves(judged, "ab", "cd", "ef") == [3]
    assert await waves(judged, "ab", "cd", "da", "ef", "ab") == [2, 2, 1]
    assert await waves(judged, "ab", "ab", "ab") == [1, 1, 1]
    assert await waves(judged) == []


async def test_without_a_model_gifts_are_decided_one_by_one(house: House) -> None:
    assert await waves(house, "ab", "cd", "ef") == [1, 1, 1]


async def test_a_later_gift_of_a_batch_sees_the_earlier_ones_of_its_parties(judged: House) -> None:
    a, b, c = [await judged.org(amount=100 * CREDIT) for _ in range(3)]
    await judged.know_policy()
    sent = await gather(judged.sent(*pair, CREDIT) for pair in ((a, b), (a, c), (b, a), (a, b)))
    seen = [await features(judged, one, 1) for one in sent]
    assert [one["sender_count_1h"] for one in seen] == [0, 1, 0, 2]
    assert [one["sender_received_count_1h"] for one in seen] == [0, 0, 1, 1]
    assert [one["pair_count_30d"] for one in seen] == [0, 0, 0, 1]


async def test_what_is_held_teaches_nothing(judged: House) -> None:
    a, b = await judged.org(amount=1_000 * CREDIT), await judged.org()
    await judged.activate(JUDGED.replace("amount < 0", f"amount >= {50 * CREDIT}"))
    held = await judged.sent(a, b, 50 * CREDIT)
    approved = await judged.sent(a, b, CREDIT)
    last = await judged.sent(a, b, CREDIT)
    assert (await judged.transfer(held))["status"] == "held"
    seen = [await features(judged, one, 1) for one in (held, approved, last)]
    assert [one["sender_count_1h"] for one in seen] == [0, 0, 1]


async def test_a_second_look_is_the_first_with_what_became_known_since(judged: House) -> None:
    a, b = await judged.org(amount=100 * CREDIT), await judged.org()
    earlier = await judged.sent(a, b, CREDIT)
    gift = await judged.sent(a, b, 2 * CREDIT)
    await judged.sent(a, b, 3 * CREDIT)
    await label(judged, earlier)
    await judged.pass_time(3_700)
    await judged.settle()
    first, second = await features(judged, gift, 1), await features(judged, gift, 2)
    changed = {name for name in first if first[name] != second[name]} - {"score"}
    assert changed <= {RECORDED[place] for place in LABELS} and (await judged.transfer(gift))["status"] == "settled"
    assert (first["recipient_frauds_7d"], second["recipient_frauds_7d"]) == (0, 1)
    assert second["sender_count_24h"] == 1, "the gift, or a later one, was seen by its own second look"


async def test_a_second_look_without_label_news_scores_as_the_first(judged: House) -> None:
    gift = await judged.sent(await judged.org(amount=CREDIT), await judged.org(), CREDIT)
    await judged.pass_time(3_700)
    await judged.settle()
    assert await features(judged, gift, 1) == await features(judged, gift, 2)


async def test_what_was_sent_before_there_was_a_model_is_looked_at_as_it_was_then(house: House, parcel: bytes) -> None:
    """The lock of a day does not freeze when a model comes: what was on record before each gift tells its features."""
    a, b, c = [await house.org(amount=100 * CREDIT) for _ in range(3)]
    sent = [await house.sent(*pair, CREDIT) for pair in ((a, b), (b, c), (a, b), (a, b))]
    await house.activate(JUDGED)
    name = await house.promote(parcel)
    await house.pass_time(3_700)
    await house.settle()
    assert {(await house.transfer(one))["status"] for one in sent} == {"settled"}
    seen = [await features(house, one, 2) for one in sent]
    assert [one["sender_count_1h"] for one in seen] == [0, 0, 1, 2]
    assert [one["sender_received_count_1h"] for one in seen] == [0, 1, 0, 0]
    assert {row["model"] for row in await house.pool.fetch("select model from detector.decisions where look = 2")} == {
        name
    }


async def test_the_score_decides_at_the_second_look_too(judged: House) -> None:
    a, b = await judged.org(amount=100 * CREDIT), await judged.org()
    held, back = [await judged.sent(a, b, CREDIT) for _ in range(2)]
    await judged.pass_time(3_700)
    score = (await features(judged, held, 1))["score"]
    await judged.activate(JUDGED.replace("hold_at = 1.0", f"hold_at = {score / 2}"))
    assert await again(lambda: judged.works.settlement.settle_due(most=1)) == 1
    await judged.activate(JUDGED.replace("hold_at = 1.0\nblock_at = 1.0", "block_at = 1e-9"))
    assert await again(lambda: judged.works.settlement.settle_due(most=1)) == 1
    assert [(await judged.transfer(one))["status"] for one in (held, back)] == ["held", "returned"]


async def test_the_policy_may_name_an_artifact_that_is_not_the_champion(judged: House, small: Content) -> None:
    other = files.parcel(artifact.build(replace(small, name="other")))
    await judged.promote(other, role="challenger")
    a, b = await judged.org(amount=100 * CREDIT), await judged.org()
    for name, model in (("champion", "small"), ("other", "other"), ("nobody", None)):
        await judged.activate(JUDGED.replace("champion", name))
        gift = await judged.sent(a, b, CREDIT)
        said = await judged.pool.fetchval("select model from detector.decisions where id = $1", f"{gift}.1")
        assert (said and said.split("@")[0]) == model
    assert (await judged.transfer(gift))["status"] == "held"
