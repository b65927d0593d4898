"""Brings a database to the schema that this code expects.

Law: each migration file is applied once, in order, whoever else starts now, and never changes afterwards.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import asyncpg

# Drawn once at random; any process migrating Lockgate's tables in this database takes the same lock.
LOCK_KEY = 5_817_302_946_110_733_412

ROOT = Path(__file__).resolve().parent.parent
# In this order: the ledger's tables may refer to the detector's.
SOURCES = {package: ROOT / package / "sql" / "migrations" for package in ("detector", "ledger")}

CREATE_RECORD = """
CREATE TABLE IF NOT EXISTS lockgate_migrations (
    package    text NOT NULL,
    name       text NOT NULL,
    sha256     text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (package, name)
)"""


class MigrationError(RuntimeError):
    """A migration that cannot be applied, or is no longer what was applied."""


async def migrate(conn: asyncpg.Connection, sources: Mapping[str, Path] = SOURCES) -> list[str]:
    """Applies what is new, in one commit; returns it as `package/name.sql`."""
    async with conn.transaction():
        await conn.execute("SELECT pg_advisory_xact_lock($1)", LOCK_KEY)
        # A plain CREATE … IF NOT EXISTS would say a notice at every start.
        if await conn.fetchval("SELECT to_regclass('lockgate_migrations') IS NULL"):
            await conn.execute(CREATE_RECORD)
        rows = await conn.fetch("SELECT package, name, sha256 FROM lockgate_migrations")
        applied = {(row["package"], row["name"]): row["sha256"] for row in rows}
        return [
            f"{package}/{path.name}"
            for package, folder in sources.items()
            for path in sorted(folder.glob("[0-9]*.sql"))
            if await _apply(conn, package, path, applied)
        ]


async def _apply(conn: asyncpg.Connection, package: str, path: Path, applied: Mapping[tuple[str, str], str]) -> bool:
    sql = path.read_text(encoding="utf-8")
    sha256 = hashlib.sha256(sql.encode()).hexdigest()
    recorded = applied.get((package, path.name))
    if recorded is not None and recorded != sha256:
        raise MigrationError(
            f"{path} was changed after it was applied (sha256 {recorded[:12]}… then, {sha256[:12]}… now): "
            "restore it as it was, and put the change in a new migration with the next number"
        )
    if recorded is not None:
        return False
    try:
        await conn.execute(sql)
    except asyncpg.PostgresError as error:
        raise MigrationError(f"{path} failed, nothing was applied: {error}") from error
    await conn.execute(
        "INSERT INTO lockgate_migrations (package, name, sha256) VALUES ($1, $2, $3)",
        package,
        path.name,
        sha256,
    )
    return True
