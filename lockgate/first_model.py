"""The artifact that a database begins with: the shipped one, until another is promoted. Law: it is checked first."""

from __future__ import annotations

from pathlib import Path

import asyncpg

from detector import champions
from detector.feature_table import HASH, NAMES
from models import artifact, files

SHIPPED = "default"
AUTHOR = "lockgate"


async def promote(conn: asyncpg.Connection, directory: Path, trusted_key: str | None, reason: str) -> None:
    """Keep the artifact of a directory and let it serve, whoever served before. Raises ArtifactRefused."""
    parcel = files.pack(directory)
    model = artifact.read_packed(parcel, features=NAMES, feature_table_hash=HASH, trusted_key=trusted_key)
    await champions.add(conn, model.name, model.sha256, parcel, AUTHOR)
    await champions.promote(conn, champions.CHAMPION, model.sha256, AUTHOR, reason)
