"""Whether a challenger finds more frauds than the champion, as a whole and in each segment, beyond chance."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from models.forest import Floats
from training.evaluate import INTERVAL
from training.judged import alerts, segments
from training.ruling import BUDGET, FEW, Finding, Pair
from training.split import Bools

RESAMPLES = 1_000
SEGMENT_DROP = 0.15  # recall that a segment may lose, at the budget


def better(pair: Pair) -> Iterator[Finding]:
    """More frauds among the gifts that review can look at, beyond what chance explains."""
    fraud, total = pair.judged.fraud, int(pair.judged.fraud.sum())
    if pair.theirs is None:
        low, _ = paired(fraud, pair.ours, None, pair.count)
        said, cure = f"recall at {BUDGET:.0%} of gifts, low end", "it is no better than chance: give it more labels"
        yield Finding("better than chance", low / total > BUDGET, low / total, BUDGET, said, cure)
        return
    low, high = paired(fraud, pair.ours, pair.theirs, pair.count)
    ours, theirs = (int(fraud[alerts(score, pair.count)].sum()) / total for score in (pair.ours, pair.theirs))
    said = (
        f"recall at {BUDGET:.0%} of gifts {ours:.3f} against {theirs:.3f}, difference "
        f"[{low / total:+.3f}, {high / total:+.3f}], low end"
    )
    cure = "not better beyond chance: leave the champion, train on newer labels, or judge by a longer time"
    yield Finding("better", low > 0, low / total, 0, said, cure)


def paired(fraud: Bools, ours: Floats, theirs: Floats | None, count: int) -> tuple[float, float]:
    """The interval of how many more frauds are found among `count` gifts, both models on the same draws.

    Each gift is drawn 0, 1, 2 … times (Poisson), so that only gifts near the top of either order need drawing.
    """
    chance = np.random.default_rng(0)
    orders = [np.argsort(-score, kind="stable")[: 2 * count + 50] for score in (ours, theirs) if score is not None]
    rows = np.unique(np.concatenate(orders))
    places = [np.searchsorted(rows, order) for order in orders]
    found = np.empty(RESAMPLES)
    for draw in range(RESAMPLES):
        weight = chance.poisson(1.0, len(rows))
        hits = [caught(weight[place], fraud[order], count) for place, order in zip(places, orders, strict=True)]
        found[draw] = hits[0] - (hits[1] if len(hits) > 1 else 0)
    low, high = np.quantile(found, INTERVAL)
    return float(low), float(high)


def caught(weight: np.ndarray, fraud: Bools, count: int) -> int:
    """Frauds among the first `count` of weighted gifts."""
    before = np.cumsum(weight) - weight
    return int(np.minimum(weight, np.maximum(0, count - before))[fraud].sum())


def by_segment(pair: Pair) -> Iterator[Finding]:
    """No segment pays for the whole: recall in it, at the same budget of the whole."""
    if pair.theirs is None:
        return
    fraud = pair.judged.fraud
    ours, theirs = alerts(pair.ours, pair.count), alerts(pair.theirs, pair.count)
    for name, rows in segments(pair.judged):
        bad = rows & fraud
        if (total := int(bad.sum())) < FEW:
            continue
        change = ours[bad].astype(float) - theirs[bad]
        slack = 1.96 * float(change.std()) / total**0.5
        drop, sure = -float(change.mean()), -float(change.mean()) - slack > 0
        said = f"recall lost among {name}, {total} frauds"
        cure = "more labels of that kind, or leave the champion"
        yield Finding("segment", not (drop > SEGMENT_DROP and sure), max(0.0, drop), SEGMENT_DROP, said, cure)
