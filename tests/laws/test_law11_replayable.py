"""Law 11 on the record: every decision, taken again from what is on record of before its gift, is itself to the bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import asyncpg
from hypothesis import given
from hypothesis import strategies as st

from detector import labels, store
from detector.contract import Asked, Label
from detector.explaining import Explainer
from detector.rebuilding import Shelf, rebuild
from detector.rebuilt import Rebuilt, again, differences
from detector.scoring import Question
from tests.support import CREDIT, House, examples, gather, limit, open_house, rule

ORGS = 4
LOCK_S = 3_600
MODEL = '[model]\nname = "champion"\nhold_at = 0.6\nblock_at = 0.999\n'
RULES = (
    limit("burst", "sender", "1h", count=4)
    + limit("worth", ["sender", "recipient"], "24h", value=300 * CREDIT)
    + limit("crowd", "ip", "24h", action="hold", count=5)
    + limit("tiers", "tier", "24h", action="hold", value=900 * CREDIT)
    + rule("stranger", "pair_count_30d = 0 and amount > 100000000")
    + rule("quick", "sender_gap_s < 1 and recipient_age_s >= 0 and not same_owner and identity = 'full'")
    + rule("unknown", "topup_age_s < 5", "block")
    + rule("settled", "look > 1 and recipient_sum_24h > 250000000 and device_senders_24h >= 2")
)
POLICIES = (RULES, MODEL + RULES, MODEL + rule("small", "amount < 2000000 and reverse_count_7d > 0"))

party = st.integers(0, ORGS - 1)
gifts = st.tuples(
    *(party, party, st.sampled_from([1, 3, 50, 120, 260]), st.sampled_from([None, "1.1.1.1", "2.2.2.2"])),
    st.sampled_from([None, "d1", "d2"]),
).filter(lambda one: one[0] != one[1])
steps = st.one_of(
    st.tuples(st.just("batch"), st.lists(gifts, min_size=1, max_size=6)),
    st.tuples(st.just("foreign"), gifts),
    st.tuples(st.just("label"), st.tuples(st.integers(0, 30), st.booleans())),
    st.tuples(st.just("pass"), st.sampled_from([5, 700, LOCK_S + 100, 90_000, 20 * 86_400])),
    st.tuples(st.just("settle"), st.none()),
    st.tuples(st.just("policy"), st.integers(0, len(POLICIES) - 1)),
)


@examples(12)
@given(st.lists(steps, min_size=6, max_size=24))
async def test_a_decision_taken_again_is_itself(
    fresh_databases: tuple[Callable[[], str], Callable[[str], None]], parcel: bytes, trip: list[tuple[str, Any]]
) -> None:
    make, drop = fresh_databases
    dsn = make()
    try:
        async with open_house(dsn, POLICIES[1], lock_s=LOCK_S) as house:
            await house.promote(parcel)
            orgs = [await house.org(f"o{n}", amount=10_000 * CREDIT, identity="full") for n in range(ORGS)]
            for number, (act, told) in enumerate(trip):
                await ACTS[act](house, orgs, told, number)
            await prove(house)
    finally:
        drop(dsn)


async def batch(house: House, orgs: list[str], told: Any, number: int) -> None:
    await gather(house.send(orgs[a], orgs[b], size * CREDIT, ip=ip, device=device) for a, b, size, ip, device in told)


async def foreign(house: House, orgs: list[str], told: Any, number: int) -> None:
    a, b, size, ip, device = told
    asked = Asked(f"f{number}", orgs[a], orgs[b], size * CREDIT, ip, device, fingerprint="card1", recipient_age_s=5)
    await house.works.scoring.submit(Question("shop", asked))


async def label(house: House, orgs: list[str], told: Any, number: int) -> None:
    place, fraud = told
    names = await house.pool.fetch("select left(id, -2) as id from detector.decisions where look = 1 order by at, seq")
    if names:
        async with house.pool.acquire() as conn, conn.transaction():
            one = names[place % len(names)]["id"]
            await labels.note(conn, [(one, Label(one, fraud, "test"))], "test")


async def policy(house: House, orgs: list[str], told: Any, number: int) -> None:
    await house.activate(POLICIES[told])


ACTS: dict[str, Any] = {
    "batch": batch,
    "foreign": foreign,
    "label": label,
    "pass": lambda house, orgs, told, number: house.pass_time(told),
    "settle": lambda house, orgs, told, number: house.settle(),
    "policy": policy,
}


async def prove(house: House) -> None:
    shelf = Shelf()
    async with house.pool.acquire() as conn:
        for (name,) in await conn.fetch("select id from detector.decisions order by at, seq"):
            found = await taken_again(conn, shelf, name)
            assert found == [], (name, found)


async def taken_again(conn: asyncpg.Connection, shelf: Shelf, name: str) -> list[str]:
    gift = name.rpartition(".")[0]
    (row,) = await conn.fetch(store.SQL["decision_whole"], [name])
    (first,) = await conn.fetch(store.SQL["decision_whole"], [f"{gift}.1"])
    then = await rebuild(conn, shelf, row, first)
    assert isinstance(then, Rebuilt), then
    return differences(again(then), row)


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
