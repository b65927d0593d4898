"""Which artifact serves and which one shadows, as PostgreSQL knows it: every worker reads the same row."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import asyncpg

from detector.store import SQL

CHAMPION, CHALLENGER = "champion", "challenger"


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
    """Give a role to an artifact, or to none. Gates judge with a new champion from their next batch on."""
    await conn.execute(SQL["promote"], role, sha256, author, reason, json.dumps(figures or {}))
