"""Every night: new labels → a challenger → gates → shadow. Law: nobody is promoted unless that was asked for.

One run a database at a time, by an advisory lock that PostgreSQL frees if the run dies; one challenger a day, by its
name. A run that was cut short finds the artifact that it had written and goes on from there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import asyncpg
import polars as pl

from detector import champions
from detector.feature_table import HASH, NAMES
from detector.store import SQL
from models import artifact
from models.files import MANIFEST, pack
from models.model import Model
from training.errors import TrainingError
from training.recorded import recorded

PREFIX, AUTHOR = "nightly-", "lockgate train --nightly"
# Any number that is nobody else's: what the lock of the nights is called.
LOCK = 0x10C6_A7E5
# How much of what was asked of good gifts a challenger may use on the held slice: single weeks stray.
SLACK = 1.5

Train = Callable[[pl.DataFrame, Path], Any]
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Night:
    """How a night ended: `status` is shadowing, promoted, refused, busy, nothing new or done already."""

    status: str
    name: str
    gates: Mapping[str, bool]
    sha256: str | None = None

    @property
    def exit_status(self) -> int:
        return {"refused": 2, "busy": 3}.get(self.status, 0)


async def night(conn: asyncpg.Connection, now: datetime, models: Path, train: Train, say: Say, promote: bool) -> Night:
    """Learn from what PostgreSQL holds; `train` writes a history's model to a directory, in a thread of its own."""
    name = f"{PREFIX}{now:%Y-%m-%d}"
    if not await conn.fetchval("select pg_try_advisory_lock($1)", LOCK):
        return Night("busy", name, {})
    try:
        found = await conn.fetchrow(SQL["nights"], name, f"{PREFIX}%")
        if found["done"]:
            return Night("done already", name, {})
        say(f"{found['labels']} labels since the last night")
        if not found["labels"]:
            return Night("nothing new", name, {})
        model = await _challenger(conn, models / name, train, say)
        return await _cast(conn, name, model, models / name, say, promote)
    finally:
        await conn.fetchval("select pg_advisory_unlock($1)", LOCK)


async def _challenger(conn: asyncpg.Connection, directory: Path, train: Train, say: Say) -> Model:
    if not (directory / MANIFEST).is_file():
        rows = await recorded(conn)
        if not rows.height:
            raise TrainingError("the database has no decision yet: there is nothing to learn from")
        say(f"learning from {rows.height} gifts")
        await asyncio.to_thread(train, rows, directory)
    return artifact.read(directory, features=NAMES, feature_table_hash=HASH)


async def _cast(conn: asyncpg.Connection, name: str, model: Model, directory: Path, say: Say, promote: bool) -> Night:
    """Keep the artifact, and give it the roles that its gates let it have, all at once."""
    passed = gates(model)
    say("gates: " + ", ".join(f"{gate} {'passed' if fine else 'REFUSED'}" for gate, fine in passed.items()))
    roles = [champions.CHALLENGER, *([champions.CHAMPION] if promote else [])] if all(passed.values()) else []
    figures = {"gates": passed, "figures": model.manifest.figures}
    async with conn.transaction():
        await champions.add(conn, name, model.sha256, pack(directory), AUTHOR)
        for role in roles:
            await champions.promote(conn, role, model.sha256, AUTHOR, f"the night of {name}", figures)
    status = "refused" if not roles else "promoted" if promote else "shadowing"
    say(f"{name}: {status}")
    return Night(status, name, passed, model.sha256)


def gates(model: Model) -> dict[str, bool]:
    """What a challenger must come up to on its own held slice before it may shadow."""
    figures, asked = model.manifest.figures, model.manifest.parameters
    precision = (figures.get("average_precision") or {}).get("low")
    held, blocked = ((figures.get(name) or {}).get("value") for name in ("good_held", "good_blocked"))
    limit = 1.0 if asked.get("missed_cost") else asked["false_hold_rate"] * SLACK
    # Without a known fraud there is no precision to ask for: the start without labels may shadow.
    return {
        "better than chance": not figures["frauds"] or (precision or 0.0) > figures["prevalence"],
        "good gifts held": held is not None and held <= limit,
        "good gifts blocked": blocked is not None and blocked <= asked["good_blocked"] * SLACK,
    }
