"""Law 11 on the record: every decision, taken again from what is on record of before its gift, is itself to the bit."""

from __future__ import annotations

import asyncio
import random
import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest

from detector import labels, list_work, store
from detector.case_shapes import Listed
from detector.contract import Asked, Label
from detector.explaining import Explainer
from detector.rebuilding import Found, rebuild
from detector.rebuilding import gather as gather_past
from detector.rebuilt import again, differences
from detector.scoring import Question
from detector.shelf import Shelf
from tests.support import CREDIT, House, Seat, gather, limit, open_door, rule, seat

ORGS = 4
LOCK_S = 3_600
REVIEW = "[review]\nfour_eyes = 1000000000000000\n"
MODEL = '[model]\nname = "champion"\nhold_at = 0.9\nblock_at = 0.999\n'
RULES = (
    limit("burst", "sender", "1h", count=9)
    + limit("worth", ["sender", "recipient"], "24h", value=300 * CREDIT)
    + limit("crowd", "ip", "24h", action="hold", count=9)
    + limit("tiers", "tier", "24h", action="hold", value=5_000 * CREDIT)
    + rule("stranger", "pair_count_30d = 0 and amount > 100000000")
    + rule("quick", "sender_gap_s < 1 and not same_owner and identity = 'full' and amount > 100000000")
    + rule("unknown", "topup_age_s < 5 and amount > 200000000", "block")
    + rule("settled", "look > 1 and recipient_sum_24h > 150000000 and device_senders_24h >= 2")
    + rule("medium", "amount between 50000000 and 60000000")
    + REVIEW
)
MASS = MODEL + rule("heavy", "amount > 100000000", "block") + rule("medium", "amount > 40000000") + REVIEW
MASS += "[breaker]\nshare = 0.1\nat_least = 3\ncool = '1s'\n"
POLICIES = (RULES, MODEL + RULES, MODEL + rule("small", "amount < 2000000 and reverse_count_7d > 0") + REVIEW)

SIZES, PLACES, DEVICES = (1, 2, 3, 50, 120, 260), (None, "1.1.1.1", "2.2.2.2"), (None, "d1", "d2")
SPANS_S = (5, 700, LOCK_S + 100, 90_000, 20 * 86_400)
WEIGHTS = {
    "batch": 10,
    "foreign": 3,
    "label": 4,
    "pass": 4,
    "settle": 3,
    "policy": 2,
    "release": 4,
    "listing": 3,
    "relook": 4,
}
LISTABLE = (("org", "o0"), ("org", "o1"), ("ip", "1.1.1.1"), ("device", "d1"), ("domain", "example.com"))


@dataclass(frozen=True, slots=True)
class Trip:
    """A house, somebody who may rule in it, and the luck of one trip."""

    house: House
    lead: Seat
    orgs: list[str]
    draw: random.Random


@pytest.mark.parametrize("seed", range(3))
async def test_a_decision_taken_again_is_itself(house: House, parcel: bytes, seed: int) -> None:
    """A trip drawn at random: batches, other ledgers' gifts, labels, time, second looks, policies, rulings, lists."""
    await house.promote(parcel)
    await house.activate(POLICIES[1])
    orgs = [await house.org(f"o{n}", amount=10_000 * CREDIT, identity="full") for n in range(ORGS)]
    async with open_door(house.dsn) as door:
        trip = Trip(house, await seat(door, house.pool, "carol", "lead"), orgs, random.Random(seed))
        for number in range(60):
            (act,) = trip.draw.choices([*WEIGHTS], [*WEIGHTS.values()])
            await ACTS[act](trip, number)
    await house.pass_time(LOCK_S)
    await house.settle()
    judged = await prove(house)
    seconds = sum(count for (look, _), count in judged.items() if look > 1)
    assert seconds >= 10 and sum(count for (_, model), count in judged.items() if model) >= 10, judged
    waived = await house.pool.fetchval("select count(*) from detector.decisions where hits::text like '%waived_by%'")
    listed = await house.pool.fetchval("select count(*) from detector.decisions where hits::text like '%block_%'")
    assert waived and listed


def drawn(trip: Trip) -> tuple[str, str, int, dict[str, Any]]:
    draw = trip.draw
    a, b = draw.sample(trip.orgs, 2)
    return a, b, draw.choice(SIZES) * CREDIT, {"ip": draw.choice(PLACES), "device": draw.choice(DEVICES)}


async def batch(trip: Trip, number: int) -> None:
    gifts = [drawn(trip) for _ in range(trip.draw.randint(1, 6))]
    await gather(trip.house.send(a, b, amount, **more) for a, b, amount, more in gifts)


async def foreign(trip: Trip, number: int) -> None:
    a, b, amount, more = drawn(trip)
    more |= {"fingerprint": "card1", "recipient_age_s": 5, "sender_domain": trip.draw.choice([None, "a.example.com"])}
    await trip.house.works.scoring.submit(Question("shop", Asked(f"f{number}", a, b, amount, **more)))


async def label(trip: Trip, number: int) -> None:
    found = "select left(id, -2) as id from detector.decisions where look = 1 order by at, seq"
    names = await trip.house.pool.fetch(found)
    if names:
        async with trip.house.pool.acquire() as conn, conn.transaction():
            gift = trip.draw.choice(names)["id"]
            await labels.note(conn, [(gift, Label(gift, trip.draw.random() < 0.5, "test"))], "test")


