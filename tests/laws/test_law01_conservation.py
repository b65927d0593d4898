"""Law 1: Σ entries = 0 per posting; Σ balances = Σ issued − consumed − expired − revoked, after every step.

The machine plays the platform and its customers on a real database; the model beside it is a few dictionaries.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import msgspec
import pytest
from hypothesis import Phase
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from ledger.books import statement_of
from ledger.errors import Conflict, InsufficientCredits, Invalid
from ledger.funding import reconcile
from ledger.store import SQL
from tests.support import House, examples, limit, open_house
from tests.support import rule as policy_rule

ORGS = ("a", "b", "c")
LOCK_H, HOLD_H = 2, 3
# Small gifts pass, middling ones are held, large ones blocked; a pair may do three an hour.
POLICY = (
    limit("pair", "pair", "1h", count=3)
    + policy_rule("medium", "amount between 40 and 59")
    + policy_rule("large", "amount between 60 and 79", "block")
)
PAIR_MOST = 3
# Shrinking dozens of steps on a real database takes minutes; the steps that failed are printed as they are.
UNSHRUNK = (Phase.explicit, Phase.generate)
# Amount, origin, priority, hours to live: enough for most gifts; neither age nor expiry alone gives the burn order.
FIRST_GRANTS = [(90, "purchase", 100, None), (80, "promo", 100, 3), (15, "promo", 0, 6)]


@dataclass
class Parcel:
    """A grant as the model knows it; hours are the model's clock."""

    org: str
    order: tuple[Any, ...]
    expires_h: int | None
    available: int
    nature: tuple[Any, ...]
    reserved: int = 0
    giftable: bool = True
    amount: int = 0
    parent: str = ""
    revoked: bool = False
    # Of the root alone: what of it was consumed anywhere, what was taken back, and what is owed for it.
    consumed: int = 0
    taken_back: int = 0
    owed: int = 0
    told: dict[str, Any] | None = None

    @property
    def root(self) -> str:
        return str(self.nature[1])

    def live(self, now_h: int, outlive_h: int = 0) -> bool:
        return self.expires_h is None or self.expires_h - now_h > outlive_h


@dataclass
class Waiting:
    """A gift in the lock."""

    sender: str
    recipient: str
    slices: list[tuple[str, int]]
    due_h: int
    held: bool


@dataclass
class Settled:
    """A gift that settled: the grants it made, and what of it is not reversed yet."""

    sender: str
    recipient: str
    minted: list[str]
    left: int


@dataclass
class Model:
    now_h: int = 0
    grants: dict[str, Parcel] = field(default_factory=dict)
    lock: dict[str, Waiting] = field(default_factory=dict)
    settled: dict[str, Settled] = field(default_factory=dict)
    frozen: set[str] = field(default_factory=set)
    sums: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("issued", "consumed", "expired", "revoked"), 0))
    recent: dict[tuple[str, str], int] = field(default_factory=dict)

    def cut(self, org: str, amount: int, may: Callable[[Parcel], bool]) -> list[tuple[str, int]] | None:
        slices = []
        mine = [(one.order, name) for name, one in self.grants.items() if one.org == org and may(one)]
        for _, name in sorted(mine):
            part = min(self.grants[name].available, amount)
            if part:
                slices.append((name, part))
                amount -= part
        return None if amount else slices

    def most(self, amount: int, may: Callable[[Parcel], bool]) -> list[tuple[str, int]]:
        """Like cut, but as much as there is."""
        there = sum(one.available for one in self.grants.values() if may(one))
        found = []
        for _, name in sorted((one.order, name) for name, one in self.grants.items() if may(one)):
            part = min(self.grants[name].available, amount, there)
            if part:
                found.append((name, part))
                amount -= part
        return found

    def let_go(self, waiting: Waiting, deliver: bool) -> list[tuple[str, int]]:
        """Empty a gift's slices out of the lock; those that are to be delivered."""
        given = []
        for name, part in waiting.slices:
            one = self.grants[name]
            one.reserved -= part
            if not one.live(self.now_h):
                self.sums["expired"] += part
            elif deliver:
                given.append((name, part))
            else:
                one.available += part
        return given


