"""The books: burn order, what may be gifted and when, and a statement that explains every unit as of any time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from ledger import funding
from ledger.funding import Terms
from tests.support import House, new_key, open_door

BOOKS = "/v1/billing/credits"


@pytest.fixture
async def http(house: House) -> AsyncIterator[httpx.AsyncClient]:
    """The platform's client."""
    async with open_door(house.dsn, lock_s=3600, clearing_s=86_400) as client:
        client.headers.update(await new_key(house.pool, "platform"))
        yield client


async def issue(http: httpx.AsyncClient, org: str, amount: int, **more: Any) -> dict[str, Any]:
    told = await http.post(f"/v1/orgs/{org}/grants", json={"amount": amount, "origin": "promo", **more})
    assert told.status_code == 201, told.text
    grant: dict[str, Any] = told.json()
    return grant


def later(**span: float) -> str:
    return (datetime.now(UTC) + timedelta(**span)).isoformat()


async def balance(http: httpx.AsyncClient, house: House, org: str) -> dict[str, Any]:
    told = await http.get(f"{BOOKS}/balance", headers=await new_key(house.pool, "reader", org))
    found: dict[str, Any] = told.json()
    return found


# --- the platform's acts ---


async def test_orgs_are_created_once_shown_verified_and_frozen(http: httpx.AsyncClient) -> None:
    created = await http.post("/v1/orgs", json={"id": "acme", "tier": "gold", "owner": "x"})
    assert created.status_code == 201
    assert created.json()["identity"] == "none" and created.json()["frozen"] is False
    assert (await http.post("/v1/orgs", json={"id": "acme"})).json()["code"] == "conflict"
    assert (await http.put("/v1/orgs/acme/identity", json={"level": "full"})).json()["identity"] == "full"
    assert (await http.post("/v1/orgs/acme/freeze")).json()["frozen"] is True
    assert (await http.post("/v1/orgs/acme/unfreeze")).json()["frozen"] is False
    assert (await http.get("/v1/orgs/acme")).json()["tier"] == "gold"
    for call in (
        http.get("/v1/orgs/nosuch"),
        http.post("/v1/orgs/nosuch/freeze"),
        http.put("/v1/orgs/nosuch/identity", json={"level": "full"}),
        http.post("/v1/orgs/nosuch/keys", json={}),
        http.post("/v1/orgs/nosuch/grants", json={"amount": 1, "origin": "promo"}),
        http.post("/v1/orgs/nosuch/consume", json={"amount": 1, "id": "x"}),
        http.post("/v1/grants/nosuch/revoke"),
    ):
        told = await call
        assert (told.status_code, told.json()["code"]) == (404, "not_found"), told.text


async def test_what_the_platform_is_refused(http: httpx.AsyncClient, house: House) -> None:
    await house.org("a")
    grant = {"amount": 1, "origin": "promo"}
    for path, body in [
        ("/v1/orgs", {"id": "a b"}),
        ("/v1/orgs", {"id": "x\n"}),
        ("/v1/orgs", {"id": "x", "extra": 1}),
        ("/v1/orgs", {"id": "x", "identity": "odd"}),
        ("/v1/orgs/a/grants", {**grant, "amount": 0}),
        ("/v1/orgs/a/grants", {**grant, "amount": 1.0}),
        ("/v1/orgs/a/grants", {**grant, "amount": 10**15 + 1}),
        ("/v1/orgs/a/grants", {**grant, "origin": "theft"}),
        ("/v1/orgs/a/grants", {**grant, "priority": 1001}),
        ("/v1/orgs/a/grants", {**grant, "expires_at": later(seconds=-1)}),
        ("/v1/orgs/a/grants", {**grant, "expires_at": "2099-01-01T00:00:00"}),
        ("/v1/orgs/a/grants", {**grant, "giftable_at": "2099-01-01T00:00:00"}),
        ("/v1/orgs/a/consume", {"amount": 0, "id": "x"}),
        ("/v1/orgs/a/consume", {"amount": 1, "id": "x/y"}),
        ("/v1/orgs/a/keys", {"role": "platform"}),
    ]:
        told = await http.post(path, json=body)
        assert (told.status_code, told.json()["code"]) == (422, "invalid"), (body, told.text)
    owner = await new_key(house.pool, "owner", "a")
    for path in ("/v1/orgs", "/v1/orgs/a/grants", "/v1/orgs/a/consume", "/v1/orgs/a/keys"):
        told = await http.post(path, json={"id": "z", **grant}, headers=owner)
        assert told.status_code in (403, 422), path
    assert (await http.get("/v1/orgs/a", headers=owner)).status_code == 403
    assert await house.pool.fetchval("select count(*) from ledger.grants") == 0


