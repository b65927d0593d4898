"""The customer's API: every status and problem code, paging, an org's own things only, the books."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.support import NEVER_FIRES, House, gather, limit, new_key, open_door, open_house, rule

TRANSFER = "/v1/billing/credits/transfer"
BOOKS = "/v1/billing/credits"
POLICY = (
    limit("hourly", "sender", "1h", count=4)
    + limit("value", "sender", "24h", value=900)
    + rule("medium", "amount between 50 and 59")
    + rule("large", "amount between 70 and 79", "block")
)


@dataclass(frozen=True, slots=True)
class Desk:
    """A house with its door open, and two customers: a with 1,000 micro-credits, b with none."""

    house: House
    http: httpx.AsyncClient
    a: dict[str, str]
    b: dict[str, str]

    async def send(self, amount: int = 10, recipient: str = "b", key: str = "k1", **more: Any) -> httpx.Response:
        body = {"recipient": recipient, "amount": amount, **more.pop("body", {})}
        return await self.http.post(TRANSFER, json=body, headers={"Idempotency-Key": key, **self.a, **more})

    async def get(self, path: str, who: dict[str, str] | None = None, **params: Any) -> Any:
        told = await self.http.get(f"{BOOKS}/{path}", headers=who or self.a, params=params)
        assert told.status_code == 200, told.text
        return told.json()


@pytest.fixture
async def desk(database: str) -> AsyncIterator[Desk]:
    async with open_house(database, POLICY) as house, open_door(database, lock_s=3600) as http:
        await house.org("a", amount=1000)
        await house.org("b")
        yield Desk(house, http, await new_key(house.pool, "owner", "a"), await new_key(house.pool, "owner", "b"))


def problem(told: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The RFC 9457 body, held to its shape."""
    body: dict[str, Any] = told.json()
    assert (told.status_code, body.get("code")) == (status, code), told.text
    assert told.headers["content-type"] == "application/problem+json"
    assert body["status"] == status and body["type"] == f"urn:lockgate:{code}" and body["title"] and body["detail"]
    return body


# --- sending ---


async def test_a_gift_is_pending_and_its_credits_are_reserved(desk: Desk) -> None:
    told = await desk.send(40, body={"note": "for you"})
    gift = told.json()
    assert told.status_code == 201 and told.headers["content-type"] == "application/json"
    assert (gift["status"], gift["sender"], gift["recipient"], gift["amount"]) == ("pending", "a", "b", 40)
    assert gift["note"] == "for you" and gift["created_at"].endswith("Z")
    balance = await desk.get("balance")
    assert (balance["available"], balance["reserved"], balance["giftable"]) == (960, 40, 960)


async def test_a_sender_does_not_learn_why_a_gift_is_held_or_blocked(desk: Desk) -> None:
    held, blocked = await desk.send(55, key="k1"), await desk.send(75, key="k2")
    assert (held.status_code, blocked.status_code) == (201, 201)
    assert (held.json()["status"], blocked.json()["status"]) == ("held", "blocked")
    for told in (held, blocked):
        shown = await desk.get(f"transfers/{told.json()['id']}")
        for word in ("medium", "large", "rule", "verdict", "reason", "decision", "score"):
            assert word not in told.text and word not in json.dumps(shown)
    assert (await desk.get("balance"))["reserved"] == 55


async def test_what_the_ledger_refuses(desk: Desk) -> None:
    house = desk.house
    await house.org("poor")
    await house.org("nobody", identity="none", amount=100)
    await house.org("ice")
    await house.freeze("ice")
    poor, nobody = [await new_key(house.pool, "owner", name) for name in ("poor", "nobody")]
    problem(await desk.send(key="k1", **poor), 402, "insufficient_credits")
    problem(await desk.send(key="k2", **nobody), 403, "identity_required")
    problem(await desk.send(key="k3", recipient="nosuch"), 422, "unknown_recipient")
    assert not await house.pool.fetch("select from detector.keys where key = 'o:nosuch'"), "nobody has a key"
    problem(await desk.send(key="k4", recipient="ice"), 422, "recipient_unavailable")
    await house.freeze("a")
    problem(await desk.send(key="k5"), 403, "org_frozen")
    await house.freeze("a", frozen=False)
    assert (await desk.send(key="k6")).status_code == 201
    assert await house.pool.fetchval("select count(*) from ledger.transfers") == 1


