"""The artifact that judges while a benchmark runs: one that is given, the shipped one, or a small one made now."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg

from bench.ground import on, raised
from bench.servers import BenchError
from detector import champions, store
from detector.policy import DEFAULT
from lockgate import first_model
from lockgate.config import SHIPPED
from models import files
from models.errors import ModelError
from models.files import MANIFEST, open_parcel
from models.manifest import decode, sha256

ORGS, DAYS, SEED, LEARNED = 300, 60, 3, timedelta(days=50)


def parcel(directory: Path | None) -> bytes:
    """The artifact as the database keeps it. Raises BenchError where the directory holds none."""
    shipped = SHIPPED / first_model.SHIPPED
    chosen = directory or (shipped if shipped.is_dir() else None)
    try:
        return files.pack(chosen) if chosen else small()
    except (ModelError, OSError) as error:
        raise BenchError(
            f"{chosen} is no artifact to judge by: {error}; name the path of one that was trained"
        ) from error


def small() -> bytes:
    """A model of a small simulated platform, which is made in seconds."""
    from detector.feature_table import HASH
    from models import artifact
    from training.features import features
    from training.fit import fit
    from training.lesson import Wish
    from training.simulate import START, simulate

    rows = simulate(ORGS, DAYS, SEED)
    wish = Wish(as_of=START + LEARNED, name="bench", enough=5, created_at=datetime.now(UTC))
    return files.parcel(artifact.build(fit(rows, features(rows), wish, HASH)))


def serve(dsn: str, artifact: bytes) -> str:
    """Let the default policy, raised, ask the artifact too; its hash."""

    async def ask(conn: asyncpg.Connection) -> str | None:
        text = raised(DEFAULT.read_text(encoding="utf-8"))
        asks = "" if "[model]" in text else f'\n[model]\nname = "{champions.CHAMPION}"\n'
        await store.add_policy(conn, text + asks, "bench")
        return await giving(conn, champions.CHAMPION, artifact)

    return str(asyncio.run(on(dsn, ask)))


def give(dsn: str, role: str, artifact: bytes | None) -> str | None:
    """Let an artifact play a role, or nobody; its hash."""
    return asyncio.run(on(dsn, lambda conn: giving(conn, role, artifact)))  # type: ignore[no-any-return]


async def giving(conn: asyncpg.Connection, role: str, artifact: bytes | None) -> str | None:
    manifest = open_parcel(artifact)[MANIFEST] if artifact else None
    found = sha256(manifest) if manifest else None
    if artifact and manifest and found:
        await champions.add(conn, decode(manifest).name, found, artifact, "bench")
    await champions.promote(conn, role, found, "bench", "a benchmark")
    return found