async def test_a_revoked_key_is_known_no_more(http: httpx.AsyncClient, house: House) -> None:
    await house.org("a")
    key = (await http.post("/v1/orgs/a/keys", json={"role": "reader"})).json()["key"]
    assert await house.pool.fetchval("select count(*) from ledger.api_keys where position($1 in name) > 0", key) == 0
    assert (await http.post("/v1/orgs/a/keys/revoke", json={"key": key})).status_code == 200
    told = await http.get(f"{BOOKS}/balance", headers={"Authorization": f"Bearer {key}"})
    assert told.status_code == 401
    assert (await http.post("/v1/orgs/a/keys/revoke", json={"key": key})).status_code == 404


# --- burn order ---


async def test_credits_burn_by_priority_then_expiry_then_age(http: httpx.AsyncClient, house: House) -> None:
    await house.org("a")
    soon, late = later(days=2), later(days=9)
    order = [
        await issue(http, "a", 10, priority=5, expires_at=late),
        await issue(http, "a", 10, priority=7, expires_at=soon),
        await issue(http, "a", 10, priority=7, expires_at=late),
        await issue(http, "a", 10, priority=7, expires_at=late),
        await issue(http, "a", 10, priority=7),
        await issue(http, "a", 10, priority=100, expires_at=soon),
    ]
    # Issued in another order than they burn.
    first = await issue(http, "a", 10, priority=0)
    burnt: list[int] = []
    for turn, one in enumerate([first, *order]):
        told = (await http.post("/v1/orgs/a/consume", json={"amount": 10, "id": f"use{turn}"})).json()
        burnt.append(told["available"])
        left = await house.pool.fetchval("select available from ledger.grants where id = $1", one["id"])
        assert left == 0, f"{one} should have burnt as number {turn}"
    assert burnt == [60, 50, 40, 30, 20, 10, 0]
    told = await http.post("/v1/orgs/a/consume", json={"amount": 1, "id": "more"})
    assert (told.status_code, told.json()["code"]) == (402, "insufficient_credits")


async def test_a_gift_slices_in_burn_order_too(http: httpx.AsyncClient, house: House) -> None:
    await house.org("a")
    await house.org("b")
    late = await issue(http, "a", 10, priority=9, expires_at=later(days=9))
    soon = await issue(http, "a", 10, priority=9, expires_at=later(days=2))
    await house.sent("a", "b", 15)
    rows = {row["id"]: row["reserved"] for row in await house.grants("a")}
    assert rows == {soon["id"]: 10, late["id"]: 5}


async def test_a_consumption_is_posted_once(http: httpx.AsyncClient, house: House) -> None:
    await house.org("a", amount=10)
    first = await http.post("/v1/orgs/a/consume", json={"amount": 3, "id": "use"})
    again = await http.post("/v1/orgs/a/consume", json={"amount": 3, "id": "use"})
    assert (first.json()["available"], again.status_code, again.json()["code"]) == (7, 409, "conflict")
    assert (await balance(http, house, "a"))["available"] == 7


# --- what may be gifted ---


async def test_free_credits_are_not_giftable_unless_it_is_said(http: httpx.AsyncClient, house: House) -> None:
    await house.org("a")
    await house.org("b")
    free = await issue(http, "a", 10, origin="free_tier")
    assert free["giftable"] is False
    assert (await house.send("a", "b", 1)).status == 402
    said = await issue(http, "a", 3, origin="free_tier", giftable=True)
    assert said["giftable"] is True
    assert (await house.send("a", "b", 3)).status == 201
    assert (await house.send("a", "b", 1)).status == 402
    assert (await balance(http, house, "a"))["giftable"] == 0


