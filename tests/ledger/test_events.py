"""What the ledger tells the log: each change its own event, in the transaction that made it (law 12)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import httpx
import msgspec
import pytest

from detector.store import roll_back
from detector.verify import verify, walk
from ledger.access import issue_key, revoke_key
from ledger.errors import Conflict, InsufficientCredits
from tests.support import (
    CREDIT,
    LARGE,
    MEDIUM,
    REVIEWED,
    House,
    gather,
    new_key,
    open_door,
    open_house,
    rule,
    seat,
)

MIXED = rule("large", "amount >= 1000", "block") + rule("medium", "amount >= 100")


async def told(house: House, *kinds: str) -> list[asyncpg.Record]:
    """The events of these kinds, in order; all where none is named."""
    rows: list[asyncpg.Record] = await house.pool.fetch(
        "select * from log.events where cardinality($1::text[]) = 0 or kind = any($1) order by seq", kinds
    )
    return rows


def body(event: Any) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(event["body"])
    return found


async def test_a_batch_that_passes_the_gate_is_told_in_one_link_with_what_the_desk_hears(house: House) -> None:
    await house.activate(MIXED)
    sender, recipient = await house.org(amount=10**6), await house.org()
    await house.sent(sender, recipient, 1)
    amounts = [1, 2, 100, 1_000, 3]
    # The first one starts a batch at once; the rest form the next.
    await asyncio.gather(*[house.send(sender, recipient, amount) for amount in (7, *amounts, 10**9)])
    events = [one for one in await told(house) if not one["kind"].startswith(("org.", "grant.", "policy."))]
    assert [one["kind"] for one in events] == ["transfer.created"] * 7 + ["case.opened"], "10**9 opened nothing"
    assert len({one["link"] for one in events[2:]}) == 1
    assert [(body(one)["amount"], body(one)["status"]) for one in events[2:7]] == [
        (1, "pending"), (2, "pending"), (100, "held"), (1_000, "blocked"), (3, "pending"),
    ]  # fmt: skip
    for one in events[:7]:
        transfer = await house.transfer(one["subject"])
        parties = {"sender": sender, "recipient": recipient}
        assert body(one) == {"amount": transfer["amount"], "status": transfer["status"], **parties}
        assert one["actor"] == sender
    async with house.pool.acquire() as conn:
        assert (await verify(conn)).findings == []


async def test_a_batch_that_fails_at_its_commit_tells_nothing(house: House) -> None:
    sender, recipient = await house.org(amount=10**6), await house.org()
    await house.sent(sender, recipient, 1)
    await house.pool.execute("alter table log.links add constraint nothing_more check (false) not valid")
    with pytest.raises(asyncpg.CheckViolationError):
        await house.send(sender, recipient, 2)
    assert await house.pool.fetchval("select count(*) from ledger.transfers") == 1
    assert len(await told(house, "transfer.created")) == 1
    await house.pool.execute("alter table log.links drop constraint nothing_more")
    await house.sent(sender, recipient, 2)
    assert [body(one)["amount"] for one in await told(house, "transfer.created")] == [1, 2]
    async with house.pool.acquire() as conn:
        assert (await verify(conn)).findings == []


# --- every act, and what it leaves ---

KEPT = ("ledger.orgs", "ledger.grants", "ledger.transfers", "ledger.entries", "ledger.api_keys", "ledger.revocations",
        "ledger.reversals", "ledger.identity_events", "detector.activations", "detector.promotions", "detector.rulings",
        "detector.case_gifts", "log.events", "log.links", "log.head")  # fmt: skip


class Stage:
    """A house with a platform's key, a desk and two orgs, on which one act follows another."""

    def __init__(self, house: House, http: httpx.AsyncClient) -> None:
        self.house, self.http = house, http
        self.names: dict[str, str] = {}

    async def set_up(self) -> None:
        self.platform = await new_key(self.house.pool, "platform", name="ops")
        self.ann = await seat(self.http, self.house.pool, "ann")
        self.bob = await seat(self.http, self.house.pool, "bob", "lead")
        self.a = await self.house.org("a", amount=10_000 * CREDIT)
        self.b = await self.house.org("b")
        self.owner = await new_key(self.house.pool, "owner", self.a)

    async def call(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        told = await self.http.request(method, f"/v1{path}", json=body, headers={**self.platform, **headers})
        assert told.status_code < 300, told.text
        return told.json()

    async def sent(self, name: str, amount: int) -> None:
        self.names[name] = await self.house.sent(self.a, self.b, amount)

    async def grant(self, name: str, org: str, **terms: Any) -> None:
        body = {"amount": 50, "origin": "purchase", "giftable_at": "2020-01-01T00:00:00Z", **terms}
        self.names[name] = (await self.call("POST", f"/orgs/{org}/grants", body))["id"]

    async def case_of(self, name: str) -> str:
        query = "select case_id from detector.case_gifts where gift_id = $1 order by at desc limit 1"
        found: str = await self.house.pool.fetchval(query, self.names[name])
        return found

    async def ruled(self, name: str, act: str) -> None:
        told = await self.bob.rule(await self.case_of(name), act, gifts=[self.names[name]])
        assert told.status_code == 200, told.text

    async def confirmed(self, name: str) -> None:
        case = await self.case_of(name)
        (ruling,) = [one for one in (await self.ann.file(case))["rulings"] if one["status"] == "proposed"]
        told = await self.ann.act(case, f"rulings/{ruling['id']}/confirm")
        assert told.status_code == 200, told.text

    async def cancel(self, name: str) -> None:
        await self.call("POST", f"/billing/credits/transfers/{self.names[name]}/cancel", **self.owner)

    async def settle(self) -> None:
        await self.house.pass_time(3_601)
        await self.house.settle()

    async def hold_at_the_second_look(self) -> None:
        await self.house.pool.execute("update ledger.orgs set frozen = true where id = 'b'")
        await self.settle()
        await self.house.pool.execute("update ledger.orgs set frozen = false where id = 'b'")

    async def let_holds_run_out(self) -> None:
        await self.house.pass_time(10_801)
        await self.house.settle()

    async def expire(self) -> None:
        await self.house.pass_time(86_400)
        await self.house.expire()

    async def key(self) -> None:
        self.names["key"] = (await self.call("POST", "/orgs/a/keys", {"role": "reader", "name": "books"}))["key"]

    async def back(self) -> None:
        async with self.house.pool.acquire() as conn:
            await roll_back(conn, "ann")


Do = Callable[[Stage], Awaitable[Any]]
# Each act in order, and the events it leaves: kind, actor.
ACTS: list[tuple[str, Do, list[str]]] = [
    ("a new org", lambda s: s.call("POST", "/orgs", {"id": "c", "identity": "basic"}), ["org.created ops"]),
    ("a freeze", lambda s: s.call("POST", "/orgs/c/freeze"), ["org.frozen ops"]),
    ("a freeze of what is frozen", lambda s: s.call("POST", "/orgs/c/freeze"), []),
    ("an unfreeze", lambda s: s.call("POST", "/orgs/c/unfreeze"), ["org.unfrozen ops"]),
    ("identity", lambda s: s.call("PUT", "/orgs/c/identity", {"level": "full"}), ["org.identity ops"]),
    ("a new key", lambda s: s.key(), ["key.created ops"]),
    ("an old key", lambda s: s.call("POST", "/orgs/a/keys/revoke", {"key": s.names["key"]}), ["key.revoked ops"]),
    ("a grant", lambda s: s.grant("root", "a", priority=0), ["grant.issued ops"]),
    ("consumption", lambda s: s.call("POST", "/orgs/a/consume", {"amount": 1, "id": "u1"}), ["credits.consumed ops"]),
    ("a small gift", lambda s: s.sent("small", 7), ["transfer.created a"]),
    ("a cancelled one", lambda s: s.cancel("small"), ["transfer.cancelled a"]),
    ("a medium gift", lambda s: s.sent("medium", MEDIUM), ["transfer.created a", "case.opened system"]),
    ("a held one cancelled", lambda s: s.cancel("medium"),
     ["transfer.cancelled a", "gift.left system", "case.ended system"]),
    ("another", lambda s: s.sent("good", MEDIUM), ["transfer.created a", "case.opened system"]),
    ("a release", lambda s: s.ruled("good", "release"),
     ["ruling.done bob", "label.told bob", "transfer.released bob", "gift.released bob", "case.ended system"]),
    ("its settlement", lambda s: s.settle(), ["transfer.settled system"]),
    ("a reversal", lambda s: s.call("POST", f"/transfers/{s.names['good']}/reversals", {"reason": "why"},
                                    **{"Idempotency-Key": "r1"}), ["transfer.reversed ops"]),
    ("a third", lambda s: s.sent("bad", LARGE), ["transfer.created a", "case.opened system"]),
    ("a proposed block", lambda s: s.ruled("bad", "block"), ["ruling.proposed bob"]),
    ("its confirmation", lambda s: s.confirmed("bad"),
     ["ruling.confirmed ann", "label.told ann", "transfer.returned ann", "gift.ruled_out ann", "case.ended system"]),
    ("a fourth", lambda s: s.sent("late", 9), ["transfer.created a"]),
    ("a second look that holds", lambda s: s.hold_at_the_second_look(), ["transfer.held system", "case.opened system"]),
    ("a hold that runs out", lambda s: s.let_holds_run_out(),
     ["transfer.returned system", "gift.hold_expired system", "case.ended system"]),
    ("a fifth", lambda s: s.sent("rooted", 40), ["transfer.created a"]),
    ("a revocation", lambda s: s.call("POST", f"/grants/{s.names['root']}/revoke"),
     ["grant.revoked ops", "transfer.returned ops"]),
    ("a grant for a day", lambda s: s.house.grant("b", 5, expires_at=datetime.now(UTC) + timedelta(days=1)),
     ["grant.issued system"]),
    ("its end", lambda s: s.expire(), ["grant.expired system"]),
    ("a policy", lambda s: s.house.activate(REVIEWED), ["policy.activated test"]),
    ("the one before", lambda s: s.back(), ["policy.activated ann"]),
    ("a champion taken away", lambda s: s.house.promote(None), ["model.promoted test"]),
]  # fmt: skip


async def standing(house: House) -> list[Any]:
    """What must be as before where an act failed: rows, statuses and balances."""
    counts = [await house.pool.fetchval(f"select count(*) from {table}") for table in KEPT]
    transfers = await house.pool.fetch("select id, status, version from ledger.transfers order by id")
    orgs = await house.pool.fetch("select id, identity, available, reserved from ledger.orgs order by id")
    cases = await house.pool.fetch("select gift_id, standing from detector.case_gifts order by decision_id")
    return [counts, transfers, orgs, cases]


async def test_every_act_leaves_its_events_by_whom_it_was_and_one_that_fails_leaves_nothing(house: House) -> None:
    await house.activate(REVIEWED)
    async with open_door(house.dsn, lock_s=3600, hold_s=10_800) as http:
        stage = Stage(house, http)
        await stage.set_up()
        for name, do, left in ACTS:
            seq, before = await house.pool.fetchval("select seq from log.head"), await standing(house)
            if left:
                await house.pool.execute("alter table log.links add constraint no_more check (false) not valid")
                with pytest.raises((AssertionError, asyncpg.CheckViolationError), match=r"no_more|fault"):
                    await do(stage)
                await house.pool.execute("alter table log.links drop constraint no_more")
                assert await standing(house) == before, f"{name} failed and left something"
            await do(stage)
            rows = await house.pool.fetch("select * from log.events where seq > $1 order by seq", seq)
            assert [f"{one['kind']} {one['actor']}" for one in rows] == left, name
            assert len({one["link"] for one in rows}) <= 1, f"{name} made more than one link"
        async with house.pool.acquire() as conn, conn.transaction(isolation="repeatable_read"):
            assert (await walk(conn)).findings == []
        everything = " ".join(one["subject"] + one["body"] for one in await told(house))
        assert stage.names["key"] not in everything and "lg_" not in everything, "a secret is never told"


async def test_no_event_of_what_was_rolled_back_by_the_caller(house: House) -> None:
    await house.org("a", amount=10)
    seq = await house.pool.fetchval("select seq from log.head")
    async with house.pool.acquire() as conn:
        transaction = conn.transaction()
        await transaction.start()
        key = await issue_key(conn, "platform", "ops")
        await revoke_key(conn, key)
        await transaction.rollback()
        with pytest.raises(InsufficientCredits):
            await house.consume("a", 11)
    assert await house.pool.fetchval("select seq from log.head") == seq


async def test_acts_that_race_over_four_processes_leave_one_gap_free_chain_and_each_its_event(house: House) -> None:
    async with open_house(house.dsn, None) as two, open_house(house.dsn, None) as three, open_house(
        house.dsn, None
    ) as four:  # fmt: skip
        works = [house, two, three, four]
        orgs = [await house.org(amount=10_000) for _ in range(8)]
        for one in works:
            await one.know_policy()

        async def busy(nr: int) -> None:
            one = works[nr % 4]
            for turn in range(12):
                mine, other = orgs[(nr + turn) % 8], orgs[(nr + turn + 3) % 8]
                gift = await one.sent(mine, other, 1 + turn)
                with suppress(Conflict):
                    await works[(nr + turn) % 4].cancel(mine, gift) if turn % 3 == 0 else None
                if turn % 4 == 0:
                    await one.consume(other, 1)
                    await one.grant(mine, 5)

        await gather(busy(nr) for nr in range(1, 9))
        await house.pass_time(3_601)
        await gather(one.settle_in_bits() for one in works)
        rows = await told(house)
        assert [one["seq"] for one in rows] == list(range(1, len(rows) + 1))
        by_kind = {kind: [one["subject"] for one in rows if one["kind"] == f"transfer.{kind}"]
                   for kind in ("created", "cancelled", "settled")}  # fmt: skip
        transfers = await house.pool.fetch("select id, status from ledger.transfers")
        assert len(by_kind["created"]) == len(set(by_kind["created"])) == len(transfers) == 96
        for status in ("cancelled", "settled"):
            assert sorted(by_kind[status]) == sorted(one["id"] for one in transfers if one["status"] == status)
        async with house.pool.acquire() as conn:
            assert (await verify(conn)).findings == []
        await house.reconcile()
