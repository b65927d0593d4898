"""How surprising a window of days is beside other days. Law: days are what is drawn, since gifts of a day are alike.

How much a column's cells vary from day to day in the reference says how far a window may lie from it by chance (Rao and
Scott's correction, with the days' own autocorrelation on top). Weekends and workdays are strata: the reference is
weighed as the window mixes them. What a single day brought is no drift: the p-value is the one that is left whichever
day of the window is left out, since a burst that a fortnight happens not to have seen is mostly one day's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date

import numpy as np
from numpy.typing import NDArray
from scipy.special import fdtrc  # type: ignore[import-untyped]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

LEAST_SHARE = 0.05  # of the reference's gifts in a cell that is compared
STICKY = 0.9  # the highest autocorrelation of days that is believed
SATURDAY = 5


def weekend(days: Iterable[date]) -> NDArray[np.bool_]:
    return np.array([day.weekday() >= SATURDAY for day in days], dtype=np.bool_)


def holm(chances: Mapping[str, float], rate: float) -> set[str]:
    """The names whose p-values stand out at this rate over all of them together."""
    found: set[str] = set()
    for place, name in enumerate(sorted(chances, key=lambda one: chances[one])):
        if chances[name] * (len(chances) - place) > rate:
            break
        found.add(name)
    return found


def without_a_day(now: Ints, now_weekend: Bools) -> Iterable[tuple[Ints, Bools]]:
    """The window with each of its days left out in turn, where gifts remain."""
    for day in range(len(now)):
        kept = np.arange(len(now)) != day
        if now[kept].any():
            yield now[kept], now_weekend[kept]


def lasting(then: Ints, now: Ints, then_weekend: Bools, now_weekend: Bools, rate: float) -> float:
    """The p-value of a window, and where that is as low as `rate`, what is left of it without its strangest day."""
    whole = chance(then, now, then_weekend, now_weekend)
    if whole > rate:
        return whole
    left = (chance(then, rest, then_weekend, days) for rest, days in without_a_day(now, now_weekend))
    return max(whole, *left, 0.0)


def chance(then: Ints, now: Ints, then_weekend: Bools, now_weekend: Bools) -> float:
    """The p-value that days like `then` (days, bins) give a window as far off as `now`, nulls as the last bin."""
    cells = merged(then.sum(axis=0))
    before, after = then @ cells, now @ cells
    expected, strayed, strata = strays(before, after, then_weekend, now_weekend)
    floor = np.maximum(expected, LEAST_SHARE)
    distance = float(((after.sum(axis=0) / after.sum() - expected) ** 2 / floor).sum())
    usual, shape = by_chance(strayed / np.sqrt(floor), expected, floor, before, after, strata)
    return float(fdtrc(shape, max(1, len(before) - strata), distance / usual)) if usual > 0 else float(distance == 0)


def merged(totals: Ints) -> Floats:
    """Neighbouring bins joined until each cell has its least share (bins, cells); nulls stay apart.

    Rare cells belong to few parties, which stay for weeks: their days tell too little of how they vary.
    """
    number, held, place = 0, 0.0, []
    for count in totals[:-1].tolist():
        if held >= LEAST_SHARE * totals.sum():
            number, held = number + 1, 0.0
        place.append(number)
        held += count
    found: Floats = np.eye(number + 2)[[*place, number + 1]]
    return found


def strays(before: Floats, after: Floats, then_weekend: Bools, now_weekend: Bools) -> tuple[Floats, Floats, int]:
    """The shares to expect as the window mixes its days, how each reference day strayed (in gifts), and the strata."""
    expected, strayed, strata = np.zeros(before.shape[1]), np.empty_like(before), 0
    both = {bool(one) for one in now_weekend} <= {bool(one) for one in then_weekend}
    for is_weekend in (False, True) if both else (None,):
        mine = np.ones(len(before), np.bool_) if is_weekend is None else then_weekend == is_weekend
        theirs = np.ones(len(after), np.bool_) if is_weekend is None else now_weekend == is_weekend
        if not mine.any():
            continue
        shares = before[mine].sum(axis=0) / max(1.0, before[mine].sum())
        expected += shares * (after[theirs].sum() / after.sum())
        strayed[mine] = before[mine] - before[mine].sum(axis=1, keepdims=True) * shares
        strata += 1
    return expected, strayed, strata


def by_chance(
    strayed: Floats, expected: Floats, floor: Floats, before: Floats, after: Floats, strata: int
) -> tuple[float, float]:
    """The mean distance of a window by chance, and its degrees of freedom, from how the reference's days strayed."""
    days, window_days = len(before), len(after)
    spread_of_days = strayed.T @ strayed / max(1, days - strata)
    trace = float(np.trace(spread_of_days))
    # What independent gifts would give; days can only add to it.
    single = float((expected * (1 - expected) / floor).sum())
    a_day, a_window_day = before.sum() / days, after.sum() / window_days
    excess = max(0.0, trace / (a_day * single) - 1) if single > 0 else 0.0
    sticky = autocorrelation(strayed)
    usual = single * (
        (1 + excess) * longer(sticky, days) / before.sum()
        + (1 + excess * a_window_day / a_day) * longer(sticky, window_days) / after.sum()
    )
    return usual, max(1.0, trace**2 / float((spread_of_days**2).sum())) if trace > 0 else 1.0


def autocorrelation(strayed: Floats) -> float:
    """Of one day with the next, corrected for the bias of a short run."""
    power = float((strayed**2).sum())
    found = float((strayed[1:] * strayed[:-1]).sum()) / power if power > 0 else 0.0
    return min(STICKY, max(0.0, found + (1 + 3 * found) / len(strayed)))


def longer(sticky: float, days: int) -> float:
    """By how much the variance of a mean over so many days grows if each is like the one before."""
    lags = np.arange(1, days)
    return float(1 + 2 * ((1 - lags / days) * sticky**lags).sum())
