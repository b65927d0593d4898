"""The history that the service recorded: first looks in order, with what became known of them since."""

from __future__ import annotations

from typing import Any

import asyncpg
import polars as pl

from detector.store import SQL
from training.history_columns import TIME

SCHEMA: dict[str, Any] = {
    "id": pl.String,
    "at": TIME,
    "sender": pl.String,
    "recipient": pl.String,
    "amount": pl.Int64,
    "verdict": pl.String,
    "fraud": pl.Boolean,
    "label_at": TIME,
    "ip": pl.String,
    "device": pl.String,
    "tier": pl.String,
}


async def recorded(conn: asyncpg.Connection) -> pl.DataFrame:
    """The recorded gifts, typed and by time as `History.rows` is."""
    rows = [tuple(record) for record in await conn.fetch(SQL["recorded"])]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")
