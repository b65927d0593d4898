"""Every night: new labels → a challenger → gates → shadow. Law: nobody is promoted unless that was asked for, and then
only who has shadowed, by gifts and labels from after all that it was told: tonight's challenger never is.

One run a database at a time, by an advisory lock that PostgreSQL frees if the run dies; one challenger a day, by its
name. A run that was cut short finds the artifact that it had written and goes on from there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import asyncpg
import polars as pl

from detector import champions
from detector.feature_table import HASH, NAMES
from detector.store import SQL
from models import artifact
from models.errors import ModelError
from models.files import MANIFEST, pack
from models.model import Model
from training import promotion
from training.errors import TrainingError, Unjudged
from training.recorded import recorded
from training.ruling import Ruling

PREFIX, AUTHOR = "nightly-", "lockgate train --nightly"
# Any number that is nobody else's: what the lock of the nights is called.
LOCK = 0x10C6_A7E5
# How much of what was asked of good gifts a challenger may use on the held slice: single weeks stray.
SLACK = 1.5

Train = Callable[[pl.DataFrame, Path], Any]
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Night:
    """How a night ended. `status` is what became of tonight's model: shadowing, refused, busy, nothing new or done
    already; `ruled`, where promoting was asked for, of the challenger before it: see `succeed`.
    """

    status: str
    name: str
    gates: Mapping[str, bool]
    sha256: str | None = None
    ruled: Mapping[str, Any] | None = None

    @property
    def exit_status(self) -> int:
        return {"refused": 2, "busy": 3}.get(self.status, 0)


async def night(
    conn: asyncpg.Connection, now: datetime, models: Path, train: Train, say: Say, promote: bool, key: str | None = None
) -> Night:
    """Learn from what PostgreSQL holds; `train` writes a history's model to a directory, in a thread of its own.

    With `promote`, the challenger that has been shadowing is judged first; `key`, if given, must have signed it.
    """
    name = f"{PREFIX}{now:%Y-%m-%d}"
    if not await conn.fetchval("select pg_try_advisory_lock($1)", LOCK):
        return Night("busy", name, {})
    try:
        ruled = await succeed(conn, now, key, say) if promote else None
        return replace(await _learned(conn, name, models / name, train, say), ruled=ruled)
    finally:
        await conn.fetchval("select pg_advisory_unlock($1)", LOCK)


# The challenger that has been shadowing


async def succeed(conn: asyncpg.Connection, now: datetime, key: str | None, say: Say) -> dict[str, Any] | None:
    """Judge who shadows by the promotion gates, on what came after all that it and the champion were told; it serves if
    every gate says yes.

    `name`, `sha256`, `against` (the champion's hash), `ruling`, `promoted`, and the `reasons` of a no; None where
    nobody shadows.
    """
    challenger, champion = [await champions.playing(conn, role) for role in (champions.CHALLENGER, champions.CHAMPION)]
    if challenger is None:
        say("nobody has been shadowing, so nobody is promoted")
        return None
    shape: dict[str, Any] = {"name": challenger["name"], "sha256": challenger["sha256"], "ruling": None}
    shape |= {"against": champion["sha256"] if champion else None}
    try:
        ruling = await _ruling(conn, now, key, challenger, champion)
        shape["ruling"], reasons = ruling.shape(), [str(one) for one in ruling.refusals]
    except (Unjudged, ModelError) as error:
        reasons = [str(error)]
    if not reasons:
        why = "every gate passed on what came after it was learned"
        await champions.promote(conn, champions.CHAMPION, challenger["sha256"], AUTHOR, why, shape)
    for line in reasons or ["every gate passed: it serves from now on"]:
        say(f"{challenger['name']} {'is not promoted' if reasons else 'is promoted'}: {line}")
    return shape | {"promoted": not reasons, "reasons": reasons}


async def _ruling(
    conn: asyncpg.Connection,
    now: datetime,
    key: str | None,
    challenger: asyncpg.Record,
    champion: asyncpg.Record | None,
) -> Ruling:
    """The ruling on the gifts before `now`, or Unjudged."""
    # Who was rolled back, or replaced, may still shadow: a night does not overrule the person who did that.
    if challenger["sha256"] in {row["sha256"] for row in await conn.fetch(SQL["roles"], champions.CHAMPION)}:
        raise Unjudged("it serves, or has served: 'lockgate models promote' lets a person decide about it")
    model, rival = [await _kept(conn, one, key) if one else None for one in (challenger, champion)]
    assert model is not None
    judged = await promotion.by_database(conn, promotion.first_moment(model, rival), now)
    return promotion.ruling(model, rival, judged)


async def _kept(conn: asyncpg.Connection, one: asyncpg.Record, key: str | None) -> Model:
    """The model that plays a role, as the gates would load it."""
    found = await champions.parcel(conn, one["sha256"])
    assert found is not None, "a role is played by what is kept"
    return artifact.read_packed(found[1], features=NAMES, feature_table_hash=HASH, trusted_key=key)


# Tonight's model


async def _learned(conn: asyncpg.Connection, name: str, directory: Path, train: Train, say: Say) -> Night:
    found = await conn.fetchrow(SQL["nights"], name, f"{PREFIX}%")
    if found["done"]:
        return Night("done already", name, {})
    say(f"{found['labels']} labels since the last night")
    if not found["labels"]:
        return Night("nothing new", name, {})
    model = await _challenger(conn, directory, train, say)
    return await _cast(conn, name, model, directory, say)


async def _challenger(conn: asyncpg.Connection, directory: Path, train: Train, say: Say) -> Model:
    if not (directory / MANIFEST).is_file():
        rows = await recorded(conn)
        if not rows.height:
            raise TrainingError("the database has no decision yet: there is nothing to learn from")
        say(f"learning from {rows.height} gifts")
        await asyncio.to_thread(train, rows, directory)
    return artifact.read(directory, features=NAMES, feature_table_hash=HASH)


async def _cast(conn: asyncpg.Connection, name: str, model: Model, directory: Path, say: Say) -> Night:
    """Keep the artifact, and let it shadow if its gates say yes, both at once."""
    passed = gates(model)
    say("gates: " + ", ".join(f"{gate} {'passed' if fine else 'REFUSED'}" for gate, fine in passed.items()))
    shadows, figures = all(passed.values()), {"gates": passed, "figures": model.manifest.figures}
    async with conn.transaction():
        await champions.add(conn, name, model.sha256, pack(directory), AUTHOR)
        if shadows:
            await champions.promote(conn, champions.CHALLENGER, model.sha256, AUTHOR, f"the night of {name}", figures)
    status = "shadowing" if shadows else "refused"
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
