"""Which artifact serves and which one shadows, as PostgreSQL knows it: every worker reads the same row."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import asyncpg

from detector.log import Told, append
from detector.store import SQL

CHAMPION, CHALLENGER = "champion", "challenger"
# How the reason of a promotion begins that is a roll-back.
ROLL_BACK = "roll-back: "


async def add(conn: asyncpg.Connection, name: str, sha256: str, parcel: bytes, author: str) -> None:
    """Keep an artifact; the same one twice is kept once."""
    await conn.execute(SQL["model_add"], sha256, name, parcel, author)


async def parcel(conn: asyncpg.Connection, sha256: str) -> tuple[str, bytes] | None:
    """The artifact's name and files, or None where it was never added."""
    row = await conn.fetchrow(SQL["model_parcel"], sha256)
    return (row["name"], row["parcel"]) if row else None


async def playing(conn: asyncpg.Connection, role: str) -> asyncpg.Record | None:
    """Who plays a role: sha256, name, at, author, reason; None where nobody does."""
    row: asyncpg.Record | None = await conn.fetchrow(SQL["champion"], role)
    return row


async def promote(
    conn: asyncpg.Connection,
    role: str,
    sha256: str | None,
    author: str,
    reason: str,
    figures: Mapping[str, Any] | None = None,
) -> None:
    """Give a role to an artifact, or to none, and tell the log of it, last in a transaction.

    Gates judge with a new champion from their next batch on."""
    async with conn.transaction():
        await conn.execute(SQL["promote"], role, sha256, author, reason, json.dumps(figures or {}))
        found = await playing(conn, role)
        body = {"role": role, "sha256": sha256, "name": found["name"] if found else None, "reason": reason}
        await append(conn, [Told("model.promoted", role, author, body)])


async def kept(conn: asyncpg.Connection) -> list[asyncpg.Record]:
    """Every artifact, newest first: sha256, name, parcel, author, added_at, roles (None where it plays none)."""
    rows: list[asyncpg.Record] = await conn.fetch(SQL["models"])
    return rows


async def roll_back(conn: asyncpg.Connection, author: str, reason: str) -> tuple[str, str] | None:
    """Make the champion before serve again: (left, now champion) by sha256, or None if there is none before."""
    async with conn.transaction():
        await conn.execute("lock table detector.promotions in exclusive mode")
        rows = await conn.fetch(SQL["roles"], CHAMPION)
        reign = succession([(row["sha256"], row["reason"]) for row in rows])
        if len(reign) < 2:
            return None
        await promote(conn, CHAMPION, reign[-2], author, f"{ROLL_BACK}{reason}")
    return reign[-1], reign[-2]


def succession(promotions: Sequence[tuple[str | None, str]]) -> list[str]:
    """The champions from the first to the one that serves; a roll-back takes the last one away again.

    >>> succession([("a", "new"), ("b", "new"), ("a", "roll-back: b strays"), ("c", "new")])
    ['a', 'c']
    """
    reign: list[str] = []
    for sha256, reason in promotions:
        if reason.startswith(ROLL_BACK) and len(reign) > 1:
            reign.pop()
        elif sha256 is not None and sha256 != (reign[-1] if reign else None):
            reign.append(sha256)
    return reign


async def ever(conn: asyncpg.Connection) -> bool:
    """Whether there ever was a champion."""
    found: bool = await conn.fetchval(SQL["promoted"], CHAMPION)
    return found


async def shadowed(conn: asyncpg.Connection, sha256: str) -> dict[str, Any]:
    """What a challenger said beside what was decided: counts of decisions, faults, verdicts and changed ones."""
    row = dict(await conn.fetchrow(SQL["shadow_told"], sha256))
    verdicts = {word: row.pop(word) for word in ("approve", "hold", "block")}
    said: int = row["decisions"] - row["faults"]
    return {**row, "verdicts": verdicts, "agreement": (said - row["changed"]) / said if said else None}
