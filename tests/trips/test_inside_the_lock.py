"""What the day in the lock is for, sentence by sentence, through the real application.

Each row is a journey of credits: what people and the platform do, in order, and where every unit is at its end. After
every step the books balance, nobody is below zero, and each org's statement and the purchase's trace explain all of it.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import httpx
import msgspec
import pytest

from detector.explaining import Explainer
from ledger.signatures import Scheme
from tests.ledger.test_identity import SECRETS, counts, persona, signed, standard, stripe
from tests.support import NEVER_FIRES, House, new_key, open_door, open_house, rule

BOOKS = "/v1/billing/credits"
LOCK_S, HOLD_S = 24 * 3600, 72 * 3600
BOUGHT = 100
PEOPLE = ("ann", "bob", "cal", "dan", "eve", "fay")
GAINS = ("issued", "received", "recovered")
LOSSES = ("sent", "reversed", "consumed", "revoked", "expired")


@dataclass(frozen=True, slots=True)
class Journey:
    """The steps; then gifts' statuses, balances (available, reserved) of orgs that have any, where the purchase is by
    its trace, and what its buyer owes. A step that is refused is written `step => code`."""

    steps: str
    statuses: str
    balances: dict[str, tuple[int, int]]
    trace: dict[str, int]
    owed: int = 0


CHAIN = "; ".join(
    f"{giver} gives {taker} {90 - 10 * place}; a day" for place, (giver, taker) in enumerate(pairwise(PEOPLE))
)
FIVE = "settled " * 5
JOURNEYS = {
    # Revoking a purchase takes back what is unspent wherever it went, through any chain of gifts.
    "a chain of five gifts is taken back": Journey(f"{CHAIN}; revoke", FIVE, {}, {"revoked": 100}),
    "what was consumed on the way is owed by the buyer": Journey(
        f"{CHAIN}; bob uses 4; fay uses 50; revoke", FIVE, {}, {"revoked": 46, "consumed": 54}, owed=54
    ),
    "what was bought beside it stays": Journey(
        "ann buys 30; ann gives bob 90; a day; bob uses 80; revoke; revoke",
        "settled", {"ann": (30, 0)}, {"revoked": 20, "consumed": 80}, owed=80,
    ),
    # … cancels what is in the lock …
    "gifts in the lock with a slice of it go back": Journey(
        "ann gives bob 90; a day; bob gives cal 40; ann gives dan 5; revoke; a day",
        "settled returned returned", {}, {"revoked": 100},
    ),
    "a held gift goes back as well": Journey("ann gives bob 55; revoke; three days", "returned", {}, {"revoked": 100}),
    "a part takes the buyer's own first and leaves the lock alone": Journey(
        "ann gives bob 40; revoke 60; a day", "settled", {"bob": (40, 0)}, {"unspent": 40, "revoked": 60}
    ),
    "a part that the buyer no longer has ends what waits": Journey(
        "ann gives bob 40; revoke 70; a day", "returned", {"ann": (30, 0)}, {"unspent": 30, "revoked": 70}
    ),
    "no more is taken back than was bought": Journey(
        "revoke 60; revoke 41 => conflict; revoke 40; revoke", "", {}, {"revoked": 100}
    ),
    "nothing is sent of it any more": Journey(
        "revoke; ann gives bob 1 => insufficient_credits", "", {}, {"revoked": 100}
    ),
    # Reversal after settlement, full or part, at most the settled amount in total, from the gift's own slices first.
    "a whole reversal": Journey(
        "ann gives bob 40; a day; reverse 1", "settled", {"ann": (100, 0)}, {"unspent": 100}
    ),
    "parts up to what settled": Journey(
        "ann gives bob 40; a day; reverse 1 30; reverse 1 11 => conflict; reverse 1 10; reverse 1 => conflict",
        "settled", {"ann": (100, 0)}, {"unspent": 100},
    ),
    "from its own slices first, then from other credits": Journey(
        "bob buys 50; ann gives bob 40; a day; bob uses 30; reverse 1",
        "settled", {"ann": (100, 0), "bob": (20, 0)}, {"unspent": 70, "consumed": 30},
    ),
    "from its own slices alone": Journey(
        "bob buys 50; ann gives bob 40; a day; bob uses 60; reverse 1 only",
        "settled", {"ann": (60, 0), "bob": (30, 0)}, {"unspent": 60, "consumed": 40},
    ),
    "what waits, was cancelled or returned is not reversed": Journey(
        "ann gives bob 40; reverse 1 => conflict; cancel 1; reverse 1 => conflict; ann gives bob 55; three days; "
        "reverse 2 => conflict", "cancelled returned", {"ann": (100, 0)}, {"unspent": 100},
    ),
    "a gift of a revoked purchase has nothing to give back": Journey(
        "ann gives bob 40; a day; revoke; reverse 1", "settled", {}, {"revoked": 100}
    ),
    # Expiry is booked ahead, and released as grants are used or returned.
    "what expires unused": Journey(
        "ann gives bob 40; a day; bob uses 10; 29 days", "settled", {}, {"consumed": 10, "expired": 90}
    ),
    "what comes back in time expires where it began": Journey(
        "ann gives bob 40; cancel 1; 29 days", "cancelled", {}, {"expired": 100}
    ),
    "what expired is neither taken back nor owed": Journey(
        "ann uses 20; 29 days; revoke", "", {}, {"consumed": 20, "expired": 80}, owed=20
    ),
}  # fmt: skip


@dataclass(slots=True)
class Scene:
    """One application, its people's keys, the purchase that is followed, and the gifts so far."""

    house: House
    door: httpx.AsyncClient
    platform: dict[str, str]
    keys: dict[str, dict[str, str]] = field(default_factory=dict)
    root: str = ""
    gifts: list[tuple[str, str]] = field(default_factory=list)
    acts: int = 0

    async def take(self, step: str) -> None:
        """One step; `=> code` where it is to be refused."""
        asked, _, refused = step.partition(" => ")
        told = await self.act(asked.split())
        if told is not None:
            code = told.json().get("code", "") if told.status_code >= 400 else ""
            assert code == refused, (step, told.text)

    async def act(self, words: list[str]) -> httpx.Response | None:
        self.acts += 1
        key = {"Idempotency-Key": f"act{self.acts}"}
        match words:
            case [who, "gives", whom, amount]:
                body = {"recipient": whom, "amount": int(amount)}
                told = await self.door.post(f"{BOOKS}/transfer", json=body, headers={**self.keys[who], **key})
                self.gifts += [(who, told.json()["id"])] if told.status_code == 201 else []
                return told
            case [who, "buys", amount]:
                return await self.buy(who, int(amount), "2999-01-01T00:00:00Z")
            case [who, "uses", amount]:
                body = {"amount": int(amount), "id": key["Idempotency-Key"]}
                return await self.door.post(f"/v1/orgs/{who}/consume", json=body, headers=self.platform)
            case ["revoke", *amount]:
                whole = {"amount": int(amount[0])} if amount else {}
                path = f"/v1/grants/{self.root}/revoke"
                return await self.door.post(path, json=whole, headers={**self.platform, **(key if amount else {})})
            case ["reverse", number, *how]:
                body = {"reason": "a test", "only_gift": "only" in how}
                body |= {"amount": int(how[0])} if how and how[0].isdigit() else {}
                path = f"/v1/transfers/{self.gifts[int(number) - 1][1]}/reversals"
                return await self.door.post(path, json=body, headers={**self.platform, **key})
            case ["cancel", number]:
                sender, gift = self.gifts[int(number) - 1]
                return await self.door.post(f"{BOOKS}/transfers/{gift}/cancel", headers=self.keys[sender])
            case [number, "day" | "days"]:
                await self.pass_days({"a": 1, "three": 3}.get(number) or int(number))
                return None
        raise AssertionError(words)

    async def pass_days(self, days: int) -> None:
        await self.house.pass_time(days * 86_400 + 1)
        await self.house.settle()
        await self.house.expire()

    async def buy(self, who: str, amount: int, expires_at: str) -> httpx.Response:
        body = {"amount": amount, "origin": "purchase", "expires_at": expires_at}
        return await self.door.post(f"/v1/orgs/{who}/grants", json=body, headers=self.platform)

    async def get(self, path: str, key: dict[str, str] | None = None, **params: Any) -> dict[str, Any]:
        told = await self.door.get(path, headers=key or self.platform, params=params)
        assert told.status_code == 200, told.text
        found: dict[str, Any] = told.json()
        return found

    async def statement(self, who: str, as_of: datetime | None = None) -> dict[str, Any]:
        when = {} if as_of is None else {"as_of": as_of.isoformat()}
        return await self.get(f"{BOOKS}/statement", self.keys[who], **when)

    async def explained(self) -> None:
        """Law 1 by every face that tells of credits: the sums, statements, balances, and the trace of the purchase."""
        await self.house.reconcile()
        for who in self.keys:
            told, now = await self.statement(who), await self.get(f"{BOOKS}/balance", self.keys[who])
            change = sum(told[name] for name in GAINS) - sum(told[name] for name in LOSSES)
            assert change == told["available"] + told["reserved"], (who, told)
            assert min(now["available"], now["reserved"], told["available"], told["reserved"]) >= 0, (who, now)
            assert (now["available"], now["reserved"]) == (told["available"], told["reserved"])
        tree = await self.get(f"/v1/grants/{self.root}/trace")
        for one in tree["grants"]:
            assert one["amount"] + one["came_back"] == sum(one[name] for name in FATES), one


