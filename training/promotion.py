"""From histories, or from what the database knows, to the gifts that judge two models, and to the ruling."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import numpy as np
import polars as pl

from detector.feature_table import HASH, NAMES
from detector.model_vector import vectors as rebuilt
from detector.store import SQL
from models.model import Model
from training import promote, speed
from training.errors import TrainingError, Unjudged
from training.jobs import gathered
from training.judged import Judged
from training.lesson import Step, matrix
from training.ruling import Ruling, as_of
from training.split import Span, frauds
from training.thresholds import verdicts
from training.vectors import vectors

SPLITTING = ("tier", "typology")
FEATURES = msgspec.json.Decoder(tuple[int | float | bool | None, ...])


def ruling(challenger: Model, champion: Model | None, judged: Judged) -> Ruling:
    """The ruling, with both models timed here and now."""
    models = {"challenger": challenger} | ({"champion": champion} if champion else {})
    return promote.rule(challenger, champion, judged, speed.measured(models, judged.vectors))


def first_moment(challenger: Model, champion: Model | None) -> datetime:
    """From when on neither model was told anything."""
    return max(as_of(model) for model in (challenger, champion) if model is not None)


def by_history(
    sources: list[str], span: tuple[datetime, datetime | None], challenger: Model, cache: Path | None, step: Step
) -> Judged:
    """The gifts of the histories in a span of time; the whole past before it makes their features."""
    start, end = span[0], span[1] or datetime.max.replace(tzinfo=UTC)
    step("reading the history", 0.05)
    rows = gathered(sources).filter(pl.col("at") < end)
    if "fraud" not in rows.columns:
        raise TrainingError("the history has no column fraud: without labels no model can be judged")
    step("features", 0.2)
    numbers = Span(start, end).rows(rows["at"])
    nobody_in(numbers, start, end)
    found = vectors(rows, cache)
    step("judging", 0.8)
    return Judged(
        NAMES,
        matrix(found, numbers),
        rows["fraud"].fill_null(False).to_numpy()[numbers],
        rows["at"][int(numbers[0])],
        rows["at"][int(numbers[-1])],
        {name: rows[name][numbers] for name in SPLITTING if name in rows.columns},
        known(rows, challenger),
    )


def nobody_in(numbers: Any, start: datetime, end: datetime) -> None:
    if not len(numbers):
        raise Unjudged(
            f"there is no gift from {start.isoformat()} to {end.isoformat()}: what judges must come after what was "
            "learned, so give more history, or another --from and --to"
        )


def known(rows: pl.DataFrame, model: Model) -> int | None:
    """How many frauds of a model's window were known by its as_of; None where the history begins too late to say."""
    window = model.manifest.window
    if not rows.height or rows["at"][0] > window.start or "label_at" not in rows.columns:
        return None
    return int(frauds(rows, as_of(model))[Span(window.start, window.end).rows(rows["at"])].sum())


async def by_database(conn: asyncpg.Connection, start: datetime, end: datetime | None) -> Judged:
    """The gifts that the gate judged, by the features that it left with them and the labels known by now."""
    last = end or datetime.now(UTC)
    rows = await conn.fetch(SQL["labelled"], start, last, HASH)
    nobody_in(rows, start, last)
    return Judged(
        NAMES,
        rebuilt([FEATURES.decode(row["features"]) for row in rows]),
        np.array([row["fraud"] for row in rows], dtype=np.bool_),
        rows[0]["at"],
        rows[-1]["at"],
        {"tier": pl.Series([row["tier"] for row in rows], dtype=pl.String)},
    )


def changed(judged: Judged, one: Model, other: Model) -> dict[str, Any]:
    """How many verdicts differ from one model to the other."""
    given = [verdicts(model.score(judged.vectors), model.thresholds) for model in (one, other)]
    counts = pl.DataFrame({"one": given[0], "other": given[1]}).group_by("one", "other").len().sort("one", "other")
    moves = {f"{before} → {after}": count for before, after, count in counts.iter_rows() if before != after}
    return {"gifts": len(judged.fraud), "changed": sum(moves.values()), "moves": moves}
