"""Lists: what an entry means to a decision, to the microsecond; live on every worker; read as of any moment."""

from __future__ import annotations

import asyncio
import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector import lists, policy, store
from detector.case_shapes import Listed
from detector.decide import decide
from detector.gift import Gift, Hit, Opinion, Verdict, micros, stamp
from detector.list_work import add, remove
from detector.lists import FOR_EVER, NONE, Entry, Lists
from detector.shadow import as_listed
from detector.verify import verify
from tests.support import (
    CREDIT,
    NEVER_FIRES,
    House,
    Worker,
    event,
    examples,
    gift,
    limit,
    new_key,
    open_door,
    open_house,
    remember,
    rule,
)

NOW = 10**15
INSERT = "insert into detector.list_entries (list, kind, value, reason, author)"
HOLDS = policy.read(rule("any", "amount > 0"))
BLOCKS = policy.read(rule("any", "amount > 0", "block"))
UNCLEAR = policy.read(rule("unclear", "topup_age_s > 0"))
QUIET = policy.read(rule("never", "amount < 0"))
WHOLE: dict[str, Any] = {
    "sender": "a", "recipient": "b", "ip": "10.0.0.1", "device": "d1", "fingerprint": "f1",
    "sender_domain": "mail.a.example", "recipient_domain": "B.example.",
}  # fmt: skip


def entry(list: str, kind: str, value: str, since: int = 0, until: int = FOR_EVER) -> Entry:
    return Entry(7, list, kind, value, since, until)


def judged(rules: policy.Policy, listed: Lists, now: int = NOW, **more: Any) -> Any:
    asked = gift(**{**WHOLE, **more})
    return decide(asked, remember(rules, [], asked), rules, now, listed=listed)


@pytest.mark.parametrize(
    ("kind", "value", "fact"),
    [
        ("org", "a", "sender"),
        ("org", "b", "recipient"),
        ("ip", "10.0.0.1", "ip"),
        ("device", "d1", "device"),
        ("fingerprint", "f1", "fingerprint"),
        ("domain", "mail.a.example", "sender_domain"),
        ("domain", "a.example", "sender_domain"),
        ("domain", "b.example", "recipient_domain"),
    ],
)
def test_a_block_entry_on_anything_of_a_gift_blocks_it(kind: str, value: str, fact: str) -> None:
    decision = judged(QUIET, Lists(1, [entry("block", kind, value)]))
    assert decision.verdict is Verdict.BLOCK and not decision.refused
    assert decision.hits == (Hit("list", f"block_{kind}", "block", {fact: WHOLE[fact], "entry": 7}),)
    assert judged(QUIET, Lists(1, [entry("block", kind, value + "x")])).verdict is Verdict.APPROVE
    assert judged(QUIET, Lists(1, [entry("allow", kind, value)])).hits == ()


@pytest.mark.parametrize("value", ["example", "il.a.example", "a.example.com", "xa.example"])
def test_a_domain_means_itself_and_what_is_below_it(value: str) -> None:
    verdict = judged(QUIET, Lists(1, [entry("block", "domain", value)])).verdict
    assert verdict is (Verdict.BLOCK if value == "example" else Verdict.APPROVE)


@pytest.mark.parametrize("kind", ["org", "ip", "device", "fingerprint", "domain"])
def test_an_allow_entry_on_the_senders_side_lets_a_rules_hold_not_count(kind: str) -> None:
    value = {"org": "a", "ip": "10.0.0.1", "device": "d1", "fingerprint": "f1", "domain": "a.example"}[kind]
    decision = judged(HOLDS, Lists(1, [entry("allow", kind, value)]))
    assert decision.verdict is Verdict.APPROVE
    assert decision.hits == (Hit("rule", "any", "hold", {"amount": 1}, waived_by=f"list:allow_{kind}:7"),)


