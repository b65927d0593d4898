"""Labels over HTTP: once per gift, at a moment that no decision of its parties has passed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import httpx
import pytest

from detector import store
from detector.gift import stamp
from lockgate import connections
from tests.support import CREDIT, NEVER_FIRES, gather, new_key, open_door, open_house

GIFT: dict[str, Any] = {"id": "g1", "sender": "a", "recipient": "b", "amount": 5, "ip": "1.2.3.4"}
FRAUD: dict[str, Any] = {"gift": "g1", "fraud": True, "source": "chargeback"}


@pytest.fixture
async def pool(database: str) -> AsyncIterator[asyncpg.Pool]:
    pool = await connections.pool(database, size=2)
    async with pool.acquire() as conn:
        await store.add_policy(conn, NEVER_FIRES, "test")
    yield pool
    await pool.close()


@pytest.fixture
async def shop(database: str, pool: asyncpg.Pool) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the scoring API that had one gift judged."""
    async with open_door(database) as client:
        client.headers.update(await new_key(pool, "service", name="shop"))
        assert (await client.post("/v1/score", json=GIFT)).status_code == 200
        yield client


async def test_a_label_is_noted_after_the_decision_with_who_said_it(
    shop: httpx.AsyncClient, pool: asyncpg.Pool
) -> None:
    told = (await shop.post("/v1/labels", json=FRAUD)).json()
    assert (told["gift"], told["fraud"], told["source"], told["news"]) == ("g1", True, "chargeback", True)
    row = await pool.fetchrow("select l.*, d.at as decided from detector.labels l join detector.decisions d using (at)")
    assert row is not None and row["label_at"] > row["decided"] and stamp(row["label_at"]) == told["label_at"]
    assert (row["gift_id"], row["author"], row["sender"], row["recipient"]) == ("shop:g1", "shop", "a", "b")


async def test_said_again_it_stands_as_it_was(shop: httpx.AsyncClient) -> None:
    first = (await shop.post("/v1/labels", json=FRAUD)).json()
    again = (await shop.post("/v1/labels", json={**FRAUD, "source": "case"})).json()
    assert again == {**first, "news": False}


async def test_the_opposite_is_a_conflict_that_says_who_said_what_when(shop: httpx.AsyncClient) -> None:
    known = (await shop.post("/v1/labels", json=FRAUD)).json()
    told = await shop.post("/v1/labels", json={**FRAUD, "fraud": False})
    assert (told.status_code, told.json()["code"]) == (409, "label_conflict")
    for word in ("fraud", "shop", "chargeback", known["label_at"]):
        assert word in told.json()["detail"]


async def test_an_unknown_gift_is_said_to_be_unknown(shop: httpx.AsyncClient) -> None:
    told = await shop.post("/v1/labels", json={**FRAUD, "gift": "nobody"})
    assert (told.status_code, told.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("change", [{"fraud": "yes"}, {"source": ""}, {"gift": ""}, {"more": 1}])
async def test_a_label_that_cannot_be_read_is_refused(shop: httpx.AsyncClient, change: dict[str, Any]) -> None:
    assert (await shop.post("/v1/labels", json={**FRAUD, **change})).status_code == 422


async def test_many_labels_get_one_answer_each(shop: httpx.AsyncClient) -> None:
    await shop.post("/v1/score", json={**GIFT, "id": "g2", "sender": "b", "recipient": "c"})
    listed = [FRAUD, {**FRAUD, "gift": "g2"}, {**FRAUD, "gift": "g3"}, FRAUD, {**FRAUD, "fraud": False}]
    told = (await shop.post("/v1/labels", json=listed)).json()["results"]
    assert [one.get("fraud", one.get("error", {}).get("status")) for one in told] == [True, True, 404, True, 409]
    assert told[0] == told[3] and told[0]["label_at"] == told[1]["label_at"]


async def test_who_races_for_a_label_finds_one(shop: httpx.AsyncClient) -> None:
    told = await gather(shop.post("/v1/labels", json={**FRAUD, "fraud": n % 2 == 0}) for n in range(12))
    assert sorted(one.status_code for one in told) == [200] * 6 + [409] * 6
    assert sum(one.json().get("news", False) for one in told) == 1


async def test_a_label_is_later_than_all_that_was_decided_of_its_parties(
    shop: httpx.AsyncClient, pool: asyncpg.Pool
) -> None:
    """Also where decisions are ahead of the clock, as after a fail-over to a machine that is slow."""
    async with pool.acquire() as conn, conn.transaction():
        await store.add_policy(conn, '[model]\nname = "champion"\n' + NEVER_FIRES, "test")
        await conn.execute("set local session_replication_role = replica")
        await conn.execute("update detector.decisions set at = at + interval '1 hour'")
    told = (await shop.post("/v1/labels", json=FRAUD)).json()
    decided = await pool.fetchval("select max(at) + interval '1 microsecond' from detector.decisions")
    assert told["label_at"] == stamp(decided)
    later = (await shop.post("/v1/score", json={**GIFT, "id": "later"})).json()
    assert later["at"] > told["label_at"]


async def test_a_client_labels_its_own_gifts_and_the_platform_any(database: str, shop: httpx.AsyncClient) -> None:
    async with open_house(database) as house:
        gift = await house.sent(await house.org(amount=CREDIT), await house.org(), CREDIT)
        platform, service = await new_key(house.pool, "platform"), await new_key(house.pool, "service", name="other")
        reader = await new_key(house.pool, "reader", await house.org())
        label = {**FRAUD, "gift": gift}
        assert (await shop.post("/v1/labels", json=label)).status_code == 404
        assert (await shop.post("/v1/labels", json=FRAUD, headers=service)).status_code == 404
        assert (await shop.post("/v1/labels", json=label, headers=reader)).status_code == 403
        assert (await shop.post("/v1/labels", json=label, headers=platform)).json()["news"]
        named = {**FRAUD, "gift": "shop:g1"}
        assert (await shop.post("/v1/labels", json=named, headers=platform)).json()["news"]
