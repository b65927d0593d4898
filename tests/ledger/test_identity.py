"""Identity by signed webhooks: what providers tell and how an org then stands, over HTTP and real PostgreSQL."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.contract import LEVELS
from ledger.identity import Told, follows, standing
from ledger.signatures import Scheme
from tests.support import House, again, gather, new_key, open_door

SECRETS: dict[Scheme, tuple[str, ...]] = {
    "standard": ("whsec_" + base64.b64encode(b"0123456789abcdef01234567").decode(),),
    "stripe": ("whsec_old", "whsec_new"),
    "persona": ("wbhsec_1",),
}
START = datetime(2026, 11, 1, 12, tzinfo=UTC)


@pytest.fixture
async def http(house: House) -> AsyncIterator[httpx.AsyncClient]:
    """A client with the platform's key, and an org `acme` that nobody verified."""
    async with open_door(house.dsn, identity_secrets=SECRETS) as client:
        client.headers.update(await new_key(house.pool, "platform"))
        assert (await client.post("/v1/orgs", json={"id": "acme"})).status_code == 201
        yield client


def standard(org: str, level: str, check: str, hours: int, name: str = "", kind: str = "verified") -> dict[str, Any]:
    at = (START + timedelta(hours=hours)).isoformat()
    about = {"org": org, "check": check} | ({"level": level} if kind == "verified" else {})
    return {"id": name or f"{check}{hours}{kind}", "type": f"identity.{kind}", "timestamp": at, "data": about}


def stripe(org: str, what: str, session: str, hours: int, kind: str = "document") -> dict[str, Any]:
    about = {"id": session, "object": "identity.verification_session", "type": kind, "client_reference_id": org}
    return {
        "id": f"evt_{session}{what}{hours}",
        "object": "event",
        "type": f"identity.verification_session.{what}",
        "created": int((START + timedelta(hours=hours)).timestamp()),
        "data": {"object": {**about, "metadata": {}}},
    }


def persona(org: str, what: str, inquiry: str, hours: int) -> dict[str, Any]:
    about = {"type": "inquiry", "id": inquiry, "attributes": {"status": what, "reference-id": org}}
    created = (START + timedelta(hours=hours)).isoformat()
    event = {"name": f"inquiry.{what}", "created-at": created, "payload": {"data": about}}
    return {"data": {"type": "event", "id": f"evt_{inquiry}{what}{hours}", "attributes": event}}


def signed(scheme: Scheme, body: bytes, at: int, secret: str) -> dict[str, str]:
    if scheme == "standard":
        key = base64.b64decode(secret.removeprefix("whsec_"))
        made = hmac.new(key, f"m1.{at}.".encode() + body, hashlib.sha256).digest()
        signature = f"v1,{base64.b64encode(made).decode()}"
        return {"webhook-id": "m1", "webhook-timestamp": str(at), "webhook-signature": signature}
    text = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return {f"{scheme}-signature": f"t={at},v1={text}"}


async def tell(http: httpx.AsyncClient, scheme: Scheme, shape: Any, *, late_s: int = 0, secret: str = "") -> Any:
    body = json.dumps(shape).encode()
    headers = signed(scheme, body, int(time.time()) - late_s, secret or SECRETS[scheme][-1])
    return await http.post(f"/v1/identity/webhooks/{scheme}", content=body, headers=headers)


async def level(http: httpx.AsyncClient) -> str:
    found: str = (await http.get("/v1/orgs/acme")).json()["identity"]
    return found


async def counts(http: httpx.AsyncClient) -> dict[tuple[str, str], int]:
    rows = (await http.get("/v1/identity/webhooks")).json()["calls"]
    return {(row["provider"], row["outcome"]): row["calls"] for row in rows}


# --- the trip of an org's identity: who says what, how the call ends, how the org stands then ---

STEPS: list[tuple[Scheme, Any, str, str]] = [
    ("stripe", stripe("acme", "created", "vs_1", 0), "ignored", "none"),
    ("stripe", stripe("acme", "requires_input", "vs_1", 1), "ignored", "none"),
    ("stripe", stripe("acme", "verified", "vs_1", 2, "id_number"), "applied", "basic"),
    ("persona", persona("acme", "completed", "inq_1", 3), "ignored", "basic"),
    ("persona", persona("acme", "approved", "inq_1", 4), "applied", "full"),
    ("persona", persona("acme", "approved", "inq_1", 4), "replayed", "full"),
    ("persona", persona("acme", "declined", "inq_2", 5), "ignored", "full"),  # another check than the one that counts
    ("persona", persona("acme", "declined", "inq_1", 3), "older", "full"),  # told late: it was approved since
    ("persona", persona("acme", "redacted", "inq_1", 6), "applied", "basic"),  # the other check still counts
    ("standard", standard("acme", "full", "c1", 7), "applied", "full"),
    ("standard", standard("acme", "", "c1", 8, kind="lost"), "applied", "basic"),
    ("stripe", stripe("acme", "canceled", "vs_1", 9), "applied", "none"),
]


async def test_an_org_stands_as_its_checks_say(http: httpx.AsyncClient) -> None:
    for scheme, shape, outcome, then in STEPS:
        told = await tell(http, scheme, shape)
        assert (told.status_code, told.json()["outcome"], await level(http)) == (200, outcome, then), shape
    assert (await counts(http))["persona", "replayed"] == 1