FATES = ("unspent", "in_lock", "consumed", "expired", "revoked", "gifted", "went_back")


@pytest.fixture
async def scene(database: str) -> AsyncIterator[Scene]:
    policy = NEVER_FIRES + rule("odd", "amount = 55")
    async with (
        open_house(database, policy, lock_s=LOCK_S, hold_s=HOLD_S) as house,
        open_door(database, lock_s=LOCK_S, hold_s=HOLD_S, identity_secrets=SECRETS) as door,
    ):
        found = Scene(house, door, await new_key(house.pool, "platform"))
        for who in PEOPLE:
            await house.org(who)
            found.keys[who] = await new_key(house.pool, "owner", who)
        now: datetime = await house.pool.fetchval("select clock_timestamp()")
        bought = await found.buy("ann", BOUGHT, (now + timedelta(days=29)).isoformat())
        found.root = bought.json()["id"]
        yield found


@pytest.mark.parametrize("name", JOURNEYS)
async def test_where_every_unit_is(scene: Scene, name: str) -> None:
    journey = JOURNEYS[name]
    for step in journey.steps.split("; "):
        await scene.take(step)
        await scene.explained()
    shown = [await scene.get(f"{BOOKS}/transfers/{gift}", scene.keys[sender]) for sender, gift in scene.gifts]
    assert [one["status"] for one in shown] == journey.statuses.split()
    balances = {who: await scene.get(f"{BOOKS}/balance", key) for who, key in scene.keys.items()}
    held = {who: (one["available"], one["reserved"]) for who, one in balances.items()}
    assert {who: both for who, both in held.items() if any(both)} == journey.balances
    totals = (await scene.get(f"/v1/grants/{scene.root}/trace"))["totals"]
    assert {where: amount for where, amount in totals.items() if amount} == journey.trace
    owed = (await scene.get("/v1/receivables", org="ann"))["receivables"]
    assert sum(one["amount"] for one in owed) == journey.owed


