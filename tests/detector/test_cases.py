"""Cases: every held gift waits in one, rings gather, one person works on each, and every way out is told."""

from __future__ import annotations

import asyncio
import base64
import random
from collections import Counter
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import asyncpg
import httpx
import pytest

from detector import case_views, cases
from ledger.access import issue_key
from ledger.errors import Invalid
from tests.support import (
    CREDIT,
    MEDIUM,
    REVIEWED,
    House,
    Seat,
    Worker,
    gather,
    new_key,
    one_ring,
    open_door,
    open_house,
    rule,
    seat,
)  # fmt: skip
from training.simulate import simulate

LOCK_S, HOLD_S = 3_600, 10_800


@pytest.fixture
async def house(database: str) -> AsyncIterator[House]:
    async with open_house(database, REVIEWED, lock_s=LOCK_S, hold_s=HOLD_S) as opened:
        yield opened


@pytest.fixture
async def door(database: str, house: House) -> AsyncIterator[httpx.AsyncClient]:
    async with open_door(database, lock_s=LOCK_S, hold_s=HOLD_S) as client:
        yield client


@pytest.fixture
async def alice(house: House, door: httpx.AsyncClient) -> Seat:
    return await seat(door, house.pool, "alice")


async def orgs(house: House, number: int) -> list[str]:
    return [await house.org(amount=1_000_000 * CREDIT) for _ in range(number)]


async def sent(house: House, *pairs: tuple[str, str], amount: int = MEDIUM, **more: Any) -> list[str]:
    return [await house.sent(a, b, amount, **more) for a, b in pairs]


# --- opening ---


