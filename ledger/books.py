"""The books of one org over HTTP: balance, grants, and a statement of any time, past or to come.

Law 1, for whoever reads it: opening balance and lines add up to the closing balance, exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

import asyncpg
from fastapi import APIRouter, Header, Query

from ledger import store
from ledger.access import Access
from ledger.answers import PROBLEMS
from ledger.errors import Invalid
from ledger.views import grant_view, stamp

BALANCES = ("available", "reserved", "giftable", "clearing")


def add_books(routes: APIRouter, pool: asyncpg.Pool, access: Access, lock_s: int) -> None:
    """Balance, grants and statement."""

    @routes.get("/balance", summary="Balance as of now", responses=PROBLEMS)
    async def balance(authorization: Annotated[str | None, Header()] = None) -> dict[str, Any]:
        org_id = await access.own(authorization, "balance:read")
        row = await pool.fetchrow(store.SQL["balance"], org_id, lock_s)
        return {"org": org_id, "as_of": stamp(row["now"]), **{k: row[k] for k in BALANCES}}

    @routes.get("/grants", summary="Grants, oldest first", responses=PROBLEMS)
    async def grants(
        authorization: Annotated[str | None, Header()] = None,
        open_only: bool = True,
        cursor: Annotated[str | None, Query(max_length=64)] = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
    ) -> dict[str, Any]:
        org_id = await access.own(authorization, "balance:read")
        rows = await pool.fetch(store.SQL["grants"], org_id, open_only, cursor, limit + 1)
        page = rows[:limit]
        more = page[-1]["id"] if len(rows) > limit else None
        return {"grants": [grant_view(row) for row in page], "next_cursor": more}

    @routes.get("/statement", summary="Statement as of a time, past or to come", responses=PROBLEMS)
    async def statement(
        authorization: Annotated[str | None, Header()] = None,
        since: datetime | None = None,
        as_of: datetime | None = None,
        cursor: Annotated[str | None, Query(max_length=160)] = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 100,
    ) -> dict[str, Any]:
        org_id = await access.own(authorization, "balance:read")
        return await statement_of(pool, org_id, since, as_of, cursor, limit)


async def statement_of(
    pool: asyncpg.Pool, org_id: str, since: datetime | None, as_of: datetime | None, cursor: str | None, limit: int
) -> dict[str, Any]:
    """What an org had at two moments, and every line between them, newest first; sums and lines in one snapshot.

    For a moment to come it tells what will have expired by then, if nothing else happens.
    """
    after = place(cursor) if cursor else (None, None, None)
    async with pool.acquire() as conn, conn.transaction(isolation="repeatable_read", readonly=True):
        moment = as_of or await conn.fetchval("select clock_timestamp()")
        check_span(since, moment)
        sums = dict(await conn.fetchrow(store.SQL["statement"], org_id, since, moment))
        lines = await conn.fetch(store.SQL["statement_lines"], org_id, since, moment, *after, limit + 1)
    page = lines[:limit]
    last = page[-1] if len(lines) > limit else None
    return {
        "org": org_id,
        "since": stamp(since),
        "as_of": stamp(moment),
        "opening": {name: sums.pop(f"opening_{name}") for name in ("available", "reserved")},
        **sums,
        "entries": [line_view(line) for line in page],
        "next_cursor": f"{stamp(last['at'])}~{last['posting_id']}~{last['line']}" if last else None,
    }


def check_span(since: datetime | None, as_of: datetime) -> None:
    """Raises Invalid where a moment has no time zone, or the first is not before the last."""
    for name, at in (("since", since), ("as_of", as_of)):
        if at is not None and at.tzinfo is None:
            raise Invalid(f"{name} {at.isoformat()} needs a time zone, such as 2027-01-01T00:00:00Z")
    if since is not None and since >= as_of:
        raise Invalid(f"since {since.isoformat()} is not before as_of {as_of.isoformat()}")


def line_view(line: Any) -> dict[str, Any]:
    return {"at": stamp(line["at"]), **{k: line[k] for k in ("kind", "subject", "grant_id", "account", "amount")}}


def place(cursor: str) -> Sequence[Any]:
    """Where a page of entries went on: time, posting and line of its last one. Raises Invalid for what is not ours."""
    try:
        at, posting, line = cursor.rsplit("~", 2)
        where = datetime.fromisoformat(at), posting, int(line)
    except ValueError as error:
        raise Invalid(f"cursor {cursor!r} is not one of ours; take it from next_cursor") from error
    if where[0].tzinfo is None or not 0 <= where[2] < 2**15:
        raise Invalid(f"cursor {cursor!r} is not one of ours; take it from next_cursor")
    return where
