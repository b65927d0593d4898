"""Kernels of an org's habit: which amounts and hours are usual for it. Law: a row sees earlier rows, and a label only
from the moment that it was known.

What stands by position follows the rows grouped by org, in order.
"""

from __future__ import annotations

import numpy as np

from detector.feature_table import DAY_S, EXCESS_CAP, HABIT, HOUR_S, SURE, UNUSUAL
from training.kernels import HORIZON, I64, NULL, SECOND, jit

HOUR, DAY = HOUR_S * SECOND, DAY_S * SECOND
WORDS = ("size", "sum", "max", "median", "at_least", "half", "excess")


@jit
def spot(held: I64, size: int, value: int) -> int:
    """Where `value` belongs among the first `size` of `held`, which are sorted: how many of them are smaller."""
    lo, hi = 0, size
    while lo < hi:
        middle = (lo + hi) // 2
        if held[middle] < value:
            lo = middle + 1
        else:
            hi = middle
    return lo


@jit
def put(held: I64, size: int, value: int) -> int:
    """The value joins the sorted ones; returns their number."""
    c = size
    while c > 0 and held[c - 1] > value:
        held[c] = held[c - 1]
        c -= 1
    held[c] = value
    return size + 1


@jit
def take(held: I64, size: int, value: int) -> int:
    """The value leaves the sorted ones; returns their number."""
    for c in range(spot(held, size, value), size - 1):
        held[c] = held[c + 1]
    return size - 1


@jit
def habits(
    start: I64, rows: I64, at: I64, amount: I64, label_at: I64, fraud: I64, labelled: bool, excess: I64, out: I64
) -> None:
    """The habit before each gift, the columns WORDS: of its org's HABIT latest gifts within the horizon, those that
    count as usual. A gift does if it was under UNUSUAL percent of the habit of its time; once its label is known
    (only if `labelled`), if it was good. Other arrays are by position, `out` by row; `excess` is written."""
    held = np.empty(HABIT + 1, np.int64)
    usual = np.zeros(len(at), np.bool_)
    for k in range(len(start) - 1):
        lo = start[k]
        n = total = 0
        for p in range(start[k], start[k + 1]):
            i, now, a = rows[p], at[p], amount[p]
            if p > start[k] and excess[p - 1] < UNUSUAL:
                usual[p - 1] = True
                n = put(held, n, amount[p - 1])
                total += amount[p - 1]
            while lo < p and (p - lo > HABIT or at[lo] <= now - HORIZON):
                if usual[lo]:
                    n = take(held, n, amount[lo])
                    total -= amount[lo]
                lo += 1
            if labelled:
                for q in range(lo, p):
                    if label_at[q] <= now and usual[q] == (fraud[q] == 1):
                        usual[q] = not usual[q]
                        n = put(held, n, amount[q]) if usual[q] else take(held, n, amount[q])
                        total += amount[q] if usual[q] else -amount[q]
            out[0, i], out[1, i] = n, total
            out[2, i] = held[n - 1] if n else NULL
            out[3, i] = held[n // 2] if n else NULL
            out[4, i] = n - spot(held, n, a)
            out[5, i] = n - spot(held, n, (a + 1) // 2)
            out[6, i] = excess[p] = min(100 * a * n // total, EXCESS_CAP) if n >= SURE else 0


@jit
def marked(
    asking: I64, asking_rows: I64, start: I64, rows: I64, at: I64, excess: I64, low: int, high: int, span: int, out: I64
) -> None:
    """Gifts of the org that is asked about, in `span`, whose excess was in [low, high). Columns are by row."""
    when = at[rows]
    mark = (excess[rows] >= low) & (excess[rows] < high)
    for k in range(len(asking) - 1):
        lo = hi = start[k]
        n = 0
        for p in range(asking[k], asking[k + 1]):
            i = asking_rows[p]
            while hi < start[k + 1] and rows[hi] < i:
                n += mark[hi]
                hi += 1
            while lo < hi and when[lo] <= at[i] - span:
                n -= mark[lo]
                lo += 1
            out[0, i] = n


@jit
def same_hours(start: I64, rows: I64, at: I64, out: I64) -> None:
    """Of the org's HABIT latest gifts within the horizon, those whose time of day is within an hour of this one's.

    `at` is by position."""
    hour = at % DAY
    for k in range(len(start) - 1):
        lo = start[k]
        for p in range(start[k], start[k + 1]):
            while lo < p and (p - lo > HABIT or at[lo] <= at[p] - HORIZON):
                lo += 1
            n = 0
            for q in range(lo, p):
                apart = abs(hour[p] - hour[q])
                n += apart <= HOUR or apart >= DAY - HOUR
            out[0, rows[p]] = n