def test_an_allow_entry_on_the_recipient_means_nothing() -> None:
    for kind, value in (("org", "b"), ("domain", "b.example")):
        assert judged(HOLDS, Lists(1, [entry("allow", kind, value)])).verdict is Verdict.HOLD


def test_an_allow_entry_lets_the_models_hold_not_count_and_its_block_count() -> None:
    asks = policy.read('[model]\nname = "m"\n' + rule("never", "amount < 0"))
    allowed = Lists(1, [entry("allow", "org", "a")])
    asked = gift(**WHOLE)
    for verdict, expected in (("hold", Verdict.APPROVE), ("block", Verdict.BLOCK)):
        opinion = Opinion(NOW, model="m", score=0.9, hit=Hit("model", "m", verdict))
        assert decide(asked, remember(asks, [], asked), asks, NOW, opinion, listed=allowed).verdict is expected
    # law 5: a model that cannot judge still holds
    missing = Opinion(NOW, hit=Hit("degraded", "model_missing", "hold"))
    assert decide(asked, remember(asks, [], asked), asks, NOW, missing, listed=allowed).verdict is Verdict.HOLD
    assert decide(asked, remember(asks, [], asked), asks, NOW, listed=allowed).verdict is Verdict.HOLD
    assert decide(asked, remember(asks, [], asked), None, NOW, listed=allowed).verdict is Verdict.HOLD


def test_an_allow_entry_never_overrides_a_block_a_limit_a_block_entry_or_what_is_degraded() -> None:
    allowed = entry("allow", "org", "a")
    assert judged(BLOCKS, Lists(1, [allowed])).verdict is Verdict.BLOCK
    assert judged(UNCLEAR, Lists(1, [allowed])).verdict is Verdict.HOLD
    assert judged(HOLDS, Lists(1, [allowed, entry("block", "org", "b")])).verdict is Verdict.BLOCK
    for action, expected in (("hold", Verdict.HOLD), ("block", Verdict.BLOCK)):
        full = policy.read(limit("l", "sender", "1h", action, count=1))
        asked = gift(**WHOLE)
        past = remember(full, [event(NOW - 1, **{name: WHOLE[name] for name in ("sender", "recipient")})], asked)
        assert decide(asked, past, full, NOW, listed=Lists(1, [allowed])).verdict is expected


@examples(300)
@given(st.integers(0, 20), st.integers(1, 20), st.integers(-2, 45), st.sampled_from(["allow", "block"]))
def test_an_entry_counts_to_the_microsecond(since: int, length: int, at: int, name: str) -> None:
    listed = Lists(1, [entry(name, "org", "a", NOW + since, NOW + since + length)])
    counts = since <= at < since + length
    verdict = judged(HOLDS, listed, NOW + at).verdict
    expected = {"allow": Verdict.APPROVE, "block": Verdict.BLOCK}[name] if counts else Verdict.HOLD
    assert verdict is expected


@examples(200)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["allow", "block"]),
            st.sampled_from(["org", "ip", "device"]),
            st.sampled_from("abc"),
            st.integers(0, 9),
            st.integers(1, 9),
        ),
        max_size=12,
    ),
    st.integers(0, 20),
)
def test_a_lookup_agrees_with_reading_every_entry(drawn: list[tuple[str, str, str, int, int]], at: int) -> None:
    entries = [Entry(nr, *named, since, since + span) for nr, (*named, since, span) in enumerate(drawn)]  # type: ignore[misc]
    asked = gift(sender="a", recipient="b", ip="c", device="a")
    facts = [("org", "a", True), ("org", "b", False), ("ip", "c", True), ("device", "a", True)]

    def any_of(name: str, sides: tuple[bool, ...]) -> bool:
        return any(
            (one.list, one.kind, one.value) == (name, kind, value) and one.since <= at < one.until
            for one in entries
            for kind, value, side in facts
            if side in sides
        )

    listed = Lists(1, entries)
    assert bool(listed.hits(asked, at)) == any_of("block", (True, False))
    assert (listed.allowed(asked, at) is not None) == any_of("allow", (True,))


