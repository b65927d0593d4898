"""Reading what a trace is made of: from a grant, an org or a gift up to the purchases, and down to where credits are.

Bounded: it goes down a step of all grants at a time, and stops at `most` grants; the tree says what it left out.
"""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg

from ledger import store
from ledger.errors import NotFound
from ledger.trace import MOST, Rows, Tree, build


async def trace(conn: asyncpg.Connection, name: str, most: int = MOST, kind: str | None = None) -> Tree:
    """The tree around a grant, an org or a transfer, in one snapshot. Raises NotFound."""
    async with conn.transaction(isolation="repeatable_read", readonly=True):
        found = await conn.fetchval(store.SQL["trace_kind"], name)
        if found is None or (kind or found) != found:
            raise NotFound(f"{kind or 'grant, org or transfer'} {name!r} does not exist")
        focus, goes_on = await start(conn, found, name, most)
        path = await ids(conn, "trace_up", focus, most)
        shown = dict.fromkeys([*focus, *path])
        if goes_on:
            await descend(conn, focus, shown, most)
        return build(await rows(conn, found, name, focus, list(shown), most))


async def start(conn: asyncpg.Connection, kind: str, name: str, most: int) -> tuple[list[str], bool]:
    """The grants that are asked for, and whether what was cut from them belongs to the question."""
    if kind == "grant":
        return [name], True
    if kind == "org":
        return await ids(conn, "trace_org", name, most), True
    made = await ids(conn, "trace_settled", name, most)
    return (made, True) if made else (await ids(conn, "trace_reserved", name, most), False)


async def ids(conn: asyncpg.Connection, statement: str, of: str | Sequence[str], most: int) -> list[str]:
    return [row["id"] for row in await conn.fetch(store.SQL[statement], of, most)]


async def descend(conn: asyncpg.Connection, focus: Sequence[str], shown: dict[str, None], most: int) -> None:
    """Add what was cut from the grants in focus, and from that, as long as there is room."""
    level, walked = list(focus), set(focus)
    while level and len(shown) < most:
        below = [one for one in await ids(conn, "trace_down", level, most) if one not in walked]
        walked.update(below)
        level = [one for one in below if one in shown]
        new = [one for one in below if one not in shown][: most - len(shown)]
        shown.update(dict.fromkeys(new))
        level += new


async def rows(
    conn: asyncpg.Connection, kind: str, name: str, focus: Sequence[str], shown: Sequence[str], most: int
) -> Rows:
    grants = await conn.fetch(store.SQL["trace_grants"], shown)
    senders = sorted({row["org_id"] for row in grants if row["reserved"]})
    gifts = {row["transfer_id"] for row in grants if row["transfer_id"]}
    waiting = await conn.fetch(store.SQL["trace_waiting"], shown, senders, most) if senders else []
    transfers = await conn.fetch(store.SQL["trace_transfers"], sorted(gifts))
    roots = sorted({row["root_id"] for row in grants})
    return Rows(
        kind,
        name,
        await conn.fetchval("select statement_timestamp()"),
        frozenset(focus),
        grants,
        {row["id"]: row for row in transfers},
        waiting,
        await conn.fetch(store.SQL["trace_revocations"], roots),
    )
