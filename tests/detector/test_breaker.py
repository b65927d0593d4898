"""The breaker: pure it holds instead of blocking and never approves; it opens and closes for all workers at once."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import httpx
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector import breaker, lists, policy
from detector.breaker import Act, BreakerTerms, Count, State, Tally, due
from detector.breaker_cli import lines, read
from detector.decide import NOTHING, decide
from detector.errors import PolicyRefused
from detector.explaining import Explainer
from detector.gift import Decision, Hit, Opinion, Verdict
from detector.lists import FOR_EVER, Entry, Lists
from detector.shadow import under_breaker
from detector.verify import check
from lockgate.cli import app
from tests.support import (
    CREDIT,
    NEVER_FIRES,
    SECOND_US,
    House,
    Worker,
    again,
    event,
    gather,
    gift,
    limit,
    new_key,
    open_door,
    open_house,
    remember,
    rule,
    seat,
)

NOW = 10**15
TERMS = BreakerTerms(share=0.2, at_least=50, window_s=600, cool_s=1_800)
BREAKER = '[breaker]\nshare = 0.5\nat_least = 10\nwindow = "10m"\ncool = "30m"\n'
BLOCKS = rule("bad", "amount >= 100", "block") + rule("odd", "amount >= 50")


# --- one decision ---

POLICIES = [
    policy.read(BREAKER + text)
    for text in (
        BLOCKS,
        BLOCKS + rule("null", "ip = 'x'", "block"),
        BLOCKS + limit("one", "sender", "1h", count=1),
        limit("one", "sender", "1h", count=1, action="hold") + rule("all", "amount > 0", "block"),
    )
]
LISTED = [lists.NONE] + [
    Lists(1, [Entry(7, name, kind, value, 0, FOR_EVER)])
    for name, kind, value in (("block", "org", "a"), ("block", "device", "d"), ("allow", "org", "a"))
]
OPINIONS = [None, *(Opinion(NOW, hit=Hit("model", "m", word, {"score": 0.9})) for word in ("hold", "block"))]
WAIVED = [NOTHING, {"rule:bad": "rl_1"}, {"rule:bad": "rl_1", breaker.REASON: "rl_1"}, {breaker.REASON: "rl_2"}]


@given(
    st.sampled_from(POLICIES), st.sampled_from(LISTED), st.sampled_from(OPINIONS), st.sampled_from(WAIVED),
    st.sampled_from([1, 50, 100]), st.sampled_from([None, "x"]), st.sampled_from([None, "d"]), st.sampled_from([1, 3]),
    st.booleans(),
)  # fmt: skip
def test_an_open_breaker_changes_nothing_or_holds_in_place_of_a_block(
    rules: policy.Policy, listed: Lists, said: Opinion | None, waived: Any, amount: int, ip: str | None,
    device: str | None, look: int, before: bool,
) -> None:  # fmt: skip
    asked = gift(amount=amount, ip=ip, device=device, look=look)
    past = [event(NOW - 1)] if before else []

    def judged(opening: int | None) -> Decision:
        return decide(asked, remember(rules, past, asked), rules, NOW, said, waived, listed, opening)

    closed, opened = judged(None), judged(3)
    assert (closed.breaker, opened.breaker) == (None, 3)
    assert opened.hits[: len(closed.hits)] == closed.hits and opened.refused == closed.refused
    named = closed.refused or any(hit.by == "list" and hit.verdict == "block" for hit in closed.hits)
    if closed.verdict is Verdict.BLOCK and not named:
        assert opened.verdict is Verdict.HOLD and opened.hits[-1] == Hit(
            "breaker", "mass_block", "hold", {"opening": 3}
        )
    else:
        assert (opened.verdict, opened.hits) == (closed.verdict, closed.hits)
    assert breaker.blocked(opened.hits) == breaker.blocked(closed.hits)


@pytest.mark.parametrize(
    ("waived", "closed", "opened"),
    [
        ({}, Verdict.BLOCK, Verdict.HOLD),
        ({"rule:bad": "r1", "rule:odd": "r1"}, Verdict.BLOCK, Verdict.HOLD),
        ({"rule:bad": "r1", "rule:odd": "r1", breaker.REASON: "r1"}, Verdict.APPROVE, Verdict.APPROVE),
        ({"rule:bad": "r1", "rule:odd": "r1", breaker.REASON: "r2"}, Verdict.BLOCK, Verdict.HOLD),
        ({"rule:odd": "r1", breaker.REASON: "r1"}, Verdict.BLOCK, Verdict.HOLD),
    ],
)
def test_a_block_is_waived_only_by_whoever_saw_it_as_a_hold_of_the_breaker(
    waived: dict[str, str], closed: Verdict, opened: Verdict
) -> None:
    rules, asked = policy.read(BLOCKS), gift(amount=100, look=3)
    for opening, expected in ((None, closed), (1, opened)):
        found = decide(asked, remember(rules, []), rules, NOW, None, waived, opening=opening)
        assert found.verdict is expected, (opening, found.hits)


def test_a_challenger_is_told_what_the_open_breaker_would_have_made_of_it() -> None:
    hold, block, listed = (Hit("rule", "r", "hold"), Hit("rule", "r", "block"), Hit("list", "block_org", "block"))
    for others, own, closed, opened in (
        ([], Verdict.APPROVE, Verdict.APPROVE, Verdict.APPROVE),
        ([hold], Verdict.APPROVE, Verdict.HOLD, Verdict.HOLD),
        ([block], Verdict.APPROVE, Verdict.BLOCK, Verdict.HOLD),
        ([], Verdict.BLOCK, Verdict.BLOCK, Verdict.HOLD),
        ([listed], Verdict.BLOCK, Verdict.BLOCK, Verdict.BLOCK),
    ):
        assert (under_breaker(None, others, own), under_breaker(1, others, own)) == (closed, opened)


# --- when it opens and closes ---

COOL_US = TERMS.cool_s * SECOND_US


@pytest.mark.parametrize(
    ("opening", "over_ago", "first", "later", "act"),
    [
        (None, None, Count(49, 49), Count(), Act.STAY),  # too few
        (None, None, Count(50, 10), Count(), Act.STAY),  # a fifth is not more than a fifth
        (None, None, Count(50, 11), Count(), Act.OPEN),
        (None, None, Count(10_000, 2_001), Count(), Act.OPEN),
        (None, None, Count(10_000, 2_000), Count(), Act.STAY),
        (
            None,
            None,
            Count(10_000, 0),
            Count(50, 11),
            Act.OPEN,
        ),  # approvals of one kind do not hide blocks of the other
        (None, None, Count(), Count(), Act.STAY),
        (7, 0, Count(50, 11), Count(), Act.NOTE),
        (7, COOL_US - 1, Count(50, 10), Count(), Act.STAY),
        (7, COOL_US, Count(50, 10), Count(), Act.CALM),
        (7, COOL_US, Count(), Count(), Act.CALM),  # silence is calm
        (7, 10 * COOL_US, Count(), Count(50, 50), Act.NOTE),
    ],
)
def test_when_it_opens_and_closes(
    opening: int | None, over_ago: int | None, first: Count, later: Count, act: Act
) -> None:
    state = State(NOW, opening, None if over_ago is None else NOW - over_ago, first, later)
    assert due(TERMS, state) is act
    assert due(None, state) is (Act.NO_TERMS if opening else Act.STAY)


def test_a_tally_counts_what_judged_and_not_what_was_refused() -> None:
    rules = policy.read(BLOCKS + limit("one", "sender", "1h", count=1))
    quiet, busy = remember(rules, []), remember(rules, [event(NOW - 1)])
    listed = Lists(1, [Entry(7, "block", "org", "a", 0, FOR_EVER)])
    tally = Tally()
    tally.add(
        [
            decide(gift(amount=1), quiet, rules, NOW),
            decide(gift(amount=50), quiet, rules, NOW),
            decide(gift(amount=100), quiet, rules, NOW),
            decide(gift(amount=100), quiet, rules, NOW, opening=1),  # held, and yet rules blocked it
            decide(gift(amount=1), quiet, rules, NOW, listed=listed),  # a list blocked it, which is nobody's mistake
            decide(gift(amount=100), busy, rules, NOW),  # refused
            decide(gift(amount=100, look=2), busy, rules, NOW),
        ]
    )
    taken = tally.take()
    assert taken == (Count(5, 2), Count(1, 1)) and tally.take() == (Count(), Count())
    tally.put_back(taken)
    assert tally.take() == taken


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[[breaker]]\n", "one [breaker] table"),
        ("[breaker]\nshare = 0\n", "share = 0"),
        ("[breaker]\nshare = 1\n", "share = 1"),
        ("[breaker]\nshare = true\n", "share = True"),
        ("[breaker]\nat_least = 0\n", "at_least = 0"),
        ('[breaker]\nwindow = "2h"\n', '"1h"'),
        ('[breaker]\ncool = "8d"\n', '"7d"'),
        ("[breaker]\nshares = 0.5\n", "did you mean 'share'"),
    ],
)
def test_wrong_terms_are_refused_with_their_cure(text: str, told: str) -> None:
    with pytest.raises(PolicyRefused, match="breaker") as refused:
        policy.read(text + NEVER_FIRES)
    assert told in str(refused.value)


def test_terms_have_defaults_and_no_table_is_no_breaker() -> None:
    assert policy.read("[breaker]\n" + NEVER_FIRES).breaker == TERMS == policy.read(policy.DEFAULT.read_text()).breaker
    assert policy.read(NEVER_FIRES).breaker is None


# --- the whole of it ---


async def blocks(house: House, number: int, amount: int = 100) -> list[dict[str, Any]]:
    """What so many gifts of one sender came to."""
    a, b = await house.org(amount=1_000 * CREDIT), await house.org()
    told = await gather(house.send(a, b, amount) for _ in range(number))
    return [msgspec.json.decode(one.body) for one in told]


async def statuses(house: House, number: int, amount: int = 100) -> set[str]:
    return {one["status"] for one in await blocks(house, number, amount)}


async def test_blocks_become_holds_until_they_were_few_for_a_while(house: House) -> None:
    await house.activate(BREAKER + BLOCKS)
    watch = house.works.breaker
    assert await statuses(house, 9) == {"blocked"} and await watch.tick() is Act.STAY
    assert await statuses(house, 5, 1) == {"pending"}
    assert await watch.tick() is Act.OPEN and await watch.tick() is Act.NOTE
    assert await statuses(house, 3) == {"held"} and await statuses(house, 1, 1) == {"pending"}
    async with open_door(house.dsn) as door:
        lead = await seat(door, house.pool, "carol", "lead")
        (case, *_) = await lead.queue()
        assert case["reasons"] == [breaker.REASON, "rule:bad", "rule:odd"]
        health = (await door.get("/healthz")).json()
        assert (health["status"], health["reason"]) == ("degraded", breaker.REASON)
        # What a person released in spite of what blocked it settles, whether the breaker is still open or not.
        await lead.ruled(case["id"], "release")
        await house.pass_time(3_600)
        assert await watch.tick() is Act.CALM and await watch.tick() is Act.STAY
        await house.settle()
        assert (await door.get("/healthz")).json()["status"] == "ok"
    ended = await house.pool.fetch("select status, count(*) from ledger.transfers where amount = 100 group by 1")
    assert {row["status"] for row in ended} == {"blocked", "settled"}
    assert await statuses(house, 2) == {"blocked"}
    told = await house.pool.fetch("select kind, body from log.events where kind like 'breaker.%' order by seq")
    assert [row["kind"] for row in told] == ["breaker.opened", "breaker.closed"]
    body = msgspec.json.decode(told[0]["body"])
    assert (body["looks"], body["judged"], body["blocked"], body["share"]) == ("first", 14, 9, 0.5)


async def test_a_mass_of_second_looks_that_block_is_held_too(house: House) -> None:
    await house.activate(BREAKER + NEVER_FIRES)
    await blocks(house, 25, 100)
    await house.activate(BREAKER + rule("late", "look > 1 and amount >= 100", "block"))
    await house.pass_time(3_600)
    await again(lambda: house.works.settlement.settle_due(most=12))
    assert await house.works.breaker.tick() is Act.OPEN
    await house.settle()
    ended = await house.pool.fetch("select status, count(*) as n from ledger.transfers group by 1 order by 1")
    assert [(row["status"], row["n"]) for row in ended] == [("held", 13), ("returned", 12)]


async def test_a_sweep_of_what_waits_is_stopped_after_its_first_piece(house: House) -> None:
    """A policy gone wrong judges all that waits again, a hundred at a time: no more than these go back."""
    await house.activate(NEVER_FIRES)
    await blocks(house, 260, 100)
    await house.catch_up()
    await house.activate("[breaker]\n" + rule("late", "look > 1 and amount >= 100", "block"))
    async with open_door(house.dsn, settle_every_s=0.05):
        while await house.pool.fetchval("select count(*) from ledger.transfers where status = 'pending'"):
            await asyncio.sleep(0.05)
    ended = await house.pool.fetch("select status, count(*) as n from ledger.transfers group by 1")
    sums = {row["status"]: row["n"] for row in ended}
    assert sums.keys() == {"held", "returned"} and sums["returned"] <= 100, sums


async def test_another_policy_ends_it(house: House) -> None:
    await house.activate(BREAKER + BLOCKS)
    await blocks(house, 12)
    assert await house.works.breaker.tick() is Act.OPEN
    await house.activate(BLOCKS)
    assert await statuses(house, 1) == {"blocked"}, "a policy without terms knows no breaker"
    assert await house.works.breaker.tick() is Act.NO_TERMS
    async with house.pool.acquire() as conn, conn.transaction():
        assert (await check(conn)).findings == []
        await conn.execute("set local session_replication_role = replica")
        await conn.execute("update detector.breaker_openings set blocked = 11, closed_why = 'calm'")
        found = await check(conn)
        assert [one.table for one in found.findings] == [
            "detector.breaker_openings", "detector.breaker_openings, ended"
        ]  # fmt: skip
    await house.activate(BREAKER + rule("other", "amount = 7"))
    assert await statuses(house, 1) == {"pending"}


async def test_a_decision_under_an_open_breaker_is_explained_and_taken_again(house: House) -> None:
    await house.activate(BREAKER + BLOCKS)
    await blocks(house, 12)
    await house.works.breaker.tick()
    for amount, verdict in ((100, "hold"), (60, "hold"), (1, "approve")):
        (one,) = await blocks(house, 1, amount)
        row = await house.pool.fetchrow("select * from detector.decisions where id = $1", f"{one['id']}.1")
        assert (row["verdict"], row["breaker"]) == (verdict, 1)
        told = await Explainer(house.pool).explain([f"{one['id']}.1"])
        assert told.replayed and ("breaker" in [cause.by for cause in told.causes]) == (amount == 100)
        (turn,) = [turn for turn in told.turns if turn.what == "amount"]
        assert (turn.to, turn.verdict) == (("50", "hold") if amount == 1 else ("49", "approve"))


async def test_a_gift_of_another_ledger_is_held_and_told_why(house: House) -> None:
    await house.activate(BREAKER + BLOCKS)
    await blocks(house, 12)
    await house.works.breaker.tick()
    key = await new_key(house.pool, "service", name="shop")
    async with open_door(house.dsn) as door:
        told = await door.post(
            "/v1/score", headers=key, json={"id": "g", "sender": "a", "recipient": "b", "amount": 100}
        )
    assert (told.json()["verdict"], told.json()["reasons"]) == ("hold", ["rule:bad", "rule:odd", breaker.REASON])


async def test_the_command_says_how_it_stands(house: House) -> None:
    async def told() -> tuple[bool, str]:
        async with house.pool.acquire() as conn:
            found = await read(conn)
        return found["open"], "\n".join(lines(found))

    assert await told() == (False, "no breaker: the active policy has no [breaker]")
    await house.activate(BREAKER + BLOCKS)
    await blocks(house, 12)
    await house.works.breaker.tick()
    opened, text = await told()
    assert opened and text.startswith("OPEN") and "first looks: 12 of 12 blocked (100.0%)" in text
    assert "opening 1: " in text and "still open" in text
    assert "breaker" in [command.name for command in app.registered_commands]


# --- the database holds it to its laws ---


@pytest.mark.parametrize(
    ("statement", "constraint"),
    [
        ("insert into detector.breaker_openings (generation, looks, judged, blocked) values (1, 'first', 9, 9)",
         "breaker_opens_once"),
        ("update detector.breaker_openings set blocked = 1", "openings_end_once"),
        ("update detector.breaker_openings set closed_at = now() + interval '1 h'", "openings_say_why_they_ended"),
        ("delete from detector.breaker_openings", "breaker_openings_append_only"),
        ("insert into detector.decisions (id, at, seq, look, sender, recipient, amount, verdict, refused, hits, "
         "vector, generation, payload_hash, breaker) values ('x.1', now(), 0, 1, 'a', 'b', 1, 'approve', false, "
         """'[{"by":"breaker","name":"mass_block","verdict":"hold"}]', '[]', 1, '', 1)""", "breaker_never_approves"),
    ],
)  # fmt: skip
async def test_the_database_refuses(house: House, statement: str, constraint: str) -> None:
    await house.pool.execute(
        "insert into detector.breaker_openings (generation, looks, judged, blocked) values (1, 'first', 9, 9)"
    )
    with pytest.raises(asyncpg.IntegrityConstraintViolationError) as refused:
        await house.pool.execute(statement)
    assert refused.value.constraint_name == constraint


async def test_four_workers_open_it_once_and_all_hold(four: tuple[str, list[Worker]]) -> None:
    """No worker alone sees enough; together they do, and each holds from then on."""
    dsn, started = four
    async with open_house(dsn, BREAKER.replace("at_least = 10", "at_least = 38") + BLOCKS) as house:
        doors = [worker.client() for worker in started]
        before = await house.pool.fetchval("select count(*) from detector.breaker_openings")
        await house.pool.execute("delete from detector.breaker_tallies")
        senders = [await house.org(amount=1_000 * CREDIT) for _ in doors]
        keys = [await new_key(house.pool, "owner", one) for one in senders]
        to = await house.org()

        async def send(number: int, name: str) -> httpx.Response:
            place = number % len(doors)
            return await doors[place].post(
                "/v1/billing/credits/transfer",
                json={"recipient": to, "amount": 100},
                headers={**keys[place], "Idempotency-Key": name},
            )

        told = await gather(send(number, f"before{number}") for number in range(40))
        assert {one.json()["status"] for one in told} == {"blocked"}
        while [(await door.get("/healthz")).json()["status"] for door in doors] != ["degraded"] * len(doors):
            await asyncio.sleep(0.1)
        told = await gather(send(number, f"after{number}") for number in range(8))
        assert {one.json()["status"] for one in told} == {"held"}
        await asyncio.gather(*(house.works.breaker.tick() for _ in range(5)))
        assert await house.pool.fetchval("select count(*) from detector.breaker_openings") == before + 1
        await house.activate(NEVER_FIRES)
        while await house.pool.fetchval("select count(*) from detector.breaker_openings where closed_at is null"):
            await asyncio.sleep(0.1)
        await gather(door.aclose() for door in doors)