# --- in the database ---


async def put(house: House, name: Any, kind: Any, value: str, **more: Any) -> int:
    async with house.pool.acquire() as conn:
        return (await add(conn, name, Listed(kind, value, "a test", **more), "lena")).id


async def take(house: House, entry: int) -> None:
    async with house.pool.acquire() as conn:
        await remove(conn, entry, "lena")


async def verdict(house: House, transfer: str, look: int = 1) -> str:
    found: str = await house.pool.fetchval("select verdict from detector.decisions where id = $1", f"{transfer}.{look}")
    return found


async def test_a_change_counts_from_the_next_gift_on_and_the_log_tells_of_it(house: House) -> None:
    a, b = await house.org(amount=100 * CREDIT), await house.org()
    assert (await house.send(a, b, CREDIT)).status == 201
    blocked = await put(house, "block", "org", b)
    first = await house.sent(a, b, CREDIT)
    assert await verdict(house, first) == "block"
    await take(house, blocked)
    assert await verdict(house, await house.sent(a, b, CREDIT)) == "approve"
    rows = await house.pool.fetch("select kind, subject, actor from log.events where kind like 'list.%' order by seq")
    assert [tuple(row) for row in rows] == [
        ("list.added", str(blocked), "lena"), ("list.removed", str(blocked), "lena"),
    ]  # fmt: skip
    async with house.pool.acquire() as conn:
        assert (await verify(conn)).findings == []


async def test_an_allow_entry_passes_what_a_rule_holds_and_the_record_says_so(house: House) -> None:
    await house.activate(rule("any", "amount > 0"))
    a, b = await house.org(amount=100 * CREDIT), await house.org()
    held = await house.sent(a, b, CREDIT)
    allowed = await put(house, "allow", "org", a)
    passed = await house.sent(a, b, CREDIT)
    assert [await verdict(house, one) for one in (held, passed)] == ["hold", "approve"]
    hits = await house.pool.fetchval("select hits from detector.decisions where id = $1", f"{passed}.1")
    assert f'"waived_by":"list:allow_org:{allowed}"' in hits


async def test_what_waits_in_the_lock_is_judged_by_the_lists_of_its_second_look(house: House) -> None:
    a, b, c = await house.org(amount=100 * CREDIT), await house.org(), await house.org()
    to_b, to_c = await house.sent(a, b, CREDIT), await house.sent(a, c, CREDIT)
    await house.pass_time(3_599)
    await put(house, "block", "org", b)
    await house.pass_time(1)
    assert await house.settle() == 2
    assert (await house.transfer(to_b))["status"] == "returned"
    assert (await house.transfer(to_c))["status"] == "settled"
    assert [await verdict(house, one, 2) for one in (to_b, to_c)] == ["block", "approve"]


async def test_a_decision_replayed_over_all_entries_ever_falls_as_it_fell(house: House) -> None:
    """Law 11, and what a back-test reads: the lists of a moment are what the decisions of that moment saw."""
    orgs = [await house.org(amount=1000 * CREDIT) for _ in range(4)]

    async def change(nr: int) -> None:
        for turn in range(12):
            name = await put(house, "block", "org", orgs[nr]) if turn % 2 else None
            await asyncio.sleep(0.003)
            if name:
                await take(house, name)

    async def send(nr: int) -> None:
        for _ in range(40):
            await house.send(orgs[nr], orgs[(nr + 1) % 4], CREDIT)

    await asyncio.gather(*[change(nr) for nr in range(3)], *[send(nr) for nr in range(4)])
    async with house.pool.acquire() as conn:
        ever = await store.all_lists(conn)

    def asked(row: asyncpg.Record) -> Gift:
        return gift(sender=row["sender"], recipient=row["recipient"])

    rows = await house.pool.fetch("select id, at, sender, recipient, verdict from detector.decisions")
    expected = {row["id"]: "block" if ever.hits(asked(row), micros(row["at"])) else "approve" for row in rows}
    assert {row["id"]: row["verdict"] for row in rows} == expected
    assert set(expected.values()) == {"block", "approve"} and len(ever.entries) == 18


