"""The ledger's SQL: each statement is a file in sql/, and this module gives it a name and a shape."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import asyncpg

SQL = {path.stem: path.read_text() for path in (Path(__file__).parent / "sql").glob("*.sql")}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def micros(at: datetime) -> int:
    """Microseconds since 1970."""
    return (at - EPOCH) // MICROSECOND


@lru_cache(maxsize=64)  # a batch shares its moment
def moment(at: int) -> datetime:
    return EPOCH + timedelta(microseconds=at)


def columns(rows: Iterable[Sequence[Any]], width: int) -> list[list[Any]]:
    """Rows as the column arrays that a set-based statement takes; `width` empty ones where there is no row."""
    return [list(column) for column in zip(*rows, strict=True)] or [[] for _ in range(width)]


async def append(conn: asyncpg.Connection, table: str, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Append rows by COPY: the driver checks every element of an array parameter, and slowly; PostgreSQL inserts
    copied rows a page at a time."""
    if rows:
        await conn.copy_records_to_table(table, schema_name="ledger", records=rows, columns=names)
