"""Supervised: one histogram booster with tail copies. Law: the same rows and seed give the same trees.

A histogram booster sees 255 bins a column and cannot cut inside an extreme tail; so each heavy-tailed column gets a
copy that is null up to its 98 % quantile (ADR 8). Good rows are thinned out to save
time. That shifts every logit alike, which Platt on the unthinned held slice takes back; weights would do it too, but
scikit-learn 1.9 bins weighted rows forty times as slowly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from models.calibration import Platt, TailCopy
from training.split import Bools, Floats

ITERATIONS = 200
MOST_GOOD = 100_000
TAIL = 0.98
# Above this many values a histogram merges some; with fewer in the tail there is nothing to cut.
BINS, TAIL_VALUES = 255, 20
FEW_FRAUDS = 1_000
LEAST_LEAF, LEAST_LEAF_FEW = 40, 20
# Sums over rows are made of one part a thread, so another number of threads is another last bit. And two threads that
# wait for each other on cores that others use, too, were measured to take up to ten times as long as one.
THREADS = 1
PART = 50_000


@dataclass(frozen=True, slots=True)
class Booster:
    """A fitted booster: which columns have a copy, and above which value."""

    estimator: HistGradientBoostingClassifier
    copied: NDArray[np.intp]
    floors: Floats

    def margins(self, vectors: Floats) -> Floats:
        """The margin of each vector, in parts to spare memory."""
        parts = [vectors[start : start + PART] for start in range(0, len(vectors), PART)]
        with threadpool_limits(THREADS, user_api="openmp"):
            found = [self.estimator.decision_function(with_copies(part, self.copied, self.floors)) for part in parts]
        return np.concatenate([np.empty(0), *found])

    def tail_copies(self, names: tuple[str, ...]) -> tuple[TailCopy, ...]:
        pairs = zip(self.copied.tolist(), self.floors.tolist(), strict=True)
        return tuple(TailCopy(names[column], floor) for column, floor in pairs)


def boost(
    vectors: Floats,
    fraud: Bools,
    seed: int,
    *,
    share: float = 1.0,
    iterations: int = ITERATIONS,
    weight: Floats | None = None,
) -> Booster:
    """Fit on all frauds and on this share of the good gifts; models to be compared need the same share."""
    copied, floors = tails(vectors)
    used = thinned(fraud, seed, share, weight)
    columns = with_copies(vectors[used], copied, floors)
    # scikit-learn cannot bin a column of nulls alone; a constant one is never split on, so it means the same.
    columns[:, np.isnan(columns).all(axis=0)] = 0.0
    estimator = HistGradientBoostingClassifier(
        max_iter=iterations,
        learning_rate=0.06,
        max_leaf_nodes=24,
        min_samples_leaf=LEAST_LEAF_FEW if fraud.sum() < FEW_FRAUDS else LEAST_LEAF,
        l2_regularization=3.0,
        max_features=0.3,
        early_stopping=False,
        random_state=seed,
    )
    with threadpool_limits(THREADS, user_api="openmp"):
        estimator.fit(columns, fraud[used])
    return Booster(estimator, copied, floors)


def share_of(fraud: Bools, most_good: int = MOST_GOOD, weight: Floats | None = None) -> float:
    """The share of good gifts that leaves at most `most_good`, a gift of weight w counting as w gifts."""
    good = (~fraud).sum() if weight is None else weight[~fraud].sum()
    return min(1.0, most_good / max(1.0, float(good)))


def thinned(fraud: Bools, seed: int, share: float, weight: Floats | None = None) -> NDArray[np.intp]:
    """The rows to fit on, rising: every fraud, and each good gift by chance. A gift of weight w is there w times on
    average: its whole part, and once more by chance."""
    often = np.where(fraud, 1.0, share) * (1.0 if weight is None else weight)
    whole = np.floor(often)
    more = np.random.default_rng(seed).random(len(fraud)) < often - whole
    return np.repeat(np.arange(len(fraud)), whole.astype(np.intp) + more)


def tails(vectors: Floats) -> tuple[NDArray[np.intp], Floats]:
    """The heavy-tailed columns, and for each the least value of its copy."""
    copied, floors = [], []
    for column, values in enumerate(vectors.T):
        there = values[~np.isnan(values)]
        if len(there) <= BINS:
            continue
        cut = np.quantile(there, TAIL)
        if len(np.unique(there[there > cut])) > TAIL_VALUES and len(np.unique(there)) > BINS:
            copied.append(column)
            floors.append(np.nextafter(cut, np.inf))
    return np.array(copied, dtype=np.intp), np.array(floors, dtype=np.float64)


def with_copies(vectors: Floats, copied: NDArray[np.intp], floors: Floats) -> Floats:
    """The columns that the trees are grown on, as models.model lays them out."""
    copies = vectors[:, copied]
    copies[copies < floors] = np.nan
    return np.concatenate([vectors, copies], axis=1)


def platt(margins: Floats, fraud: Bools, weight: Floats | None = None) -> Platt:
    """Margins as logits, by gifts that the fit has not seen. Platt keeps the order, where isotonic would tie."""
    if fraud.all() or not fraud.any():
        return Platt(1.0, 0.0)
    line = LogisticRegression(C=1e6).fit(margins[:, None], fraud, sample_weight=weight)
    slope = float(line.coef_[0, 0])
    # A slope that falls says that the held slice contradicts the fit: the order of the fit is kept.
    return Platt(slope, float(line.intercept_[0])) if slope > 0 else Platt(1.0, 0.0)
