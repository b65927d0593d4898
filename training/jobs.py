"""The offline work, from files to files: train, score a history. Law: a bad row is told, never dropped in silence."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from detector import policy as policies
from detector.feature_table import HASH, LABELLED, NAMES
from models import artifact
from models.errors import ArtifactUnknown
from models.files import MANIFEST
from models.manifest import NAME
from training import folds, history
from training.backtest import outcomes, summary
from training.errors import TrainingError
from training.fit import fit
from training.lesson import Step, Wish
from training.score import score_history
from training.unseen import left_out
from training.vectors import vectors


def learn(
    rows: pl.DataFrame,
    directory: Path,
    wish: Wish,
    cache: Path,
    step: Step,
    leave_one_out: bool = False,
) -> dict[str, Any]:
    """Write the model of the history to a new directory, whose name becomes the model's. With `leave_one_out` its
    card says what it would do about each typology had nobody ever labelled it."""
    if not re.fullmatch(NAME, directory.name):
        raise TrainingError(f"{directory.name!r} is no name of a model: it must match {NAME}, such as june")
    if directory.exists():
        raise TrainingError(f"{directory} is there already: name another model, or remove it")
    wish = replace(wish, name=directory.name, created_at=datetime.now(UTC))
    # What came later is not even looked at; what was known of it later neither.
    rows = rows.filter(pl.col("at") < wish.as_of)
    if not rows.height:
        raise TrainingError(
            f"the history has no row before {wish.as_of.isoformat()}: give a later --as-of or more history"
        )
    unseen = left_out(rows, wish, step) if leave_one_out else ()
    step("features", 0.2)
    content = fit(rows, vectors(rows, cache), wish, HASH, step, unseen)
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


def folded(
    rows: pl.DataFrame,
    count: int,
    days: int,
    end: datetime | None,
    labels: folds.Labels,
    wish: Wish,
    cache: Path,
    step: Step,
) -> dict[str, Any]:
    """How models as of the start of each of the last folds would have judged it."""
    if not rows.height:
        raise TrainingError("the history has no good row: see which rows were refused, and mend them")
    spans = folds.spans(rows["at"][-1], count, days, end)
    folds.refuse(rows, spans)
    rows = rows.filter(pl.col("at") < spans[-1].end)
    step("features", 0.1)
    tables = tables_of(rows, labels, cache)
    found = []
    for number, span in enumerate(spans):
        part = partial(_within, step, f"fold {number + 1} of {count}", 0.2 + 0.7 * number / count, 0.7 / count)
        found.append(folds.judge(rows, tables, span, wish, HASH, part))
    step("drawing again for the intervals", 0.9)
    head = {"gifts": rows.height, "from": rows["at"][0].isoformat(), "to": rows["at"][-1].isoformat()}
    return {"history": head, **folds.report(found, labels)}


def _within(step: Step, fold: str, start: float, whole: float, stage: str, share: float) -> None:
    step(f"{fold}: {stage}", start + whole * share)


def tables_of(rows: pl.DataFrame, labels: folds.Labels, cache: Path) -> folds.Tables:
    """The rows to learn from and the features to learn from and to judge by, with as many labels as asked."""
    if labels == folds.Labels.KNOWN:
        found = vectors(rows, cache)
        return folds.Tables(rows, found, found)
    blind = rows.drop(LABELLED)
    found = vectors(blind, cache)
    return folds.Tables(blind, found, vectors(rows, cache) if labels == folds.Labels.LATE else found)


def tried(
    sources: list[str], policy: Path | None, span: tuple[datetime | None, datetime | None], step: Step
) -> tuple[dict[str, Any], pl.DataFrame]:
    """What a policy would have done to the histories' gifts of a span, judged with all the past there is; the verdicts
    of these gifts."""
    judge_by = policies.read((policy or policies.DEFAULT).read_text(encoding="utf-8"))
    step("reading the history", 0.02)
    rows = gathered(sources).filter(pl.col("at") < (span[1] or datetime.max.replace(tzinfo=UTC)))
    outcome, left_out = outcomes(rows, judge_by, step)
    chosen = rows["at"] >= (span[0] or datetime.min.replace(tzinfo=UTC))
    rows, outcome = rows.filter(chosen), outcome.filter(chosen)
    if not rows.height:
        raise TrainingError("the history has no good row in that time: give another --from and --to, or more history")
    return summary(rows, outcome, judge_by, left_out), outcome.insert_column(0, rows["id"])


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