async def test_what_is_malformed(desk: Desk) -> None:
    plain: dict[str, Any] = {"recipient": "b", "amount": 10}
    changes: list[dict[str, Any]] = [
        {"amount": 0}, {"amount": -1}, {"amount": 1.5}, {"amount": "10"}, {"amount": 10**15 + 1}, {"amount": 10**30},
        {"amount": None}, {"amount": True}, {"recipient": ""}, {"recipient": "a"}, {"recipient": "x" * 65},
        {"recipient": "a b"}, {"note": "x" * 281}, {"note": "a\u0000"}, {"note": "two\nlines"}, {"ip": ""}, {"ip": "é"},
        {"device": 7}, {"extra": 1}, {"recipient": "b\n"}, {"note": "line\n"}, {"ip": "10.0.0.1\n"},
        {"device": "d" * 129},
    ]  # fmt: skip
    passed = []
    for number, change in enumerate(changes):
        headers = {"Idempotency-Key": f"m{number}", **desk.a}
        told = await desk.http.post(TRANSFER, json={**plain, **change}, headers=headers)
        if told.status_code != 422 or told.json()["code"] != "invalid":
            passed.append((change, told.status_code, told.json().get("code")))
    assert passed == []


async def test_a_request_that_cannot_be_read(desk: Desk) -> None:
    for body in (b"", b"{", b'{"recipient": "b", "amount": 1', b"\xff\xfe"):
        told = await desk.http.post(TRANSFER, content=body, headers={"Idempotency-Key": "k", **desk.a})
        problem(told, 400, "bad_request")
    for key in ("", "a b", "x" * 256, '""', "tab\t"):
        told = await desk.send(key=key)
        problem(told, 400, "bad_request")
    problem(await desk.http.post(TRANSFER, json={"recipient": "b", "amount": 1}, headers=desk.a), 400, "bad_request")


async def test_who_may_send(desk: Desk) -> None:
    pool = desk.house.pool
    for header, status, code in [
        ({"Authorization": ""}, 401, "unauthenticated"),
        ({"Authorization": "Bearer wrong"}, 401, "unauthenticated"),
        ({"Authorization": "Basic abc"}, 401, "unauthenticated"),
        (await new_key(pool, "reader", "a"), 403, "forbidden"),
        (await new_key(pool, "platform"), 403, "forbidden"),
        (await new_key(pool, "service"), 403, "forbidden"),
    ]:
        problem(await desk.send(**header), status, code)
        problem(await desk.http.post(f"{TRANSFER}/batch", json={"transfers": []}, headers=header), status, code)
    problem(await desk.http.get(f"{BOOKS}/balance"), 401, "unauthenticated")


async def test_a_limit_answers_429_with_how_long_to_wait(desk: Desk) -> None:
    told = [await desk.send(key=f"k{n}") for n in range(5)]
    assert [one.status_code for one in told] == [201] * 4 + [429]
    assert told[0].headers["RateLimit-Policy"] == '"hourly";q=4;w=3600'
    assert told[0].headers["RateLimit"] == '"hourly";r=3;t=3600'
    assert told[3].headers["RateLimit"].startswith('"hourly";r=0;t=')
    body = problem(told[4], 429, "rate_limited")
    assert 3500 < int(told[4].headers["Retry-After"]) <= 3600
    assert body["retry_after_s"] == int(told[4].headers["Retry-After"])
    assert told[4].headers["RateLimit-Policy"] == '"hourly";q=4;w=3600'


async def test_a_gift_beyond_every_window_is_told_not_to_wait(desk: Desk) -> None:
    told = await desk.send(901)
    assert problem(told, 429, "rate_limited")["retry_after_s"] is None
    assert "Retry-After" not in told.headers


async def test_the_same_key_and_meaning_give_the_same_bytes(desk: Desk) -> None:
    first = await desk.send(40, key="k1")
    again = await desk.http.post(
        TRANSFER, content=b'{"amount":40,\n "recipient":"b"}', headers={"Idempotency-Key": '"k1"', **desk.a}
    )
    assert again.content == first.content and again.status_code == 201
    assert again.headers["Idempotency-Replayed"] == "true" and "Idempotency-Replayed" not in first.headers
    problem(await desk.send(41, key="k1"), 422, "idempotency_key_reused")


