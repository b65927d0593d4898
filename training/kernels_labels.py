"""Kernels of what labels tell about an org. Law: a label counts only from the moment that it was known.

The asking gifts are grouped by the key that they ask about; `at`, `excess` and what is written are by row.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from detector.feature_table import NEAR, PLAIN
from training.kernels import HORIZON, I64, NULL, SECOND, Grouped, jit, taken

WORDS = ("frauds_plain", "streak", "streak_plain", "streak_age_s", "good_age_s", "fraud_age_s")
GOOD_HORIZON = 2 * HORIZON


class Labels(NamedTuple):
    """The labelled rows by key, in the order in which they became known; when that was, and whether it was fraud."""

    start: I64
    rows: I64
    known: I64
    bad: I64


@jit
def labelled(asking: Grouped, labels: Labels, at: I64, spans: I64, most: int, out: I64) -> None:
    """Labels and frauds of the key that is asked about, `most` at most, known in each span."""
    start, rows, known, bad = labels
    wide = len(spans)
    lo, frauds = np.empty(wide, np.int64), np.empty(wide, np.int64)
    for k in range(len(asking.start) - 1):
        hi, end = start[k], start[k + 1]
        for w in range(wide):
            lo[w], frauds[w] = hi, 0
        for p in range(asking.start[k], asking.start[k + 1]):
            i = asking.rows[p]
            now = at[i]
            while hi < end and known[hi] <= now and rows[hi] < i:
                for w in range(wide):
                    frauds[w] += bad[hi]
                hi += 1
            for w in range(wide):
                while lo[w] < hi and (known[lo[w]] <= now - spans[w] or hi - lo[w] > most):
                    frauds[w] -= bad[lo[w]]
                    lo[w] += 1
                out[2 * w, i], out[2 * w + 1, i] = hi - lo[w], frauds[w]


@jit
def ages(now: Any, run_at: Any, good_at: Any, fraud_at: Any, i: int, out: I64) -> None:
    """Seconds since the gifts of these times, NULL for one that there is not; a good one counts twice as long."""
    out[3, i] = (now - run_at) // SECOND if run_at != NULL else NULL
    out[4, i] = (now - good_at) // SECOND if good_at > now - GOOD_HORIZON else NULL
    out[5, i] = (now - fraud_at) // SECOND if fraud_at != NULL else NULL


@jit
def streaks(asking: Grouped, labels: Labels, at: I64, excess: I64, out: I64) -> None:
    """What the labels known within the horizon say in order, the columns WORDS. `excess` is that of the clean habit."""
    start, rows, known, bad = labels
    plain = taken(excess, rows)
    for p in range(len(rows)):
        plain[p] = bad[p] and 0 < plain[p] < PLAIN
    for k in range(len(asking.start) - 1):
        lo = hi = start[k]
        frauds = plains = streak = 0
        good_at, fraud_at = np.int64(NULL), np.int64(NULL)
        for p in range(asking.start[k], asking.start[k + 1]):
            i = asking.rows[p]
            now = at[i]
            while hi < start[k + 1] and known[hi] <= now and rows[hi] < i:
                if bad[hi]:
                    streak, fraud_at = streak + 1, at[rows[hi]]
                else:
                    streak, good_at = 0, at[rows[hi]]
                frauds, plains, hi = frauds + bad[hi], plains + plain[hi], hi + 1
            while lo < hi and known[lo] <= now - HORIZON:
                frauds, plains, lo = frauds - bad[lo], plains - plain[lo], lo + 1
            run = min(streak, hi - lo)
            latest = 0
            for q in range(max(hi - run, hi - NEAR), hi):
                latest += plain[q]
            out[0, i], out[1, i], out[2, i] = plains, run, latest
            ages(now, at[rows[hi - run]] if run else NULL, good_at, fraud_at if frauds else NULL, i, out)
