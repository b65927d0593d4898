"""The ledger's SQL: each statement is a file in sql/, and this module gives it a name and a shape."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import asyncpg

from detector.contract import micros, moment

__all__ = ["SQL", "append", "columns", "micros", "moment"]

SQL = {path.stem: path.read_text() for path in (Path(__file__).parent / "sql").glob("*.sql")}


def columns(rows: Iterable[Sequence[Any]], width: int) -> list[list[Any]]:
    """Rows as the column arrays that a set-based statement takes; `width` empty ones where there is no row."""
    return [list(column) for column in zip(*rows, strict=True)] or [[] for _ in range(width)]


async def append(conn: asyncpg.Connection, table: str, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Append rows by COPY: the driver checks every element of an array parameter, and slowly; PostgreSQL inserts
    copied rows a page at a time."""
    if rows:
        await conn.copy_records_to_table(table, schema_name="ledger", records=rows, columns=names)
