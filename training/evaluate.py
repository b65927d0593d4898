"""How good scores are, on arrays: `fraud` are truths, `score` high = more suspicious. Law: pure, and ties are fair.

Gifts of one score stand or fall together in the curves; where a budget cuts through a tie, input order decides.
`weight` is how many gifts of life a gift stands for: 1 where every gift was looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import joblib
import numpy as np
import polars as pl
from numpy.typing import NDArray

from training.split import Bools, Floats

Ints = NDArray[np.int64]

ALERTS = (0.005, 0.01)
SENDERS_A_DAY = 100
RESAMPLES = 100
# Resamples that one task of an engine draws: a task costs some milliseconds to hand out.
TASK = 25
INTERVAL = (0.025, 0.975)
DAY_US = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Judged:
    """Gifts and their scores: truth, score (high = more suspicious), micro-credits and weight of each."""

    fraud: Bools
    score: Floats
    amount: Ints
    weight: Floats

    def take(self, rows: NDArray[np.intp] | Bools) -> Judged:
        return Judged(self.fraud[rows], self.score[rows], self.amount[rows], self.weight[rows])


Measure = Callable[[Judged], float]


def average_precision(fraud: Bools, score: Floats, weight: Floats | None = None) -> float:
    """The mean precision at each fraud found; of random scores it is the prevalence. NaN without frauds."""
    if not fraud.any():
        return float("nan")
    found, alerts = _found(fraud, score, weight)
    precision = np.divide(found, alerts, out=np.zeros_like(found), where=alerts > 0)
    return float(np.sum(np.diff(found, prepend=0) * precision) / found[-1]) if found[-1] else float("nan")


def roc_auc(fraud: Bools, score: Floats, weight: Floats | None = None) -> float:
    """How likely a fraud scores above a good gift, a tie counting half. NaN without both."""
    weight = np.ones(len(fraud)) if weight is None else weight
    place = np.unique(score, return_inverse=True)[1]
    bad, good = np.bincount(place, weight * fraud), np.bincount(place, weight * ~fraud)
    pairs = bad.sum() * good.sum()
    return float((bad * (np.cumsum(good) - good / 2)).sum() / pairs) if pairs else float("nan")


def curve(fraud: Bools, score: Floats, weight: Floats | None = None) -> tuple[Floats, Floats]:
    """Recall and precision at each distinct score, from the highest down."""
    found, alerts = _found(fraud, score, weight)
    return found / (found[-1] or 1), np.divide(found, alerts, out=np.zeros_like(found), where=alerts > 0)


def at_alerts(fraud: Bools, score: Floats, share: float, weight: Floats | None = None) -> tuple[float, float]:
    """Precision and recall when this share of the gifts is alerted, one gift at least."""
    order = np.argsort(-score, kind="stable")
    weights = np.ones(len(fraud)) if weight is None else weight[order]
    reached = np.cumsum(weights)
    alerts = max(1, int(np.searchsorted(reached, round(share * reached[-1]), side="right")))
    hits, bad = float((weights * fraud[order])[:alerts].sum()), float((weights * fraud[order]).sum())
    return hits / float(reached[alerts - 1] or 1), hits / bad if bad else float("nan")


def precision_by_day(
    at_us: Ints, sender: pl.Series, fraud: Bools, score: Floats, most: int = SENDERS_A_DAY
) -> list[float]:
    """By day the share of frauds among the `most` senders with the highest score (the Fraud Detection Handbook's card
    precision top-k): a sender caught once is not looked at again on later days. With `fraud` as the score it is the
    most that can be reached."""
    by_sender = pl.DataFrame({"day": at_us // DAY_US, "sender": sender, "fraud": fraud, "score": score})
    days = by_sender.group_by("day", "sender", maintain_order=True).agg(pl.col("fraud", "score").max())
    caught: set[str] = set()
    shares: list[float] = []
    for _, day in sorted(days.partition_by("day", as_dict=True).items()):
        left = day.filter(~pl.col("sender").is_in(list(caught)))
        top = left.sort("score", descending=True, maintain_order=True).head(most)
        shares.append(int(top["fraud"].sum()) / most)
        caught.update(top.filter("fraud")["sender"])
    return shares


def unknown_senders(sender: pl.Series, known_fraud: Bools, asked: Bools) -> Bools:
    """Of the rows `asked`, those whose sender is in no row of `known_fraud`: who is known is no finding."""
    left: Bools = asked & ~sender.is_in(sender.filter(pl.Series(known_fraud)).unique().implode()).to_numpy()
    return left


def remaining(at_us: Ints, sender: pl.Series, fraud_sender: pl.Series, known_us: Ints) -> Bools:
    """Of gifts, those whose sender was in no fraud that was known when the gift's day began (the Handbook's rule).

    The frauds are given by their sender and when each became known.
    """
    frauds = pl.DataFrame({"sender": fraud_sender, "known": known_us}).group_by("sender").agg(pl.col("known").min())
    gifts = pl.DataFrame({"sender": sender, "day": at_us // DAY_US * DAY_US})
    first = gifts.join(frauds, on="sender", how="left", maintain_order="left")
    left: Bools = (first["known"].is_null() | (first["known"] > first["day"])).to_numpy()
    return left


def intervals(
    measures: dict[str, Measure], judged: Judged, *, seed: int = 0, resamples: int = RESAMPLES
) -> dict[str, tuple[float, float]]:
    """The 95 % interval of each measure over gifts drawn again; the engine shares out the draws."""
    found = draws(measures, judged, seed=seed, resamples=resamples)
    return {name: interval([one[name] for one in found]) for name in measures}


def draws(
    measures: dict[str, Measure], judged: Judged, *, seed: int = 0, resamples: int = RESAMPLES
) -> list[dict[str, float]]:
    """Each measure over gifts drawn again with replacement, as often as asked; nothing of no gifts."""
    if not len(judged.score):
        return []
    # Sorted beforehand, so that a measure, which sorts, has hardly anything to do.
    judged = judged.take(np.argsort(-judged.score, kind="stable"))
    tasks = (range(start, min(start + TASK, resamples)) for start in range(0, resamples, TASK))
    parts = joblib.Parallel()(joblib.delayed(_drawn)(measures, judged, seed, task) for task in tasks)
    return [one for part in parts for one in part]


def _drawn(measures: dict[str, Measure], judged: Judged, seed: int, numbers: Iterable[int]) -> list[dict[str, float]]:
    """Each draw has a seed of its own, so that it does not matter who draws it."""
    found, count = [], len(judged.score)
    for number in numbers:
        again = judged.take(np.sort(np.random.default_rng((seed, number)).integers(0, count, count)))
        found.append({name: measure(again) for name, measure in measures.items()})
    return found


def interval(found: list[float]) -> tuple[float, float]:
    """Of what draws gave; NaN where none has a figure."""
    # Frauds that are few may all be missing from a draw.
    if not found or np.isnan(found).all():
        return float("nan"), float("nan")
    low, high = np.nanquantile(found, INTERVAL)
    return float(low), float(high)


def figures(
    judged: Judged, measures: dict[str, Measure] | None = None, *, seed: int = 0, resamples: int = RESAMPLES
) -> dict[str, Any]:
    """The figures of a card, each with its interval: how well scores rank, and the `measures` asked for besides."""
    asked = RANKING | (measures or {})
    found: dict[str, Any] = {
        "gifts": len(judged.score),
        "frauds": int(judged.fraud.sum()),
        "prevalence": float((judged.weight * judged.fraud).sum() / (judged.weight.sum() or 1)),
    }
    ends = intervals(asked, judged, seed=seed, resamples=resamples)
    for name, measure in asked.items():
        value = measure(judged) if len(judged.score) else float("nan")
        found[name] = {"value": value, "low": ends[name][0], "high": ends[name][1]}
    return found


def _ranked(metric: Callable[[Bools, Floats, Floats], float], judged: Judged) -> float:
    return metric(judged.fraud, judged.score, judged.weight)


def _alerted(share: float, which: int, judged: Judged) -> float:
    return at_alerts(judged.fraud, judged.score, share, judged.weight)[which]


RANKING: dict[str, Measure] = {
    "average_precision": partial(_ranked, average_precision),
    "roc_auc": partial(_ranked, roc_auc),
    **{
        f"{name}_at_{share:.1%}": partial(_alerted, share, which)
        for share in ALERTS
        for which, name in enumerate(("precision", "recall"))
    },
}


def _found(fraud: Bools, score: Floats, weight: Floats | None = None) -> tuple[Floats, Floats]:
    """How many frauds and how many gifts are at or above each distinct score, from the highest down."""
    order = np.argsort(-score, kind="stable")
    last = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)
    weights = np.ones(len(score)) if weight is None else weight[order]
    return np.cumsum(weights * fraud[order])[last], np.cumsum(weights)[last]
