"""The trip of a stolen account: what a report does to which gift, and how the org comes back, step by step."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import httpx
import pytest

from tests.support import NEVER_FIRES, House, Seat, new_key, open_door, open_house, rule, seat

BOOKS = "/v1/billing/credits"
POLICY = NEVER_FIRES + rule("odd", "amount between 50 and 59") + rule("bad", "amount between 70 and 79", "block")
DAY_S = 24 * 3600


@dataclass(slots=True)
class Trip:
    """A house with a door, the org `acme` whose account is stolen, its friend `globex`, and what they hold."""

    house: House
    door: httpx.AsyncClient
    platform: dict[str, str]
    keys: dict[str, dict[str, str]]
    gifts: dict[str, str] = field(default_factory=dict)
    sent: int = 0

    async def send(self, amount: int, sender: str = "acme", to: str = "globex") -> httpx.Response:
        self.sent += 1
        headers = self.keys[sender] | {"Idempotency-Key": f"k{self.sent}"}
        return await self.door.post(f"{BOOKS}/transfer", json={"recipient": to, "amount": amount}, headers=headers)

    async def report(self, since: datetime, key: str = "r1", headers: Any = None, **more: Any) -> httpx.Response:
        body = {"since": since.isoformat(), "detail": "the owner called", **more}
        told = {**(headers or self.platform), "Idempotency-Key": key}
        return await self.door.post("/v1/orgs/acme/compromise-reports", json=body, headers=told)

    async def act(self, path: str, body: Any = None) -> httpx.Response:
        return await self.door.post(f"/v1/orgs/acme/{path}", json=body, headers=self.platform)

    async def clock(self) -> datetime:
        now: datetime = await self.house.pool.fetchval("select clock_timestamp()")
        return now

    async def events(self, *kinds: str) -> list[tuple[str, str]]:
        rows = await self.house.pool.fetch(
            "select kind, subject from log.events where kind = any($1) order by seq", kinds
        )
        return [tuple(row) for row in rows]


@pytest.fixture
async def trip(database: str) -> AsyncIterator[Trip]:
    async with open_house(database, POLICY) as house, open_door(database, lock_s=3600, hold_s=10_800) as door:
        for name in ("acme", "globex"):
            await house.org(name, amount=1_000)
        keys = {name: await new_key(house.pool, "owner", name) for name in ("acme", "globex")}
        yield Trip(house, door, await new_key(house.pool, "platform"), keys)


# --- what becomes of which gift ---

# name: amount, what happened to it, and what it is then; each is sent after the one before
GIFTS = {
    "gone": (40, "settle", "settled"),
    "waits": (41, "", "pending"),
    "odd": (55, "", "held"),
    "off": (42, "cancel", "cancelled"),
    "bad": (75, "", "blocked"),
    "late": (43, "", "pending"),
}
# the claimed time is just before this gift; what to do; what each gift becomes that the answer names
REPORTS = {
    "all since before the first": ("gone", "hold", {"gone": "settled", "waits": "held", "odd": "held", "late": "held"}),
    "what settled before the claimed time": ("waits", "hold", {"waits": "held", "odd": "held", "late": "held"}),
    "what waits from before the claimed time": ("off", "hold", {"late": "held"}),
    "all goes back": ("waits", "return", {"waits": "returned", "odd": "returned", "late": "returned"}),
}  # fmt: skip


async def play(trip: Trip) -> dict[str, datetime]:
    """Send each of GIFTS; the moment before each."""
    before = {}
    for name, (amount, step, status) in GIFTS.items():
        before[name] = await trip.clock()
        gift = trip.gifts[name] = (await trip.send(amount)).json()["id"]
        if step == "settle":
            await trip.house.pass_time(3600)
            before[name] = (await trip.house.transfer(gift))["created_at"]
            await trip.house.settle()
        elif step == "cancel":
            await trip.house.cancel("acme", gift)
        assert (await trip.house.transfer(gift))["status"] == status
    return before


@pytest.mark.parametrize("name", REPORTS)
async def test_a_report_says_what_was_done_to_which_gift(trip: Trip, name: str) -> None:
    first, gifts, became = REPORTS[name]
    before = await play(trip)
    told = await trip.report(before[first], gifts=gifts)
    assert told.status_code == 201, told.text
    answer = told.json()
    was = {gift: status for gift, (_, _, status) in GIFTS.items()}
    names = {transfer: gift for gift, transfer in trip.gifts.items()}
    assert {names[one["id"]]: (one["was"], one["now"]) for one in answer["gifts"]} == {
        gift: (was[gift], now) for gift, now in became.items()
    }
    await trip.house.catch_up()  # what was sent before the claimed time is news, too: nothing settles for now
    for gift, transfer in trip.gifts.items():
        then = became.get(gift, "held" if was[gift] == "pending" else was[gift])
        assert (await trip.house.transfer(transfer))["status"] == then, gift
    assert (answer["frozen"], answer["keys_revoked"]) == (True, 1)
    hints = [one["id"] for one in answer["gifts"] if "reversals" in one.get("hint", "")]
    assert hints == [trip.gifts[gift] for gift, now in became.items() if now == "settled"]
    held = {one["id"] for one in answer["gifts"] if one["now"] == "held"}
    waiting = await trip.house.pool.fetch("select case_id, gift_id from detector.case_gifts where standing = 'waiting'")
    assert {row["case_id"] for row in waiting if row["gift_id"] in held} == ({answer["case"]} if held else set())
    assert (answer["case"] is None) is (not held)
    await trip.house.reconcile()
    kept = await trip.house.pool.fetch("select transfer_id, was, became from ledger.compromised_gifts order by 1")
    assert [tuple(row) for row in kept] == [(one["id"], one["was"], one["now"]) for one in answer["gifts"]]
    assert await trip.events("org.compromised", "org.frozen") == [("org.compromised", "acme"), ("org.frozen", "acme")]


async def test_what_was_sent_before_the_claimed_time_still_does_not_settle_while_the_report_stands(trip: Trip) -> None:
    before = await play(trip)
    await trip.report(before["off"])
    await trip.house.pass_time(3600)
    await trip.house.settle()
    assert (await trip.house.transfer(trip.gifts["waits"]))["status"] == "held"


async def test_cases_apart_become_one_but_not_what_somebody_works_on(trip: Trip) -> None:
    since = await trip.clock()
    lead = await seat(trip.door, trip.house.pool, "lee", "lead")
    for _ in range(3):  # each a day and more after the one before, so that they do not gather by themselves
        await trip.send(55)
        await trip.house.pool.execute("update detector.case_keys set at = at - interval '2 days'")
    cases = [case["id"] for case in await lead.queue()]
    assert len(cases) == 3
    assert (await lead.claim(cases[0])).status_code == (await lead.claim(cases[1])).status_code == 200
    answer = (await trip.report(since)).json()
    homes = {one["case"] for one in answer["gifts"]}
    assert homes == {case["id"] for case in await lead.queue()} == set(cases[:2]) | (homes - set(cases))
    assert len(homes) == 2


async def test_a_report_without_gifts_leaves_its_word(trip: Trip) -> None:
    answer = (await trip.report(await trip.clock())).json()
    assert (answer["case"], answer["gifts"]) == (None, [])
    (kept,) = (await trip.door.get("/v1/orgs/acme/compromise-reports", headers=trip.platform)).json()["reports"]
    assert (kept["id"], kept["detail"], kept["found"]) == (answer["report"], "the owner called", 0)
    assert await trip.events("org.compromised") == [("org.compromised", "acme")]


# --- who may report, once ---


async def test_the_org_itself_may_report_and_nobody_elses_key(trip: Trip) -> None:
    since = await trip.clock()
    reader = await new_key(trip.house.pool, "reader", "acme")
    for headers in (trip.keys["globex"], reader, await new_key(trip.house.pool, "service")):
        told = await trip.report(since, headers=headers)
        assert (told.status_code, told.json()["code"]) == (403, "forbidden")
    told = await trip.report(since, headers=trip.keys["acme"])
    assert (told.status_code, told.json()["keys_revoked"]) == (201, 2)
    row = await trip.house.pool.fetchrow("select author, org_id from ledger.compromise_reports")
    assert tuple(row) == ("test", "acme")
    assert (await trip.report(since, headers=trip.keys["acme"])).status_code == 401  # its own key ended, too


async def test_a_report_counts_once_under_its_key(trip: Trip) -> None:
    since = await trip.clock()
    await trip.send(41)
    first = await trip.report(since, headers=trip.keys["acme"], revoke_keys=False)
    second = await trip.report(since, headers=trip.keys["acme"], revoke_keys=False)
    assert first.status_code == 201 and second.content == first.content
    assert second.headers["Idempotency-Replayed"] == "true"
    other = await trip.report(since, headers=trip.keys["acme"], gifts="return", revoke_keys=False)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    # The platform's keys are its own, and a second report finds the gift held already.
    again = (await trip.report(since)).json()
    assert [(one["was"], one["now"]) for one in again["gifts"]] == [("held", "held")]
    assert again["report"] != first.json()["report"]


WRONG: list[tuple[dict[str, Any], int, str]] = [
    ({"since": "2999-01-01T00:00:00Z"}, 422, "is yet to come"),
    ({"since": "2026-01-01T00:00:00"}, 422, "needs a time zone"),
    ({"gifts": "burn"}, 422, "gifts"),
    ({"detail": ""}, 422, "detail"),
    ({"revoke": True}, 422, "revoke"),
]


@pytest.mark.parametrize(("more", "status", "named"), WRONG)
async def test_a_wrong_report_changes_nothing(trip: Trip, more: dict[str, Any], status: int, named: str) -> None:
    body = {"since": "2026-01-01T00:00:00Z", "detail": "x", **more}
    headers = trip.platform | {"Idempotency-Key": "r"}
    told = await trip.door.post("/v1/orgs/acme/compromise-reports", json=body, headers=headers)
    assert told.status_code == status and named in told.json()["detail"]
    assert (await trip.send(1)).status_code == 201


async def test_a_report_on_nobody_and_one_without_a_key_are_refused(trip: Trip) -> None:
    body = {"since": "2026-01-01T00:00:00Z", "detail": "x"}
    keyed = trip.platform | {"Idempotency-Key": "r"}
    nobody = await trip.door.post("/v1/orgs/nosuch/compromise-reports", json=body, headers=keyed)
    assert (nobody.status_code, nobody.json()["code"]) == (404, "not_found")
    keyless = await trip.door.post("/v1/orgs/acme/compromise-reports", json=body, headers=trip.platform)
    assert keyless.status_code == 400 and "Idempotency-Key" in keyless.json()["detail"]


# --- the way back ---


async def ruled(lead: Seat, case: str, act: str) -> int:
    return (await lead.rule(case, act)).status_code


async def test_the_way_back(trip: Trip) -> None:
    """Each step with what it answers; what is sent is held, refused or pending as the org stands."""
    since, house = await trip.clock(), trip.house
    lead = await seat(trip.door, house.pool, "lee", "lead")
    waits = (await trip.send(41)).json()["id"]
    case = (await trip.report(since)).json()["case"]
    assert "since 20" in (await lead.file(case))["notes"][0]["text"], "who rules reads what the owner said"

    async def sends(amount: int = 1, sender: str = "acme", to: str = "globex") -> Any:
        told = await trip.send(amount, sender, to)
        return told.json()["status"] if told.status_code == 201 else told.json()["code"]

    async def new(path: str) -> int:
        told = await trip.act(path, {"name": "fresh"})
        trip.keys["acme"] = {"Authorization": f"Bearer {told.json()['key']}"}
        return told.status_code

    async def status(path: str) -> int:
        return (await trip.act(path)).status_code

    steps: list[tuple[str, Any, Any]] = [
        ("its old key is no key any more", sends, "unauthenticated"),
        ("a new key does not lift the freeze", lambda: new("keys"), 201),
        ("it may not send", sends, "org_frozen"),
        ("what it is sent is held", lambda: sends(2, "globex", "acme"), "held"),
        ("nothing of it is released", lambda: ruled(lead, case, "release"), 409),
        ("unfreezing is not recovering", lambda: status("unfreeze"), 409),
        ("the platform says that it is its owner's", lambda: status("recover"), 200),
        ("once", lambda: status("recover"), 409),
        ("it sends, and is held", sends, "held"),
        ("an analyst releases what waited", lambda: ruled(lead, case, "release"), 200),
        ("the cool-off lasts", lambda: house.pass_time(DAY_S - 60), None),
        ("it is still held", sends, "held"),
        ("the cool-off ends", lambda: house.pass_time(61), None),
        ("it sends as before", sends, "pending"),
        ("its keys are rotated", lambda: new("keys/rotate"), 201),
        ("which starts a cool-off", sends, "held"),
    ]  # fmt: skip
    for what, step, answer in steps:
        assert await step() == answer, what
    await house.settle()
    assert (await house.transfer(waits))["status"] == "settled"
    reasons = await house.pool.fetch("select distinct unnest(reasons) as reason from detector.case_gifts order by 1")
    assert [row["reason"] for row in reasons] == [
        "ledger:compromised",
        "ledger:cool_off",
        "ledger:recipient_compromised",
    ]
    await house.reconcile()
    kinds = ("org.compromised", "org.frozen", "org.unfrozen", "org.keys_rotated")
    assert [kind for kind, _ in await trip.events(*kinds)] == list(kinds)


async def test_a_rotated_key_replaces_every_other_and_is_shown_once(trip: Trip) -> None:
    await new_key(trip.house.pool, "reader", "acme")
    told = await trip.act("keys/rotate", {"name": "fresh"})
    answer = told.json()
    assert (told.status_code, answer["keys_revoked"], answer["role"]) == (201, 2, "owner")
    valid = await trip.house.pool.fetch("select name from ledger.api_keys where org_id = 'acme' and revoked_at is null")
    assert [row["name"] for row in valid] == ["fresh"]
    assert answer["key"] not in str(await trip.house.pool.fetch("select kind, body from log.events"))
    org = (await trip.door.get("/v1/orgs/acme", headers=trip.platform)).json()
    assert org["cool_until"] == answer["cool_until"] is not None
    missing = await trip.door.post("/v1/orgs/nosuch/keys/rotate", json={}, headers=trip.platform)
    assert missing.status_code == 404
