"""From calm scores to p-values and thresholds. Law: what is promised of false holds holds on average, and errs low.

A conformal p-value is the share of good gifts, unseen by the fit, that score at least as high. Holding what has
p ≤ 0.005 so holds 0.5 % of good gifts as long as the coming weeks are like the calm ones; single weeks stray.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from models.calibration import Conformal
from training.evaluate import Floats

# Every score of the far tail is kept, and so many of the rest.
TAIL_SCORES, BODY_SCORES = 4_000, 1_000


def conformal(calm: Floats) -> Conformal:
    """The p-values of scores, by the scores of good gifts."""
    count = len(calm)
    rising = np.sort(calm)
    places = np.unique(np.linspace(0, max(0, count - TAIL_SCORES), BODY_SCORES).astype(np.intp))
    scores = np.unique(np.concatenate([rising[places], rising[-TAIL_SCORES:]])) if count else rising
    # Rounded up between two scores that are kept: a p-value may be too high, and never too low.
    reached = count - np.searchsorted(rising, scores, side="left")
    return Conformal(tuple(scores.tolist()), (1.0, *((reached + 1) / (count + 1)).tolist()))


def verdicts(scores: Floats, thresholds: dict[str, float]) -> pl.Series:
    """The most severe verdict whose threshold the score comes up to."""
    found = np.full(len(scores), "approve", dtype=object)
    for verdict in ("hold", "block"):
        if verdict in thresholds:
            found[scores >= thresholds[verdict]] = verdict
    return pl.Series(found.tolist(), dtype=pl.String)


def threshold(found: Conformal, rate: float) -> float | None:
    """The lowest score whose p-value is at most `rate`; none where too few good gifts are known to say."""
    low_enough = np.flatnonzero(np.array(found.p_values[1:]) <= rate)
    return float(found.scores[low_enough[0]]) if len(low_enough) else None