def told(record: asyncpg.Record) -> dict[str, Any]:
    """What a revocation says of itself, but for its moment, which moves with time."""
    return {name: value for name, value in record.items() if name != "at"}


NATURE = ("origin", "root_id", "priority", "expires_at", "giftable", "giftable_at", "rooted_at")


class Ledger(RuleBasedStateMachine):
    """Every act that moves credits, in any order, with time passing in hours."""

    gifts = Bundle("gifts")
    fresh_dsn: Callable[[], str]
    drop: Callable[[str], None]

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.model = Model()
        self.turn = 0

    def do(self, act: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(act)

    @initialize()
    def open(self) -> None:
        self.dsn = type(self).fresh_dsn()
        self.door = open_house(self.dsn, POLICY, lock_s=LOCK_H * 3600, hold_s=HOLD_H * 3600)
        self.house: House = self.do(self.door.__aenter__())
        for name in ORGS:
            self.do(self.house.org(name))
            for grant in FIRST_GRANTS:
                self.issue(name, *grant)

    def teardown(self) -> None:
        if hasattr(self, "door"):
            self.do(self.door.__aexit__(None, None, None))
            type(self).drop(self.dsn)
        self.runner.close()

    # --- acts ---

    @rule(
        org=st.sampled_from(ORGS),
        amount=st.integers(1, 120),
        origin=st.sampled_from(["purchase", "promo", "free_tier"]),
        priority=st.sampled_from([0, 100]),
        hours=st.sampled_from([None, 1, 3, 4, 6]),
    )
    def issue(self, org: str, amount: int, origin: str, priority: int, hours: int | None) -> None:
        async def act() -> asyncpg.Record:
            now = await self.house.pool.fetchval("select clock_timestamp()")
            expires = {"expires_at": now + timedelta(hours=hours)} if hours else {}
            name = await self.house.grant(org, amount, origin=origin, priority=priority, **expires)
            return await self.row(name)

        self.adopt(self.do(act()), None if hours is None else self.model.now_h + hours)
        self.model.sums["issued"] += amount

    async def row(self, name: str) -> asyncpg.Record:
        row = await self.house.pool.fetchrow("select * from ledger.grants where id = $1", name)
        assert row is not None
        return row

    def adopt(self, row: asyncpg.Record, expires_h: int | None) -> None:
        order = (row["priority"], row["expires_at"], row["created_at"], row["id"])
        # The moments move with time, alike for all: the order and equality of natures do not.
        nature = tuple(row[name] for name in NATURE if not name.endswith("_at"))
        self.model.grants[row["id"]] = Parcel(
            row["org_id"], order, expires_h, row["amount"], nature, giftable=row["giftable"],
            amount=row["amount"], parent=row["parent_id"],
        )  # fmt: skip

    @rule(org=st.sampled_from(ORGS), amount=st.integers(1, 60) | st.integers(60, 200))
    def consume(self, org: str, amount: int) -> None:
        slices = self.model.cut(org, amount, lambda one: one.live(self.model.now_h))
        if slices is None:
            with pytest.raises(InsufficientCredits):
                self.do(self.house.consume(org, amount))
            return
        self.do(self.house.consume(org, amount))
        for name, part in slices:
            self.model.grants[name].available -= part
            self.model.grants[self.model.grants[name].root].consumed += part
        self.model.sums["consumed"] += amount

    @rule(number=st.integers(0, 99), part=st.sampled_from([None, 3, 40, 200]))
    def revoke(self, number: int, part: int | None) -> None:
        # Rather one of which a part was gifted on or waits in the lock, since that is where it is hard.
        known = self.model.grants
        names = [name for name, one in known.items() if one.parent or one.reserved] or list(known)
        name = names[number % len(names)]
        root = self.model.grants[self.model.grants[name].root]
        if root.order[-1] != name:
            with pytest.raises(Invalid):
                self.do(self.house.revoke(name))
        name = root.order[-1]
        left = root.amount - root.taken_back
        if part is not None and (part > left or root.revoked):
            with pytest.raises(Conflict):
                self.do(self.house.revoke(name, part))
            return
        record = self.do(self.house.revoke(name, part))
        if root.revoked:
            assert told(record) == root.told, "the second answer says what the first did"
            return
        self.take_back(root, left if part is None else part, record)

    def take_back(self, root: Parcel, want: int, record: asyncpg.Record) -> None:
        """What the books must show of a revocation, worked out anew."""
        model, name = self.model, root.order[-1]
        family = [one for one in model.grants.values() if one.root == name]
        whole, live = want == root.amount - root.taken_back, root.live(model.now_h)
        unspent = sum(one.available for one in family) if live else 0
        returned = record["returned"]
        for gift in returned:
            model.let_go(model.lock.pop(gift), deliver=False)
        assert whole <= (not any(one.reserved for one in family)), "nothing of it stays in the lock"
        assert bool(returned) <= (whole or want > unspent), "no gift is returned without need"
        taken = min(want, sum(one.available for one in family)) if live else 0
        for one in family if not live else ():
            model.sums["expired"] += one.available
            one.available = 0
        rows = {one["id"]: one["available"] for one in self.do(self.rows())}
        for one in family:
            assert 0 <= rows[one.order[-1]] <= one.available
            one.available, one.revoked = rows[one.order[-1]], whole
        model.sums["revoked"] += taken
        owed = min(want - taken, root.consumed - root.owed) if root.nature[0] == "purchase" else 0
        assert (record["taken"], record["receivable"], record["forgone"]) == (taken, owed, want - taken - owed)
        root.taken_back, root.owed, root.told = root.taken_back + want, root.owed + owed, told(record)

    async def rows(self) -> list[asyncpg.Record]:
        return list(await self.house.pool.fetch("select * from ledger.grants"))

    @rule(number=st.integers(0, 99), part=st.sampled_from([None, 5, 30, 200]), only_gift=st.booleans())
    def reverse(self, number: int, part: int | None, only_gift: bool) -> None:
        if not self.model.settled:
            return
        name = list(self.model.settled)[number % len(self.model.settled)]
        gift = self.model.settled[name]
        if not gift.left or (part or 0) > gift.left:
            with pytest.raises(Conflict):
                self.do(self.house.reverse(name, part, only_gift=only_gift))
            return
        asked = gift.left if part is None else part
        record = self.do(self.house.reverse(name, part, only_gift=only_gift))
        now_h = self.model.now_h
        back = self.model.most(asked, lambda one: one.order[-1] in gift.minted and one.live(now_h))
        for slice_, amount in back:
            self.model.grants[slice_].available -= amount
            self.model.grants[self.model.grants[slice_].parent].available += amount
        missing = asked - sum(amount for _, amount in back)
        repaid = (
            []
            if only_gift
            else self.model.most(missing, lambda one: one.org == gift.recipient and one.giftable and one.live(now_h))
        )
        self.adopt_repaid(name, gift, repaid)
        got = sum(amount for _, amount in back + repaid)
        assert (record["amount"], record["repaid"]) == (got, got - (asked - missing))
        gift.left -= got

    def adopt_repaid(self, name: str, gift: Settled, repaid: list[tuple[str, int]]) -> None:
        """The sender's new slices of what the recipient had besides the gift."""
        rows = [one for one in self.do(self.rows()) if one["transfer_id"] == name and one["org_id"] == gift.sender]
        new = [one for one in rows if one["id"] not in self.model.grants]
        assert sorted((one["parent_id"], one["amount"]) for one in new) == sorted(repaid)
        for slice_, amount in repaid:
            self.model.grants[slice_].available -= amount
        for one in new:
            self.adopt(one, self.model.grants[one["parent_id"]].expires_h)

    @rule(target=gifts, parties=st.permutations(ORGS), amount=st.integers(1, 39))
    def send(self, parties: list[str], amount: int) -> Any:
        sender, recipient, _ = parties
        told = self.do(self.house.send(sender, recipient, amount))
        body = msgspec.json.decode(told.body)
        word = body["status"] if told.status == 201 else body["code"]
        assert (told.status, word) == self.expected(sender, recipient, amount)
        return self.open_gift(body, sender, recipient, amount) if told.status == 201 else multiple()

    @rule(target=gifts, parties=st.permutations(ORGS), amount=st.integers(40, 80))
    def send_much(self, parties: list[str], amount: int) -> Any:
        return self.send(parties, amount)

    def expected(self, sender: str, recipient: str, amount: int) -> tuple[int, str]:
        model = self.model
        if sender in model.frozen:
            return 403, "org_frozen"
        if recipient in model.frozen:
            return 422, "recipient_unavailable"
        if model.cut(sender, amount, self.may_gift) is None:
            return 402, "insufficient_credits"
        if model.recent.get((sender, recipient), 0) >= PAIR_MOST:
            return 429, "rate_limited"
        return 201, "held" if 40 <= amount <= 59 else "blocked" if 60 <= amount <= 79 else "pending"

    def may_gift(self, one: Parcel) -> bool:
        return one.giftable and one.live(self.model.now_h, LOCK_H)

    def open_gift(self, body: dict[str, Any], sender: str, recipient: str, amount: int) -> str:
        model, held = self.model, body["status"] == "held"
        if body["status"] != "blocked":
            slices = model.cut(sender, amount, self.may_gift)
            assert slices is not None
            for name, part in slices:
                model.grants[name].available -= part
                model.grants[name].reserved += part
            due = model.now_h + (HOLD_H if held else LOCK_H)
            model.lock[body["id"]] = Waiting(sender, recipient, slices, due, held)
            model.recent[sender, recipient] = model.recent.get((sender, recipient), 0) + 1
        return str(body["id"])

    @rule(parties=st.permutations(ORGS), amount=st.integers(1, 39))
    def give(self, parties: list[str], amount: int) -> None:
        """A gift on its whole way, so that chains grow long enough to be taken back."""
        self.send(parties, amount)
        self.let_time_pass(LOCK_H, "settle")

    @rule(name=consumes(gifts))
    def cancel(self, name: str) -> None:
        sender = self.do(self.house.transfer(name))["sender"]
        waiting = self.model.lock.pop(name, None)
        if waiting is None:
            with pytest.raises(Conflict):
                self.do(self.house.cancel(sender, name))
            return
        assert self.do(self.house.cancel(sender, name))["status"] == "cancelled"
        self.model.let_go(waiting, deliver=False)

    @rule(org=st.sampled_from(ORGS), frozen=st.sampled_from([False, False, True]))
    def freeze_or_thaw(self, org: str, frozen: bool) -> None:
        self.model.frozen = self.model.frozen - {org} | ({org} if frozen else set())
        self.do(self.house.freeze(org, frozen))

    @rule(hours=st.sampled_from([1, 2, 3, 3]), then=st.sampled_from(["settle", "both", "expire", "nothing"]))
    def let_time_pass(self, hours: int, then: str) -> None:
        self.do(self.house.pass_time(hours * 3600))
        self.model.now_h += hours
        self.model.recent.clear()
        for one in self.model.grants.values():
            shift = timedelta(hours=hours)
            priority, expires_at, created_at, name = one.order
            one.order = (priority, expires_at - shift, created_at - shift, name)
        for act in {
            "settle": [self.settle],
            "expire": [self.expire],
            "both": [self.expire, self.settle],
            "nothing": [],
        }[then]:
            act()

    def settle(self) -> None:
        model = self.model
        due = [name for name, one in model.lock.items() if one.due_h <= model.now_h]
        assert self.do(self.house.settle()) == len(due)
        for name in due:
            waiting = model.lock.pop(name)
            row = self.do(self.house.transfer(name))
            if waiting.held:
                model.let_go(waiting, deliver=False)
                assert (row["status"], row["reason"]) == ("returned", "hold_expired")
            elif {waiting.sender, waiting.recipient} & model.frozen:
                waiting.held, waiting.due_h = True, model.now_h + HOLD_H
                model.lock[name] = waiting
                assert row["status"] == "held"
            else:
                self.deliver(name, waiting, row)

    def deliver(self, name: str, waiting: Waiting, row: asyncpg.Record) -> None:
        given = self.model.let_go(waiting, deliver=True)
        assert row["status"] == ("settled" if given else "returned")
        minted = self.do(self.house.pool.fetch("select * from ledger.grants where transfer_id = $1", name))
        assert sorted((one["parent_id"], one["amount"]) for one in minted) == sorted(given)
        for one in minted:
            parent = self.model.grants[one["parent_id"]]
            self.adopt(one, parent.expires_h)
            assert self.model.grants[one["id"]].nature == parent.nature
            assert one["org_id"] == waiting.recipient
        if given:
            left = sum(part for _, part in given)
            made = [one["id"] for one in minted]
            self.model.settled[name] = Settled(waiting.sender, waiting.recipient, made, left)

    def expire(self) -> None:
        gone = [one for one in self.model.grants.values() if one.available and not one.live(self.model.now_h)]
        assert self.do(self.house.expire()) == len(gone)
        for one in gone:
            self.model.sums["expired"] += one.available
            one.available = 0

    # --- the law ---

    @invariant()
    def conserved(self) -> None:
        if not hasattr(self, "house"):
            return
        sums = self.do(self.house.reconcile())
        model = self.model
        assert {name: sums[name] for name in model.sums} == model.sums
        assert sums["balances"] == sum(one.available + one.reserved for one in model.grants.values())
        assert sums["in_lock"] == sum(part for one in model.lock.values() for _, part in one.slices)
        owed = self.do(self.house.pool.fetchval("select coalesce(sum(amount), 0) from ledger.receivables"))
        assert owed == sum(one.owed for one in model.grants.values())
        rows = self.do(self.house.pool.fetch("select id, available, reserved from ledger.grants"))
        assert {row["id"]: (row["available"], row["reserved"]) for row in rows} == {
            name: (one.available, one.reserved) for name, one in model.grants.items()
        }

    @invariant()
    def explained(self) -> None:
        """Every unit by its lines, in any span of time: opening balance and lines make the closing one."""
        if hasattr(self, "house"):
            self.do(self.statements())

    async def statements(self) -> None:
        """One org and one span a step, in turns: all of them at every step would take most of the time."""
        self.turn += 1
        org, (since, until) = ORGS[self.turn % len(ORGS)], SPANS[self.turn % len(SPANS)]
        now = await self.house.pool.fetchval("select clock_timestamp()")
        row = await self.house.pool.fetchrow("select * from ledger.orgs where id = $1", org)
        late = [one for one in self.model.grants.values() if one.org == org and not one.live(self.model.now_h)]
        told = await statement_of(self.house.pool, org, None, now, None, 5000)
        assert told["available"] == row["available"] - sum(one.available for one in late)
        assert told["reserved"] == row["reserved"]
        await explain(self.house, org, since and now + since, now + until)


SPANS = [(None, timedelta(0)), (timedelta(hours=-3), timedelta(0)), (None, timedelta(hours=5)),
         (timedelta(hours=-5.5), timedelta(hours=-1.5)), (timedelta(hours=2), timedelta(hours=8))]  # fmt: skip


async def explain(house: House, org: str, since: datetime | None, until: datetime) -> None:
    """Hold one statement to its lines, its sums and the statement of its opening."""
    told = await statement_of(house.pool, org, since, until, None, 5000)
    assert told["next_cursor"] is None
    for account in ("available", "reserved"):
        moved = sum(one["amount"] for one in told["entries"] if one["account"] == account)
        assert told["opening"][account] + moved == told[account] >= 0
    gains = told["issued"] + told["received"] + told["recovered"]
    losses = told["sent"] + told["reversed"] + told["consumed"] + told["revoked"] + told["expired"]
    assert sum(told["opening"].values()) + gains - losses == told["available"] + told["reserved"]
    if since is not None:
        before = await statement_of(house.pool, org, None, since, None, 5000)
        assert {name: before[name] for name in told["opening"]} == told["opening"]


def test_credits_are_conserved_whatever_is_done(
    fresh_databases: tuple[Callable[[], str], Callable[[str], None]],
) -> None:
    Ledger.fresh_dsn, Ledger.drop = staticmethod(fresh_databases[0]), staticmethod(fresh_databases[1])
    run_state_machine_as_test(Ledger, settings=examples(25, steps=40, phases=UNSHRUNK))


# --- the same law in SQL ---


async def post(house: House, *legs: tuple[str, str, str, int], name: str = "x/issue") -> None:
    for_each = [(name, line, "issue", *leg) for line, leg in enumerate(legs)]
    columns = list(map(list, zip(*for_each, strict=True)))
    await house.pool.execute(
        "insert into ledger.entries (posting_id, line, kind, at, org_id, grant_id, account, amount) "
        "select p, l, k, clock_timestamp(), o, g, c, a from unnest($1::text[], $2::smallint[], $3::text[], "
        "$4::text[], $5::text[], $6::text[], $7::bigint[]) as e (p, l, k, o, g, c, a)",
        *columns,
    )


async def test_the_database_refuses_a_posting_that_does_not_sum_to_zero(house: House) -> None:
    a = await house.org(amount=10)
    (grant,) = await house.grants(a)
    for legs in (
        [(a, grant["id"], "available", 5)],
        [(a, grant["id"], "available", 5), (a, grant["id"], "issued", -4)],
    ):
        with pytest.raises(asyncpg.CheckViolationError) as refused:
            await post(house, *legs)
        assert refused.value.constraint_name == "posting_sums_to_zero"
    await house.reconcile()


async def test_the_database_refuses_entries_of_nobody_or_of_anothers_grant(house: House) -> None:
    a, b = await house.org(amount=10), await house.org()
    (grant,) = await house.grants(a)
    for org, name, constraint in [
        ("nosuch", grant["id"], "entries_org_exists"),
        (a, "nosuch", "entries_grant_exists"),
        (b, grant["id"], "entries_grant_exists"),
    ]:
        with pytest.raises(asyncpg.ForeignKeyViolationError) as refused:
            await post(house, (org, name, "available", 1), (org, name, "issued", -1))
        assert refused.value.constraint_name == constraint


@pytest.mark.parametrize("change", ["update ledger.entries set amount = amount + 1", "delete from ledger.entries",
                                    "truncate ledger.entries", "delete from ledger.transfers",
                                    "truncate ledger.transfers", "delete from ledger.grants",
                                    "update ledger.answers set body = ''", "delete from ledger.answers",
                                    "delete from ledger.revocations", "truncate ledger.reversals",
                                    "update ledger.receivables set amount = 1"])  # fmt: skip
async def test_what_was_recorded_is_never_changed_or_dropped(house: House, change: str) -> None:
    a, b = await house.org(amount=10), await house.org()
    await house.sent(a, b, 1)
    with pytest.raises(asyncpg.RestrictViolationError, match="append-only"):
        await house.pool.execute(change)


async def test_reconciling_names_a_balance_that_its_entries_do_not_explain(house: House) -> None:
    a = await house.org(amount=10)
    for table in ("orgs", "grants"):
        async with house.pool.acquire() as conn:
            transaction = conn.transaction()
            await transaction.start()
            await conn.execute(f"update ledger.{table} set available = available - 1")
            rows = await conn.fetchrow(SQL["reconcile"])
            await transaction.rollback()
        assert rows[f"{table}_off"] == 1, table
        assert rows["roots_off"] == (table == "grants")
    async with house.pool.acquire() as conn:
        assert (await reconcile(conn))["balanced"], a
