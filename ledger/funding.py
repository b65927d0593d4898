"""How credits come into the ledger and leave it: issued, consumed, expired. Each is one posting."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import asyncpg
from msgspec import Struct

from detector.contract import SYSTEM, Told, append
from ledger import events, store
from ledger.credits import MOST, NEVER, Account, Entry, Grant, cut, new_id, posting
from ledger.errors import Conflict, InsufficientCredits, Invalid, NotFound

ORIGINS: Final = ("purchase", "promo", "free_tier", "gift")


class Terms(Struct, frozen=True):
    """What the operator configured: which origins may be gifted, and how long a purchase clears before it may be."""

    giftable_origins: frozenset[str] = frozenset({"purchase", "promo", "gift"})
    clearing_s: int = 86_400


class Issue(Struct, frozen=True, forbid_unknown_fields=True):
    """A grant to be issued. What is left out follows the operator's Terms."""

    amount: int
    origin: str
    expires_at: datetime | None = None
    priority: int = 100
    giftable: bool | None = None
    giftable_at: datetime | None = None


async def lock_org(conn: asyncpg.Connection, org_id: str) -> asyncpg.Record:
    """Lock one org; its row carries `now`, the clock after the lock."""
    rows = await conn.fetch(store.SQL["lock_orgs"], [org_id])
    if not rows:
        raise NotFound(f"org {org_id!r} does not exist")
    row: asyncpg.Record = rows[0]
    return row


def grant_row(org_id: str, wish: Issue, terms: Terms, now: datetime) -> tuple[Any, ...]:
    """The grant as stored. Raises Invalid naming what is wrong with the wish."""
    if wish.origin not in ORIGINS:
        raise Invalid(f"origin {wish.origin!r} is none of {', '.join(ORIGINS)}")
    if not 0 < wish.amount <= MOST:
        raise Invalid(f"amount {wish.amount} is not between 1 and {MOST} micro-credits")
    if not 0 <= wish.priority <= 1000:
        raise Invalid(f"priority {wish.priority} is not between 0 (spent first) and 1000")
    expires_at, giftable_at = wish.expires_at or NEVER, wish.giftable_at
    if (expires_at.tzinfo and (giftable_at or now).tzinfo) is None:
        raise Invalid("times need a time zone, such as 2027-01-01T00:00:00Z")
    expires_at = min(expires_at, NEVER)
    if expires_at <= now:
        raise Invalid(f"expires_at {expires_at.isoformat()} is not in the future")
    if giftable_at is None:
        giftable_at = now + timedelta(seconds=terms.clearing_s if wish.origin == "purchase" else 0)
    giftable = wish.origin in terms.giftable_origins if wish.giftable is None else wish.giftable
    name = new_id("gr", store.micros(now) // 1000)
    return name, org_id, wish.origin, wish.priority, expires_at, giftable, giftable_at, now, wish.amount


async def issue(conn: asyncpg.Connection, rows: Sequence[tuple[Any, ...]], *, actor: str = SYSTEM) -> None:
    """Issue grants (rows of `grant_row`), last in the caller's transaction, which locked their orgs."""
    await append(conn, await enter(conn, rows, actor))


async def enter(conn: asyncpg.Connection, rows: Sequence[tuple[Any, ...]], actor: str) -> list[Told]:
    """The same before the end of a transaction; what the log is to hear of it."""
    await conn.execute(store.SQL["grant_add"], *store.columns(rows, 9))
    entries = [entry for row in rows for entry in issued(row[0], row[1], row[8], row[7])]
    await conn.execute(store.SQL["post"], *store.columns(entries, 8))
    return events.issued(rows, actor)


def issued(grant_id: str, org_id: str, amount: int, at: datetime) -> list[Entry]:
    legs = [(org_id, grant_id, Account.ISSUED.value, -amount), (org_id, grant_id, Account.AVAILABLE.value, amount)]
    return posting("issue", grant_id, at, legs)


async def consume(conn: asyncpg.Connection, org_id: str, amount: int, subject: str, *, actor: str = SYSTEM) -> int:
    """Burn credits that the org used, in burn order; what remains available. Refuses what the org does not have.

    `subject` names the posting, so the same consumption can be posted once only: Conflict if it was.
    """
    org = await lock_org(conn, org_id)
    rows = await conn.fetch(store.SQL["burnable"], org_id, org["now"])
    slices = cut([Grant(*row) for row in rows], amount)
    have = sum(row["available"] for row in rows)
    if slices is None:
        raise InsufficientCredits(f"org {org_id!r} has {have} micro-credits, not {amount}")
    legs = [
        leg
        for grant, part in slices
        for leg in (
            (org_id, grant.id, Account.AVAILABLE.value, -part),
            (org_id, grant.id, Account.CONSUMED.value, part),
        )
    ]
    try:
        await conn.execute(store.SQL["post"], *store.columns(posting("consume", subject, org["now"], legs), 8))
    except asyncpg.UniqueViolationError as error:
        raise Conflict(f"consumption {subject!r} was posted before") from error
    left: int = have - amount
    await append(conn, [events.consumed(org_id, amount, subject, left, actor)])
    return left


async def expire_due(pool: asyncpg.Pool, at: datetime | None = None, *, most: int = 500) -> int:
    """Write off what is left of expired grants; how many. Balances exclude them from their expiry on anyway."""
    async with pool.acquire() as conn, conn.transaction():
        owners = await conn.fetch(store.SQL["expired_owners"], at, most)
        if not owners:
            return 0
        await conn.fetch(store.SQL["lock_orgs"], [row["org_id"] for row in owners])
        gone = await conn.fetch(store.SQL["expired"], [row["org_id"] for row in owners], at)
        entries = [entry for one in gone for entry in write_off(one)]
        await conn.execute(store.SQL["post"], *store.columns(entries, 8))
        await append(conn, events.expired(gone))
        return len(gone)


def write_off(grant: Any) -> list[Entry]:
    legs = [
        (grant["org_id"], grant["id"], Account.AVAILABLE.value, -grant["available"]),
        (grant["org_id"], grant["id"], Account.EXPIRED.value, grant["available"]),
    ]
    return posting("expire", grant["id"], grant["expires_at"], legs)


async def reconcile(conn: asyncpg.Connection) -> dict[str, Any]:
    """Law 1 over the whole ledger, in one snapshot: the sums, and `balanced` if every one of them agrees."""
    async with conn.transaction(isolation="repeatable_read", readonly=True):
        # The gate's connections forbid the plans that a whole-table question needs.
        await conn.execute("set local enable_seqscan = on; set local enable_hashjoin = on")
        sums = dict(await conn.fetchrow(store.SQL["reconcile"]))
    conserved = sums["issued"] - sums["consumed"] - sums["expired"] - sums["revoked"]
    faults = ("unbalanced_postings", "orgs_off", "grants_off", "transfers_off", "roots_off")
    balanced = sums["balances"] == conserved and sums["reserved"] == sums["in_lock"] and not any(map(sums.get, faults))
    return {**sums, "balanced": balanced}