async def test_the_platforms_word_replaces_what_was_said_and_its_founding_word_stands(http: httpx.AsyncClient) -> None:
    await http.post("/v1/orgs", json={"id": "born", "identity": "basic"})
    await tell(http, "standard", standard("born", "full", "c1", 1))
    await tell(http, "standard", standard("born", "", "c1", 2, kind="lost"))
    assert (await http.get("/v1/orgs/born")).json()["identity"] == "basic"
    await tell(http, "standard", standard("acme", "full", "c2", 1))
    assert (await http.put("/v1/orgs/acme/identity", json={"level": "none"})).json()["identity"] == "none"
    assert (await tell(http, "standard", standard("acme", "basic", "c3", 3))).json()["outcome"] == "applied"
    assert await level(http) == "basic"


async def test_identity_is_as_old_as_the_check(http: httpx.AsyncClient) -> None:
    await tell(http, "stripe", stripe("acme", "verified", "vs_1", 2))
    assert (await http.get("/v1/orgs/acme")).json()["identity_at"] == "2026-11-01T14:00:00.000000Z"


# --- what is refused, and counted ---


async def test_wrong_stale_and_malformed_calls_are_refused_counted_and_change_nothing(http: httpx.AsyncClient) -> None:
    good = standard("acme", "full", "c1", 1)
    forged = await tell(http, "standard", good, secret="whsec_" + base64.b64encode(b"guess").decode())
    assert (forged.status_code, forged.json()["code"]) == (401, "signature_wrong")
    stale = await tell(http, "standard", good, late_s=301)
    assert (stale.status_code, stale.json()["code"]) == (401, "signature_stale")
    unsigned = await http.post("/v1/identity/webhooks/stripe", json=stripe("acme", "verified", "vs_1", 1))
    assert unsigned.json()["code"] == "signature_wrong"
    for shape in ({}, [], {"id": "x", "type": "identity.verified"}, standard("acme", "gold", "c1", 1)):
        told = await tell(http, "standard", shape)
        assert (told.status_code, told.json()["code"]) == (422, "invalid"), told.text
    nobody = await tell(http, "persona", persona("nosuch", "approved", "inq_1", 1))
    assert (nobody.status_code, nobody.json()["code"]) == (404, "not_found")
    assert await level(http) == "none"
    assert await counts(http) == {
        ("persona", "not_found"): 1,
        ("standard", "invalid"): 4,
        ("standard", "signature_stale"): 1,
        ("standard", "signature_wrong"): 1,
        ("stripe", "signature_wrong"): 1,
    }


async def test_a_provider_without_a_secret_is_closed(house: House) -> None:
    async with open_door(house.dsn) as client:
        told = await tell(client, "persona", persona("acme", "approved", "inq_1", 1))
        assert told.status_code == 404 and "LOCKGATE_IDENTITY_PERSONA_SECRETS" in told.json()["detail"]


async def test_one_event_told_twenty_times_at_once_counts_once(http: httpx.AsyncClient, house: House) -> None:
    told = await gather(tell(http, "standard", standard("acme", "full", "c1", 1)) for _ in range(20))
    assert sorted(one.json()["outcome"] for one in told) == ["applied"] + ["replayed"] * 19
    assert (await counts(http))["standard", "replayed"] == 19
    with pytest.raises(asyncpg.RestrictViolationError):
        await house.pool.execute("update ledger.identity_events set level = 'full'")


async def test_losing_identity_in_the_lock_keeps_a_gift_from_settling(http: httpx.AsyncClient, house: House) -> None:
    await http.post("/v1/orgs", json={"id": "friend", "identity": "basic"})
    await tell(http, "stripe", stripe("acme", "verified", "vs_1", 1))
    await http.post("/v1/orgs/acme/grants", json={"amount": 10_000_000, "origin": "promo"})
    key = await new_key(house.pool, "owner", "acme")
    sent = await http.post(
        "/v1/billing/credits/transfer",
        json={"recipient": "friend", "amount": 1_000_000},
        headers={**key, "Idempotency-Key": "k1"},
    )
    assert sent.json()["status"] == "pending", sent.text
    await tell(http, "stripe", stripe("acme", "redacted", "vs_1", 2))
    at = datetime.now(UTC) + timedelta(days=2)
    await again(lambda: house.works.settlement.settle_due(at))
    shown = await http.get(f"/v1/billing/credits/transfers/{sent.json()['id']}", headers=key)
    assert shown.json()["status"] == "held"


# --- pure: any order of checks ---

EVENTS = st.builds(
    Told,
    st.sampled_from(["standard", "stripe", "platform"]),
    st.just("e"),
    st.just("acme"),
    st.sampled_from(["a", "b"]),
    st.sampled_from(LEVELS),
    st.integers(0, 30).map(lambda hours: START + timedelta(hours=hours)),
)


@given(st.lists(EVENTS, max_size=12))
def test_an_org_is_as_verified_as_the_strongest_check_that_nobody_took_back(events: list[Told]) -> None:
    counted: list[Told] = []
    for one in events:
        if follows(one, counted) == "applied":
            counted.append(one)
    start = max((place for place, one in enumerate(counted) if one.provider == "platform"), default=0)
    last = {(one.provider, one.subject): one.level for one in counted[start:]}
    found = standing(counted)
    assert LEVELS.index(found.level) == max(map(LEVELS.index, last.values()), default=0)
    assert (found.since is None) == (found.level == "none")
    for check in last:
        times = [one.at for one in counted if (one.provider, one.subject) == check]
        assert times == sorted(times)
