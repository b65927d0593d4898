"""Law 12 for transfers: whatever is done to one behind the log's back, `verify` names it and says what differs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from detector.finding import Finding
from detector.verify import verify
from ledger import records
from tests.support import CREDIT, MEDIUM, REVIEWED, ROOT, House, open_door, rule, seat

MIGRATION = "ledger/sql/migrations/0007_told.sql"
GONE, UNTOLD = (
    "the log tells of it, and it is not there",
    "no event tells of it: it was added behind the log, or renamed",
)
OTHER = "it says otherwise than its events: "
# What is done, to the transfer of which name, and what is said of it.
HARM: list[tuple[str, str, str]] = [
    ("update ledger.transfers set amount = amount + 1 where id = $1", "pending", OTHER + "amount"),
    ("update ledger.transfers set sender = 'b' where id = $1", "pending", OTHER + "sender"),
    ("update ledger.transfers set recipient = 'a' where id = $1", "settled", OTHER + "recipient"),
    ("update ledger.transfers set status = 'settled' where id = $1", "pending", OTHER + "status settled, not pending"),
    ("update ledger.transfers set status = 'cancelled' where id = $1", "held", OTHER + "status cancelled, not held"),
    ("update ledger.transfers set version = 1, status = 'pending' where id = $1", "settled",
     OTHER + "status pending, not settled, version 1 after 2 steps"),
    ("update ledger.transfers set settled_amount = 1 where id = $1", "settled", OTHER + "settled_amount"),
    ("update ledger.transfers set settled_amount = 1 where id = $1", "pending", OTHER + "settled_amount"),
    ("update ledger.transfers set reason = 'x' where id = $1", "cancelled", OTHER + "reason"),
    ("update ledger.transfers set version = 4 where id = $1", "released", OTHER + "version 4 after 2 steps"),
    ("update ledger.transfers set status = 'held' where id = $1", "released", OTHER + "status held, not pending"),
    ("delete from ledger.transfers where id = $1", "blocked", GONE),
    ("update ledger.reversals set amount = 1 where transfer_id = $1", "settled", OTHER + "reversals"),
    ("delete from ledger.reversals where transfer_id = $1", "settled", OTHER + "reversals"),
]  # fmt: skip


@asynccontextmanager
async def behind(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """The connection of somebody whom no trigger and no check stops; what is done is undone in the end."""
    conn = await asyncpg.connect(dsn)
    await conn.execute("set session_replication_role = replica")
    transaction = conn.transaction()
    await transaction.start()
    for (name,) in await conn.fetch(
        "select conname from pg_constraint where conrelid = 'ledger.transfers'::regclass and contype = 'c'"
    ):
        await conn.execute(f'alter table ledger.transfers drop constraint "{name}"')
    try:
        yield conn
    finally:
        await transaction.rollback()
        await conn.close()


async def found(conn: asyncpg.Connection) -> list[Finding]:
    return await records.disagreements(conn)


async def test_a_transfer_changed_behind_the_log_is_named_with_what_differs(house: House) -> None:
    names = await all_standings(house)
    async with behind(house.dsn) as conn:
        assert await found(conn) == []
        for statement, which, said in HARM:
            async with undone(conn):
                await conn.execute(statement, names[which])
                (finding,) = await found(conn)
            assert (finding.table, finding.id, finding.detail) == ("ledger.transfers", names[which], said), statement
            assert finding.seq is not None and str(finding.kind).startswith("transfer.")
        async with undone(conn):
            columns = await conn.fetchval(
                "select string_agg(quote_ident(attname), ', ') from pg_attribute where attrelid = "
                "'ledger.transfers'::regclass and attnum > 0 and not attisdropped and attname <> 'id'"
            )
            copied = f"select 'tr_x', {columns} from ledger.transfers where id = $1"
            await conn.execute(f"insert into ledger.transfers (id, {columns}) {copied}", names["pending"])
            (finding,) = await found(conn)
            assert (finding.id, finding.seq, finding.detail) == ("tr_x", None, UNTOLD)
        async with undone(conn):
            await conn.execute("update ledger.transfers set id = 'tr_y' where id = $1", names["pending"])
            assert [(one.id, one.detail) for one in await found(conn)] == [(names["pending"], GONE), ("tr_y", UNTOLD)]
    async with house.pool.acquire() as conn:
        report = await verify(conn, others=[records.disagreements])
        assert [one for one in report.findings if one.table == "ledger.transfers"] == []


@asynccontextmanager
async def undone(conn: asyncpg.Connection) -> AsyncIterator[None]:
    savepoint = conn.transaction()
    await savepoint.start()
    try:
        yield
    finally:
        await savepoint.rollback()


async def all_standings(house: House) -> dict[str, str]:
    """A transfer of each standing; the settled one is reversed in part."""
    await house.activate(REVIEWED + rule("huge", f"amount >= {5_000 * CREDIT}", "block"))
    a, b = await house.org("a", amount=20_000 * CREDIT), await house.org("b")
    names = {"settled": await house.sent(a, b, 10)}
    await house.pass_time(3_601)
    await house.settle()
    await house.reverse(names["settled"], 4)
    for name, amount in [("pending", 7), ("cancelled", 8), ("released", MEDIUM), ("blocked", 5_000 * CREDIT)]:
        names[name] = await house.sent(a, b, amount)
    await house.cancel(a, names["cancelled"])
    async with open_door(house.dsn) as http:
        lena = await seat(http, house.pool, "lena", "lead")
        (case,) = await lena.queue()
        assert (await lena.rule(case["id"], "release")).status_code == 200
    names["held"] = await house.sent(a, b, MEDIUM)
    statuses = {name: (await house.transfer(one))["status"] for name, one in names.items()}
    assert statuses.pop("released") == "pending" and all(name == status for name, status in statuses.items())
    return names


async def test_what_was_before_the_log_told_of_transfers_is_counted_and_none_is_slipped_in(house: House) -> None:
    """As on a database that an older version filled: transfers without events, then the migration."""
    a, b = await house.org("a", amount=1_000), await house.org("b")
    old = [await house.sent(a, b, amount) for amount in (1, 2, 3)]
    conn = await asyncpg.connect(house.dsn)
    await conn.execute("set session_replication_role = replica")
    await conn.execute(
        "truncate log.events, log.links; "
        "update log.head set seq = 0, link = 0, at = '-infinity', hash = decode(repeat('00', 32), 'hex')"
    )
    assert len(await found_in(conn)) == 3, "without the count nothing excuses them"
    await conn.execute("set session_replication_role = origin")
    await conn.execute((ROOT / MIGRATION).read_text())
    assert await found_in(conn) == []
    new = await house.sent(a, b, 4)
    await house.cancel(a, old[0])
    await house.pass_time(3_601)
    await house.settle()
    assert await found_in(conn) == []
    for statement, said in [
        (
            f"update ledger.transfers set status = 'returned' where id = '{old[0]}'",
            "status returned, not cancelled",
        ),
        (f"update ledger.transfers set amount = 9 where id = '{old[1]}'", "worth 13; event 1 counted 3 worth 6"),
        (f"delete from ledger.transfers where id = '{old[2]}'", GONE),
        (f"update ledger.transfers set id = 'tr_z' where id = '{new}'", GONE),
    ]:
        await conn.execute("set session_replication_role = replica")
        async with undone(conn):
            await conn.execute(statement)
            assert any(said in str(one.detail) for one in await found_in(conn)), statement
    await conn.close()


async def found_in(conn: asyncpg.Connection) -> list[Finding]:
    async with conn.transaction():
        return await records.disagreements(conn)
