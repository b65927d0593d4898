"""The offline work, from files to files: train, score a history. Law: a bad row is told, never dropped in silence."""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from detector.feature_table import HASH, NAMES
from models import artifact
from models.errors import ArtifactUnknown
from models.files import MANIFEST
from models.manifest import NAME
from training import history
from training.errors import TrainingError
from training.fit import Step, Wish, fit
from training.score import score_history
from training.vectors import vectors


def learn(
    sources: list[str],
    as_of: datetime,
    directory: Path,
    seed: int,
    shares: tuple[float, float],
    cache: Path,
    step: Step,
) -> dict[str, Any]:
    """Write the model of the histories to a new directory. `shares` of good gifts: held at most, blocked at most."""
    if not re.fullmatch(NAME, directory.name):
        raise TrainingError(f"{directory.name!r} is no name of a model: it must match {NAME}, such as june")
    step("reading the history", 0.02)
    # What came later is not even looked at; what was known of it later neither.
    rows = gathered(sources).filter(pl.col("at") < as_of)
    if not rows.height:
        raise TrainingError(f"the history has no row before {as_of.isoformat()}: give a later --as-of or more history")
    step("features", 0.1)
    wish = Wish(
        as_of=as_of,
        name=directory.name,
        seed=seed,
        false_hold_rate=shares[0],
        good_blocked=shares[1],
        created_at=datetime.now(UTC),
    )
    content = fit(rows, vectors(rows, cache), wish, HASH, step)
    model = artifact.write(directory, content)
    return {**content.card_json, "path": str(directory), "sha256": model.sha256, "card": content.card}


def judge(sources: list[str], directory: Path, start: datetime, end: datetime, cache: Path, step: Step) -> pl.DataFrame:
    """The scores of the histories' gifts with start ≤ at < end."""
    if not (directory / MANIFEST).is_file():
        raise ArtifactUnknown(f"there is no model at {directory}: train it first (lockgate train --out NAME)")
    model = artifact.read(directory, features=NAMES, feature_table_hash=HASH)
    step("reading the history", 0.05)
    rows = gathered(sources).filter(pl.col("at") < end)
    if not rows.height:
        raise TrainingError(f"the history has no row before {end.isoformat()}: give a later --to")
    step("features", 0.1)
    return score_history(rows, vectors(rows, cache), model, start, end, step)


def gathered(sources: list[str]) -> pl.DataFrame:
    """The good rows of all sources by time, each id once; refused rows are counted on standard error."""
    parts = [history.read(source) for source in sources]
    for source, part in zip(sources, parts, strict=True):
        for reason, count in part.bad_counts().items():
            print(f"{source}: {count:,} rows refused: {reason}: {history.REASONS[reason]}", file=sys.stderr)
    if len(parts) == 1:
        return parts[0].rows
    rows = pl.concat([part.rows for part in parts], how="diagonal_relaxed")
    once = rows.filter(rows["id"].is_first_distinct())
    if again := rows.height - once.height:
        print(f"{again:,} rows refused: duplicate_id: {history.REASONS['duplicate_id']}", file=sys.stderr)
    return once.sort("at", maintain_order=True)
