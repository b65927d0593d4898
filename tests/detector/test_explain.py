"""Explanations over HTTP: causes, the model's part, turns, what was around the gift, past cases; who may read them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx
import msgspec
import pytest

from detector import labels, list_work
from detector.case_shapes import Listable, Listed, ListName
from detector.contract import Label
from detector.explain import cause
from detector.explain_shapes import Explanation
from detector.gift import Hit
from detector.policy import read
from models import artifact, files
from models.artifact import Content
from tests.support import CREDIT, NEVER_FIRES, House, limit, new_key, open_door, rule, seat

MODEL = '[model]\nname = "champion"\nhold_at = 1e-9\nblock_at = 1.0\n'
LARGE = (
    f'[[rule]]\nname = "large"\nwhen = "amount >= {50 * CREDIT}"\nverdict = "hold"\n'
    'description = "a takeover takes much"\nfalse_alarms = "yearly gifts"\n'
)
READ = msgspec.json.Decoder(Explanation)


@pytest.fixture
async def door(house: House) -> AsyncIterator[httpx.AsyncClient]:
    async with open_door(house.dsn) as client:
        client.headers.update(await new_key(house.pool, "analyst", name="alice"))
        yield client


async def explained(door: httpx.AsyncClient, name: str) -> Explanation:
    answer = await door.get(f"/v1/decisions/{name}/explanation")
    assert answer.status_code == 200, answer.text
    return READ.decode(answer.content)


async def pair(house: House, *names: str) -> list[str]:
    return [await house.org(name, amount=1_000 * CREDIT) for name in names]


# --- causes ---


async def test_causes_say_what_fired_and_what_it_saw(house: House, door: httpx.AsyncClient) -> None:
    await house.activate(LARGE + limit("worth", "sender", "24h", action="hold", value=70 * CREDIT))
    a, b = await pair(house, "a", "b")
    await house.sent(a, b, 20 * CREDIT)
    told = await explained(door, await house.sent(a, b, 60 * CREDIT))
    assert (told.verdict, told.generation, told.replayed) == ("hold", 2, True)
    worth, large = told.causes
    assert (worth.by, worth.name, worth.seen["used"]) == ("limit", "worth", 20 * CREDIT)
    assert worth.description == "at most 70 credits per sender in any 1 d: a test"
    assert (large.description, large.false_alarms) == ("a takeover takes much", "yearly gifts")
    assert large.seen == {"amount": 60 * CREDIT}
    assert told.model.model is None and told.model.note.startswith("the policy names no model")
    (amount, time, _) = told.turns
    assert (amount.to, amount.verdict) == (str(50 * CREDIT - 1), "approve") and time.to is None


async def test_the_policy_that_judged_explains_not_the_one_that_judges_now(
    house: House, door: httpx.AsyncClient
) -> None:
    await house.activate(LARGE)
    gift = await house.sent(*await pair(house, "a", "b"), 60 * CREDIT)
    await house.activate(LARGE.replace("a takeover takes much", "other words"))
    told = await explained(door, gift)
    assert (told.generation, told.causes[0].description) == (2, "a takeover takes much")


def test_every_kind_of_hit_has_words() -> None:
    policy = read(rule("r", "ip = 'x'"))
    described: list[tuple[Hit, str]] = [
        (Hit("degraded", "r", "hold", {"ip": None}), "could not be told, since ip was not known"),
        (Hit("degraded", "no_policy", "hold"), "no policy was active"),
        (Hit("degraded", "model_altered", "hold"), "the model could not be used (altered)"),
        (Hit("ledger", "org_frozen", "block"), "the sender is frozen"),
        (Hit("ledger", "something", "block"), "something"),
        (Hit("model", "small", "hold", {"score": 0.5, "threshold": 0.25}), "threshold of 0.25"),
    ]
    for hit, words in described:
        assert words in (cause(hit, policy).description or ""), hit
        assert cause(hit, None).by == hit.by


async def put(house: House, name: ListName, kind: Listable, value: str) -> int:
    async with house.pool.acquire() as conn:
        return (await list_work.add(conn, name, Listed(kind, value, "seen before"), "carol")).id


async def test_a_list_entry_is_told_with_its_words(house: House, door: httpx.AsyncClient) -> None:
    a, b = await pair(house, "a", "b")
    entry = await put(house, "block", "org", b)
    told = await explained(door, await house.sent(a, b, CREDIT))
    (cause,) = told.causes
    assert (cause.by, cause.name, cause.seen) == ("list", "block_org", {"recipient": b, "entry": entry})
    assert (cause.description or "").startswith("on the block list: org b, by carol since 20")
    assert (cause.description or "").endswith(f": seen before (entry {entry})")
    assert {node.id: node.listed for node in told.graph.nodes} == {a: None, b: "block"}
    assert told.replayed and told.turns[2].to == "unknown"


async def test_what_does_not_count_is_told_with_what_waived_it(house: House, door: httpx.AsyncClient) -> None:
    await house.activate(LARGE)
    a, b = await pair(house, "a", "b")
    entry = await put(house, "allow", "org", a)
    gift = await house.sent(a, b, 60 * CREDIT)
    async with house.pool.acquire() as conn:
        await list_work.remove(conn, entry, "carol")
    told = await explained(door, gift)
    assert told.verdict == "approve" and told.replayed, "the entry was there at the gift's moment"
    assert "(no longer counts: on the allow list: org a, by carol" in (told.causes[0].description or "")


async def test_a_second_look_is_explained_with_the_ruling_that_let_it_pass(
    house: House, door: httpx.AsyncClient
) -> None:
    await house.activate(LARGE)
    gift = await house.sent(*await pair(house, "a", "b"), 60 * CREDIT)
    lead = await seat(door, house.pool, "carol", "lead")
    (case,) = await lead.queue()
    ruling = (await lead.ruled(case["id"], "release"))["rulings"][0]["id"]
    await house.pass_time(3_700)
    await house.settle()
    (look,) = await house.pool.fetchrow("select max(look) from detector.decisions")
    told = await explained(door, f"{gift}.{look}")
    assert look > 1 and told.verdict == "approve" and told.replayed
    assert (told.causes[0].description or "").endswith(f"(no longer counts: released by ruling {ruling})")
    first = await explained(door, gift)
    assert first.verdict == "hold" and first.alike == [], "its own case is no past one"


# --- the model's part ---


async def test_contributions_add_up_to_the_score_of_the_model_that_judged(
    house: House, door: httpx.AsyncClient, parcel: bytes, small: Content
) -> None:
    await house.activate(MODEL + NEVER_FIRES)
    name = await house.promote(parcel)
    gift = await house.sent(*await pair(house, "a", "b"), 60 * CREDIT)
    await house.promote(files.parcel(artifact.build(small)))
    told = await explained(door, gift)
    said = told.model
    assert (said.model, said.hold_at, said.block_at) == (name, 1e-9, 1.0) and said.score is not None
    sizes = [abs(one.contribution) for one in said.contributions]
    assert sizes == sorted(sizes, reverse=True) and len(sizes) > 3 and all(sizes)
    assert all(one.words.endswith("the score") for one in said.contributions)
    assert said.note.startswith("log-odds ") and told.causes[0].by == "model"
    assert told.replayed and told.turns[0].what == "amount"


async def test_a_model_that_was_not_there_is_said(house: House, door: httpx.AsyncClient, parcel: bytes) -> None:
    await house.activate(MODEL + NEVER_FIRES)
    gift = await house.sent(*await pair(house, "a", "b"), CREDIT)
    told = await explained(door, gift)
    assert [one.name for one in told.causes] == ["model_missing"] and told.replayed
    assert told.model.score is None and "no model judged this gift" in told.model.note
    assert {turn.to for turn in told.turns} == {None}


async def test_an_artifact_that_does_not_hold_any_more_explains_nothing(
    house: House, door: httpx.AsyncClient, parcel: bytes
) -> None:
    await house.activate(MODEL + NEVER_FIRES)
    await house.promote(parcel)
    gift = await house.sent(*await pair(house, "a", "b"), CREDIT)
    async with house.pool.acquire() as conn, conn.transaction():
        await conn.execute("set local session_replication_role = replica")
        await conn.execute("update detector.models set parcel = overlay(parcel placing '\\x00'::bytea from 900)")
    told = await explained(door, gift)
    assert told.model.contributions == [] and "cannot be told" in told.model.note
    assert told.replayed is None and told.turns[0].words.startswith("not to be told: its model")


# --- what cannot be taken again ---


async def test_what_the_ledger_refused_is_said_and_not_turned(house: House, door: httpx.AsyncClient) -> None:
    a, b = await house.org("poor"), await house.org()
    await house.send(a, b, CREDIT)
    (name,) = await house.pool.fetchrow("select id from detector.decisions")
    told = await explained(door, name)
    assert told.causes[0].description == (
        "the ledger refused it before it was judged: the sender had not as many credits that may be given"
    )
    assert told.replayed is None and "the ledger refused it" in told.turns[0].words


async def test_a_record_that_was_altered_is_noticed(house: House, door: httpx.AsyncClient) -> None:
    """Law 11 is asked at every explanation: what does not come out again is not turned either."""
    await house.activate(limit("two", "sender", "1h", action="hold", count=2))
    a, b = await pair(house, "a", "b")
    gifts = [await house.sent(a, b, CREDIT) for _ in range(3)]
    async with house.pool.acquire() as conn, conn.transaction():
        await conn.execute("set local session_replication_role = replica")
        await conn.execute("delete from detector.decisions where id = $1", f"{gifts[0]}.1")
    told = await explained(door, gifts[2])
    assert told.replayed is False and told.replay_note.endswith("it differs in its verdict, hits")
    assert {turn.to for turn in told.turns} == {None}


async def test_a_crowd_is_too_many_to_go_over(
    house: House, door: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("detector.rebuilding.MOST_EVENTS", 4)  # two gifts, seen by two parties
    a, b = await pair(house, "a", "b")
    gifts = [await house.sent(a, b, CREDIT) for _ in range(3)]
    assert (await explained(door, gifts[1])).replayed is True
    told = await explained(door, gifts[2])
    assert told.replayed is None and "too many to go over" in told.replay_note


# --- around the gift ---


async def test_the_timeline_shows_both_parties_and_what_is_known(house: House, door: httpx.AsyncClient) -> None:
    a, b, c = await pair(house, "a", "b", "c")
    before = [await house.sent(*ends, CREDIT) for ends in ((a, c), (c, a), (c, b), (a, b))]
    gift = await house.sent(a, b, 2 * CREDIT)
    after = await house.sent(b, c, CREDIT)
    await house.sent(c, await house.org("far"), CREDIT)
    async with house.pool.acquire() as conn, conn.transaction():
        await labels.note(conn, [(before[2], Label(before[2], True, "test"))], "test")
    told = (await explained(door, gift)).timeline
    assert [one.id for one in told] == [*before, gift, after]
    assert [one.role for one in told] == [
        *("sender sent", "sender was sent", "recipient was sent", "sender sent, recipient was sent"),
        *("this gift", "recipient sent"),
    ]
    assert [one.fraud for one in told] == [None, None, True, None, None, None]


async def test_the_neighbourhood_reaches_two_steps(house: House, door: httpx.AsyncClient) -> None:
    await house.activate(LARGE)
    a, b, c, d, e, f = await pair(house, *"abcdef")
    for ends in ((a, c), (c, d), (d, e), (f, b)):
        await house.sent(*ends, CREDIT)
    await house.sent(a, c, 60 * CREDIT)
    graph = (await explained(door, await house.sent(a, b, CREDIT))).graph
    assert {node.id: node.step for node in graph.nodes} == {a: 0, b: 0, c: 1, f: 1, d: 2}
    ties = {(one.sender, one.recipient): (one.gifts, one.amount, one.stopped) for one in graph.edges}
    assert ties == {
        (a, b): (1, CREDIT, 0),
        (a, c): (2, 61 * CREDIT, 1),
        (c, d): (1, CREDIT, 0),
        (f, b): (1, CREDIT, 0),
    }
    assert (graph.edges[0].sender, graph.edges[0].recipient) == (a, c) and not graph.cut


async def test_a_wide_neighbourhood_is_cut_and_says_so(house: House, door: httpx.AsyncClient) -> None:
    a, b = await pair(house, "hub", "b")
    for number in range(20):
        await house.sent(a, await house.org(f"n{number}"), CREDIT)
    graph = (await explained(door, await house.sent(a, b, CREDIT))).graph
    assert graph.cut and len(graph.nodes) == 14


# --- cases ---


async def test_a_case_is_explained_by_its_most_pressing_gift_or_the_one_named(
    house: House, door: httpx.AsyncClient
) -> None:
    await house.activate(LARGE)
    a, b = await pair(house, "a", "b")
    gifts = [await house.sent(a, b, amount * CREDIT) for amount in (50, 90, 70)]
    case = (await door.get("/v1/cases")).json()["cases"][0]["id"]
    told = [
        READ.decode((await door.get(f"/v1/cases/{case}/explanation{ask}")).content).gift
        for ask in ("", f"?gift={gifts[2]}")
    ]
    assert told == [gifts[1], gifts[2]]
    for path in ("nosuch/explanation", f"{case}/explanation?gift=nosuch"):
        assert (await door.get(f"/v1/cases/{path}")).status_code == 404


async def test_past_cases_that_are_alike_say_how_they_ended(house: House, door: httpx.AsyncClient) -> None:
    await house.activate(LARGE + rule("odd", "amount = 3"))
    lead = await seat(door, house.pool, "carol", "lead")
    a, b, c, d = await pair(house, *"abcd")
    for number, amount in enumerate((60 * CREDIT, 400 * CREDIT, 3)):
        sender, recipient = await pair(house, f"s{number}", f"r{number}")
        gift = await house.sent(sender, recipient, amount)
        if number == 1:
            (case,) = await lead.queue(sender=sender)
            await lead.ruled(case["id"], "block")
        else:
            await house.cancel(sender, gift)
    await house.sent(c, d, 60 * CREDIT)
    told = (await explained(door, await house.sent(a, b, 70 * CREDIT))).alike
    assert [(one.reasons, one.acts) for one in told] == [
        (["rule:large"], {"cancelled": 1}),
        (["rule:large"], {"block": 1}),
    ]
    assert 0.9 < told[0].likeness < 1 and told[1].likeness < told[0].likeness


# --- who may read ---


async def test_who_may_read_an_explanation(house: House, door: httpx.AsyncClient) -> None:
    a, b = await pair(house, "a", "b")
    gift = await house.sent(a, b, CREDIT)
    roles: Sequence[tuple[str, int, int]] = (
        *(("analyst", 200, 404), ("lead", 200, 404), ("auditor", 200, 404)),
        *(("service", 200, 403), ("platform", 403, 403)),
    )
    for role, of_decision, of_case in roles:
        key = await new_key(house.pool, role, name=f"one-{role}")
        assert (await door.get(f"/v1/decisions/{gift}/explanation", headers=key)).status_code == of_decision, role
        assert (await door.get("/v1/cases/nosuch/explanation", headers=key)).status_code == of_case, role
    assert (await door.get("/v1/decisions/nosuch/explanation")).status_code == 404


async def test_a_client_is_shown_no_gift_of_another(house: House, door: httpx.AsyncClient) -> None:
    keys = {name: await new_key(house.pool, "service", name=name) for name in ("shop", "other")}
    asked: dict[str, Any] = {"sender": "x", "recipient": "y", "amount": 5}
    for name, gift, recipient in (("other", "o1", "z"), ("other", "o2", "y"), ("shop", "g1", "y")):
        body = {**asked, "id": gift, "recipient": recipient}
        assert (await door.post("/v1/score", json=body, headers=keys[name])).status_code == 200
    answer = await door.get("/v1/decisions/g1/explanation", headers=keys["shop"])
    mine, everything = READ.decode(answer.content), await explained(door, "shop:g1")
    assert [one.id for one in mine.timeline] == ["shop:g1"] and len(everything.timeline) == 3
    assert [(one.recipient, one.gifts) for one in mine.graph.edges] == [("y", 1)]
    assert {(one.recipient, one.gifts) for one in everything.graph.edges} == {("y", 2), ("z", 1)}
    assert "0 the sender gave to" in mine.turns[2].words and "1 the sender gave to" in everything.turns[2].words
    assert (await door.get("/v1/decisions/g1/explanation", headers=keys["other"])).status_code == 404


async def test_a_zero_byte_is_refused_and_no_fault_of_ours(door: httpx.AsyncClient) -> None:
    for path in ("decisions/a%00b/explanation", "cases/a%00b/explanation", "cases/a/explanation?gift=a%00"):
        answer = await door.get(f"/v1/{path}")
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid"), path