async def test_lists_are_live_on_four_workers_with_the_next_batch(four: tuple[str, list[Worker]]) -> None:
    dsn, started = four
    pool = await asyncpg.create_pool(dsn, min_size=1, max_size=2)
    async with pool.acquire() as conn:
        await store.add_policy(conn, NEVER_FIRES, "test")
    lead, judge = await new_key(pool, "lead", name="lena"), await new_key(pool, "service", name="lists-four")
    clients = [one.client() for one in started]
    numbers = iter(range(10_000))

    async def verdicts(device: str) -> list[str]:
        plain = {"recipient": "y", "amount": 1, "device": device}
        asked = [{"id": f"g{next(numbers)}", "sender": f"x{nr}", **plain} for nr in range(4)]
        answers = await asyncio.gather(
            *[client.post("/v1/score", json=one, headers=judge) for client, one in zip(clients, asked, strict=True)]
        )
        return [answer.json()["verdict"] for answer in answers]

    assert await verdicts("four-device") == ["approve"] * 4
    for _ in range(5):
        body = {"kind": "device", "value": "four-device", "reason": "stolen"}
        made = await clients[0].post("/v1/lists/block", json=body, headers=lead)
        assert made.status_code == 201, made.text
        assert await verdicts("four-device") == ["block"] * 4
        assert await verdicts("another") == ["approve"] * 4
        gone = await clients[3].delete(f"/v1/lists/entries/{made.json()['id']}", headers=lead)
        assert gone.status_code == 200
        assert await verdicts("four-device") == ["approve"] * 4
    for client in clients:
        await client.aclose()
    await pool.close()


async def test_an_entry_ends_at_its_expiry_by_the_databases_clock(house: House) -> None:
    a, b = await house.org(amount=100 * CREDIT), await house.org()
    seen: set[tuple[bool, str]] = set()
    for span in (1, 4, 16):  # on a busy machine the first may be over before a gift is sent
        until = await house.pool.fetchval("select clock_timestamp()") + timedelta(seconds=span)
        await put(house, "block", "org", a, expires_at=stamp(until))
        found = []
        while await house.pool.fetchval("select clock_timestamp()") <= until:
            found.append(await house.sent(a, b, 1))
        found.append(await house.sent(a, b, 1))
        rows = await house.pool.fetch("select at, verdict from detector.decisions where left(id, -2) = any($1)", found)
        seen |= {(row["at"] < until, row["verdict"]) for row in rows}
        if len(seen) > 1:
            break
    assert seen == {(True, "block"), (False, "approve")}


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("delete from detector.list_entries", "append-only"),
        ("truncate detector.list_entries", "append-only"),
        ("update detector.list_entries set value = 'x'", "nothing else of it changes"),
        (
            "update detector.list_entries set removed_at = now(), removed_by = 'x', reason = 'y'",
            "nothing else of it changes",
        ),
        ("update detector.list_entries set removed_at = added_at - interval '1s', removed_by = 'x'", "check"),
        (
            INSERT + " values ('grey', 'org', 'a', 'b', 'c')",
            "check",
        ),
    ],
)
async def test_the_database_keeps_what_was_listed(house: House, statement: str, said: str) -> None:
    await put(house, "block", "org", "a")
    with pytest.raises(asyncpg.PostgresError, match=said):
        await house.pool.execute(statement)


async def test_a_change_by_hand_counts_as_well(house: House) -> None:
    a, b = await house.org(amount=100 * CREDIT), await house.org()
    await house.sent(a, b, 1)
    await house.pool.execute(
        INSERT + " values ('block', 'org', $1, 'by hand', 'dba')",
        a,
    )
    assert await verdict(house, await house.sent(a, b, 1)) == "block"
    await house.pool.execute("update detector.list_entries set removed_at = clock_timestamp(), removed_by = 'dba'")
    assert await verdict(house, await house.sent(a, b, 1)) == "approve"