async def test_a_held_gift_opens_a_case_with_its_decision(house: House, alice: Seat) -> None:
    a, b = await orgs(house, 2)
    (name,) = await sent(house, (a, b), ip="10.0.0.1")
    page = (await alice.ask("")).json()
    (case,) = page["cases"]
    assert (case["status"], case["gifts"], case["senders"], case["reasons"]) == ("open", 1, [a], ["rule:medium"])
    assert (case["at_risk"], case["expected_loss"], case["score"]) == (MEDIUM, MEDIUM // 2, None)
    assert case["priority"] == pytest.approx(50 / 3, rel=0.01)  # 50 credits expected, 3 hours left
    assert (page["open"], page["claimed"], page["next"]) == (1, 0, None)
    file = await alice.file(case["id"])
    (gift,) = file["gifts"]
    assert (gift["id"], gift["decision"], gift["standing"], gift["ip"]) == (name, f"{name}.1", "waiting", "10.0.0.1")
    assert [(one["kind"], one["actor"]) for one in file["audit"]] == [("case.opened", "system")]
    row = await house.transfer(name)
    assert gift["deadline"] == case_views.maybe(row["hold_until"]) == case["deadline"]


async def test_what_is_approved_opens_none(house: House, alice: Seat) -> None:
    a, b = await orgs(house, 2)
    await sent(house, (a, b), amount=5)
    assert await alice.queue() == []


async def test_a_batch_that_is_lost_leaves_no_case(house: House, alice: Seat) -> None:
    a, b = await orgs(house, 2)
    await house.pool.execute(
        "create function refuse() returns trigger language plpgsql as 'begin raise exception ''lost''; end'"
    )
    await house.pool.execute("create trigger lost before insert on log.events execute function refuse()")
    with pytest.raises(asyncpg.RaiseError):
        await house.send(a, b, MEDIUM)
    await house.pool.execute("drop trigger lost on log.events")
    assert await alice.queue() == []
    assert await house.pool.fetchval("select count(*) from ledger.transfers") == 0


async def test_a_held_gift_whose_credits_are_revoked_leaves_its_case(house: House, alice: Seat) -> None:
    a, b = await house.org(), await house.org()
    grant = await house.grant(a, 2 * MEDIUM)
    (name,) = await sent(house, (a, b))
    (case,) = await alice.queue()
    await house.revoke(grant)
    file = await alice.file(case["id"])
    assert (file["case"]["status"], file["gifts"][0]["standing"]) == ("ended", "returned")
    told = [(one["kind"], one["actor"]) for one in file["audit"]]
    assert told == [("case.opened", "system"), ("gift.left", "system"), ("case.ended", "system")], told
    assert (await house.transfer(name))["status"] == "returned"


# --- gathering ---


async def test_chains_addresses_and_devices_gather_and_strangers_do_not(house: House, alice: Seat) -> None:
    a, b, c, d, e, f, g, h = await orgs(house, 8)
    await sent(house, (a, b), (b, c))
    await sent(house, (d, e), ip="10.0.0.1", device="phone")
    await sent(house, (f, g), ip="10.0.0.1")
    (lone,) = await sent(house, (h, await house.org()))
    found = await alice.queue(sort="age")
    assert [one["gifts"] for one in found] == [2, 2, 1]
    assert (await alice.file(found[2]["id"]))["gifts"][0]["id"] == lone
    (linking,) = await sent(house, (c, d))
    found = await alice.queue(sort="age")
    assert [one["gifts"] for one in found] == [5, 1]
    file = await alice.file(found[0]["id"])
    assert linking in [one["id"] for one in file["gifts"]]
    assert [one["kind"] for one in file["audit"] if one["kind"].startswith("case.")] == [
        "case.opened", "case.joined", "case.opened", "case.joined", "case.ended", "case.joined",
    ]  # fmt: skip


async def test_a_gathered_case_says_into_which(house: House, door: httpx.AsyncClient, alice: Seat) -> None:
    a, b, c, d = await orgs(house, 4)
    await sent(house, (a, b), (c, d))
    old, young = await alice.queue(sort="age")
    await alice.act(young["id"], "notes", {"text": "looks like a ring"})
    await sent(house, (b, c))
    told = await alice.file(young["id"])
    assert (told["case"]["status"], told["case"]["merged_into"], told["gifts"]) == ("ended", old["id"], [])
    assert [one["text"] for one in (await alice.file(old["id"]))["notes"]] == ["looks like a ring"]
    conflict = await alice.act(young["id"], "claim", {"version": young["version"]})
    assert conflict.status_code == 409 and f"gathered into case {old['id']}" in conflict.json()["detail"]


async def test_a_claimed_case_is_never_gathered_into_another(
    house: House, door: httpx.AsyncClient, alice: Seat
) -> None:
    a, b, c, d, e, f = await orgs(house, 6)
    await sent(house, (a, b), (c, d), (e, f))
    _, second, third = await alice.queue(sort="age")
    bob = await seat(door, house.pool, "bob")
    assert (await alice.claim(second["id"])).status_code == 200
    assert (await bob.claim(third["id"])).status_code == 200
    await sent(house, (b, c))
    left = {one["id"]: one for one in await alice.queue()}
    assert left.keys() == {second["id"], third["id"]}
    assert (left[second["id"]]["claimed_by"], left[second["id"]]["gifts"]) == ("alice", 3)
    await sent(house, (d, e))
    left = {one["id"]: one for one in await alice.queue()}
    assert sorted((one["gifts"], one["claimed_by"]) for one in left.values()) == [(1, "bob"), (4, "alice")]


async def test_what_is_a_day_apart_or_ended_is_another_case(house: House, alice: Seat) -> None:
    a, b, c = await orgs(house, 3)
    async with open_house(house.dsn, None, lock_s=LOCK_S, hold_s=100 * 3600) as patient:
        await sent(patient, (a, b))
        await house.pass_time(24 * 3600)
        await sent(patient, (b, c))
    first, second = await alice.queue(sort="age")
    await alice.ruled(second["id"], "return")
    await sent(house, (c, a))
    assert len(await alice.queue()) == 2
    assert (await alice.file(first["id"]))["case"]["gifts"] == 1


async def test_a_ring_gathers_into_one_case(house: House, alice: Seat) -> None:
    """A ring of the simulator through the gate, among gifts of strangers that are held as well."""
    ring = one_ring(simulate(1_000, 60, 3))
    strangers = [(f"stranger{n}", f"friend{n}") for n in range(20)]
    for name in sorted({org for pair in ring + strangers for org in pair}):
        await house.org(name, amount=1_000_000 * CREDIT)
    mixed = ring + strangers
    random.Random(7).shuffle(mixed)
    await gather(house.sent(a, b, MEDIUM) for a, b in mixed)
    found = await alice.queue(limit=500)
    assert Counter(one["gifts"] for one in found) == {len(ring): 1, 1: len(strangers)}
    (case,) = [one for one in found if one["gifts"] > 1]
    assert set(case["senders"]) | set(case["recipients"]) == {org for pair in ring for org in pair}


async def test_racing_openers_of_one_ring_open_one_case(four: tuple[str, list[Worker]]) -> None:
    """A chain of forty gifts through four processes at once, in any order: one case, no deadlock."""
    dsn, started = four
    async with open_house(dsn, REVIEWED) as house:
        doors = [worker.client() for worker in started]
        chain = [await house.org(amount=1_000 * CREDIT) for _ in range(41)]
        keys = {org: await new_key(house.pool, "owner", org) for org in chain}
        links = list(pairwise(chain))
        random.Random(1).shuffle(links)
        told = await gather(
            doors[number % 4].post(
                "/v1/billing/credits/transfer",
                json={"recipient": recipient, "amount": MEDIUM},
                headers={**keys[sender], "Idempotency-Key": f"{sender}-ring"},
            )
            for number, (sender, recipient) in enumerate(links)
        )
        assert {one.json()["status"] for one in told} == {"held"}
        found = await house.pool.fetch(
            "select id, gifts, waiting from detector.cases where ended_at is null and senders && $1", chain
        )
        assert [tuple(row)[1:] for row in found] == [(40, 40)]
        assert await house.pool.fetchval("select sum(deadlocks) from pg_stat_database") == 0
        await gather(door.aclose() for door in doors)


# --- work ---


async def test_a_claim_is_one_persons_until_it_lapses(house: House, door: httpx.AsyncClient, alice: Seat) -> None:
    a, b = await orgs(house, 2)
    await sent(house, (a, b))
    bob = await seat(door, house.pool, "bob")
    (case,) = await alice.queue()
    told = await alice.act(case["id"], "claim", {"version": case["version"]})
    assert told.json()["case"]["claimed_by"] == "alice", told.text
    told = await bob.act(case["id"], "claim", {"version": case["version"]})
    assert (told.status_code, told.json()["code"]) == (409, "case_conflict")
    assert "alice claimed" in told.json()["detail"] and "until 20" in told.json()["detail"]
    await house.pass_time(601)
    assert (await bob.claim(case["id"])).json()["case"]["claimed_by"] == "bob"
    kinds = [one["kind"] for one in (await bob.file(case["id"]))["audit"]]
    assert kinds == ["case.opened", "case.claimed", "case.claim_lapsed", "case.claimed"]
    told = await alice.act(case["id"], "claim", {"version": 1})
    assert "bob claimed" in told.json()["detail"]


async def test_claims_and_proposals_lapse_by_themselves(house: House, alice: Seat) -> None:
    a, b = await orgs(house, 2)
    await sent(house, (a, b), amount=10 * MEDIUM)
    (case,) = await alice.queue()
    await alice.ruled(case["id"], "release")
    await house.pass_time(HOLD_S)
    assert await cases.tidy(house.pool) == 1
    file = await alice.file(case["id"])
    assert (file["case"]["claimed_by"], file["rulings"][0]["status"], file["case"]["proposed"]) == (
        None,
        "lapsed",
        False,
    )
    assert await cases.tidy(house.pool) == 0


async def test_a_case_that_changed_since_it_was_read_is_read_again(house: House, alice: Seat) -> None:
    a, b = await orgs(house, 2)
    await sent(house, (a, b))
    (case,) = await alice.queue()
    await sent(house, (a, b))
    told = await alice.act(case["id"], "claim", {"version": case["version"]})
    assert told.status_code == 409 and "read it again" in told.json()["detail"]


async def test_of_fifty_who_claim_at_once_one_wins(four: tuple[str, list[Worker]]) -> None:
    dsn, started = four
    async with open_house(dsn, REVIEWED) as house:
        doors = [worker.client() for worker in started]
        a, b = await orgs(house, 2)
        (gift,) = await sent(house, (a, b))
        case = await house.pool.fetchval("select case_id from detector.case_gifts where gift_id = $1", gift)
        seats = [await seat(doors[n % 4], house.pool, f"analyst{n}") for n in range(50)]
        version = (await seats[0].file(case))["case"]["version"]
        told = await gather(one.act(case, "claim", {"version": version}) for one in seats)
        assert Counter(one.status_code for one in told) == {200: 1, 409: 49}
        (winner,) = [one.json()["case"]["claimed_by"] for one in told if one.status_code == 200]
        assert all(
            f"{winner} claimed case {case} until" in one.json()["detail"] for one in told if one.status_code == 409
        )
        file = await seats[0].file(case)
        assert [one["kind"] for one in file["audit"]].count("case.claimed") == 1
        await gather(door.aclose() for door in doors)


async def test_handing_back_assigning_escalating_and_notes(house: House, door: httpx.AsyncClient, alice: Seat) -> None:
    a, b = await orgs(house, 2)
    await sent(house, (a, b))
    bob, lead = await seat(door, house.pool, "bob"), await seat(door, house.pool, "carol", "lead")
    (case,) = await alice.queue()
    name = case["id"]
    assert (await alice.act(name, "unclaim")).status_code == 409
    assert (await alice.claim(name)).status_code == 200
    assert "alice claimed" in (await bob.act(name, "unclaim")).json()["detail"]
    assert (await alice.act(name, "unclaim")).json()["case"]["claimed_by"] is None
    assert (await alice.act(name, "assign", {"to": "bob"})).status_code == 403
    assert (await lead.act(name, "assign", {"to": "bob"})).json()["case"]["assigned_to"] == "bob"
    assert "assigned to bob" in (await alice.claim(name)).json()["detail"]
    assert (await bob.claim(name)).status_code == 200
    assert (await alice.act(name, "escalate", {"text": "too big for me"})).json()["case"]["escalated"]
    assert (await alice.act(name, "notes", {"text": ""})).status_code == 422
    file = (await alice.act(name, "notes", {"text": "called them"})).json()
    assert [(one["author"], one["text"]) for one in file["notes"]] == [("alice", "called them")]
    assert [one["kind"] for one in file["audit"]] == [
        "case.opened", "case.claimed", "case.handed_back", "case.assigned", "case.claimed", "case.escalated",
        "case.note",
    ]  # fmt: skip
    file = (await lead.act(name, "assign", {"to": "alice"})).json()
    assert (file["case"]["claimed_by"], file["case"]["assigned_to"]) == (None, "alice")


async def test_who_may_do_what(house: House, door: httpx.AsyncClient) -> None:
    a, b = await orgs(house, 2)
    await sent(house, (a, b))
    auditor = await seat(door, house.pool, "eve", "auditor")
    (case,) = await auditor.queue()
    for act, body in (("claim", {"version": 1}), ("notes", {"text": "x"}), ("rulings", {"act": "block", "why": "x"})):
        assert (await auditor.act(case["id"], act, body)).status_code == 403
    for role in ("platform", "service"):
        other = await seat(door, house.pool, role, role)
        assert (await other.ask("")).status_code == 403
    owner = Seat(door, await new_key(house.pool, "owner", a))
    assert (await owner.ask(f"/{case['id']}")).status_code == 403
    assert (await auditor.ask("/cs_none")).status_code == 404


@pytest.mark.parametrize("role", ["analyst", "lead", "auditor"])
async def test_a_persons_key_has_the_persons_name(house: House, role: str) -> None:
    async with house.pool.acquire() as conn:
        with pytest.raises(Invalid, match="--name alice"):
            await issue_key(conn, role, role)
        assert (await issue_key(conn, role, "alice")).startswith(f"lg_{role}_")


async def test_the_sender_cancels_and_the_case_ends(house: House, alice: Seat) -> None:
    a, b = await orgs(house, 2)
    first, second = await sent(house, (a, b), (a, b))
    (case,) = await alice.queue()
    await house.cancel(a, first)
    assert (await alice.file(case["id"]))["case"]["waiting"] == 1
    await house.cancel(a, second)
    file = await alice.file(case["id"])
    assert (file["case"]["status"], {one["standing"] for one in file["gifts"]}) == ("ended", {"cancelled"})
    told = await alice.act(case["id"], "claim", {"version": file["case"]["version"]})
    assert told.status_code == 409 and "ended on" in told.json()["detail"]
    assert await house.pool.fetchval("select count(*) from detector.case_keys") == 0


# --- the queue ---


async def test_filters_and_orders(house: House, alice: Seat) -> None:
    a, b, c, d, e, f = await orgs(house, 6)
    await house.activate(rule("big", "amount >= 500000000") + REVIEWED)
    await sent(house, (a, b))
    await sent(house, (c, d), amount=5 * MEDIUM)
    await house.pass_time(60)
    await sent(house, (e, f), amount=2 * MEDIUM)
    old, big, young = await alice.queue(sort="age")
    assert [one["id"] for one in await alice.queue()] == [one["id"] for one in (big, young, old)]
    assert [one["id"] for one in await alice.queue(sort="deadline")] == [one["id"] for one in (old, big, young)]
    asked: list[tuple[dict[str, Any], list[Any]]] = [
        ({"sender": a}, [old]), ({"recipient": d}, [big]), ({"rule": "big"}, [big]), ({"rule": "rule:big"}, [big]),
        ({"min_amount": 2 * MEDIUM}, [big, young]), ({"older_than": 30}, [big, old]), ({"q": c}, [big]),
        ({"q": big["id"]}, [big]), ({"kind": "sample"}, []), ({"status": "claimed"}, []), ({"status": "ended"}, []),
        ({"status": "open", "sender": e}, [young]), ({"q": (await alice.file(old["id"]))["gifts"][0]["id"]}, [old]),
    ]  # fmt: skip
    for query, wanted in asked:
        assert [one["id"] for one in await alice.queue(**query)] == [one["id"] for one in wanted], query
    assert (await alice.claim(old["id"])).status_code == 200
    assert [one["id"] for one in await alice.queue(claimed_by="alice")] == [old["id"]]
    assert [one["id"] for one in await alice.queue(status="claimed")] == [old["id"]]
    assert (await alice.rule(old["id"], "return")).status_code == 200
    assert [one["id"] for one in await alice.queue(status="ended")] == [old["id"]]
    assert len(await alice.queue()) == 2
    for wrong in ({"sort": "mood"}, {"limit": 501}, {"cursor": "mine"}, {"status": "lost"}):
        assert (await alice.ask("", **wrong)).status_code == 422, wrong


async def test_odd_questions_are_refused_and_never_a_fault(house: House, alice: Seat) -> None:
    a, b = await orgs(house, 2)
    await sent(house, (a, b))
    (case,) = await alice.queue()
    name = case["id"]
    odd: list[tuple[str, Any, int]] = [
        ("claim", {"version": 2**31}, 422), ("claim", {"version": -1}, 422), ("claim", {"version": "1"}, 422),
        ("claim", {}, 422), ("notes", {"text": "a\x00b"}, 422), ("notes", {"text": "x" * 4_001}, 422),
        ("notes", {"text": "x", "more": 1}, 422), ("rulings", {"act": "pardon", "why": "x"}, 422),
        ("rulings", {"act": "release", "why": ""}, 422),
        ("rulings", {"act": "release", "why": "x", "gifts": ["\x00"]}, 422),
        ("rulings", {"act": "freeze", "why": "x", "orgs": []}, 422), ("rulings/rl_none/confirm", {}, 404),
        ("rulings/%00/confirm", {}, 422), ("rulings/rl_none/refuse", {"text": "x"}, 404),
    ]  # fmt: skip
    for act, body, status in odd:
        told = await alice.act(name, act, body)
        assert (told.status_code, told.headers["content-type"]) == (status, "application/problem+json"), (act, body)
    for path in ("/%00", "/" + "x" * 65):
        assert (await alice.ask(path)).status_code == 422
    for query in ({"q": "\x00"}, {"sender": "\x00"}, {"q": ""}, {"min_amount": 2**63}, {"older_than": -1}):
        assert (await alice.ask("", **query)).status_code == 422, query
    for place in ('["2026-01-01T00:00:00Z",1,"\\u0000"]', '["2026-01-01T00:00:00",1,"cs_1"]', "[]", "nonsense"):
        told = await alice.ask("", cursor=base64.urlsafe_b64encode(place.encode()).decode())
        assert told.status_code == 422, place
    assert await alice.queue(q="%'\\ ü") == []


async def test_pages_show_every_case_once_while_others_are_worked_on(house: House, alice: Seat) -> None:
    pairs = [tuple(await orgs(house, 2)) for _ in range(11)]
    await sent(house, *pairs)  # type: ignore[arg-type]
    for sort in ("priority", "deadline", "age"):
        seen, cursor = [], None
        while True:
            page = (await alice.ask("", sort=sort, limit=4, **({"cursor": cursor} if cursor else {}))).json()
            seen += [one["id"] for one in page["cases"]]
            cursor = page["next"]
            if cursor is None:
                break
            await asyncio.sleep(0.01)
            assert (await alice.claim(seen[0])).status_code == 200
        assert len(seen) == len(set(seen)) == 11, sort
