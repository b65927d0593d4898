"""How good scores are, on arrays: `fraud` are truths, `score` high = more suspicious. Law: pure, and ties are fair.

Gifts of one score stand or fall together in the curves; where a budget cuts through a tie, input order decides.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from training.split import Bools

Floats = NDArray[np.float64]
Metric = Callable[[Bools, Floats], float]

ALERTS = (0.005, 0.01)
SENDERS_A_DAY = 100
RESAMPLES = 100
INTERVAL = (0.025, 0.975)
WEEK_US = 7 * 86_400_000_000
DAY_US = 86_400_000_000


def average_precision(fraud: Bools, score: Floats) -> float:
    """The mean precision at each fraud found; of random scores it is the prevalence. NaN without frauds."""
    if not fraud.any():
        return float("nan")
    found, alerts = _found(fraud, score)
    return float(np.sum(np.diff(found, prepend=0) * (found / alerts)) / found[-1])


def roc_auc(fraud: Bools, score: Floats) -> float:
    """How likely a fraud scores above a good gift, a tie counting half. NaN without both."""
    bad = int(fraud.sum())
    good = len(fraud) - bad
    if not bad or not good:
        return float("nan")
    _, place, counts = np.unique(score, return_inverse=True, return_counts=True)
    rank = np.cumsum(counts) - (counts - 1) / 2
    return float((rank[place][fraud].sum() - bad * (bad + 1) / 2) / (bad * good))


def curve(fraud: Bools, score: Floats) -> tuple[Floats, Floats]:
    """Recall and precision at each distinct score, from the highest down."""
    found, alerts = _found(fraud, score)
    return found / max(1, found[-1]), found / alerts


def at_alerts(fraud: Bools, score: Floats, share: float) -> tuple[float, float]:
    """Precision and recall when this share of the gifts is alerted, one gift at least."""
    alerts = max(1, round(share * len(score)))
    hits = int(fraud[np.argsort(-score, kind="stable")[:alerts]].sum())
    bad = int(fraud.sum())
    return hits / alerts, hits / bad if bad else float("nan")


def precision_at_senders(
    at_us: NDArray[np.int64], sender: pl.Series, fraud: Bools, score: Floats, most: int = SENDERS_A_DAY
) -> float:
    """Mean over days of the share of frauds among the `most` senders a day with the highest score (the Fraud Detection
    Handbook's card precision top-k): a sender caught once is not looked at again on later days. With `fraud` as the
    score it is the most that can be reached."""
    by_sender = pl.DataFrame({"day": at_us // DAY_US, "sender": sender, "fraud": fraud, "score": score})
    days = by_sender.group_by("day", "sender", maintain_order=True).agg(pl.col("fraud", "score").max())
    caught: set[str] = set()
    shares: list[float] = []
    for _, day in sorted(days.partition_by("day", as_dict=True).items()):
        left = day.filter(~pl.col("sender").is_in(list(caught)))
        top = left.sort("score", descending=True, maintain_order=True).head(most)
        shares.append(int(top["fraud"].sum()) / most)
        caught.update(top.filter("fraud")["sender"])
    return float(np.mean(shares)) if shares else float("nan")


def unknown_senders(sender: pl.Series, known_fraud: Bools, asked: Bools) -> Bools:
    """Of the rows `asked`, those whose sender is in no row of `known_fraud`: who is known is no finding."""
    left: Bools = asked & ~sender.is_in(sender.filter(pl.Series(known_fraud)).unique().implode()).to_numpy()
    return left


def remaining(
    at_us: NDArray[np.int64], sender: pl.Series, fraud_sender: pl.Series, known_us: NDArray[np.int64]
) -> Bools:
    """Of gifts, those whose sender was in no fraud that was known when the gift's day began (the Handbook's rule).

    The frauds are given by their sender and when each became known.
    """
    frauds = pl.DataFrame({"sender": fraud_sender, "known": known_us}).group_by("sender").agg(pl.col("known").min())
    gifts = pl.DataFrame({"sender": sender, "day": at_us // DAY_US * DAY_US})
    first = gifts.join(frauds, on="sender", how="left", maintain_order="left")
    left: Bools = (first["known"].is_null() | (first["known"] > first["day"])).to_numpy()
    return left


def bootstrap(
    metric: Metric, fraud: Bools, score: Floats, *, seed: int = 0, resamples: int = RESAMPLES
) -> tuple[float, float]:
    """The 95 % interval of a metric over gifts drawn again with replacement; NaN where there is no figure."""
    chance = np.random.default_rng(seed)
    # Sorted beforehand, so that a metric, which sorts, has hardly anything to do.
    order = np.argsort(-score, kind="stable")
    fraud, score = fraud[order], score[order]
    drawn = (np.sort(chance.integers(0, len(score), len(score))) for _ in range(resamples if len(score) else 0))
    found = np.array([metric(fraud[rows], score[rows]) for rows in drawn])
    # Frauds that are few may all be missing from a draw.
    if not len(found) or np.isnan(found).all():
        return float("nan"), float("nan")
    low, high = np.nanquantile(found, INTERVAL)
    return float(low), float(high)


def weekly(at_us: NDArray[np.int64], fraud: Bools, score: Floats, hold: float) -> list[dict[str, Any]]:
    """By week from the first gift on: counts, average precision, and the share of good gifts that were held."""
    week = (at_us - at_us.min(initial=np.iinfo(np.int64).max)) // WEEK_US
    found = []
    for number in np.unique(week):
        rows = week == number
        good = rows & ~fraud
        found.append(
            {
                "week": int(number) + 1,
                "gifts": int(rows.sum()),
                "frauds": int(fraud[rows].sum()),
                "average_precision": average_precision(fraud[rows], score[rows]),
                "false_holds": float(np.mean(score[good] >= hold)) if good.any() else float("nan"),
                "median_score": float(np.median(score[rows])),
            }
        )
    return found


def figures(fraud: Bools, score: Floats, *, seed: int = 0, resamples: int = RESAMPLES) -> dict[str, Any]:
    """The figures of a card, each with its interval."""
    metrics: dict[str, Metric] = {"average_precision": average_precision, "roc_auc": roc_auc}
    for share in ALERTS:
        metrics[f"precision_at_{share:.1%}"] = partial(_at, share, 0)
        metrics[f"recall_at_{share:.1%}"] = partial(_at, share, 1)
    found: dict[str, Any] = {
        "gifts": len(score),
        "frauds": int(fraud.sum()),
        "prevalence": int(fraud.sum()) / max(1, len(score)),
    }
    for name, metric in metrics.items():
        low, high = bootstrap(metric, fraud, score, seed=seed, resamples=resamples)
        found[name] = {"value": metric(fraud, score), "low": low, "high": high}
    return found


def _at(share: float, which: int, fraud: Bools, score: Floats) -> float:
    return at_alerts(fraud, score, share)[which]


def _found(fraud: Bools, score: Floats) -> tuple[Floats, Floats]:
    """How many frauds and how many gifts are at or above each distinct score, from the highest down."""
    order = np.argsort(-score, kind="stable")
    last = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)
    return np.cumsum(fraud[order])[last].astype(np.float64), (last + 1).astype(np.float64)
