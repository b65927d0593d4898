"""Scores of past gifts, each from what was known at its moment. Law: as the gate would have judged it then."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from models.model import Model
from training.errors import TrainingError
from training.lesson import Step, matrix
from training.split import Floats, Span
from training.thresholds import verdicts

MOST_REASONS = 3
PART = 20_000
SCHEMA: dict[str, Any] = {"id": pl.String, "score": pl.Float64, "verdict": pl.String, "reasons": pl.List(pl.String)}


def score_history(
    rows: pl.DataFrame,
    features: pl.DataFrame,
    model: Model,
    start: datetime,
    end: datetime,
    step: Step = lambda stage, share: None,
) -> pl.DataFrame:
    """id, score, verdict and reasons of the gifts with start ≤ at < end, by time.

    `features` are the rows' features, of the whole history up to `end`: they alone decide what was known when.
    """
    if start >= end:
        raise TrainingError(f"from {start.isoformat()} to {end.isoformat()} is no time: let --to be after --from")
    numbers = Span(start, end).rows(rows["at"])
    scores, reasons = np.empty(len(numbers)), np.empty(len(numbers), dtype=object)
    for begin in range(0, len(numbers), PART):
        part = slice(begin, begin + PART)
        step("scoring", 0.5 + 0.5 * begin / len(numbers))
        vectors = matrix(features, numbers[part])
        scores[part] = model.score(vectors)
        reasons[part] = _reasons(model, vectors, scores[part])
    found = [rows["id"][numbers], pl.Series(scores), verdicts(scores, model.thresholds), pl.Series(reasons.tolist())]
    return pl.DataFrame(dict(zip(SCHEMA, found, strict=True)), schema=SCHEMA)


def _reasons(model: Model, vectors: Floats, scores: Floats) -> np.ndarray:
    """For what is held or blocked: the features that add most to the score. Explaining takes some 10 ms a gift."""
    found = np.empty(len(scores), dtype=object)
    found[:] = [[] for _ in scores]
    lowest = min(model.thresholds.values(), default=np.inf)
    for row in np.flatnonzero(scores >= lowest):
        terms = model.contributions(vectors[row : row + 1]).terms[0]
        top = np.argsort(-terms, kind="stable")[:MOST_REASONS]
        found[row] = [f"model:{model.features[column]}" for column in top if terms[column] > 0]
    return found