async def test_free_credits_are_giftable_where_the_operator_configured_it(house: House) -> None:
    terms = Terms(frozenset({"free_tier"}), 0)
    a, b = await house.org(), await house.org()
    await house.grant(a, 5, origin="free_tier", terms=terms)
    await house.grant(a, 5, origin="promo", terms=terms)
    assert (await house.send(a, b, 5)).status == 201
    assert (await house.send(a, b, 1)).status == 402


async def test_a_purchase_clears_before_it_may_be_gifted(http: httpx.AsyncClient, house: House) -> None:
    await house.org("a")
    await house.org("b")
    await issue(http, "a", 10, origin="purchase", expires_at=later(days=30))
    assert (await house.send("a", "b", 1)).status == 402
    seen = await balance(http, house, "a")
    assert (seen["available"], seen["giftable"], seen["clearing"]) == (10, 0, 10)
    await house.pass_time(86_401)
    seen = await balance(http, house, "a")
    assert (seen["available"], seen["giftable"], seen["clearing"]) == (10, 10, 0)
    assert (await house.send("a", "b", 10)).status == 201


async def test_only_credits_that_outlive_the_lock_are_gifted(http: httpx.AsyncClient, house: House) -> None:
    await house.org("a")
    await house.org("b")
    await issue(http, "a", 10, expires_at=later(minutes=59))
    await issue(http, "a", 10, expires_at=later(minutes=61))
    assert (await balance(http, house, "a"))["giftable"] == 10
    assert (await house.send("a", "b", 11)).status == 402
    assert (await house.send("a", "b", 10)).status == 201


async def test_expired_credits_are_spendable_no_more_and_are_written_off_once(
    http: httpx.AsyncClient, house: House
) -> None:
    await house.org("a")
    await issue(http, "a", 10, expires_at=later(hours=2))
    await house.pass_time(7_201)
    assert (await balance(http, house, "a"))["available"] == 0
    assert (await http.post("/v1/orgs/a/consume", json={"amount": 1, "id": "x"})).status_code == 402
    assert [await house.expire(), await house.expire()] == [1, 0]
    assert (await house.reconcile())["expired"] == 10


@pytest.mark.parametrize("expires_at", [None, "9999-12-31T23:59:59.999999Z"], ids=["never", "the-last-moment"])
async def test_credits_that_never_expire_are_gifted_settled_and_cancelled(
    http: httpx.AsyncClient, house: House, expires_at: str | None
) -> None:
    """The driver gives infinity for the last moment that there is, and a time without a zone for infinity."""
    await house.org("a")
    await house.org("b")
    grant = await issue(http, "a", 10, expires_at=expires_at)
    assert grant["expires_at"] is None
    settles, cancelled = await house.sent("a", "b", 4), await house.sent("a", "b", 3)
    await house.cancel("a", cancelled)
    await house.pass_time(3_601)
    await house.settle()
    assert (await house.transfer(settles))["status"] == "settled"
    (given,) = await house.grants("b")
    assert given["amount"] == 4 and given["expires_at"].year == 9999


# --- paging and the statement ---


async def test_pages_list_every_grant_once(http: httpx.AsyncClient, house: House) -> None:
    await house.org("a")
    ids = [(await issue(http, "a", 1, expires_at=later(days=1)))["id"] for _ in range(5)]
    await http.post("/v1/orgs/a/consume", json={"amount": 1, "id": "use"})
    reader = await new_key(house.pool, "reader", "a")

    async def pages(**params: Any) -> list[str]:
        seen: list[str] = []
        cursor: dict[str, str] = {}
        while True:
            told = (await http.get(f"{BOOKS}/grants", headers=reader, params={"limit": 2, **params, **cursor})).json()
            seen += [one["id"] for one in told["grants"]]
            if told["next_cursor"] is None:
                return seen
            cursor = {"cursor": told["next_cursor"]}

    assert sorted(await pages(open_only=False)) == sorted(ids)
    assert len(await pages()) == 4


