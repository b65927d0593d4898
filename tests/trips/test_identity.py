"""Identity on a gift's way: what its amount asks, at the gate and once more when it settles, to the microsecond."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec
import pytest

from ledger.api import SEND, request_of
from tests.support import NEVER_FIRES, House, _Actor, again, asks, new_key, open_door, seat

POLICY = NEVER_FIRES + asks(0, "basic", "2h") + asks(100, "full", "1h")
HOUR, TICK = timedelta(hours=1), timedelta(microseconds=1)
FRESH = timedelta(0)


@dataclass(frozen=True, slots=True)
class Sender:
    """How far an org is verified, how long ago at the moment that counts (None: nobody knows), and what it sends."""

    level: str
    age: timedelta | None
    amount: int
    enough: bool


SENDERS = [
    Sender("none", None, 1, enough=False),
    Sender("basic", FRESH, 1, enough=True),
    Sender("basic", 2 * HOUR - TICK, 99, enough=True),
    Sender("basic", 2 * HOUR, 99, enough=False),
    Sender("basic", FRESH, 100, enough=False),
    Sender("full", 2 * HOUR - TICK, 99, enough=True),
    Sender("full", 2 * HOUR, 1, enough=False),
    Sender("full", HOUR - TICK, 100, enough=True),
    Sender("full", HOUR, 100, enough=False),
    Sender("full", None, 1, enough=False),
]


async def stand(house: House, orgs: list[str], at: datetime) -> None:
    """Let each org be verified as its sender of SENDERS is at a moment."""
    for org, sender in zip(orgs, SENDERS, strict=True):
        since = None if sender.age is None else at - sender.age
        await house.pool.execute(
            "update ledger.orgs set identity = $2, identity_at = $3 where id = $1", org, sender.level, since
        )


async def fund(house: House) -> tuple[list[str], str, datetime]:
    await house.activate(POLICY)
    orgs = [await house.org(identity="full", amount=1_000) for _ in SENDERS]
    at = await house.pool.fetchval("select clock_timestamp() + interval '1 minute'")
    return orgs, await house.org(), at


async def send_all(house: House, orgs: list[str], to: str, at: datetime) -> list[tuple[int, str]]:
    """Each org's gift at one moment: status, and the transfer's id or the problem's code."""
    told = []
    for org, sender in zip(orgs, SENDERS, strict=True):
        body = msgspec.json.encode({"recipient": to, "amount": sender.amount})
        request = request_of(_Actor(org), SEND.decode(body), "k1")  # type: ignore[arg-type]
        request = msgspec.structs.replace(request, at=int(at.timestamp()) * 1_000_000 + at.microsecond)
        answer = await house.works.send(request)
        shape = msgspec.json.decode(answer.body)
        told.append((answer.status, shape["id"] if answer.status == 201 else shape["code"]))
    return told


async def test_the_gate_asks_what_the_amount_asks(house: House) -> None:
    orgs, to, at = await fund(house)
    await stand(house, orgs, at)
    told = await send_all(house, orgs, to, at)
    for sender, (status, code) in zip(SENDERS, told, strict=True):
        assert (status == 201) is sender.enough, sender
        assert sender.enough or (status, code) == (403, "identity_required"), sender


async def test_settlement_asks_it_again_of_the_settling_moment(house: House) -> None:
    orgs, to, at = await fund(house)
    await house.pool.execute("update ledger.orgs set identity_at = $1", at)
    gifts = [name for _, name in await send_all(house, orgs, to, at)]
    # What settles does so on another clock than the database's, as in a replay.
    clock = "create or replace function ledger.clock() returns timestamptz language sql as $$ select $1::timestamptz $$"
    await house.pool.execute(clock.replace("$1", "'infinity'"))
    due = at + HOUR
    await stand(house, orgs, due)
    await again(lambda: house.works.settlement.settle_due(due))
    for sender, gift in zip(SENDERS, gifts, strict=True):
        status = (await house.transfer(gift))["status"]
        assert status == ("settled" if sender.enough else "held"), sender
    reasons = await house.pool.fetch("select distinct reasons from detector.case_gifts")
    assert [row["reasons"] for row in reasons] == [["ledger:identity_required"]]
    await house.reconcile()


TOLD = [
    (
        "none",
        None,
        "verified as full within the last 1h; this org has no verified identity: verify it, then send",
    ),
    ("basic", 0, "verified as full within the last 1h; this org is verified as basic since 20"),
    ("full", 7200, "verified as full within the last 1h; this org is verified as full since 20"),
]


async def test_the_sender_is_told_what_is_asked_and_what_it_has(house: House) -> None:
    await house.activate(POLICY)
    await house.org("globex")
    async with open_door(house.dsn) as door:
        for level, ago_s, words in TOLD:
            org = await house.org(identity=level, amount=1_000)
            await house.pool.execute(
                "update ledger.orgs set identity_at = identity_at - $2 * interval '1 second' where id = $1", org, ago_s
            )
            key = await new_key(house.pool, "owner", org) | {"Idempotency-Key": "k"}
            gift = {"recipient": "globex", "amount": 100}
            told = await door.post("/v1/billing/credits/transfer", json=gift, headers=key)
            assert (told.status_code, told.json()["code"]) == (403, "identity_required")
            assert words in told.json()["detail"]


async def test_a_release_says_which_identity_the_gift_still_lacks(house: House) -> None:
    await house.activate(POLICY)
    org, to = await house.org(identity="full", amount=1_000), await house.org()
    gift = await house.sent(org, to, 100)
    await house.pool.execute("update ledger.orgs set identity = 'basic' where id = $1", org)
    await house.pass_time(3600)
    await house.settle()
    async with open_door(house.dsn) as door:
        lead = await seat(door, house.pool, "lee", "lead")
        (case,) = await lead.queue()
        told = await lead.rule(case["id"], "release")
        assert told.status_code == 409
        assert "is verified as basic" in told.json()["detail"] and "needs an identity verified as full" in told.text
        await house.pool.execute("update ledger.orgs set identity = 'full' where id = $1", org)
        assert (await lead.rule(case["id"], "release")).status_code == 409  # verified too long ago by now
        await house.pool.execute("update ledger.orgs set identity_at = clock_timestamp() where id = $1", org)
        assert (await lead.rule(case["id"], "release")).status_code == 200
    await house.settle()
    assert (await house.transfer(gift))["status"] == "settled"


# --- what waits when verification is lost ---

WAITING = (1, 99, 100)
# the sender's identity from full, what waits then, and once more after it is full again: nothing grows milder by itself
LOSSES = {
    "none": ("held", "held", "held"),
    "basic": ("pending", "pending", "held"),
    "full": ("pending", "pending", "pending"),
}


@pytest.mark.parametrize("level", LOSSES)
async def test_a_lowered_identity_holds_what_stands_too_low_by_now(house: House, level: str) -> None:
    await house.activate(POLICY)
    org, to = await house.org(identity="full", amount=1_000), await house.org()
    gifts = [await house.sent(org, to, amount) for amount in WAITING]
    await house.catch_up()
    async with open_door(house.dsn) as door:
        platform = await new_key(house.pool, "platform")
        for said in (level, "full"):
            told = await door.put(f"/v1/orgs/{org}/identity", json={"level": said}, headers=platform)
            assert told.json()["identity"] == said
            await house.catch_up()
            assert tuple([(await house.transfer(gift))["status"] for gift in gifts]) == LOSSES[level]
    reasons = await house.pool.fetch("select reasons from detector.case_gifts")
    assert [row["reasons"] for row in reasons] == [["ledger:identity_required"]] * LOSSES[level].count("held")
