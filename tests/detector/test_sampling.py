"""The random sample: drawn by the record alone, at the rate that is kept with it, and by nobody's choice."""

from __future__ import annotations

import math
from typing import Any

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector import store
from detector.gift import Decision, Verdict
from detector.sampling import drawn, samples, share
from detector.verify import verify
from tests.support import CREDIT, House, examples, gift, new_key, open_door, rule

SALT = bytes(range(32))
EVERY = "[review]\nsample = 1.0\n"


@examples(200)
@given(
    st.binary(min_size=32, max_size=32),
    st.text(min_size=1, max_size=40).filter(str.isascii),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_a_larger_rate_draws_all_that_a_smaller_one_does(salt: bytes, name: str, one: float, other: float) -> None:
    small, large = sorted((one, other))
    assert 0 <= share(salt, name) < 1
    assert drawn(salt, name, 1.0) and not drawn(salt, name, 0.0)
    assert drawn(salt, name, large) >= drawn(salt, name, small)


@pytest.mark.parametrize("rate", [0.001, 0.01, 0.5])
def test_a_rate_is_met_and_another_salt_draws_others(rate: float) -> None:
    many, other = 200_000, bytes(32)
    mine = {nr for nr in range(many) if drawn(SALT, f"tr_{nr}", rate)}
    theirs = {nr for nr in range(many) if drawn(other, f"tr_{nr}", rate)}
    spread = math.sqrt(many * rate * (1 - rate))
    assert abs(len(mine) - many * rate) < 4 * spread
    # as many in common as two draws that know nothing of each other
    assert abs(len(mine & theirs) - many * rate**2) < 4 * math.sqrt(many) * rate + 4


def test_only_approved_first_looks_are_drawn() -> None:
    plain = Decision(gift(), 1, Verdict.APPROVE, (), (), 1)
    second = Decision(gift(look=2), 1, Verdict.APPROVE, (), (), 1)
    held = Decision(gift(), 1, Verdict.HOLD, (), (), 1)
    blocked = Decision(gift(), 1, Verdict.BLOCK, (), (), 1)
    assert samples([second, plain, held, blocked], SALT, 1.0) == [plain]
    assert samples([plain], SALT, 0.0) == [] and samples([plain], None, 1.0) == []


async def test_a_drawn_gift_has_a_case_of_its_own_kind_and_runs_on(house: House) -> None:
    await house.activate(EVERY + rule("large", "amount > 50000000"))
    a, b = await house.org(amount=1000 * CREDIT), await house.org()
    small, large = await house.sent(a, b, CREDIT), await house.sent(a, b, 60 * CREDIT)
    cases = await house.pool.fetch(
        "select c.kind, g.gift_id, g.verdict, g.reasons, g.deadline from detector.case_gifts g "
        "join detector.cases c on c.id = g.case_id order by g.at"
    )
    assert [tuple(row)[:4] for row in cases] == [
        ("sample", small, "approve", ["sample:drawn"]), ("hold", large, "hold", ["rule:large"]),
    ]  # fmt: skip
    (row,) = await house.pool.fetch("select gift_id, decision_id, rate from detector.samples")
    assert tuple(row) == (small, f"{small}.1", 1.0)
    (event,) = await house.pool.fetch("select subject, actor, body from log.events where kind = 'sample.drawn'")
    assert tuple(event) == (small, "system", f'{{"decision":"{small}.1","rate":1.0}}')
    await house.pass_time(3_600)
    await house.settle()
    assert (await house.transfer(small))["status"] == "settled"


async def test_the_draw_can_be_taken_again_from_the_record(house: House) -> None:
    """Law 11: the policy's rate and the salt, both on record, say which gifts were drawn."""
    await house.activate("[review]\nsample = 0.3\n" + rule("never", "amount < 0"))
    a, b = await house.org(amount=1000 * CREDIT), await house.org()
    sent = [await house.sent(a, b, CREDIT) for _ in range(60)]
    found = {row["gift_id"] for row in await house.pool.fetch("select gift_id from detector.samples where rate = 0.3")}
    async with house.pool.acquire() as conn:
        salt = await store.sample_salt(conn)
    assert found == {one for one in sent if drawn(salt, one, 0.3)}
    assert 0 < len(found) < 60
    assert await house.pool.fetchval("select count(*) from detector.cases where kind = 'sample'") == len(found)


async def test_a_foreign_ledgers_gifts_are_drawn_too_and_asked_again_drawn_once(database: str) -> None:
    pool = await asyncpg.create_pool(database, min_size=1, max_size=2)
    key = await new_key(pool, "service", name="shop")
    async with pool.acquire() as conn:
        await store.add_policy(conn, EVERY + rule("never", "amount < 0"), "test")
    async with open_door(database) as http:
        asked: dict[str, Any] = {"id": "g1", "sender": "a", "recipient": "b", "amount": 1}
        for _ in range(2):
            answer = (await http.post("/v1/score", json=asked, headers=key)).json()
            assert (answer["verdict"], answer["reasons"]) == ("approve", []), "the client sees nothing of it"
    assert [row["gift_id"] for row in await pool.fetch("select gift_id from detector.samples")] == ["shop:g1"]
    await pool.close()


async def test_the_salt_is_each_databases_own_and_stays(database: str) -> None:
    conn = await asyncpg.connect(database)
    salt = await store.sample_salt(conn)
    assert len(salt) == 32 and salt != bytes(32)
    for statement in ("update detector.sample_salt set salt = sha256('')", "delete from detector.samples"):
        with pytest.raises(asyncpg.RestrictViolationError, match="append-only"):
            await conn.execute(statement)
    assert (await verify(conn)).findings == []
    await conn.close()


def test_a_decision_is_drawn_by_its_gift_alone() -> None:
    one = Decision(gift(id="g7"), 1, Verdict.APPROVE, (), (), 1)
    later = Decision(gift(id="g7"), 2, Verdict.APPROVE, (), (), 2, score=0.4)
    assert bool(samples([one], SALT, 0.5)) == bool(samples([later], SALT, 0.5))
