"""Rulings: what each act does to credits, labels and the next look; and who is told what when it comes too late."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import httpx
import msgspec
import pytest

from tests.support import CREDIT, LARGE, MEDIUM, REVIEWED, House, Seat, new_key, open_door, open_house, rule, seat

LOCK_S, HOLD_S = 3_600, 10_800


@pytest.fixture
async def house(database: str) -> AsyncIterator[House]:
    async with open_house(database, REVIEWED, lock_s=LOCK_S, hold_s=HOLD_S) as opened:
        yield opened


@pytest.fixture
async def door(database: str, house: House) -> AsyncIterator[httpx.AsyncClient]:
    async with open_door(database, lock_s=LOCK_S, hold_s=HOLD_S) as client:
        yield client


@pytest.fixture
async def alice(house: House, door: httpx.AsyncClient) -> Seat:
    return await seat(door, house.pool, "alice")


async def held(house: House, amount: int = MEDIUM, sender: str = "", recipient: str = "") -> tuple[str, str, str]:
    """Sender, recipient and id of a held gift."""
    a = sender or await house.org(amount=100_000 * CREDIT)
    b = recipient or await house.org()
    gift = await house.sent(a, b, amount)
    assert (await house.transfer(gift))["status"] == "held"
    return a, b, gift


async def case_of(house: House, gift: str) -> str:
    return str(await house.pool.fetchval("select case_id from detector.case_gifts where gift_id = $1", gift))


async def label(house: House, gift: str) -> tuple[bool, str, str] | None:
    row = await house.pool.fetchrow("select fraud, source, author from detector.labels where gift_id = $1", gift)
    return None if row is None else tuple(row)


async def available(house: House, org: str) -> tuple[int, int]:
    row = await house.pool.fetchrow("select available, reserved from ledger.orgs where id = $1", org)
    assert row is not None
    return row["available"], row["reserved"]


async def test_a_release_starts_the_clock_where_it_stopped_and_says_good(house: House, alice: Seat) -> None:
    _, b, gift = await held(house)
    await house.pass_time(600)
    file = await alice.ruled(await case_of(house, gift), "release")
    row = await house.transfer(gift)
    (ruling,) = file["rulings"]
    assert (row["status"], row["hold_until"], row["lock_left_s"]) == ("pending", None, None)
    assert (row["settle_at"] - row["created_at"]).total_seconds() == pytest.approx(LOCK_S + 600, abs=60)
    assert (ruling["act"], ruling["status"], ruling["by"], ruling["gifts"]) == ("release", "done", "alice", [gift])
    assert (file["case"]["status"], file["gifts"][0]["standing"]) == ("ended", "released")
    assert await label(house, gift) == (False, "ruling", "alice")
    assert await house.settle() == 0
    await house.pass_time(LOCK_S)
    assert await house.settle() == 1
    assert ((await house.transfer(gift))["status"], await available(house, b)) == ("settled", (MEDIUM, 0))
    await house.reconcile()


async def test_at_the_second_look_waived_reasons_hold_no_more_and_say_who_waived_them(
    house: House, alice: Seat
) -> None:
    _, _, gift = await held(house)
    file = await alice.ruled(await case_of(house, gift), "release")
    await house.pass_time(LOCK_S)
    await house.settle()
    row = await house.pool.fetchrow("select verdict, hits from detector.decisions where id = $1", f"{gift}.3")
    assert row is not None and row["verdict"] == "approve"
    (hit,) = msgspec.json.decode(row["hits"])
    assert (hit["name"], hit["verdict"], hit["waived_by"]) == ("medium", "hold", file["rulings"][0]["id"])


async def test_a_new_reason_holds_again_and_opens_a_case_with_it_alone(house: House, alice: Seat) -> None:
    _, _, gift = await held(house)
    await alice.ruled(await case_of(house, gift), "release")
    await house.activate(rule("another", "amount > 1") + REVIEWED)
    await house.pass_time(LOCK_S)
    await house.settle()
    row = await house.transfer(gift)
    (case,) = await alice.queue()
    (again,) = (await alice.file(case["id"]))["gifts"]
    assert (row["status"], row["reason"]) == ("held", "second_look")
    assert (again["decision"], again["reasons"], again["standing"]) == (f"{gift}.3", ["rule:another"], "waiting")
    await alice.ruled(case["id"], "release")
    await house.settle()
    assert (await house.transfer(gift))["status"] == "settled"
    await house.reconcile()


async def test_a_block_is_never_waived(house: House, alice: Seat) -> None:
    a, _, gift = await held(house)
    await alice.ruled(await case_of(house, gift), "release")
    await house.activate(rule("medium", "amount >= 100000000", "block"))
    await house.pass_time(LOCK_S)
    await house.settle()
    row = await house.transfer(gift)
    assert (row["status"], row["reason"], (await available(house, a))[1]) == ("returned", "second_look", 0)


async def test_block_and_return_give_the_credits_back_and_only_a_block_says_fraud(house: House, alice: Seat) -> None:
    for act, status, reason, taught in (
        ("block", "blocked", "ruled_block", (True, "ruling", "alice")),
        ("return", "returned", "ruled_return", None),
    ):
        a, b, gift = await held(house)
        before = await available(house, a)
        file = await alice.ruled(await case_of(house, gift), act)
        row = await house.transfer(gift)
        assert (row["status"], row["reason"]) == ("returned", reason)
        assert await available(house, a) == (before[0] + MEDIUM, before[1] - MEDIUM)
        assert await available(house, b) == (0, 0)
        assert (file["gifts"][0]["standing"], await label(house, gift)) == (status, taught)
    await house.reconcile()


async def test_freezing_stops_the_sender_and_its_gift_still_waits(house: House, alice: Seat) -> None:
    a, b, gift = await held(house)
    case = await case_of(house, gift)
    file = await alice.ruled(case, "freeze")
    assert (file["case"]["status"], file["gifts"][0]["standing"]) == ("claimed", "waiting")
    assert "org.frozen" not in [one["kind"] for one in file["audit"]]  # its subject is the org
    assert (await house.send(a, b, 5)).status == 403
    told = await alice.rule(case, "release")
    assert told.status_code == 409 and f"while org {a} is frozen" in told.json()["detail"]
    await house.freeze(a, False)
    told = await alice.rule(case, "freeze", orgs=["stranger"])
    assert (told.status_code, told.json()["code"]) == (422, "invalid")
    assert (await alice.rule(case, "release")).status_code == 200


async def test_what_is_held_for_a_frozen_party_waits_in_a_case_too(house: House, alice: Seat) -> None:
    a, b = await house.org(amount=CREDIT), await house.org()
    gift = await house.sent(a, b, 5)
    await house.freeze(b)
    await house.pass_time(LOCK_S)
    await house.settle()
    (case,) = await alice.queue()
    file = await alice.file(case["id"])
    assert (file["gifts"][0]["id"], file["gifts"][0]["reasons"]) == (gift, ["ledger:party_frozen"])
    row = await house.transfer(gift)
    assert file["gifts"][0]["deadline"] == case["deadline"] and row["status"] == "held"
    waits = await house.pool.fetchval("select deadline from detector.case_gifts where gift_id = $1", gift)
    assert waits == row["hold_until"]


async def test_a_second_ruling_is_told_who_did_what_when(house: House, door: httpx.AsyncClient, alice: Seat) -> None:
    _, _, gift = await held(house)
    case = await case_of(house, gift)
    ruling = (await alice.ruled(case, "release"))["rulings"][0]
    for person in (alice, await seat(door, house.pool, "carol", "lead")):
        told = await person.rule(case, "block")
        assert (told.status_code, told.json()["code"]) == (409, "case_conflict")
        for word in ("alice", "release", ruling["id"], ruling["at"]):
            assert word in told.json()["detail"]


async def test_a_ruled_gift_of_a_case_that_goes_on(house: House, alice: Seat) -> None:
    a, b, first = await held(house)
    _, _, second = await held(house, sender=a, recipient=b)
    case = await case_of(house, first)
    assert case == await case_of(house, second)
    file = await alice.ruled(case, "block", gifts=[first])
    assert (file["case"]["status"], file["case"]["waiting"]) == ("claimed", 1)
    told = await alice.rule(case, "release", gifts=[second, first])
    assert told.status_code == 409
    assert f"alice blocked gift {first} on" in told.json()["detail"]
    assert (await house.transfer(second))["status"] == "held"
    assert (await alice.rule(case, "release", gifts=["tr_none"])).status_code == 422
    assert (await alice.rule(case, "release", gifts=[])).status_code == 422


async def test_only_who_claimed_rules_but_a_lead_may(house: House, door: httpx.AsyncClient, alice: Seat) -> None:
    _, _, gift = await held(house)
    case = await case_of(house, gift)
    bob = await seat(door, house.pool, "bob")
    assert "claim case" in (await bob.rule(case, "release")).json()["detail"]
    assert (await alice.claim(case)).status_code == 200
    told = await bob.rule(case, "release")
    assert told.status_code == 409 and "alice claimed" in told.json()["detail"]
    version = (await alice.file(case))["case"]["version"]
    told = await alice.rule(case, "release", version=version - 1)
    assert told.status_code == 409 and f"version {version} now" in told.json()["detail"]
    await house.pass_time(601)
    assert "your claim" in (await alice.rule(case, "release")).json()["detail"]
    lead = await seat(door, house.pool, "carol", "lead")
    assert (await lead.rule(case, "return", version=version)).status_code == 200


async def test_past_its_deadline_a_gift_is_not_ruled_on_and_goes_back(house: House, alice: Seat) -> None:
    _, _, gift = await held(house)
    case = await case_of(house, gift)
    await house.pass_time(HOLD_S)
    assert (await alice.claim(case)).status_code == 200
    told = await alice.rule(case, "release")
    assert told.status_code == 409 and "passed its deadline" in told.json()["detail"]
    assert await house.settle() == 1
    file = await alice.file(case)
    assert (file["case"]["status"], file["gifts"][0]["standing"]) == ("ended", "lapsed")
    assert [one["kind"] for one in file["audit"]][-2:] == ["gift.hold_expired", "case.ended"]
    told = await alice.rule(case, "release")
    assert told.status_code == 409 and "ended on" in told.json()["detail"]


async def test_what_is_known_as_fraud_is_not_released(house: House, door: httpx.AsyncClient, alice: Seat) -> None:
    _, _, gift = await held(house)
    case = await case_of(house, gift)
    platform = await new_key(house.pool, "platform", name="billing")
    said = {"gift": gift, "fraud": True, "source": "chargeback"}
    assert (await door.post("/v1/labels", headers=platform, json=said)).status_code == 200
    assert (await alice.claim(case)).status_code == 200
    told = await alice.rule(case, "release")
    assert told.status_code == 409 and "billing said so" in told.json()["detail"]
    assert (await house.transfer(gift))["status"] == "held"
    assert (await alice.rule(case, "block")).status_code == 200


async def test_gifts_of_other_ledgers_are_ruled_on_and_labelled(house: House, door: httpx.AsyncClient) -> None:
    shop = await new_key(house.pool, "service", name="shop")
    for name in ("g1", "g2"):
        asked: dict[str, Any] = {"id": name, "sender": f"{name}x", "recipient": f"{name}y", "amount": MEDIUM}
        assert (await door.post("/v1/score", headers=shop, json=asked)).json()["verdict"] == "hold"
    alice = await seat(door, house.pool, "alice")
    await alice.ruled(await case_of(house, "shop:g1"), "block")
    assert await label(house, "shop:g1") == (True, "ruling", "alice")
    told = {"outcomes": [{"gift": "g2", "outcome": "settled", "at": "2026-01-01T00:00:00Z"}]}
    assert (await door.post("/v1/outcomes", headers=shop, json=told)).json()["noted"] == 1
    assert await alice.queue() == []
    file = await alice.file(await case_of(house, "shop:g2"))
    assert (file["case"]["status"], file["gifts"][0]["standing"]) == ("ended", "settled")


async def test_the_database_lifts_no_hold_without_a_ruling(house: House, alice: Seat) -> None:
    _, _, gift = await held(house)
    lift = (
        "update ledger.transfers set status = 'pending', version = version + 1, hold_until = null, lock_left_s = null, "
        "settle_at = now() where id = $1"
    )
    with pytest.raises(asyncpg.CheckViolationError, match="a hold is lifted by a ruling"):
        await house.pool.execute(lift, gift)
    await alice.ruled(await case_of(house, gift), "freeze")
    with pytest.raises(asyncpg.CheckViolationError, match="a hold is lifted by a ruling"):
        await house.pool.execute(lift, gift)


async def test_two_people_release_a_large_gift(house: House, door: httpx.AsyncClient, alice: Seat) -> None:
    _, _, gift = await held(house, LARGE)
    case = await case_of(house, gift)
    file = await alice.ruled(case, "release")
    (ruling,) = file["rulings"]
    assert (ruling["status"], file["case"]["proposed"], file["gifts"][0]["standing"]) == ("proposed", True, "waiting")
    assert ((await house.transfer(gift))["status"], await label(house, gift)) == ("held", None)
    told = await alice.rule(case, "block")
    assert told.status_code == 409 and "alice proposed on" in told.json()["detail"]
    bob = await seat(door, house.pool, "bob")
    file = (await bob.act(case, f"rulings/{ruling['id']}/confirm")).json()
    assert (file["rulings"][0]["status"], file["rulings"][0]["second"]) == ("done", "bob")
    assert (file["case"]["status"], (await house.transfer(gift))["status"]) == ("ended", "pending")
    told = await bob.act(case, f"rulings/{ruling['id']}/confirm")
    assert told.status_code == 409


async def test_a_refused_proposal_leaves_its_gifts_waiting(house: House, door: httpx.AsyncClient, alice: Seat) -> None:
    _, _, gift = await held(house, LARGE)
    case = await case_of(house, gift)
    (ruling,) = (await alice.ruled(case, "release"))["rulings"]
    bob = await seat(door, house.pool, "bob")
    file = (await bob.act(case, f"rulings/{ruling['id']}/refuse", {"text": "not yet"})).json()
    assert (file["rulings"][0]["status"], file["case"]["proposed"], file["case"]["waiting"]) == ("refused", False, 1)
    told = await bob.act(case, f"rulings/{ruling['id']}/confirm")
    assert told.status_code == 409 and "refused by bob on" in told.json()["detail"]
    assert (await alice.rule(case, "return")).json()["case"]["proposed"]


async def test_proposals_lapse_with_their_gifts(house: House, door: httpx.AsyncClient, alice: Seat) -> None:
    a, _, gift = await held(house, LARGE)
    case = await case_of(house, gift)
    (ruling,) = (await alice.ruled(case, "release"))["rulings"]
    await house.cancel(a, gift)
    file = await alice.file(case)
    assert (file["rulings"][0]["status"], file["gifts"][0]["standing"]) == ("lapsed", "cancelled")
    bob = await seat(door, house.pool, "bob")
    told = await bob.act(case, f"rulings/{ruling['id']}/confirm")
    assert told.status_code == 409 and "ended on" in told.json()["detail"]


async def test_small_rulings_that_add_up_take_two_as_well(house: House, door: httpx.AsyncClient, alice: Seat) -> None:
    a, b, first = await held(house, 600 * CREDIT)
    _, _, second = await held(house, 600 * CREDIT, a, b)
    case = await case_of(house, first)
    file = await alice.ruled(case, "release", gifts=[first])
    assert file["rulings"][0]["status"] == "done"
    file = (await alice.rule(case, "release", gifts=[second])).json()
    assert file["rulings"][1]["status"] == "proposed"


DRAWN = REVIEWED + "sample = 1.0\n"


async def drawn(house: House, amount: int = 5) -> tuple[str, str, str]:
    """Sender, id and case of an approved gift that was drawn for review."""
    a, b = await house.org(amount=10 * MEDIUM), await house.org()
    gift = await house.sent(a, b, amount)
    assert (await house.transfer(gift))["status"] == "pending"
    return a, gift, await case_of(house, gift)


async def test_a_sample_is_ruled_on_without_holding_its_gift(house: House, alice: Seat) -> None:
    await house.activate(DRAWN)
    _, good, case = await drawn(house)
    assert (await alice.file(case))["case"]["kind"] == "sample"
    file = await alice.ruled(case, "release")
    assert (file["case"]["status"], await label(house, good)) == ("ended", (False, "ruling", "alice"))
    assert (await house.transfer(good))["status"] == "pending"
    sender, bad, case = await drawn(house)
    await alice.ruled(case, "block")
    row = await house.transfer(bad)
    assert (row["status"], row["reason"], await label(house, bad)) == (
        "returned",
        "ruled_block",
        (True, "ruling", "alice"),
    )
    assert (await available(house, sender))[1] == 0
    _, late, case = await drawn(house)
    await house.pass_time(LOCK_S)
    assert await house.settle() == 2
    file = await alice.ruled(case, "block")
    assert ((await house.transfer(late))["status"], file["gifts"][0]["standing"]) == ("settled", "blocked")
    assert await label(house, late) == (True, "ruling", "alice")
    await house.reconcile()


async def test_a_sample_that_was_held_later_is_ruled_on_where_it_waits(house: House, alice: Seat) -> None:
    await house.activate(DRAWN)
    _, gift, case = await drawn(house)
    await house.activate(rule("late", "amount > 1") + REVIEWED)
    await house.pass_time(LOCK_S)
    await house.settle()
    assert (await house.transfer(gift))["status"] == "held"
    assert (await alice.claim(case)).status_code == 200
    told = await alice.rule(case, "block")
    assert told.status_code == 409 and "held meanwhile" in told.json()["detail"]
    (held_case,) = await alice.queue(kind="hold")
    await alice.ruled(held_case["id"], "block")
    assert (await alice.rule(case, "block")).json()["case"]["status"] == "ended"
    await house.reconcile()
