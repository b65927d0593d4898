"""Law 13: who proposed a ruling above the four-eyes amount never confirms it, whatever the role; in code and in SQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import httpx
import pytest

from ledger.access import ORG_ROLES, ROLES
from tests.support import CREDIT, LARGE, REVIEWED, House, Seat, gather, new_key, open_door, open_house, seat


@pytest.fixture
async def house(database: str) -> AsyncIterator[House]:
    async with open_house(database, REVIEWED) as opened:
        yield opened


@pytest.fixture
async def door(database: str, house: House) -> AsyncIterator[httpx.AsyncClient]:
    async with open_door(database, lock_s=3_600, hold_s=10_800) as client:
        yield client


async def proposed(house: House, door: httpx.AsyncClient, act: str = "release", amount: int = LARGE) -> tuple[str, ...]:
    """Gift, case and ruling: alice proposed it."""
    a, b = await house.org(amount=100_000 * CREDIT), await house.org()
    gift = await house.sent(a, b, amount)
    case = await house.pool.fetchval("select case_id from detector.case_gifts where gift_id = $1", gift)
    alice = await seat(door, house.pool, "alice")
    (ruling,) = (await alice.ruled(case, act))["rulings"]
    assert ruling["status"] == "proposed"
    return gift, case, ruling["id"]


async def untouched(house: House, gift: str, ruling: str) -> bool:
    status = await house.pool.fetchval("select status from detector.rulings where id = $1", ruling)
    return (status, (await house.transfer(gift))["status"]) == ("proposed", "held")


@pytest.mark.parametrize("act", ["release", "block", "return"])
async def test_no_role_confirms_or_refuses_what_its_own_name_proposed(
    house: House, door: httpx.AsyncClient, act: str
) -> None:
    gift, case, ruling = await proposed(house, door, act)
    org = await house.org()
    for role in ROLES:
        for name in ("alice", "Alice", "ALICE"):
            again = Seat(door, await new_key(house.pool, role, org if role in ORG_ROLES else None, name))
            for answer, body in (("confirm", None), ("refuse", {"text": "mine"})):
                told = await again.act(case, f"rulings/{ruling}/{answer}", body)
                assert told.status_code == 403, (role, name, answer, told.text)
                assert told.json()["code"] == ("two_people" if "cases:write" in ROLES[role] else "forbidden")
    assert await untouched(house, gift, ruling)


@pytest.mark.parametrize("role", ["analyst", "lead"])
async def test_another_person_confirms(house: House, door: httpx.AsyncClient, role: str) -> None:
    gift, case, ruling = await proposed(house, door)
    bob = await seat(door, house.pool, "bob", role)
    assert (await bob.act(case, f"rulings/{ruling}/confirm")).status_code == 200
    assert (await house.transfer(gift))["status"] == "pending"


async def test_a_lead_proposes_too_and_is_confirmed_by_another(house: House, door: httpx.AsyncClient) -> None:
    a, b = await house.org(amount=100_000 * CREDIT), await house.org()
    gift = await house.sent(a, b, LARGE)
    case = await house.pool.fetchval("select case_id from detector.case_gifts where gift_id = $1", gift)
    carol, dan = await seat(door, house.pool, "carol", "lead"), await seat(door, house.pool, "dan", "lead")
    (ruling,) = (await carol.rule(case, "release")).json()["rulings"]
    assert (await carol.act(case, f"rulings/{ruling['id']}/confirm")).status_code == 403
    assert (await house.transfer(gift))["status"] == "held"
    assert (await dan.act(case, f"rulings/{ruling['id']}/confirm")).status_code == 200


async def test_of_racing_confirmers_one_is_second(house: House, door: httpx.AsyncClient) -> None:
    gift, case, ruling = await proposed(house, door)
    others = [await seat(door, house.pool, f"person{n}") for n in range(12)]
    told = await gather(
        one.act(case, f"rulings/{ruling}/{answer}", {"text": "no"} if answer == "refuse" else None)
        for one, answer in zip(others, ["confirm", "refuse"] * 6, strict=True)
    )
    assert sorted(one.status_code for one in told) == [200] + [409] * 11
    status = await house.pool.fetchval("select status from detector.rulings where id = $1", ruling)
    assert (await house.transfer(gift))["status"] == {"done": "pending", "refused": "held"}[status]
    await house.reconcile()


async def test_just_below_the_amount_one_person_is_enough(house: House, door: httpx.AsyncClient) -> None:
    a, b = await house.org(amount=100_000 * CREDIT), await house.org()
    gift = await house.sent(a, b, LARGE - 1)
    case = await house.pool.fetchval("select case_id from detector.case_gifts where gift_id = $1", gift)
    alice = await seat(door, house.pool, "alice")
    assert (await alice.ruled(case, "release"))["rulings"][0]["status"] == "done"


FORGERIES: list[tuple[str, str]] = [
    ("update detector.rulings set status = 'done', second = author, second_at = now() where id = $1", "two_people"),
    ("update detector.rulings set status = 'done', second = 'ALICE', second_at = now() where id = $1", "two_people"),
    ("update detector.rulings set status = 'done' where id = $1", "large_rulings_take_two"),
    ("update detector.rulings set author = 'bob', status = 'done', second = 'alice', second_at = now() where id = $1",
     "rulings_keep_their_words"),
    ("update detector.rulings set four_eyes = 10^15, status = 'done' where id = $1", "rulings_keep_their_words"),
    ("insert into detector.rulings (id, case_id, act, amount, counted, four_eyes, why, status, author) "
     "select 'rl_x', case_id, 'release', amount, counted, four_eyes, 'x', 'done', 'alice' from detector.rulings "
     "where id = $1", "large_rulings_take_two"),
    ("delete from detector.rulings where id = $1", "rulings_append_only"),
    ("update ledger.transfers set status = 'pending', version = version + 1, hold_until = null, lock_left_s = null, "
     "settle_at = now() where id = (select gift_id from detector.ruling_gifts where ruling_id = $1)",
     "holds_are_lifted_by_a_ruling"),
]  # fmt: skip


@pytest.mark.parametrize(("statement", "constraint"), FORGERIES, ids=range(len(FORGERIES)))
async def test_the_database_itself_refuses(
    house: House, door: httpx.AsyncClient, statement: str, constraint: str
) -> None:
    gift, _, ruling = await proposed(house, door)
    with pytest.raises(asyncpg.IntegrityConstraintViolationError) as refused:
        await house.pool.execute(statement, ruling)
    told: Any = refused.value
    assert told.constraint_name == constraint
    assert await untouched(house, gift, ruling)