async def test_a_statement_explains_every_unit_at_any_time(http: httpx.AsyncClient, house: House) -> None:
    await house.org("a")
    await house.org("b")
    moments = []

    async def mark() -> None:
        moments.append(await house.pool.fetchval("select clock_timestamp()"))

    await mark()
    await issue(http, "a", 100, expires_at=later(hours=6))
    gone = await issue(http, "a", 50, expires_at=later(days=9), priority=900)
    await mark()
    await house.sent("a", "b", 30)
    cancelled = await house.sent("a", "b", 7)
    await mark()
    await http.post("/v1/orgs/a/consume", json={"amount": 20, "id": "use"})
    await house.cancel("a", cancelled)
    await mark()
    await http.post(f"/v1/grants/{gone['id']}/revoke")
    for hours in (1.1, 6):
        before = moments
        await house.pass_time(hours * 3600)
        moments = [one - timedelta(hours=hours) for one in before]
        await house.settle()
        await mark()
    await house.expire()
    await mark()
    for org, expected in {
        "a": dict(issued=150, received=0, sent=30, consumed=20, revoked=50, expired=50, available=0, reserved=0),
        "b": dict(issued=0, received=30, sent=0, consumed=0, revoked=0, expired=30, available=0, reserved=0),
    }.items():
        reader = await new_key(house.pool, "reader", org)
        for moment in moments:
            told = await statement(http, reader, moment)
            gains = told["issued"] + told["received"]
            losses = told["sent"] + told["consumed"] + told["revoked"] + told["expired"]
            assert gains - losses == told["available"] + told["reserved"], (org, moment, told)
        assert {name: told[name] for name in expected} == expected


async def statement(http: httpx.AsyncClient, reader: dict[str, str], as_of: datetime, **params: Any) -> dict[str, Any]:
    told = await http.get(f"{BOOKS}/statement", headers=reader, params={"as_of": as_of.isoformat(), **params})
    assert told.status_code == 200, told.text
    found: dict[str, Any] = told.json()
    return found


async def test_a_statement_tells_what_will_have_expired(http: httpx.AsyncClient, house: House) -> None:
    await house.org("a")
    await house.org("b")
    soon, never = await issue(http, "a", 30, expires_at=later(days=2)), await issue(http, "a", 50)
    await house.sent("a", "b", 10)
    await http.post("/v1/orgs/a/consume", json={"amount": 4, "id": "use"})
    reader = await new_key(house.pool, "reader", "a")
    now = datetime.now(UTC)
    tomorrow, later_on = [await statement(http, reader, now + timedelta(days=days)) for days in (1, 3)]
    assert (tomorrow["available"], tomorrow["reserved"], tomorrow["expired"]) == (66, 10, 0)
    assert (later_on["available"], later_on["reserved"], later_on["expired"]) == (50, 10, 16)
    booked = [one for one in later_on["entries"] if one["kind"] == "expire"]
    assert [(one["grant_id"], one["account"], one["amount"]) for one in booked] == [
        (soon["id"], "expired", 16), (soon["id"], "available", -16),
    ]  # fmt: skip
    assert {one["at"] for one in booked} == {soon["expires_at"]} and soon["id"] != never["id"]
    await http.post("/v1/orgs/a/consume", json={"amount": 6, "id": "use2"})
    assert (await statement(http, reader, now + timedelta(days=3)))["expired"] == 10, "use releases what was booked"
    last = await statement(http, reader, datetime(9999, 12, 31, tzinfo=UTC))
    assert last["available"] == 50, "what never expires is there on the last of days"


async def test_writing_off_changes_no_statement(http: httpx.AsyncClient, house: House) -> None:
    await house.org("a")
    await issue(http, "a", 30, expires_at=later(hours=2))
    await house.pass_time(3 * 3600)
    reader = await new_key(house.pool, "reader", "a")
    moments = [datetime.now(UTC) + timedelta(hours=hours) for hours in (-2, -0.5, 0, 5)]
    before = [await statement(http, reader, moment) for moment in moments]
    assert await house.expire() == 1
    assert [await statement(http, reader, moment) for moment in moments] == before


