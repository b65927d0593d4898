"""The whole trip of one gift, through the real application: each row is a journey, step by step to its end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
import pytest

from tests.support import NEVER_FIRES, House, new_key, open_door, open_house, rule

BOOKS = "/v1/billing/credits"
SENT_CREDITS = 1_000
LOCK_S, HOLD_S = 24 * 3600, 72 * 3600
POLICY = NEVER_FIRES + rule("odd", "amount between 50 and 59") + rule("bad", "amount between 70 and 79", "block")


@dataclass(frozen=True, slots=True)
class Journey:
    """What is sent, what happens on the way, and where it ends."""

    amount: int
    steps: tuple[str, ...]
    statuses: tuple[str, ...]
    sender: dict[str, int]
    recipient: dict[str, int]


def left(available: int, reserved: int = 0) -> dict[str, int]:
    return {"available": available, "reserved": reserved}


JOURNEYS = {
    "it settles after a day": Journey(
        40, ("a day", "settle"), ("pending", "pending", "settled"), left(960), left(40)
    ),
    "it waits until its hour": Journey(
        40, ("an hour", "settle"), ("pending", "pending", "pending"), left(960, 40), left(0)
    ),
    "the sender cancels it": Journey(
        40, ("an hour", "cancel"), ("pending", "pending", "cancelled"), left(1000), left(0)
    ),
    "a rule holds it": Journey(
        55, ("a day", "settle"), ("held", "held", "held"), left(945, 55), left(0)
    ),
    "nobody rules on a hold": Journey(
        55, ("three days", "settle"), ("held", "held", "returned"), left(1000), left(0)
    ),
    "the sender cancels what is held": Journey(55, ("cancel",), ("held", "cancelled"), left(1000), left(0)),
    "a rule blocks it": Journey(75, ("a day", "settle"), ("blocked", "blocked", "blocked"), left(1000), left(0)),
    "a stricter policy blocks it at its hour": Journey(
        40, ("block all", "a day", "settle"), ("pending", "pending", "pending", "returned"), left(1000), left(0)
    ),
    "a stricter policy holds it at its hour, and it goes back": Journey(
        40, ("hold all", "a day", "settle", "three days", "settle"),
        ("pending", "pending", "pending", "held", "held", "returned"), left(1000), left(0),
    ),
    "the sender is frozen before its hour": Journey(
        40, ("freeze the sender", "a day", "settle"), ("pending", "pending", "pending", "held"), left(960, 40), left(0)
    ),
    "its credits are revoked on the way": Journey(
        40, ("revoke the grant", "a day", "settle"), ("pending", "returned", "returned", "returned"), left(0), left(0)
    ),
    "the recipient sends it on": Journey(
        40, ("a day", "settle", "send on", "a day", "settle"),
        ("pending", "pending", "settled", "settled", "settled", "settled"), left(980), left(20),
    ),
}  # fmt: skip


@dataclass(slots=True)
class Trip:
    house: House
    door: httpx.AsyncClient
    platform: dict[str, str]
    sender: dict[str, str]
    recipient: dict[str, str]
    gift: str = ""

    async def status(self) -> str:
        return str((await self.get(f"transfers/{self.gift}"))["status"])

    async def get(self, path: str, who: dict[str, str] | None = None) -> Any:
        told = await self.door.get(f"{BOOKS}/{path}", headers=who or self.sender)
        assert told.status_code == 200, told.text
        return told.json()

    async def send(self, amount: int, who: dict[str, str], recipient: str, key: str) -> dict[str, Any]:
        body = {"recipient": recipient, "amount": amount}
        told = await self.door.post(f"{BOOKS}/transfer", json=body, headers={**who, "Idempotency-Key": key})
        assert told.status_code == 201, told.text
        gift: dict[str, Any] = told.json()
        return gift

    async def take(self, step: str) -> None:
        post, house = self.door.post, self.house
        match step:
            case "an hour":
                await house.pass_time(3_600)
            case "a day":
                await house.pass_time(LOCK_S + 1)
            case "three days":
                await house.pass_time(HOLD_S + 1)
            case "settle":
                await house.settle()
            case "cancel":
                assert (await post(f"{BOOKS}/transfers/{self.gift}/cancel", headers=self.sender)).status_code == 200
            case "block all":
                await house.activate(rule("all", "amount > 0", "block"))
            case "hold all":
                await house.activate(rule("all", "amount > 0"))
            case "freeze the sender":
                assert (await post("/v1/orgs/ann/freeze", headers=self.platform)).status_code == 200
            case "revoke the grant":
                (grant,) = (await self.get("grants"))["grants"]
                assert (await post(f"/v1/grants/{grant['id']}/revoke", headers=self.platform)).status_code == 200
            case "send on":
                await self.send(20, self.recipient, "ann", "on")
            case _:
                raise AssertionError(step)


@pytest.fixture
async def trip(database: str) -> AsyncIterator[Trip]:
    async with (
        open_house(database, POLICY, lock_s=LOCK_S, hold_s=HOLD_S) as house,
        open_door(database, lock_s=LOCK_S, hold_s=HOLD_S) as door,
    ):
        platform = await new_key(house.pool, "platform")
        keys = []
        for name in ("ann", "bob"):
            org = {"id": name, "identity": "basic"}
            assert (await door.post("/v1/orgs", json=org, headers=platform)).status_code == 201
            told = await door.post(f"/v1/orgs/{name}/keys", json={"role": "owner"}, headers=platform)
            keys.append({"Authorization": f"Bearer {told.json()['key']}"})
        grant = {"amount": SENT_CREDITS, "origin": "purchase", "expires_at": "2999-01-01T00:00:00Z"}
        assert (await door.post("/v1/orgs/ann/grants", json=grant, headers=platform)).status_code == 201
        yield Trip(house, door, platform, *keys)


@pytest.mark.parametrize("name", JOURNEYS)
async def test_a_gift_makes_its_trip(trip: Trip, name: str) -> None:
    journey = JOURNEYS[name]
    gift = await trip.send(journey.amount, trip.sender, "bob", "first")
    trip.gift, seen = gift["id"], [gift["status"]]
    for step in journey.steps:
        await trip.take(step)
        seen.append(await trip.status())
    assert tuple(seen) == journey.statuses
    for who, balance in ((trip.sender, journey.sender), (trip.recipient, journey.recipient)):
        told = await trip.get("balance", who)
        assert {key: told[key] for key in balance} == balance
    sums = await trip.house.reconcile()
    assert sums["issued"] == SENT_CREDITS


async def test_what_each_side_is_told_of_a_gift_that_settled(trip: Trip) -> None:
    trip.gift = (await trip.send(40, trip.sender, "bob", "k"))["id"]
    (source,) = (await trip.get("grants"))["grants"]
    waiting = await trip.get(f"transfers/{trip.gift}", trip.recipient)
    assert waiting["settle_at"] > waiting["created_at"] and waiting["ended_at"] is None
    await trip.take("a day")
    await trip.take("settle")
    for who in (trip.sender, trip.recipient):
        told = await trip.get(f"transfers/{trip.gift}", who)
        assert (told["status"], told["settled_amount"]) == ("settled", 40) and told["ended_at"] >= told["settle_at"]
    (grant,) = (await trip.get("grants", trip.recipient))["grants"]
    assert (grant["amount"], grant["root_id"], grant["parent_id"], grant["transfer_id"]) == (
        40, source["id"], source["id"], trip.gift,
    )  # fmt: skip
    assert (grant["origin"], grant["priority"]) == (source["origin"], source["priority"])
    decisions = await trip.house.pool.fetch(
        "select id, verdict, look, payload_hash from detector.decisions where id like $1 || '.%' order by look",
        trip.gift,
    )
    assert [(row["id"], row["verdict"]) for row in decisions] == [
        (f"{trip.gift}.1", "approve"), (f"{trip.gift}.2", "approve"),
    ]  # fmt: skip
    assert decisions[0]["payload_hash"] == decisions[1]["payload_hash"]


async def test_an_expired_slice_goes_back_where_it_expires_and_the_rest_arrives(trip: Trip) -> None:
    """A hold stops the clock, so credits may lapse on the way; law 9 says where they go."""
    house = trip.house
    now = await house.pool.fetchval("select clock_timestamp()")
    await house.org("cal")
    await house.grant("cal", 10, expires_at=now + timedelta(seconds=LOCK_S + 3_600), priority=0)
    await house.grant("cal", 10, expires_at=now + timedelta(days=900))
    gift = await house.sent("cal", "bob", 15)
    await house.pass_time(LOCK_S + 7_200)  # settlement was late: the first slice lapsed
    await house.settle()
    row = await house.transfer(gift)
    assert (row["status"], row["amount"], row["settled_amount"]) == ("settled", 15, 5)
    assert (await trip.get("balance", trip.recipient))["available"] == 5
    assert (await house.reconcile())["expired"] == 10


async def test_the_lock_is_as_long_as_it_was_set(database: str) -> None:
    async with open_house(database, lock_s=1) as house:
        a, b = await house.org(amount=10), await house.org()
        row = await house.transfer(await house.sent(a, b, 10))
        assert (row["settle_at"] - row["created_at"]).total_seconds() == 1