async def test_a_batch_gives_each_gift_its_own_answer(desk: Desk) -> None:
    gifts = [
        {"recipient": "b", "amount": 10},
        {"recipient": "nosuch", "amount": 10},
        {"recipient": "a", "amount": 10},
        {"recipient": "b", "amount": 10_000},
        {"recipient": "b", "amount": 55, "idempotency_key": "own"},
    ]
    headers = {"Idempotency-Key": "batch", **desk.a}
    told = await desk.http.post(f"{TRANSFER}/batch", json={"transfers": gifts}, headers=headers)
    results = told.json()["results"]
    assert [one["status"] for one in results] == [201, 422, 422, 402, 201]
    assert [one["body"].get("code") for one in results] == [
        None, "unknown_recipient", "invalid", "insufficient_credits", None,
    ]  # fmt: skip
    assert results[4]["body"]["status"] == "held"
    again = await desk.http.post(f"{TRANSFER}/batch", json={"transfers": gifts}, headers=headers)
    assert again.json() == told.json()
    assert (await desk.send(55, key="own")).json() == results[4]["body"]


async def test_a_batch_has_its_bounds(desk: Desk) -> None:
    one = {"recipient": "nosuch", "amount": 1}
    for gifts in ([], [one] * 501, "x"):
        told = await desk.http.post(
            f"{TRANSFER}/batch", json={"transfers": gifts}, headers={"Idempotency-Key": "b", **desk.a}
        )
        problem(told, 422, "invalid")
    keyless = await desk.http.post(f"{TRANSFER}/batch", json={"transfers": [one]}, headers=desk.a)
    assert keyless.json()["results"][0]["body"]["code"] == "bad_request"
    most = await desk.http.post(
        f"{TRANSFER}/batch", json={"transfers": [one] * 500}, headers={"Idempotency-Key": "b", **desk.a}
    )
    assert [each["status"] for each in most.json()["results"]] == [422] * 500


async def test_unknown_addresses_are_problems_too(desk: Desk) -> None:
    problem(await desk.http.get("/nowhere"), 404, "not_found")
    problem(await desk.http.get(TRANSFER), 405, "method_not_allowed")


# --- listing, showing, cancelling ---


async def test_pages_list_every_transfer_once_newest_first(desk: Desk) -> None:
    await desk.house.activate(NEVER_FIRES)
    ids = [(await desk.send(1, key=f"k{n}")).json()["id"] for n in range(7)]
    seen, cursor, pages = [], None, 0
    while True:
        page = await desk.get("transfers", limit=3, **({"cursor": cursor} if cursor else {}))
        seen += [one["id"] for one in page["transfers"]]
        pages, cursor = pages + 1, page["next_cursor"]
        if cursor is None:
            break
    assert (seen, pages) == (sorted(ids, reverse=True), 3)
    assert (await desk.get("transfers", limit=7))["next_cursor"] is None
    for params in ({"limit": 0}, {"limit": 501}, {"direction": "odd"}, {"status": "odd"}, {"cursor": "x" * 65}):
        problem(await desk.http.get(f"{BOOKS}/transfers", headers=desk.a, params=params), 422, "invalid")


async def test_a_list_by_direction_and_status(desk: Desk) -> None:
    sent, held, blocked = [(await desk.send(n, key=f"k{n}")).json()["id"] for n in (10, 55, 75)]
    await desk.house.grant("b", 100)
    back = await desk.http.post(
        TRANSFER, json={"recipient": "a", "amount": 5}, headers={"Idempotency-Key": "k", **desk.b}
    )

    async def ids(who: dict[str, str], **params: str) -> set[str]:
        return {one["id"] for one in (await desk.get("transfers", who, **params))["transfers"]}

    received = back.json()["id"]
    assert await ids(desk.a, direction="sent") == {sent, held, blocked}
    assert await ids(desk.a, direction="received") == {received}
    assert await ids(desk.a) == {sent, held, blocked, received}
    assert await ids(desk.a, status="held") == {held}
    # Whom a blocked gift was meant for never hears of it.
    assert await ids(desk.b, direction="received") == {sent, held}


async def test_an_org_sees_its_own_things_only(desk: Desk) -> None:
    await desk.house.org("c", amount=10)
    stranger = await new_key(desk.house.pool, "owner", "c")
    sent, blocked = [(await desk.send(n, key=f"k{n}")).json()["id"] for n in (10, 75)]
    for who, name in ((stranger, sent), (desk.b, blocked), (desk.a, "tr_nosuch")):
        problem(await desk.http.get(f"{BOOKS}/transfers/{name}", headers=who), 404, "not_found")
    for who in (stranger, desk.b):
        problem(await desk.http.post(f"{BOOKS}/transfers/{sent}/cancel", headers=who), 404, "not_found")
    assert (await desk.get(f"transfers/{sent}", desk.b))["id"] == sent
    assert (await desk.get("transfers", stranger))["transfers"] == []
    assert [one["amount"] for one in (await desk.get("grants", stranger))["grants"]] == [10]
    assert (await desk.get("balance", stranger))["available"] == 10
    assert {one["amount"] for one in (await desk.get("statement", stranger))["entries"]} == {10, -10}


