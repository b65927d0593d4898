"""What an explanation says would have turned a verdict, done: the gift that it speaks of is sent through the real gate.

Each gift is explained, then taken out of the world with all its traces, and its changed self is sent at its moment,
with real limits, rules and a model: the gate must say what was told, and one unit nearer to the gift it must not.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from datetime import datetime
from typing import NamedTuple

import pytest

from detector.contract import micros
from detector.explain_shapes import Explanation, Turn
from detector.explaining import Explainer
from ledger.credits import new_id
from ledger.transfers import Request
from tests.support import CREDIT, HOUR_US, SECOND_US, House, limit, rule

POLICY = (
    '[model]\nname = "champion"\nhold_at = 0.3\n'
    + limit("burst", "sender", "1h", action="hold", count=4)
    + limit("worth", "sender", "24h", value=600 * CREDIT)
    + limit("crowd", "recipient", "24h", action="hold", value=900 * CREDIT)
    + rule("stranger", "pair_count_30d = 0 and amount >= 40000000")
    + rule("drained", "amount * 1.0 / sender_available >= 0.9", "block")
    + rule("shared", "ip is not null and ip_senders_24h >= 4")
    + rule("middle", "amount between 60000000 and 65000000")
)
ORGS = 6


class Sent(NamedTuple):
    sender: str
    recipient: str
    amount: int
    ip: str | None
    device: str | None
    at: int


async def send(house: House, gift: Sent) -> tuple[str, str]:
    """The id that a gift was sent under, and its verdict."""
    name = new_id("tr")
    meaning = hashlib.sha256(repr(gift).encode()).digest()
    await house.works.send(Request(name, name, *gift[:3], None, gift.ip, gift.device, meaning, gift.at))
    verdict: str = await house.pool.fetchval("select verdict from detector.decisions where id = $1", f"{name}.1")
    return name, verdict


async def undo(house: House, gift: Sent, name: str) -> None:
    """As if it had never been sent: its credits go back, and nobody remembers it."""
    if await house.pool.fetchval("select status in ('pending', 'held') from ledger.transfers where id = $1", name):
        await house.cancel(gift.sender, name)
    async with house.pool.acquire() as conn, conn.transaction():
        await conn.execute("set local session_replication_role = replica")
        await conn.execute("delete from detector.decisions where id = $1", f"{name}.1")
    house.works.detector.activity.states.clear()


async def verdict_of(house: House, gift: Sent) -> str:
    name, verdict = await send(house, gift)
    await undo(house, gift, name)
    return verdict


def drawn(draw: random.Random, orgs: list[str], at: int) -> Sent:
    a, b = draw.sample(orgs, 2)
    ip = draw.choice([None, "1.1.1.1", "2.2.2.2"])
    return Sent(
        a, b, draw.choice([1, 5, 30, 45, 62, 150]) * CREDIT + draw.choice([0, 7]), ip, draw.choice([None, "d"]), at
    )


def turned(gift: Sent, turn: Turn, by: int) -> Sent:
    """The gift that a turn speaks of, or (`by` 1) its neighbour on the side of the gift."""
    assert turn.to is not None
    if turn.what == "amount":
        to = int(turn.to)
        return gift._replace(amount=to + (by if to < gift.amount else -by))
    if turn.what == "time":
        return gift._replace(at=micros(datetime.fromisoformat(turn.to)) - by * SECOND_US)
    return gift._replace(recipient=turn.to)


async def twin(house: House, org: str) -> str:
    """An org like this one that nobody ever gave to."""
    born = await house.pool.fetchval("select created_at from ledger.orgs where id = $1", org)
    return await house.org(created_at=born)


@pytest.mark.parametrize("seed", range(2))
async def test_what_is_told_to_turn_a_verdict_turns_it_at_the_gate(house: House, parcel: bytes, seed: int) -> None:
    draw, explainer = random.Random(seed), Explainer(house.pool)
    await house.promote(parcel)
    await house.activate(POLICY)
    orgs = [await house.org(f"o{n}", amount=2_000 * CREDIT) for n in range(ORGS)]
    at = micros(await house.pool.fetchval("select clock_timestamp()")) + HOUR_US
    for _ in range(40):
        at += draw.choice([SECOND_US, 600 * SECOND_US, 5 * HOUR_US])
        await send(house, drawn(draw, orgs, at))
    proved: Counter[str] = Counter()
    for _ in range(16):
        at += draw.choice([SECOND_US, 600 * SECOND_US])
        gift = drawn(draw, orgs, at)
        name, verdict = await send(house, gift)
        told = await explainer.explain([f"{name}.1"])
        await undo(house, gift, name)
        if told.replayed:
            await prove(house, gift, verdict, told, proved)
        await send(house, gift)
    assert proved["amount"] >= 2 and proved["time"] >= 2 and proved["counterpart"] >= 1, proved


async def prove(house: House, gift: Sent, verdict: str, told: Explanation, proved: Counter[str]) -> None:
    assert told.verdict == verdict
    for turn in told.turns:
        if turn.to is None:
            continue
        if turn.to == "unknown":
            turn.to = await twin(house, gift.recipient)
        assert await verdict_of(house, turned(gift, turn, 0)) == turn.verdict != verdict, (gift, turn)
        if turn.what != "counterpart":
            assert await verdict_of(house, turned(gift, turn, 1)) != turn.verdict, (gift, turn)
        proved[turn.what] += 1
