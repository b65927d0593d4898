"""Cases: every held gift waits in one, rings gather, one person works on each, and every way out is told."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from tests.support import CREDIT, NEVER_FIRES, House, new_key, open_door, open_house, rule

POLICY = NEVER_FIRES + rule("medium", "amount >= 100000000") + '[review]\nclaim = "10m"\nfour_eyes = 1000000000\n'
MEDIUM = 100 * CREDIT


@pytest.fixture
async def house(database: str) -> AsyncIterator[House]:
    async with open_house(database, POLICY) as opened:
        yield opened


@pytest.fixture
async def door(database: str, house: House) -> AsyncIterator[httpx.AsyncClient]:
    async with open_door(database, lock_s=3600, hold_s=10_800) as client:
        yield client


async def as_person(house: House, role: str, name: str) -> dict[str, str]:
    return await new_key(house.pool, role, name=name)


async def org(house: House, name: str = "") -> str:
    return await house.org(name, amount=100_000 * CREDIT)


async def test_a_held_gift_opens_a_case_with_its_decision(house: House, door: httpx.AsyncClient) -> None:
    a, b = await org(house), await org(house)
    name = await house.sent(a, b, MEDIUM)
    alice = await as_person(house, "analyst", "alice")
    page = (await door.get("/v1/cases", headers=alice)).json()
    (case,) = page["cases"]
    assert (case["status"], case["gifts"], case["senders"], case["reasons"]) == ("open", 1, [a], ["rule:medium"])
    assert (page["open"], page["claimed"], page["next"]) == (1, 0, None)
    file = (await door.get(f"/v1/cases/{case['id']}", headers=alice)).json()
    (gift,) = file["gifts"]
    assert (gift["id"], gift["decision"], gift["standing"]) == (name, f"{name}.1", "waiting")
    assert [one["kind"] for one in file["audit"]] == ["case.opened"]


async def test_a_claim_is_one_persons(house: House, door: httpx.AsyncClient) -> None:
    a, b = await org(house), await org(house)
    await house.sent(a, b, MEDIUM)
    alice, bob = [await as_person(house, "analyst", name) for name in ("alice", "bob")]
    (case,) = (await door.get("/v1/cases", headers=alice)).json()["cases"]
    path, asked = f"/v1/cases/{case['id']}", {"version": case["version"]}
    told = await door.post(f"{path}/claim", headers=alice, json=asked)
    assert told.json()["case"]["claimed_by"] == "alice", told.text
    told = await door.post(f"{path}/claim", headers=bob, json=asked)
    assert (told.status_code, told.json()["code"]) == (409, "case_conflict")
    assert "alice claimed" in told.json()["detail"]
