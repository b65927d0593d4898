"""Which rows a model may learn from, as of a moment. Law: a label is never used before it was known.

    start ──── early ──── held.start ──── held ──── gap.start ──── gap ──── as_of

`train` is early and held together. Labels come late, so that the newest rows have hardly any: they are the gap, which
no label is asked of. The held slice is what calibrates, unseen by the model whose scores calibrate.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray

from training.errors import TrainingError

Rows = NDArray[np.intp]
Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]

# 70 days of training, 14 of them held, and labels that are 7 days late.
TRAIN, HELD, GAP = timedelta(days=70), timedelta(days=14), timedelta(days=7)
# Of a short history, no more than this share is held.
HELD_SHARE = 4


@dataclass(frozen=True, slots=True)
class Span:
    """The rows with start ≤ at < end."""

    start: datetime
    end: datetime

    @property
    def days(self) -> float:
        return (self.end - self.start) / timedelta(days=1)

    def rows(self, at: pl.Series) -> Rows:
        """Their numbers, rising."""
        return np.flatnonzero(((at >= self.start) & (at < self.end)).to_numpy())


@dataclass(frozen=True, slots=True)
class Split:
    """The spans of one fit."""

    early: Span
    held: Span
    gap: Span

    @property
    def train(self) -> Span:
        return Span(self.early.start, self.held.end)


def split(
    first: datetime, as_of: datetime, *, train: timedelta = TRAIN, held: timedelta = HELD, gap: timedelta = GAP
) -> Split:
    """The spans as of `as_of`, for a history that begins at `first`."""
    if min(train, held, gap) < timedelta(0) or held >= train:
        raise TrainingError(f"train {train}, held {held}, gap {gap}: none may be negative, and held is part of train")
    if first >= as_of:
        raise TrainingError(f"the history has no row before {as_of.isoformat()}: it begins at {first.isoformat()}")
    end = as_of - gap
    start = max(end - train, first)
    if start >= end:
        raise TrainingError(
            f"the history begins at {first.isoformat()}, and the {gap.days} days before {as_of.isoformat()} are left "
            f"to late labels: give an --as-of after {(first + gap).isoformat()}, best by ten weeks"
        )
    middle = end - min(held, (end - start) / HELD_SHARE)
    return Split(Span(start, middle), Span(middle, end), Span(end, as_of))


def known(rows: pl.DataFrame, as_of: datetime) -> Bools:
    """Whose label was known by `as_of`. A label without its moment could be from the future, and counts as unknown."""
    if "fraud" not in rows.columns or "label_at" not in rows.columns:
        return np.zeros(rows.height, dtype=np.bool_)
    found: Bools = (rows["fraud"].is_not_null() & (rows["label_at"] <= as_of).fill_null(False)).to_numpy()
    return found


def weights(rows: pl.DataFrame) -> Floats:
    """How many gifts of life each gift stands for: column `weight`, 1 where it says nothing.

    A gift that was reviewed by chance, one in so many, has that many; one that was not to be reviewed and whose truth
    nobody knows may have 0: it is part of the past, and nothing is learned from it.
    """
    if "weight" not in rows.columns:
        return np.ones(rows.height)
    found: Floats = rows["weight"].cast(pl.Float64, strict=False).fill_null(1.0).to_numpy()
    unread = rows["weight"].is_not_null() & rows["weight"].cast(pl.Float64, strict=False).is_null()
    if len(wrong := np.flatnonzero(~(np.isfinite(found) & (found >= 0)) | unread.to_numpy())):
        raise TrainingError(
            f"weight is {rows['weight'][int(wrong[0])]!r} in the gift {rows['id'][int(wrong[0])]!r}: give the inverse "
            "of the share of such gifts that were reviewed, 0 or more, or leave it empty for 1"
        )
    return found


def frauds(rows: pl.DataFrame, as_of: datetime) -> Bools:
    """Which gifts were known as fraud by `as_of`."""
    if "fraud" not in rows.columns:
        return np.zeros(rows.height, dtype=np.bool_)
    found: Bools = rows["fraud"].fill_null(False).to_numpy() & known(rows, as_of)
    return found
