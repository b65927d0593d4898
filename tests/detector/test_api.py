"""The scoring API, for ledgers that are not ours: one gift id, one decision; the same exactness."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import httpx
import pytest

from detector import store
from detector.contract import CONTRACT
from lockgate import connections
from tests.support import NEVER_FIRES, gather, limit, new_key, open_door, rule

POLICY = (
    limit("three", "sender", "1h", count=3)
    + rule("big", "amount >= 1000", "block")
    + rule("medium", "amount >= 100")
    + rule("stranger", "sender_age_s < 60")
)
GIFT: dict[str, Any] = {"id": "g1", "sender": "a", "recipient": "b", "amount": 5, "sender_age_s": 100}


@pytest.fixture
async def pool(database: str) -> AsyncIterator[asyncpg.Pool]:
    pool = await connections.pool(database, size=2)
    async with pool.acquire() as conn:
        await store.add_policy(conn, POLICY, "test")
    yield pool
    await pool.close()


@pytest.fixture
async def service(database: str, pool: asyncpg.Pool) -> AsyncIterator[httpx.AsyncClient]:
    async with open_door(database) as client:
        client.headers.update(await new_key(pool, "service", name="shop"))
        yield client


async def test_a_gift_is_judged(service: httpx.AsyncClient) -> None:
    told = (await service.post("/v1/score", json=GIFT)).json()
    assert (told["verdict"], told["reasons"], told["generation"], told["gift"]) == ("approve", [], 1, "g1")
    assert told["model"] is None and told["score"] is None and told["at"].endswith("Z")


async def test_the_verdict_and_its_reasons(service: httpx.AsyncClient) -> None:
    changes: list[tuple[dict[str, Any], str, list[str]]] = [
        ({"amount": 1000}, "block", ["rule:big", "rule:medium"]),
        ({"amount": 100}, "hold", ["rule:medium"]),
        ({"sender_age_s": 59}, "hold", ["rule:stranger"]),
        ({"sender_age_s": None}, "hold", ["degraded:stranger"]),
    ]
    for number, (change, verdict, reasons) in enumerate(changes):
        told = (await service.post("/v1/score", json={**GIFT, "id": f"g{number}", **change})).json()
        assert (told["verdict"], told["reasons"]) == (verdict, reasons)


async def test_the_same_question_gets_the_same_bytes_also_after_a_restart(
    service: httpx.AsyncClient, database: str
) -> None:
    first = await service.post("/v1/score", json=GIFT)
    again = await service.post("/v1/score", json=GIFT)
    async with open_door(database, settle_every_s=3600) as other:
        after = await other.post("/v1/score", json=GIFT, headers={"Authorization": service.headers["Authorization"]})
    assert first.status_code == 200 and first.content == again.content == after.content


async def test_another_gift_under_the_same_id_is_refused(service: httpx.AsyncClient) -> None:
    await service.post("/v1/score", json=GIFT)
    told = await service.post("/v1/score", json={**GIFT, "amount": 6})
    assert (told.status_code, told.json()["code"]) == (422, "gift_conflict")


async def test_racing_questions_of_one_id_are_one_decision(service: httpx.AsyncClient, pool: asyncpg.Pool) -> None:
    told = await gather(service.post("/v1/score", json=GIFT) for _ in range(20))
    assert len({one.content for one in told}) == 1
    assert await pool.fetchval("select count(*) from detector.decisions") == 1


async def test_racing_gifts_are_admitted_up_to_the_limit(service: httpx.AsyncClient) -> None:
    told = await gather(service.post("/v1/score", json={**GIFT, "id": f"g{n}"}) for n in range(30))
    verdicts = [one.json()["verdict"] for one in told]
    assert (verdicts.count("approve"), verdicts.count("block")) == (3, 27)
    refused = next(one.json() for one in told if one.json()["verdict"] == "block")
    assert 3590 < refused["retry_after_s"] <= 3600


async def test_clients_do_not_share_gift_ids(service: httpx.AsyncClient, pool: asyncpg.Pool) -> None:
    other = await new_key(pool, "service", name="other")
    await service.post("/v1/score", json=GIFT)
    told = await service.post("/v1/score", json={**GIFT, "amount": 7}, headers=other)
    assert told.status_code == 200
    mine = (await service.get("/v1/decisions/g1")).json()
    assert mine["amount"] == 5


async def test_a_batch_answers_each_gift_by_itself(service: httpx.AsyncClient) -> None:
    await service.post("/v1/score", json=GIFT)
    gifts = [
        {**GIFT, "id": "g2"},
        {**GIFT, "amount": 9},
        {**GIFT, "id": "g3", "recipient": "a"},
        {**GIFT, "id": "g4", "amount": 100},
    ]
    told = (await service.post("/v1/score/batch", json={"gifts": gifts})).json()["results"]
    assert [one.get("verdict") for one in told] == ["approve", None, None, "hold"]
    assert [one["error"]["code"] for one in told if "error" in one] == ["gift_conflict", "invalid"]


async def test_a_later_look_is_fresh_takes_no_budget_and_is_bound_to_what_was_asked(
    service: httpx.AsyncClient, pool: asyncpg.Pool
) -> None:
    async def ask(look: int | None, **more: Any) -> dict[str, Any]:
        body = {**GIFT, "look": look, "payload_hash": "ab" * 32, **more}
        told = (await service.post("/v1/score/batch", json={"gifts": [body]})).json()
        assert told["contract"] == CONTRACT
        return dict(told["results"][0])

    first = await ask(None)
    assert (first["id"], first["verdict"], first["payload_hash"]) == ("shop:g1.1", "approve", "ab" * 32)
    assert await ask(None) == first
    assert (await ask(None, payload_hash="cd" * 32))["error"]["code"] == "gift_conflict"
    for look in range(2, 6):  # the limit is three
        again = await ask(look, sender_age_s=10**6 + look)
        assert (again["id"], again["verdict"]) == (f"shop:g1.{look}", "approve")
    # Held and held again, it waits once; approved, it waits no more.
    for look, age, waiting in ((6, 10, 1), (7, 20, 1), (8, 100, 0)):
        await ask(look, sender_age_s=age)
        found = await pool.fetchval("select count(*) from detector.case_gifts where standing = 'waiting'")
        assert found == waiting, look
    strange = await ask(2, id="never")
    assert (strange["verdict"], strange["reasons"]) == ("hold", ["degraded:no_first_look"])


async def test_a_refusal_and_silence_are_told_apart_from_other_verdicts(
    service: httpx.AsyncClient, pool: asyncpg.Pool
) -> None:
    told = [(await service.post("/v1/score", json={**GIFT, "id": f"g{number}"})).json() for number in range(4)]
    assert [one.get("refused", False) for one in told] == [False, False, False, True]
    assert not any("silent" in one for one in told)
    null = (await service.post("/v1/score", json={**GIFT, "sender": "c", "id": "n", "sender_age_s": None})).json()
    assert (null["verdict"], "silent" in null) == ("hold", False)
    async with pool.acquire() as conn:
        await store.add_policy(conn, '[model]\nname = "nobody"\nhold_at = 0.5\n' + NEVER_FIRES, "test")
    silent = (await service.post("/v1/score", json={**GIFT, "id": "s"})).json()
    assert (silent["verdict"], silent["reasons"], silent["silent"]) == ("hold", ["degraded:model_missing"], True)


MALFORMED: list[dict[str, Any]] = [
    {"amount": 0}, {"amount": -1}, {"amount": 1.5}, {"amount": 10**15 + 1}, {"amount": "5"}, {"id": ""}, {"id": "a b"},
    {"sender": None}, {"recipient": "a"}, {"identity": "odd"}, {"sender_age_s": -1}, {"extra": 1}, {"ip": ""},
    {"look": 0}, {"look": 40_000}, {"payload_hash": "AB"}, {"id": "g1\n"}, {"ip": "10.0.0.1\n"}, {"sender": "a\n"},
]  # fmt: skip


async def test_a_malformed_gift_is_refused_as_a_problem(service: httpx.AsyncClient) -> None:
    passed = []
    for change in MALFORMED:
        told = await service.post("/v1/score", json={**GIFT, **change})
        if told.status_code != 422 or told.json()["code"] != "invalid":
            passed.append((change, told.text))
        elif told.headers["content-type"] != "application/problem+json":
            passed.append((change, told.headers["content-type"]))
    assert passed == []


async def test_a_body_that_is_not_json_is_refused(service: httpx.AsyncClient) -> None:
    for body in [b"", b"{", b"[]", b'{"id": "\xff"}', b'{"id": "\\ud800"}']:
        assert (await service.post("/v1/score", content=body)).status_code == 422, body


async def test_a_decision_is_shown_with_everything_it_saw(service: httpx.AsyncClient) -> None:
    judged = (await service.post("/v1/score", json={**GIFT, "amount": 100})).json()
    for name in ("g1", "g1.1", judged["id"]):
        shown = (await service.get(f"/v1/decisions/{name}")).json()
        assert (shown["id"], shown["verdict"], shown["generation"]) == (judged["id"], "hold", 1)
        assert shown["features"] == {"amount": 100, "sender_age_s": 100}
        assert shown["hits"][0]["name"] == "medium"
    missing = await service.get("/v1/decisions/nosuch")
    assert (missing.status_code, missing.json()["code"]) == (404, "not_found")


async def test_a_client_sees_its_own_decisions_only(service: httpx.AsyncClient, pool: asyncpg.Pool) -> None:
    judged = (await service.post("/v1/score", json=GIFT)).json()
    other = await new_key(pool, "service", name="other")
    for name in ("g1", judged["id"]):
        assert (await service.get(f"/v1/decisions/{name}", headers=other)).status_code == 404


async def test_outcomes_are_noted_once_and_unknown_gifts_are_named(service: httpx.AsyncClient) -> None:
    await service.post("/v1/score", json=GIFT)
    outcomes = [{"gift": name, "outcome": "settled", "at": "2027-01-01T00:00:00Z"} for name in ("g1", "nosuch")]
    first = (await service.post("/v1/outcomes", json={"outcomes": outcomes})).json()
    again = (await service.post("/v1/outcomes", json={"outcomes": outcomes})).json()
    assert (first, again) == ({"noted": 1, "unknown": ["nosuch"]}, {"noted": 0, "unknown": ["nosuch"]})
    naive = [{**outcomes[0], "at": "2027-01-01T00:00:00"}]
    assert (await service.post("/v1/outcomes", json={"outcomes": naive})).status_code == 422


async def test_only_a_services_key_may_ask(service: httpx.AsyncClient, pool: asyncpg.Pool) -> None:
    for headers, status in [(await new_key(pool, "platform"), 403), ({"Authorization": "Bearer wrong"}, 401)]:
        for told in (
            await service.post("/v1/score", json=GIFT, headers=headers),
            await service.post("/v1/score/batch", json={"gifts": [GIFT]}, headers=headers),
            await service.get("/v1/decisions/g1", headers=headers),
        ):
            assert told.status_code == status