# --- expiry, told ahead of its time ---


async def test_expiry_is_booked_ahead_and_released_by_use_and_return(scene: Scene) -> None:
    """What each would lose on day 30 if nothing else happened. What waits in the lock is told as waiting."""
    for step, ann, bob in (
        ("a day", (100, 0), (0, 0)),
        ("ann uses 10", (90, 0), (0, 0)),
        ("ann gives bob 40", (50, 40), (0, 0)),
        ("ann gives cal 5", (45, 45), (0, 0)),
        ("cancel 2", (50, 40), (0, 0)),
        ("a day", (50, 0), (40, 0)),
        ("bob uses 7", (50, 0), (33, 0)),
        ("reverse 1 20", (70, 0), (13, 0)),
        ("revoke 60", (10, 0), (13, 0)),
        ("27 days", (10, 0), (13, 0)),  # and so it came: what was told ahead is what was written off
    ):
        await scene.take(step)
        at = await scene.house.pool.fetchval("select clock_timestamp() + interval '30 days'")
        told = [await scene.statement(who, at) for who in ("ann", "bob")]
        assert [(one["expired"], one["reserved"]) for one in told] == [ann, bob], step
        assert [one["available"] for one in told] == [0, 0], step


# --- what a gift was paid from, as both looks see it ---