async def test_cancelling_brings_the_credits_back_at_once(desk: Desk) -> None:
    pending, held, blocked = [(await desk.send(n, key=f"k{n}")).json()["id"] for n in (10, 55, 75)]
    for name in (pending, held, pending):
        told = await desk.http.post(f"{BOOKS}/transfers/{name}/cancel", headers=desk.a)
        assert (told.status_code, told.json()["status"]) == (200, "cancelled")
    balance = await desk.get("balance")
    assert (balance["available"], balance["reserved"]) == (1000, 0)
    problem(await desk.http.post(f"{BOOKS}/transfers/{blocked}/cancel", headers=desk.a), 409, "conflict")
    settled = (await desk.send(20, key="late")).json()["id"]
    await desk.house.pass_time(3601)
    await desk.house.settle()
    problem(await desk.http.post(f"{BOOKS}/transfers/{settled}/cancel", headers=desk.a), 409, "conflict")
    reader = await new_key(desk.house.pool, "reader", "a")
    problem(await desk.http.post(f"{BOOKS}/transfers/{settled}/cancel", headers=reader), 403, "forbidden")


# --- the openapi page ---


async def test_the_openapi_page_lists_every_route_with_its_body(desk: Desk) -> None:
    page = (await desk.http.get("/openapi.json")).json()
    listed = {(method.upper(), path) for path, methods in page["paths"].items() for method in methods}
    promised = """
        POST /v1/billing/credits/transfer
        POST /v1/billing/credits/transfer/batch
        GET /v1/billing/credits/transfers
        GET /v1/billing/credits/transfers/{transfer_id}
        POST /v1/billing/credits/transfers/{transfer_id}/cancel
        GET /v1/billing/credits/balance
        GET /v1/billing/credits/grants
        GET /v1/billing/credits/statement
        POST /v1/orgs
        GET /v1/orgs/{org_id}
        PUT /v1/orgs/{org_id}/identity
        POST /v1/orgs/{org_id}/freeze
        POST /v1/orgs/{org_id}/unfreeze
        POST /v1/orgs/{org_id}/keys
        POST /v1/orgs/{org_id}/keys/revoke
        POST /v1/orgs/{org_id}/grants
        POST /v1/orgs/{org_id}/consume
        POST /v1/grants/{grant_id}/revoke
        GET /v1/grants/{grant_id}/trace
        GET /v1/receivables
        POST /v1/transfers/{transfer_id}/reversals
        GET /v1/transfers/{transfer_id}/reversals
        POST /v1/score
        POST /v1/score/batch
        POST /v1/outcomes
        GET /v1/decisions/{decision_id}
        GET /healthz
    """
    assert {tuple(line.split()) for line in promised.strip().splitlines()} <= listed
    send = page["paths"][TRANSFER]["post"]
    fields = send["requestBody"]["content"]["application/json"]["schema"]["properties"]
    assert fields.keys() == {"recipient", "amount", "note", "ip", "device"}
    assert fields["amount"]["maximum"] == 10**15
    assert send["parameters"][0]["name"] == "Idempotency-Key" and "429" in send["responses"]


async def test_health_names_the_generation_and_that_no_model_judges(desk: Desk) -> None:
    await gather([desk.send(key="k1")])
    told = (await desk.http.get("/healthz")).json()
    assert (told["status"], told["generation"], told["model"]) == ("ok", 1, None)
    assert "limits and rules alone" in told["note"]


async def test_without_a_policy_health_is_degraded_and_gifts_are_held(database: str) -> None:
    async with open_house(database, None) as house, open_door(database) as http:
        a, b = await house.org(amount=10), await house.org()
        key = await new_key(house.pool, "owner", a)
        told = await http.post(TRANSFER, json={"recipient": b, "amount": 1}, headers={"Idempotency-Key": "k", **key})
        assert told.json()["status"] == "held"
        health = await http.get("/healthz")
        assert (health.status_code, health.json()["status"]) == (200, "degraded")
