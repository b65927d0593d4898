"""Gifts as an endpoint hears of them: each from its first event to its last, in order, whatever fails in between."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from ledger import endpoint_work as work
from ledger.delivery import Deliverer
from ledger.endpoints import Terms
from tests.receiver import OK, Got, receiver, reply
from tests.support import CREDIT, House, rule

POLICY = rule("large", "amount >= 100000000") + rule("huge", "amount >= 1000000000", "block")


async def settle(house: House, gift: str) -> None:
    await house.pass_time(3601)
    await house.settle()


async def lapse(house: House, gift: str) -> None:
    await house.pass_time(10_801)
    await house.settle()


async def cancel(house: House, gift: str) -> None:
    await house.cancel("a", gift)


async def reverse(house: House, gift: str) -> None:
    await settle(house, gift)
    await house.reverse(gift)


async def nothing(house: House, gift: str) -> None:
    return


Act = Callable[[House, str], Awaitable[None]]
TRIPS: list[tuple[int, Act, list[str]]] = [
    (5, settle, ["created pending", "settled"]),
    (5, cancel, ["created pending", "cancelled"]),
    (5, reverse, ["created pending", "settled", "reversed"]),
    (200, lapse, ["created held", "returned"]),
    (200, cancel, ["created held", "cancelled"]),
    (2000, nothing, ["created blocked"]),
]


@pytest.mark.parametrize("fails", [False, True], ids=["all well", "every other post fails"])
async def test_an_endpoint_hears_of_each_gift_from_its_first_event_to_its_last(house: House, fails: bool) -> None:
    await house.activate(POLICY)
    await house.org("a", amount=10_000 * CREDIT)
    await house.org("b")
    seen: dict[str, int] = {}

    def says(got: Got) -> bytes:
        seen[got.name] = seen.get(got.name, 0) + 1
        return reply(500) if fails and seen[got.name] == 1 else OK

    async with receiver(says) as there:
        async with house.pool.acquire() as conn, conn.transaction():
            await work.add(conn, there.url, ["transfer.*"], "", "test")
        gifts = []
        for amount, act, _ in TRIPS:
            gifts.append(await house.sent("a", "b", amount * CREDIT))
            await act(house, gifts[-1])
        deliverer = Deliverer(house.pool, Terms(private=True, retry_s=0.001))
        while await house.pool.fetchval("select upto < $1 or waiting > 0 from ledger.endpoints", await newest(house)):
            await deliverer.deliver_due()
        for gift, (_, _, kinds) in zip(gifts, TRIPS, strict=True):
            events = {got.name: got.event for got in there.got if got.subject == gift}  # each where it first came
            assert [words(event) for event in events.values()] == kinds, gift
            assert all(event["data"]["sender"] == "a" for event in events.values())
        assert set(seen.values()) == ({2} if fails else {1})


def words(event: dict[str, Any]) -> str:
    """What happened, and the status where the event says one."""
    return f"{event['type'].removeprefix('transfer.')} {event['data'].get('status', '')}".strip()


async def newest(house: House) -> int:
    found: int = await house.pool.fetchval("select coalesce(max(seq), 0) from log.events")
    return found