async def test_what_is_young_promotional_or_partly_taken_back_is_known_of_a_gift(scene: Scene) -> None:
    """Of 90: 10 of an old purchase, 30 of a promotion, and 50 of a young purchase that is disputed in the lock."""
    house = scene.house
    scene.keys["gil"] = await new_key(house.pool, "owner", await house.org("gil"))
    now: datetime = await house.pool.fetchval("select clock_timestamp()")
    await house.grant("gil", 10, expires_at=now + timedelta(days=20))
    await house.pass_time(8 * 86_400)
    await house.grant("gil", 30, origin="promo", expires_at=now + timedelta(days=30))
    disputed = await house.grant("gil", 60, expires_at=now + timedelta(days=40))
    await house.activate(rule("asks", "look > 1 and promo_amount + young_amount + revoked_amount > 130"))
    await scene.take("gil gives bob 90")
    ((_, gift),) = scene.gifts
    await house.revoke(disputed, 10)
    await scene.take("a day")
    assert (await house.transfer(gift))["status"] == "settled"
    rows = await house.pool.fetch("select vector from detector.decisions where sender = 'gil' order by look")
    assert [msgspec.json.decode(row["vector"]) for row in rows] == [[1, 30, None, 50], [2, 30, 50, 50]]
    told = await Explainer(house.pool).explain([f"{gift}.2"])
    assert told.replayed


async def test_a_dispute_about_a_part_holds_what_waits_of_the_rest(scene: Scene) -> None:
    """The purchase is taken back in part while a gift of the rest waits: it is judged again by that news, and held."""
    await scene.house.activate(rule("disputed", "look > 1 and revoked_amount * 2 >= amount"))
    for step in ("bob buys 10", "ann gives bob 40", "bob gives cal 10", "revoke 60"):
        await scene.take(step)
    await scene.house.catch_up()
    stood = [await scene.house.transfer(gift) for _, gift in scene.gifts]
    assert [row["status"] for row in stood] == ["held", "pending"]
    hits = await scene.house.pool.fetchval(
        "select hits from detector.decisions where id = $1", f"{scene.gifts[0][1]}.2"
    )
    assert [one["name"] for one in msgspec.json.decode(hits)] == ["disputed"]
    await scene.explained()


# --- identity: three providers' signatures ---

VERIFIED: dict[Scheme, Any] = {
    "standard": standard("ann", "full", "c1", 1),
    "stripe": stripe("ann", "verified", "vs_1", 1),
    "persona": persona("ann", "approved", "inq_1", 1),
}


@pytest.mark.parametrize("scheme", VERIFIED)
async def test_a_provider_is_heard_once_and_nobody_in_its_name(scene: Scene, scheme: Scheme) -> None:
    """Wrong, stale, early and replayed calls are refused or passed over, each is counted, and none moves the org."""
    await scene.door.put("/v1/orgs/ann/identity", json={"level": "none"}, headers=scene.platform)
    scene.door.headers.update(scene.platform)
    body, secret, now = json.dumps(VERIFIED[scheme]).encode(), SECRETS[scheme][-1], int(time.time())
    other = "whsec_" + base64.b64encode(b"another").decode()

    async def call(sent: bytes, headers: dict[str, str]) -> tuple[int, str, str]:
        told = await scene.door.post(f"/v1/identity/webhooks/{scheme}", content=sent, headers=headers)
        found = told.json()
        org = (await scene.get("/v1/orgs/ann"))["identity"]
        return told.status_code, found.get("outcome") or found["code"], org

    good = signed(scheme, body, now, secret)
    raised = (await call(body.replace(b"ann", b"bob"), good), await call(body, signed(scheme, body, now, other)))
    assert raised == ((401, "signature_wrong", "none"),) * 2
    for late_s in (400, -400):
        assert await call(body, signed(scheme, body, now - late_s, secret)) == (401, "signature_stale", "none")
    status, outcome, reached = await call(body, good)
    assert (status, outcome) == (200, "applied") and reached in ("basic", "full")
    assert [await call(body, good) for _ in range(3)] == [(200, "replayed", reached)] * 3
    assert {how: number for (who, how), number in (await counts(scene.door)).items() if who == scheme} == {
        "signature_wrong": 2, "signature_stale": 2, "applied": 1, "replayed": 3,
    }  # fmt: skip
