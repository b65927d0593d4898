"""How orgs come to the ledger, and stand in it. Each act tells the log."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import asyncpg

from detector.contract import SYSTEM, append
from ledger import events, store
from ledger.errors import Conflict
from ledger.funding import lock_org


async def create(
    conn: asyncpg.Connection, org_id: str, tier: str, identity: str, *, owner: str | None = None,
    created_at: datetime | None = None, domain: str | None = None, actor: str = SYSTEM,
) -> asyncpg.Record:  # fmt: skip
    """A new org, in a transaction of its own or inside the caller's. Raises Conflict where there is one of this id."""
    async with conn.transaction():
        row: asyncpg.Record | None = await conn.fetchrow(
            store.SQL["org_add"], org_id, tier, identity, owner, created_at, domain
        )
        if row is None:
            raise Conflict(f"org {org_id!r} exists already")
        await append(conn, [events.org_created(row, actor)])
    return row


async def create_many(
    conn: asyncpg.Connection, orgs: Sequence[str], identity: str, created_at: datetime, verified_at: datetime, *,
    actor: str = SYSTEM,
) -> None:  # fmt: skip
    """Many orgs at once, 100,000 at most; one that exists stays as it is."""
    async with conn.transaction():
        rows = await conn.fetch(store.SQL["orgs_add"], orgs, identity, created_at, verified_at)
        await append(conn, [events.org_created(row, actor) for row in rows])


async def freeze(conn: asyncpg.Connection, org_id: str, frozen: bool = True, *, actor: str = SYSTEM) -> asyncpg.Record:
    """Stop an org from sending and receiving, or let it again; one that stands so already stays so, untold.

    Raises NotFound, and Conflict where a reported account would be let loose without its owner."""
    async with conn.transaction():
        org = await lock_org(conn, org_id)
        if not frozen and org["compromised_at"] is not None:
            detail = f"org {org_id} is reported as compromised; once it is its owner's again, POST …/recover first"
            raise Conflict(detail)
        if org["frozen"] == frozen:
            return org
        row: asyncpg.Record = await conn.fetchrow(store.SQL["org_frozen"], org_id, frozen)
        await append(conn, [events.org_frozen(org_id, frozen, actor)])
    return row
