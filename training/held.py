"""The held slice: gifts that the fit had not seen, and what scoring them came to. Law: a card's figures are of these.

A truth is a label known by the moment that the model is as of; a gift that nobody called fraud counts as good.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import numpy as np
import polars as pl

from training.evaluate import DAY_US, Ints, Judged, Measure, average_precision, remaining, unknown_senders
from training.split import Bools, Floats, Span, frauds

WEEK_US = 7 * DAY_US
BINS = 10
# Frauds of a week, and of the week by which labels are late, as in the Fraud Detection Handbook.
FORTNIGHT = timedelta(days=14)
# The normal quantile of a 95 % interval.
SIGMAS = 1.96


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """The held slice. `fresh`: the sender was not known as compromised when the slice began; `remaining`: it was not
    when the gift's day began, by frauds of the last fortnight and since; `by`: what gave the scores; `days`: how long
    it is; `kind`: the typology, where the history says it, for judging only."""

    judged: Judged
    at_us: Ints
    sender: pl.Series
    fresh: Bools
    remaining: Bools
    by: str
    days: float
    kind: pl.Series | None = None


def held_of(
    rows: pl.DataFrame, span: Span, as_of: datetime, fraud: Bools, scores: Floats, weight: Floats, by: str
) -> Held:
    """The gifts of `rows` in the span, with what each came to; who is known as compromised goes by the labels known
    when the span begins, or on a gift's day, as far as they were known by `as_of`."""
    numbers = span.rows(rows["at"])
    there = np.zeros(rows.height, dtype=np.bool_)
    there[numbers] = True
    held, bad = rows[numbers], frauds(rows, as_of)
    at_us = held["at"].to_physical().to_numpy()
    late = rows.filter(pl.Series(bad) & (rows["at"] >= span.start - FORTNIGHT))
    known_us = late["label_at"].to_physical().to_numpy() if late.height else np.empty(0, np.int64)
    return Held(
        judged=Judged(fraud, scores, held["amount"].to_numpy(), weight),
        at_us=at_us,
        sender=held["sender"],
        fresh=unknown_senders(rows["sender"], frauds(rows, span.start), there)[numbers],
        remaining=remaining(at_us, held["sender"], late["sender"], known_us),
        by=by,
        days=span.days,
        kind=kind_of(held),
    )


def kind_of(rows: pl.DataFrame) -> pl.Series | None:
    """The column that names each gift's typology, "" where it has none; None without such a column."""
    name = next((name for name in ("typology", "pattern") if name in rows.columns), None)
    return rows[name].cast(pl.String).fill_null("") if name else None


def share(part: Callable[[Judged], Floats | Bools], whole: Callable[[Judged], Floats | Bools], judged: Judged) -> float:
    """What share of the whole's weight the part has; NaN of nothing."""
    of = whole(judged) * judged.weight
    total = of.sum()
    return float((part(judged) * of).sum() / total) if total else float("nan")


def measures(hold: float | None, block: float | None) -> dict[str, Measure]:
    """What the thresholds come to: shares of gifts, and of the credits of frauds. Held means held or blocked."""

    def above(at: float | None, judged: Judged) -> Bools:
        found: Bools = judged.score >= (np.inf if at is None else at)
        return found

    held, blocked = partial(above, _lower(hold, block)), partial(above, block)
    return {
        "good_held": partial(share, held, good),
        "good_blocked": partial(share, blocked, good),
        "precision": partial(share, bad, held),
        "recall": partial(share, held, bad),
        "recall_blocked": partial(share, blocked, bad),
        "loss_prevented": partial(share, held, stolen),
    }


def _lower(hold: float | None, block: float | None) -> float | None:
    there = [at for at in (hold, block) if at is not None]
    return min(there) if there else None


def good(judged: Judged) -> Bools:
    return ~judged.fraud


def bad(judged: Judged) -> Bools:
    return judged.fraud


def stolen(judged: Judged) -> Floats:
    """Micro-credits of each fraud, 0 for a good gift."""
    return np.where(judged.fraud, judged.amount.astype(np.float64), 0.0)


def weekly(at_us: Ints, judged: Judged, asked: dict[str, Measure]) -> list[dict[str, Any]]:
    """By week from the first gift on: counts, average precision, the median score, and what was asked."""
    week = (at_us - at_us.min(initial=np.iinfo(np.int64).max)) // WEEK_US
    found = []
    for number in np.unique(week):
        part = judged.take(week == number)
        found.append(
            {
                "week": int(number) + 1,
                "gifts": len(part.score),
                "frauds": int(part.fraud.sum()),
                "average_precision": average_precision(part.fraud, part.score, part.weight),
                "median_score": float(np.median(part.score)),
                **{name: measure(part) for name, measure in asked.items()},
            }
        )
    return found


def by_kind(held: Held, hold: float) -> list[dict[str, Any]]:
    """By typology: gifts, known frauds, of which share how many were held, and of the good ones; frauds first."""
    found = []
    for kind, judged in _kinds(held):
        caught, of = judged.score >= hold, judged.fraud
        frauds = int(of.sum())
        found.append(
            {
                "kind": kind,
                "gifts": len(of),
                "frauds": frauds,
                "recall": wilson(float((caught & of).sum()), frauds),
                "loss_prevented": share(lambda one: one.score >= hold, stolen, judged),
                "good_held": wilson(float((caught & ~of).sum()), len(of) - frauds),
            }
        )
    return sorted(found, key=lambda one: (not one["frauds"], -one["frauds"], one["kind"]))


def _kinds(held: Held) -> Iterator[tuple[str, Judged]]:
    if held.kind is not None:
        for kind in held.kind.unique().sort():
            yield kind or "none named", held.judged.take((held.kind == kind).to_numpy())


def reliability(judged: Judged) -> list[dict[str, Any]]:
    """Gifts by score: what was said and what came true, in parts that grow finer towards the top."""
    edges = np.unique(np.quantile(judged.score, [0, *(1 - np.geomspace(0.5, 1e-3, BINS - 1))]))
    place = np.searchsorted(edges, judged.score, side="right") - 1
    parts = [judged.take(place == number) for number in range(len(edges)) if (place == number).any()]
    return [
        {
            "gifts": len(part.score),
            "mean_score": float(np.average(part.score, weights=part.weight)),
            "fraud": wilson(*effective(part)),
        }
        for part in parts
        if part.weight.sum()
    ]


def effective(judged: Judged) -> tuple[float, float]:
    """Frauds and gifts as if drawn evenly: as many gifts as tell as much as the weighted ones (Kish)."""
    total = judged.weight.sum()
    count = float(total**2 / (judged.weight**2).sum())
    return count * float((judged.weight * judged.fraud).sum() / total), count


def wilson(hits: float, count: float) -> dict[str, float]:
    """A share with its 95 % interval (Wilson's): it is one even of none or all. NaN of nothing."""
    if not count:
        return {"value": float("nan"), "low": float("nan"), "high": float("nan")}
    value, square = hits / count, SIGMAS**2
    middle, whole = value + square / (2 * count), 1 + square / count
    reach = SIGMAS * math.sqrt(value * (1 - value) / count + square / (4 * count**2))
    low, high = (middle - reach) / whole, (middle + reach) / whole
    return {"value": value, "low": max(0.0, min(low, value)), "high": min(1.0, max(high, value))}