async def test_a_statement_since_a_moment_opens_with_what_was_there(http: httpx.AsyncClient, house: House) -> None:
    await house.org("a")
    await house.org("b")
    await issue(http, "a", 30)
    await house.sent("a", "b", 10)
    since = datetime.now(UTC)
    await http.post("/v1/orgs/a/consume", json={"amount": 4, "id": "use"})
    reader = await new_key(house.pool, "reader", "a")
    told = await statement(http, reader, datetime.now(UTC), since=since.isoformat())
    assert told["opening"] == {"available": 20, "reserved": 10} and told["since"] == since.isoformat()[:-6] + "Z"
    assert (told["issued"], told["consumed"], told["available"], told["reserved"]) == (0, 4, 16, 10)
    assert {one["kind"] for one in told["entries"]} == {"consume"}


async def test_statement_lines_page_and_name_what_they_are_about(http: httpx.AsyncClient, house: House) -> None:
    await house.org("a")
    await house.org("b")
    grant = await issue(http, "a", 100, expires_at=later(days=9))
    sent = await house.sent("a", "b", 30)
    await http.post("/v1/orgs/a/consume", json={"amount": 20, "id": "use-7"})
    reader = await new_key(house.pool, "reader", "a")
    lines: list[dict[str, Any]] = []
    params: dict[str, Any] = {"limit": 2}
    while True:
        told = (await http.get(f"{BOOKS}/statement", headers=reader, params=params)).json()
        lines += told["entries"]
        if told["next_cursor"] is None:
            break
        params["cursor"] = told["next_cursor"]
    assert sorted((one["kind"], one["account"], one["amount"]) for one in lines) == [
        ("consume", "available", -20), ("consume", "consumed", 20), ("issue", "available", 100),
        ("issue", "issued", -100), ("reserve", "available", -30), ("reserve", "reserved", 30),
    ]  # fmt: skip
    assert [one["at"] for one in lines] == sorted((one["at"] for one in lines), reverse=True)
    subjects = {one["kind"]: one["subject"] for one in lines}
    assert (subjects["issue"], subjects["reserve"]) == (grant["id"], sent)
    assert "use-7" in subjects["consume"], "a line of a consumption does not say which one it is"


async def test_a_statement_refuses_what_it_cannot_read(http: httpx.AsyncClient, house: House) -> None:
    await house.org("a")
    reader = await new_key(house.pool, "reader", "a")
    for params in (
        {"as_of": "2027-01-01T00:00:00"},
        {"as_of": "odd"},
        {"cursor": "odd"},
        {"cursor": "a~b~c"},
        {"cursor": "2027-01-01T00:00:00~x~1"},
        {"cursor": "2027-01-01T00:00:00Z~x~99999"},
        {"limit": 501},
        {"since": "2027-01-01T00:00:00"},
        {"since": "2027-01-02T00:00:00Z", "as_of": "2027-01-01T00:00:00Z"},
    ):
        told = await http.get(f"{BOOKS}/statement", headers=reader, params=params)
        assert (told.status_code, told.json()["code"]) == (422, "invalid"), (params, told.text)


async def test_the_clock_is_read_after_the_lock(house: House) -> None:
    """Time never runs backwards for a party, also where the lock was waited for (design §3)."""
    await house.org("a")
    async with house.pool.acquire() as holder:
        transaction = holder.transaction()
        await transaction.start()
        await holder.execute("select from ledger.orgs where id = 'a' for update")

        async def wait() -> datetime:
            async with house.pool.acquire() as conn, conn.transaction():
                moment: datetime = (await funding.lock_org(conn, "a"))["now"]
                return moment

        waiter = asyncio.create_task(wait())
        count = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
        while not await holder.fetchval(count):
            await asyncio.sleep(0.01)
        held_until = await holder.fetchval("select clock_timestamp()")
        await transaction.rollback()
        assert await waiter >= held_until
