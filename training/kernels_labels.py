"""Kernel of what labels tell about an org. Law: a label counts only from the moment that it was known."""

from __future__ import annotations

import numpy as np

from detector.feature_table import NEAR, PLAIN
from training.kernels import HORIZON, I64, NULL, SECOND, jit, taken

WORDS = ("frauds_plain", "streak", "streak_plain", "streak_age_s", "good_age_s", "fraud_age_s")
GOOD_HORIZON = 2 * HORIZON


@jit
def told(
    asking: I64,
    asking_rows: I64,
    start: I64,
    labels: I64,
    at: I64,
    label_at: I64,
    fraud: I64,
    excess: I64,
    spans: I64,
    most: int,
    out: I64,
) -> None:
    """Labels and frauds of the key that is asked about, `most` at most, known in each span, the last being the horizon;
    then the columns WORDS. `labels` are the labelled rows by key, in the order in which they became known; other arrays
    are by row, `excess` that of the clean habit."""
    wide = len(spans)
    known, bad, usual = taken(label_at, labels), taken(fraud, labels), taken(excess, labels)
    for p in range(len(labels)):
        usual[p] = 0 < usual[p] < PLAIN
    lo, frauds = np.empty(wide, np.int64), np.empty(wide, np.int64)
    for k in range(len(asking) - 1):
        hi, end = start[k], start[k + 1]
        for w in range(wide):
            lo[w], frauds[w] = hi, 0
        plain = streak = 0
        good_at, fraud_at = np.int64(NULL), np.int64(NULL)
        for p in range(asking[k], asking[k + 1]):
            i = asking_rows[p]
            now = at[i]
            while hi < end and known[hi] <= now and labels[hi] < i:
                if bad[hi]:
                    for w in range(wide):
                        frauds[w] += 1
                    plain += usual[hi]
                    streak += 1
                    fraud_at = at[labels[hi]]
                else:
                    streak = 0
                    good_at = at[labels[hi]]
                hi += 1
            for w in range(wide):
                while lo[w] < hi and (known[lo[w]] <= now - spans[w] or hi - lo[w] > most):
                    frauds[w] -= bad[lo[w]]
                    plain -= bad[lo[w]] * usual[lo[w]] if w == wide - 1 else 0
                    lo[w] += 1
                out[2 * w, i], out[2 * w + 1, i] = hi - lo[w], frauds[w]
            run = min(streak, hi - lo[wide - 1])
            c = 2 * wide
            out[c, i], out[c + 1, i] = plain, run
            latest = 0
            for q in range(max(hi - run, hi - NEAR), hi):
                latest += usual[q]
            out[c + 2, i] = latest
            out[c + 3, i] = (now - at[labels[hi - run]]) // SECOND if run else NULL
            out[c + 4, i] = (now - good_at) // SECOND if good_at > now - GOOD_HORIZON else NULL
            out[c + 5, i] = (now - fraud_at) // SECOND if frauds[wide - 1] else NULL