# --- over HTTP ---


async def keys(dsn: str) -> dict[str, dict[str, str]]:
    pool = await asyncpg.create_pool(dsn, min_size=1, max_size=1)
    made = {role: await new_key(pool, role, name=role[0] + "nn") for role in ("lead", "analyst", "auditor", "service")}
    await pool.close()
    return made


async def test_the_routes_of_lists(database: str) -> None:
    key = await keys(database)
    async with open_door(database) as http:

        async def post(name: str, role: str = "lead", **more: Any) -> httpx.Response:
            body = {"kind": "domain", "value": "Evil.Example.", "reason": "phishing", **more}
            return await http.post(f"/v1/lists/{name}", json=body, headers=key[role])

        made = await post("block", expires_at="2999-01-01T02:00:00+02:00")
        assert made.status_code == 201
        one = made.json()
        assert (one["id"], one["list"], one["kind"], one["value"]) == (1, "block", "domain", "evil.example")
        assert (one["author"], one["expires_at"]) == ("lnn", "2999-01-01T00:00:00.000000Z")
        again = await post("block", value="evil.example")
        assert again.status_code == 409 and again.json()["code"] == "list_conflict"
        assert "entry 1, by lnn on" in again.json()["detail"]
        assert (await post("allow")).status_code == 201
        for role in ("analyst", "auditor", "service"):
            assert (await post("block", role, value="x")).status_code == 403
        for wrong, said in [
            ({"expires_at": "2020-01-01T00:00:00Z"}, "is over"),
            ({"expires_at": "2999-01-01T00:00:00"}, "needs a time zone"),
            ({"expires_at": "soon"}, "is no time"),
            ({"kind": "planet"}, "kind"),
            ({"reason": ""}, "reason"),
            ({"reason": "a\0b"}, "reason"),
            ({"value": "."}, "names no domain"),
        ]:
            refused = await post("block", **wrong)
            assert refused.status_code == 422 and said in refused.json()["detail"], (wrong, refused.text)
        assert (await post("grey")).status_code == 422

        async def listed(**query: Any) -> list[int]:
            answer = await http.get("/v1/lists", params=query, headers=key["analyst"])
            assert answer.status_code == 200, answer.text
            return [one["id"] for one in answer.json()["entries"]]

        stood = datetime.now(UTC)
        await asyncio.sleep(0.01)
        gone = await http.delete("/v1/lists/entries/1", headers=key["lead"])
        assert gone.status_code == 200 and gone.json()["removed_by"] == "lnn"
        twice = await http.delete("/v1/lists/entries/1", headers=key["lead"])
        assert twice.status_code == 409 and "entry 1 was taken off by lnn on" in twice.json()["detail"]
        assert (await http.delete("/v1/lists/entries/9", headers=key["lead"])).status_code == 404
        assert (await http.delete("/v1/lists/entries/2", headers=key["analyst"])).status_code == 403
        assert await listed() == [2]
        assert await listed(as_of=stood.isoformat()) == [1, 2]
        assert await listed(standing=False) == [1, 2]
        assert await listed(standing=False, list="block", kind="domain", value="EVIL.example") == [1]
        assert (await post("block")).json()["id"] == 3
        page = (await http.get("/v1/lists", params={"standing": False, "limit": 2}, headers=key["lead"])).json()
        assert page["next"] == 2
        assert await listed(standing=False, cursor=2) == [3]


def test_nothing_listed_costs_no_lookup() -> None:
    assert NONE.hits(gift(), NOW) == [] and NONE.allowed(gift(), NOW) is None
    assert lists.waive([], "x") == []


