"""Kernels of an org's habit: which amounts and hours are usual for it. Law: a row sees earlier rows, and a label only
from the moment that it was known.

The asking gifts and those that teach are grouped by org, in order; other columns are by row.
"""

from __future__ import annotations

import numpy as np

from detector.feature_table import DAY_S, EXCESS_CAP, HABIT, HOUR_S, SURE, UNUSUAL
from training.kernels import HORIZON, I64, NULL, SECOND, Grouped, jit, taken

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
def say(held: I64, n: int, total: int, a: int, i: int, out: I64) -> int:
    """Writes the columns WORDS of gift i, of amount a; returns its excess."""
    out[0, i], out[1, i] = n, total
    out[2, i] = held[n - 1] if n else NULL
    out[3, i] = held[n // 2] if n else NULL
    out[4, i] = n - spot(held, n, a)
    out[5, i] = n - spot(held, n, (a + 1) // 2)
    out[6, i] = excess = min(100 * a * n // total, EXCESS_CAP) if n >= SURE else 0
    return excess


@jit
def habits(
    asking: Grouped, events: Grouped, at: I64, amount: I64, label_at: I64, fraud: I64, labelled: bool, out: I64
) -> None:
    """The habit before each gift, the columns WORDS: of its org's HABIT latest gifts within the horizon, those that
    count as usual. A gift does if it was under UNUSUAL percent of the habit of its time; once its label is known
    (only if `labelled`), if it was good. Whoever teaches has asked: one gift at most joins between two."""
    start, rows = events
    held = np.empty(HABIT + 1, np.int64)
    when, value, known, bad = taken(at, rows), taken(amount, rows), taken(label_at, rows), taken(fraud, rows)
    usual = np.zeros(len(rows), np.bool_)
    for k in range(len(asking.start) - 1):
        lo = hi = start[k]
        n = total = excess = 0
        for p in range(asking.start[k], asking.start[k + 1]):
            i = asking.rows[p]
            now = at[i]
            if hi < start[k + 1] and rows[hi] < i:
                if excess < UNUSUAL:
                    usual[hi] = True
                    n = put(held, n, value[hi])
                    total += value[hi]
                hi += 1
            while lo < hi and (hi - lo > HABIT or when[lo] <= now - HORIZON):
                if usual[lo]:
                    n = take(held, n, value[lo])
                    total -= value[lo]
                lo += 1
            if labelled:
                for q in range(lo, hi):
                    if known[q] <= now and usual[q] == (bad[q] == 1):
                        usual[q] = not usual[q]
                        n = put(held, n, value[q]) if usual[q] else take(held, n, value[q])
                        total += value[q] if usual[q] else -value[q]
            excess = say(held, n, total, amount[i], i, out)


@jit
def marked(asking: Grouped, events: Grouped, at: I64, excess: I64, low: int, high: int, span: int, out: I64) -> None:
    """Gifts of the org that is asked about, in `span`, whose excess was in [low, high)."""
    start, rows = events
    when, mark = taken(at, rows), taken(excess, rows)
    for p in range(len(rows)):
        mark[p] = low <= mark[p] < high
    for k in range(len(asking.start) - 1):
        lo = hi = start[k]
        n = 0
        for p in range(asking.start[k], asking.start[k + 1]):
            i = asking.rows[p]
            while hi < start[k + 1] and rows[hi] < i:
                n += mark[hi]
                hi += 1
            while lo < hi and when[lo] <= at[i] - span:
                n -= mark[lo]
                lo += 1
            out[0, i] = n


@jit
def same_hours(asking: Grouped, events: Grouped, at: I64, out: I64) -> None:
    """Of the org's HABIT latest gifts within the horizon, those whose time of day is within an hour of this one's."""
    start, rows = events
    when = taken(at, rows)
    hour = np.empty(len(rows), np.int64)
    for p in range(len(rows)):
        hour[p] = when[p] % DAY
    for k in range(len(asking.start) - 1):
        lo = hi = start[k]
        for p in range(asking.start[k], asking.start[k + 1]):
            i = asking.rows[p]
            now = at[i]
            here = now % DAY
            while hi < start[k + 1] and rows[hi] < i:
                hi += 1
            while lo < hi and (hi - lo > HABIT or when[lo] <= now - HORIZON):
                lo += 1
            n = 0
            for q in range(lo, hi):
                apart = abs(here - hour[q])
                n += apart <= HOUR or apart >= DAY - HOUR
            out[0, i] = n
