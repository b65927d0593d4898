"""Laws 1, 2, 3 and 9 over four real worker processes, while purchases are taken back and gifts reversed."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from tests.ledger.test_revocation import give
from tests.support import House, Worker, gather, new_key, open_house

SEND = "/v1/billing/credits/transfer"
WORTH = 300


@dataclass(slots=True)
class Race:
    """Four processes' doors, four orgs that buy, and the platform's key."""

    house: House
    doors: list[httpx.AsyncClient]
    draw: random.Random
    platform: dict[str, str]
    orgs: list[str] = field(default_factory=list)
    roots: list[str] = field(default_factory=list)
    keys: dict[str, dict[str, str]] = field(default_factory=dict)

    async def open(self) -> None:
        self.orgs = [await self.house.org() for _ in range(4)]
        self.roots = [await self.house.grant(org, WORTH) for org in self.orgs]
        self.keys = {org: await new_key(self.house.pool, "owner", org) for org in self.orgs}

    async def post(self, path: str, key: dict[str, str], name: str = "", **body: Any) -> httpx.Response:
        headers = {**key, "Idempotency-Key": name or f"k{self.draw.random()}"}
        told = await self.draw.choice(self.doors).post(path, json=body, headers=headers)
        assert told.status_code < 500, told.text
        return told

    async def send(self) -> httpx.Response:
        sender, recipient = self.draw.sample(self.orgs, 2)
        return await self.post(SEND, self.keys[sender], recipient=recipient, amount=self.draw.randint(1, 40))

    async def consume(self) -> httpx.Response:
        path, name = f"/v1/orgs/{self.draw.choice(self.orgs)}/consume", f"use{self.draw.getrandbits(60)}"
        return await self.post(path, self.platform, id=name, amount=self.draw.randint(1, 30))

    async def cancel(self, gift: str, sender: str) -> httpx.Response:
        return await self.post(f"/v1/billing/credits/transfers/{gift}/cancel", self.keys[sender])

    async def revoke(self, root: str, amount: int | None = None) -> httpx.Response:
        return await self.post(f"/v1/grants/{root}/revoke", self.platform, amount=amount)

    async def reverse(self, gift: str, amount: int, name: str = "") -> httpx.Response:
        return await self.post(f"/v1/transfers/{gift}/reversals", self.platform, name, amount=amount, reason="fraud")

    async def judged(self) -> None:
        """No deadlock, and every purchase explained to the unit."""
        deadlocks = "select deadlocks from pg_stat_database where datname = current_database()"
        assert await self.house.pool.fetchval(deadlocks) == 0
        assert (await self.house.reconcile())["roots_off"] == 0
        wrong = await self.house.pool.fetch(
            "select g.id from ledger.grants g join ledger.revocations v on v.grant_id = g.root_id and v.whole "
            "where g.available + g.reserved > 0 or g.revoked_at is null"
        )
        assert wrong == [], "something is left of what was taken back whole"


@pytest.fixture
async def race(four: tuple[str, list[Worker]], request: pytest.FixtureRequest) -> AsyncIterator[Race]:
    dsn, started = four
    async with open_house(dsn) as house:
        doors = [worker.client() for worker in started]
        made = Race(house, doors, random.Random(7), await new_key(house.pool, "platform"))
        await made.open()
        yield made
        await gather(door.aclose() for door in doors)


async def test_everything_at_once_keeps_the_books(race: Race) -> None:
    settled = [await give(race.house, *race.draw.sample(race.orgs, 2), 20) for _ in range(6)]
    due = []
    for _ in range(8):
        sender, recipient = race.draw.sample(race.orgs, 2)
        due.append((await race.house.sent(sender, recipient, 15), sender))
    await race.house.pass_time(3_601)
    acts = [race.send() for _ in range(60)] + [race.consume() for _ in range(20)]
    acts += [race.cancel(*one) for one in due[:4]]
    acts += [race.reverse(gift, 7) for gift in settled for _ in range(4)]
    acts += [race.revoke(root) for root in race.roots[:2] * 2] + [race.revoke(root, 25) for root in race.roots[2:] * 2]
    race.draw.shuffle(acts)
    async with open_house(race.house.dsn, None) as second:
        _, *told = await gather([gather([race.house.settle_in_bits(), second.settle_in_bits()]), *acts])
    assert {one.status_code for one in told} <= {200, 201, 402, 409}
    taken = await race.house.pool.fetch("select transfer_id, sum(amount) from ledger.reversals group by 1")
    assert all(amount <= 20 for _, amount in taken)
    await race.judged()


async def test_reversals_over_four_processes_come_to_what_settled_and_one_key_is_one_act(race: Race) -> None:
    a, b = race.orgs[:2]
    gift = await give(race.house, a, b, 50)
    told = await gather(race.reverse(gift, 4, f"{gift}/{n // 3}") for n in range(60))
    answers: dict[str, set[bytes]] = {}
    for n, one in enumerate(told):
        if not (one.status_code == 409 and one.json()["code"] == "still_running"):
            answers.setdefault(f"{n // 3}", set()).add(one.content)
    assert all(len(bodies) == 1 for bodies in answers.values()), "one key told two stories"
    sums = await race.house.pool.fetchrow(
        "select count(*), sum(amount) from ledger.reversals where transfer_id = $1", gift
    )
    assert tuple(sums) == (12, 48), "twelve times four, and no thirteenth"
    await race.judged()


async def test_a_purchase_is_taken_back_while_its_buyer_never_stops_sending(race: Race) -> None:
    """A hot sender opens gifts between our reading and our locks; the revocation gets through all the same."""
    hot, root = race.orgs[0], race.roots[0]

    async def stream() -> None:
        for _ in range(25):
            await race.post(SEND, race.keys[hot], recipient=race.draw.choice(race.orgs[1:]), amount=1)

    record, *_ = await gather([race.revoke(root), *(stream() for _ in range(8))])
    assert record.status_code == 200 and record.json()["revoked"] == WORTH
    await race.judged()