def test_a_challengers_hold_counts_as_the_lists_of_then_let_it() -> None:
    row = {**WHOLE, "id": "g1.1", "at": datetime.fromtimestamp(NOW / 10**6, UTC)}
    then, later = entry("allow", "ip", "10.0.0.1", until=NOW + 1), entry("allow", "ip", "10.0.0.1", NOW + 1)
    assert as_listed(row, Verdict.HOLD, Lists(1, [then])) is Verdict.APPROVE
    assert as_listed(row, Verdict.HOLD, Lists(1, [later])) is Verdict.HOLD
    assert as_listed(row, Verdict.BLOCK, Lists(1, [then])) is Verdict.BLOCK


async def test_a_ledger_that_asks_names_domains_and_older_gifts_keep_their_hash(database: str) -> None:
    key = await keys(database)
    pool = await asyncpg.create_pool(database, min_size=1, max_size=1)
    async with pool.acquire() as conn:
        await store.add_policy(conn, NEVER_FIRES, "test")
    async with open_door(database) as http:
        body = {"kind": "domain", "value": "evil.example", "reason": "phishing"}
        assert (await http.post("/v1/lists/block", json=body, headers=key["lead"])).status_code == 201

        async def asked(name: str, **more: str) -> httpx.Response:
            gift = {"id": name, "sender": "a", "recipient": "b", "amount": 1, **more}
            return await http.post("/v1/score", json=gift, headers=key["service"])

        first = (await asked("g1", recipient_domain="Mail.Evil.example")).json()
        assert (first["verdict"], first["reasons"]) == ("block", ["list:block_domain"])
        assert (await asked("g1", recipient_domain="Mail.Evil.example")).json() == first
        assert (await asked("g1")).status_code == 422, "the domain is part of what was asked"
        assert (await asked("g2", sender_domain="good.example")).json()["verdict"] == "approve"
        for wrong in ("", "a b", "x\n", ".example", "a..b", "a" * 254):
            assert (await asked("g3", sender_domain=wrong)).status_code == 422, wrong
        assert (await asked("g4")).json()["verdict"] == "approve"
    rows = await pool.fetch(
        "select id, sender_domain, recipient_domain, payload_hash from detector.decisions order by id"
    )
    assert [tuple(row)[1:3] for row in rows] == [(None, "Mail.Evil.example"), ("good.example", None), (None, None)]
    # As this version's forerunner hashed it, which knew of no domains.
    named = ["ip", "device", "fingerprint", "tier", "recipient_tier", "identity", "sender_age_s", "recipient_age_s"]
    named += ["sender_available", "topup_age_s", "same_owner", "promo_amount", "young_amount"]
    meant = {"id": "g4", "sender": "a", "recipient": "b", "amount": 1, **dict.fromkeys(named)}
    assert rows[2]["payload_hash"] == hashlib.sha256(json.dumps(meant, separators=(",", ":")).encode()).digest()
    await pool.close()


async def test_the_domain_of_an_org_is_listed_at_its_first_look_and_in_the_lock(database: str) -> None:
    async with open_house(database) as house, open_door(database) as http:
        platform, lead = await new_key(house.pool, "platform"), await new_key(house.pool, "lead", name="lena")
        told = await http.post("/v1/orgs", json={"id": "evil", "domain": "mail.evil.example"}, headers=platform)
        assert (told.status_code, told.json()["domain"]) == (201, "mail.evil.example")
        assert (await http.post("/v1/orgs", json={"id": "x", "domain": "a b"}, headers=platform)).status_code == 422
        sender = await house.org(amount=10)
        gift = await house.sent(sender, "evil", 1)
        body = {"kind": "domain", "value": "evil.example", "reason": "phishing"}
        assert (await http.post("/v1/lists/block", json=body, headers=lead)).status_code == 201
        assert (await house.transfer(await house.sent(sender, "evil", 1)))["status"] == "blocked"
        await house.pass_time(3_601)
        await house.settle()
        assert (await house.transfer(gift))["status"] == "returned"
