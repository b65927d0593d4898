"""What there is to learn, and what the operator wishes. Law: nothing after `as_of` is looked at.

A gift that nobody has called fraud by `as_of` counts as good: labels of good gifts come last, if ever, and leaving
these gifts out would teach that new gifts are frauds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl

from training import boosting
from training.errors import TrainingError
from training.split import Bools, Floats, Rows, Split, frauds, split, weights
from training.thresholds import FALSE_HOLD_RATE, GOOD_BLOCKED, Terms

# Known frauds from which on the booster is fitted: with fewer, surprises rank better.
ENOUGH = 100
MAX_AGE_S = 90 * 86_400
LEAST_ROWS = 200

Step = Callable[[str, float], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the operator states. `false_hold_rate` and `good_blocked` are shares of the good gifts."""

    as_of: datetime
    name: str = "model"
    seed: int = 0
    false_hold_rate: float = FALSE_HOLD_RATE
    good_blocked: float = GOOD_BLOCKED
    enough: int = ENOUGH
    iterations: int = boosting.ITERATIONS
    cases_a_day: float | None = None
    missed_cost: float | None = None
    max_age_s: int = MAX_AGE_S
    created_at: datetime | None = None

    @property
    def terms(self) -> Terms:
        return Terms(
            false_holds=self.false_hold_rate,
            good_blocked=self.good_blocked,
            cases_a_day=self.cases_a_day,
            missed_cost=self.missed_cost,
        )


@dataclass(frozen=True, slots=True)
class Lesson:
    """What is learned from: `train` and `held` are row numbers, `vectors`, `fraud` and `weight` those of `train`.

    The held slice is the end of train, `early` rows after its beginning.
    """

    rows: pl.DataFrame
    names: tuple[str, ...]
    spans: Split
    train: Rows
    held: Rows
    vectors: Floats
    fraud: Bools
    weight: Floats

    @property
    def early(self) -> int:
        return len(self.train) - len(self.held)


def lesson_of(rows: pl.DataFrame, features: pl.DataFrame, wish: Wish) -> Lesson:
    """What there is to learn as of `wish.as_of`, or TrainingError where it is not enough or the wish is amiss."""
    refuse(rows, features, wish)
    spans = split(rows["at"][0], wish.as_of)
    train = spans.train.rows(rows["at"])
    if len(train) < LEAST_ROWS:
        raise TrainingError(
            f"{len(train)} gifts from {spans.train.start.isoformat()} to {spans.train.end.isoformat()} are too few "
            f"to learn from: {LEAST_ROWS} at least; give a longer history or a later --as-of"
        )
    vectors, names = matrix(features, train), tuple(features.columns)
    held = spans.held.rows(rows["at"])
    return Lesson(rows, names, spans, train, held, vectors, frauds(rows, wish.as_of)[train], weights(rows)[train])


def refuse(rows: pl.DataFrame, features: pl.DataFrame, wish: Wish) -> None:
    if rows.height != features.height:
        raise TrainingError(f"{rows.height} gifts and {features.height} rows of features: compute them of these gifts")
    if not rows.height:
        raise TrainingError("the history has no good row: see which rows were refused, and mend them")
    for name in ("false_hold_rate", "good_blocked"):
        if not 0 < (rate := getattr(wish, name)) < 1:
            raise TrainingError(f"{name} is {rate}: give a share of the good gifts, such as 0.005 for 0.5 %")
    for name, such in {"cases_a_day": "200", "missed_cost": "20"}.items():
        if (stated := getattr(wish, name)) is not None and not 0 < stated < float("inf"):
            raise TrainingError(f"{name} is {stated}: give a number above 0, such as {such}")


def matrix(features: pl.DataFrame, numbers: Rows) -> Floats:
    """These rows as float64, a null as NaN."""
    chosen = features[numbers].cast(pl.Float64).fill_null(float("nan"))
    return np.ascontiguousarray(chosen.to_numpy(), dtype=np.float64)
