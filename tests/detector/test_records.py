"""The records beside the log: whatever is changed, added or dropped in them behind its back is found and named."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from detector import case_rulings, case_work, labels, log
from detector.case_shapes import Listed, Rule
from detector.case_work import Person
from detector.contract import Label
from detector.list_work import add, remove
from detector.policy import ReviewTerms
from detector.verify import check, verify
from ledger.rulings import Rulings
from tests.support import CREDIT, ROOT, House, open_house, rule

ANN, BOB, LENA = Person("ann", False), Person("bob", False), Person("lena", True)
TERMS = ReviewTerms(four_eyes=50 * CREDIT)


@pytest.fixture
async def worked(house: House) -> AsyncIterator[asyncpg.Connection]:
    """A desk on which something of everything was done, for somebody whom no trigger or constraint stops."""
    await house.activate("[review]\nsample = 1.0\n" + rule("large", "amount > 50000000"))
    small = await house.sent(await house.org(amount=CREDIT), await house.org(), CREDIT)
    for what in ("done", "proposed", "confirmed", "refused", "lapsed"):
        sender = await house.org(amount=60 * CREDIT)
        await ruled(house, await house.sent(sender, await house.org(), 60 * CREDIT), what)
    async with house.pool.acquire() as conn:
        async with conn.transaction():
            told = [(small, Label(small, True, "chargeback"))]
            await log.append(conn, labels.events(told, await labels.note(conn, told, "shop"), "shop"))
        kept = await add(conn, "block", Listed("org", "x", "why", "2999-01-01T00:00:00Z"), "lena")
        await remove(conn, kept.id, "lena")
        await add(conn, "allow", Listed("ip", "10.0.0.1", "why"), "lena")
        assert (await verify(conn)).findings == []
    conn = await asyncpg.connect(house.dsn)
    await conn.execute("set session_replication_role = replica")
    yield conn
    await conn.close()


async def ruled(house: House, gift: str, what: str) -> None:
    """A case of its own for the gift, with a note and a ruling that came so far."""
    books = Rulings()
    async with house.pool.acquire() as conn:
        case = await conn.fetchval(
            "select case_id from detector.case_gifts where gift_id = $1 and standing = 'waiting'", gift
        )

        async def act(work: Any) -> None:
            async with conn.transaction():
                await work

        await act(case_work.note(conn, case, f"a note on {what}", ANN))
        asked = Rule("return" if what == "done" else "block", f"why {what}", [gift])
        terms = ReviewTerms(four_eyes=10_000 * CREDIT) if what == "done" else TERMS
        await act(case_rulings.rule(conn, books, case, asked, LENA, terms))
        name = await conn.fetchval("select ruling_id from detector.ruling_gifts where gift_id = $1", gift)
        if what == "confirmed":
            await act(case_rulings.confirm(conn, books, case, name, BOB))
        if what == "refused":
            await act(case_rulings.refuse(conn, case, name, "no", BOB))
    if what == "lapsed":
        sender = await house.pool.fetchval("select sender from ledger.transfers where id = $1", gift)
        await house.cancel(sender, gift)


HARMS = {
    "detector.labels": ["fraud = not fraud", "source = 'x'", "author = 'x'", "label_at = label_at - interval '1 day'"],
    "detector.list_entries": [
        "list = case list when 'block' then 'allow' else 'block' end",
        "kind = 'device'",
        "value = 'y'",
        "reason = 'x'",
        "author = 'x'",
        "added_at = added_at - interval '1 day'",
        "expires_at = '2998-01-01'",
        "removed_at = coalesce(removed_at, clock_timestamp()) + interval '1s', removed_by = 'lena'",
        "removed_at = case when id = 2 then clock_timestamp() end, removed_by = case when id = 2 then 'x' end",
        "removed_by = case when removed_at is not null then 'x' end",
    ],
    "detector.samples": ["rate = 0.5", "decision_id = decision_id || 'x'"],
    "detector.case_notes": ["text = 'x'", "author = 'x'", "at = at - interval '1s'", "case_id = 'x'"],
    "detector.rulings": [
        "act = 'freeze'",
        "amount = amount - 1",
        "why = 'x'",
        "orgs = array['x']",
        "author = 'x'",
        "at = at - interval '1s'",
        "case_id = 'x'",
        "second = case when second is not null then 'x' end",
        "second_at = second_at + interval '1s'",
        "second_why = case when second_why is not null then 'yes' end",
        "status = case status when 'proposed' then 'lapsed' when 'lapsed' then 'proposed' else status end",
        "status = case act when 'return' then 'lapsed' else status end",
    ],
    "detector.ruling_gifts": ["gift_id = gift_id || 'x'"],
}


async def test_a_record_that_says_otherwise_is_named(worked: asyncpg.Connection) -> None:
    for table, change in [(table, change) for table, some in HARMS.items() for change in some]:
        async with undone(worked):
            before = await named(worked, table)
            await worked.execute(f"update {table} set {change}")
            after = await named(worked, table)
            differ = {name for name, text in after.items() if before[name] != text}
            assert differ, (table, change)
            findings = (await check(worked)).findings
            assert {one.what for one in findings} == {"disagrees"}, (table, change)
            assert {one.id for one in findings} == differ, (table, change, findings)


@asynccontextmanager
async def undone(conn: asyncpg.Connection) -> AsyncIterator[None]:
    transaction = conn.transaction()
    await transaction.start()
    yield
    await transaction.rollback()


async def named(conn: asyncpg.Connection, table: str) -> dict[str, str]:
    """Each record by the name that a finding gives it."""
    keys = {"detector.labels": "gift_id", "detector.samples": "gift_id", "detector.ruling_gifts": "ruling_id"}
    rows = await conn.fetch(f"select {keys.get(table, 'id')}, t::text from {table} t")
    return {str(row[0]): row[1] for row in rows}


async def test_a_record_that_was_dropped_is_named(worked: asyncpg.Connection) -> None:
    for table in HARMS:
        async with undone(worked):
            gone = set(await named(worked, table))
            assert gone
            await worked.execute(f"delete from {table}")
            findings = (await check(worked)).findings
            assert {one.id for one in findings} == gone and {one.what for one in findings} == {"disagrees"}, table


ADDED = {
    "new label": "insert into detector.labels (gift_id, fraud, source, author, sender, recipient, at, excess) "
    "values ('new', false, 'x', 'x', 'a', 'b', now(), 0)",
    "new entry": "insert into detector.list_entries (list, kind, value, reason, author) "
    "values ('allow', 'org', 'm', 'x', 'x')",
    "new note": "insert into detector.case_notes (case_id, author, text) values ('x', 'x', 'x')",
    "new sample": "insert into detector.samples values ('new', 'new.1', 0.1, now())",
    "new ruling": "insert into detector.rulings (id, case_id, act, amount, counted, four_eyes, why, status, author) "
    "values ('new', 'x', 'release', 1, 1, 2, 'x', 'done', 'x')",
}


async def test_a_record_that_no_event_tells_of_is_named(worked: asyncpg.Connection) -> None:
    for what, statement in ADDED.items():
        async with undone(worked):
            await worked.execute(statement)
            findings = (await check(worked)).findings
            assert findings and {one.what for one in findings} == {"disagrees"}, what
            assert "no event tells of it" in findings[0].detail, what


async def test_an_event_that_was_harmed_breaks_no_comparison(worked: asyncpg.Connection) -> None:
    kinds = ("label.told", "case.note", "ruling.proposed")
    await worked.execute("alter table log.events drop constraint events_body_check")
    await worked.execute("update log.events set body = 'no json' where kind = any($1)", kinds)
    edited = {one.seq for one in (await verify(worked)).findings if one.what == "edited"}
    rows = await worked.fetch("select seq from log.events where body = 'no json'")
    assert edited == {row["seq"] for row in rows} and len(edited) > 5


async def test_labels_of_before_the_log_are_told_to_it_by_the_migration(database: str) -> None:
    conn = await asyncpg.connect(database)
    await conn.execute(
        "insert into detector.labels (gift_id, fraud, source, author, sender, recipient, at, excess) "
        "select 'g' || nr, nr % 2 = 0, 'charge\"back é', 'ann', 'a', 'b', now(), 0 from generate_series(1, 60000) nr"
    )
    assert len((await verify(conn)).findings) == 60_000
    text = (ROOT / "detector/sql/migrations/0008_samples.sql").read_text()
    await conn.execute(text[text.index("do $$") :])
    report = await verify(conn)
    assert (report.events, report.findings) == (60_000, [])
    await conn.close()


async def test_all_who_tell_the_log_at_once_never_wait_in_a_circle(database: str) -> None:
    """Gates that hold and draw, labels, list changes and walks of the log, side by side: no deadlock, a whole log."""
    policy = "[review]\nsample = 0.5\n" + rule("large", "amount > 50000000")
    async with open_house(database, policy, size=12) as house:
        orgs = [await house.org(amount=10_000 * CREDIT) for _ in range(6)]
        sent: list[str] = []

        async def send(nr: int) -> None:
            for turn in range(15):
                sent.append(await house.sent(orgs[nr], orgs[(nr + 1 + turn % 3) % 6], (60 if turn % 3 else 1) * CREDIT))

        async def label() -> None:
            while len(sent) < 80:
                some = [(gift, Label(gift, len(gift) % 2 == 0, "report")) for gift in sent[-6:]]
                async with house.pool.acquire() as conn, conn.transaction():
                    await log.append(conn, labels.events(some, await labels.note(conn, some, "shop"), "shop"))
                await asyncio.sleep(0)

        async def change(nr: int) -> None:
            while len(sent) < 80:
                async with house.pool.acquire() as conn:
                    entry = await add(conn, "allow", Listed("ip", f"10.0.0.{nr}", "why"), "lena")
                    await remove(conn, entry.id, "lena")

        async def watch() -> None:
            async with house.pool.acquire() as conn:
                while len(sent) < 80:
                    assert (await verify(conn)).findings == []

        await asyncio.gather(*[send(nr) for nr in range(6)], label(), label(), change(1), change(2), watch())
        async with house.pool.acquire() as conn:
            report = await verify(conn)
        assert report.findings == []
        kinds = {row["kind"] for row in await house.pool.fetch("select distinct kind from log.events")}
        assert {"case.opened", "sample.drawn", "label.told", "list.added", "list.removed"} <= kinds
