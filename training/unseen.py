"""Leave one typology out: would frauds of a kind that nobody ever labelled be held? Law: no trace of it is learned.

For each typology its labels are taken from the whole history, so that no feature counts them, and its gifts from the
lesson, so that they do not teach that it is good. The twin that learned from the rest scores the held slice.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import joblib
import numpy as np
import polars as pl

from training import thresholds
from training.errors import TrainingError
from training.features import features
from training.fit import fitted
from training.held import kind_of, wilson
from training.lesson import Step, Wish, lesson_of
from training.split import frauds, split


def left_out(rows: pl.DataFrame, wish: Wish, step: Step = lambda stage, share: None) -> list[dict[str, Any]]:
    """For each typology with known frauds in the held slice: `kind`, `frauds`, and `recall` where as many good gifts
    are held as asked, with its interval; one fit each, which the engine shares out."""
    if (kind := kind_of(rows)) is None:
        raise TrainingError("the history has no column typology or pattern: without it no typology can be left out")
    held = split(rows["at"][0], wish.as_of).held.rows(rows["at"])
    mine = kind.filter(pl.Series(frauds(rows, wish.as_of)) & pl.Series(np.isin(np.arange(rows.height), held)))
    kinds = [each for each in mine.unique().sort() if each]
    step(f"leaving out {len(kinds)} typologies, one at a time", 0.1)
    found: list[dict[str, Any]] = joblib.Parallel()(joblib.delayed(without)(rows, wish, each) for each in kinds)
    return found


def without(rows: pl.DataFrame, wish: Wish, kind: str) -> dict[str, Any]:
    """How many frauds of this kind are held by a model that never heard of it."""
    kinds = kind_of(rows)
    assert kinds is not None
    mine = (kinds == kind).to_numpy() & frauds(rows, wish.as_of)
    untold = rows.with_columns(fraud=pl.when(~pl.Series(mine)).then("fraud"))
    lesson = lesson_of(untold, features(untold), wish)
    ours = mine[lesson.train]
    lesson = replace(lesson, weight=np.where(ours, 0.0, lesson.weight))
    early = lesson.early
    margins = fitted(lesson, wish, early).margins(lesson.vectors[early:])
    calm = ~lesson.fraud[early:] & ~ours[early:]
    at = thresholds.threshold(thresholds.conformal(margins[calm], lesson.weight[early:][calm]), wish.false_hold_rate)
    hits = int((margins[ours[early:]] >= (np.inf if at is None else at)).sum())
    return {"kind": kind, "frauds": int(ours[early:].sum()), "recall": wilson(hits, int(ours[early:].sum()))}