async def policy(trip: Trip, number: int) -> None:
    await trip.house.activate(*trip.draw.choices(POLICIES, (1, 4, 1)))


async def relook(trip: Trip, number: int) -> None:
    waiting = await trip.house.pool.fetch("select id from ledger.transfers where status = 'pending' order by id")
    stop = trip.draw.choice((None, None, "compromised"))
    await trip.house.look_again([row["id"] for row in waiting][:5], stop=stop)


async def release(trip: Trip, number: int) -> None:
    for case in await trip.lead.queue(status="open"):
        await trip.lead.rule(case["id"], "release")


async def listing(trip: Trip, number: int) -> None:
    """Take off what stands, or put something on."""
    async with trip.house.pool.acquire() as conn:
        standing = await conn.fetchval("select min(id) from detector.list_entries where removed_at is null")
        if standing:
            await list_work.remove(conn, standing, "carol")
            return
        kind, value = trip.draw.choice(LISTABLE)
        await list_work.add(conn, trip.draw.choice(("allow", "block")), Listed(kind, value, "a test"), "carol")


ACTS: dict[str, Any] = {
    "batch": batch,
    "foreign": foreign,
    "label": label,
    "pass": lambda trip, number: trip.house.pass_time(trip.draw.choice(SPANS_S)),
    "settle": lambda trip, number: trip.house.settle(),
    "policy": policy,
    "release": release,
    "relook": relook,
    "listing": listing,
    "tick": lambda trip, number: trip.house.works.breaker.tick(),
}


async def test_under_an_open_breaker_too(house: House, parcel: bytes) -> None:
    """Blocks that became holds, were released, and were judged again with the breaker open or closed."""
    await house.promote(parcel)
    await house.activate(MASS)
    orgs = [await house.org(f"o{n}", amount=10_000 * CREDIT, identity="full") for n in range(ORGS)]
    acts = ["batch", "foreign", "batch", "tick", "batch", "release", "pass", "settle", "tick"]
    async with open_door(house.dsn) as door:
        trip = Trip(house, await seat(door, house.pool, "carol", "lead"), orgs, random.Random(4))
        for number, act in enumerate(acts * 3):
            await ACTS[act](trip, number)
    await prove(house)
    rows = await house.pool.fetch("select breaker, verdict, hits::text as hits from detector.decisions")
    turned = [row for row in rows if "mass_block" in row["hits"]]
    waived = [row for row in rows if re.search(r'"heavy","verdict":"block",[^}]*}?,?"waived_by"', row["hits"])]
    assert {row["verdict"] for row in turned} == {"hold"}
    assert waived, "nobody released what the breaker had held"


async def prove(house: House) -> Counter[tuple[int, bool]]:
    """How many decisions were proved, by look and whether a model judged."""
    shelf, judged = Shelf(), Counter[tuple[int, bool]]()
    async with house.pool.acquire() as conn:
        for row in await conn.fetch("select id, look, score is not null as model from detector.decisions"):
            found = await taken_again(conn, shelf, row["id"])
            assert found == [], (row["id"], found)
            judged[row["look"], row["model"]] += 1
    return judged


async def taken_again(conn: asyncpg.Connection, shelf: Shelf, name: str) -> list[str]:
    gift = name.rpartition(".")[0]
    (row,) = await conn.fetch(store.SQL["decision_whole"], [name])
    (first,) = await conn.fetch(store.SQL["decision_whole"], [f"{gift}.1"])
    found = await gather_past(conn, shelf, row, first)
    assert isinstance(found, Found), found
    return differences(again(rebuild(found)), row)


async def test_an_explanation_leaves_a_gate_as_it_was(house: House, parcel: bytes) -> None:
    """It reads with its own activity and model: what a process remembers is the same object, with the same in it."""
    await house.activate(POLICIES[1])
    await house.promote(parcel)
    a, b = await house.org(amount=1_000 * CREDIT), await house.org()
    gift = await house.sent(a, b, CREDIT)
    kept = {key: (id(state), state.version, state.last_at) for key, state in states(house).items()}
    told = await Explainer(house.pool).explain([f"{gift}.1"])
    assert told.replayed and kept == {
        key: (id(state), state.version, state.last_at) for key, state in states(house).items()
    }


def states(house: House) -> dict[str, Any]:
    return dict(house.works.detector.activity.states)


async def test_an_explanation_waits_for_no_gate(house: House, parcel: bytes) -> None:
    """Somebody holds every lock that judging takes; what is explained is the snapshot of before."""
    await house.activate(POLICIES[1])
    await house.promote(parcel)
    a, b = await house.org(amount=1_000 * CREDIT), await house.org()
    gift = await house.sent(a, b, CREDIT)
    async with house.pool.acquire() as conn, conn.transaction():
        await conn.execute("select from detector.keys for update")
        await conn.execute("select from ledger.orgs for update")
        await conn.execute("select from detector.cases for update")
        await conn.execute("select from detector.lock('{}', null, null)")
        told = await asyncio.wait_for(Explainer(house.pool).explain([f"{gift}.1"]), 60)
    assert told.replayed
