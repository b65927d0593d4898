"""What becomes known of each gift, and when: labels as in life, late, incomplete and now and then wrong.

Law: the truth is never in a label before somebody could have learnt it, and a label never comes without its time.

* A fraud that is reported becomes known after a log-normal number of days; a case comes to light as one, so its gifts
  share most of that delay. Some cases, and some gifts of known cases, are never reported.
* Of the other gifts, most are cleared by a dispute window that ends without a dispute; the rest stay unknown.
  A fraud that nobody reported can be cleared by it, too. A few gifts are looked at by an analyst within days.
* Analysts and customers err: a few frauds are cleared, and a few honest gifts are called fraud.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.simulate_orgs import DAY, Ints, Table

NEVER = -1  # no label at all


@dataclass(frozen=True, slots=True)
class Reporting:
    """How well a platform learns. Delays in days, shares of 1."""

    median_days: float = 7.0
    spread: float = 0.7  # of the logarithm of the delay
    least_days: float = 1.0
    most_days: float = 45.0
    cases_never: float = 0.15
    gifts_never: float = 0.08
    frauds_cleared: float = 0.02
    honest_accused: float = 0.0005
    reviewed: float = 0.015
    window_days: float = 30.0
    window_clears: float = 0.7
    window_clears_fraud: float = 0.15  # of the frauds that nobody reported


def labels(rng: np.random.Generator, rows: Table, truth: np.ndarray, how: Reporting = Reporting()) -> tuple[Ints, Ints]:
    """`fraud` as 1, 0 or NEVER, and `label_at`, of each gift."""
    n, case = len(rows), rows["case"]
    cases = int(case.max(initial=-1)) + 1
    silent, pace = rng.random(cases) < how.cases_never, rng.standard_normal(cases)
    drawn = rng.standard_normal(n)
    alone = case < 0
    shared = np.where(alone, drawn, pace[case] * 0.95 + drawn * 0.3) if cases else drawn
    days = np.clip(how.median_days * np.exp(how.spread * shared), how.least_days, how.most_days)
    reported = truth & ~(silent[case] if cases else False) & (rng.random(n) >= how.gifts_never)
    reported |= ~truth & (rng.random(n) < how.honest_accused)
    reviewed = ~reported & ~truth & (rng.random(n) < how.reviewed)
    clears = np.where(truth, how.window_clears_fraud, how.window_clears)
    cleared = ~reported & ~reviewed & (rng.random(n) < clears)
    mistaken = truth & reported & (rng.random(n) < how.frauds_cleared)
    fraud = np.where(reported & ~mistaken, 1, np.where(reviewed | cleared | mistaken, 0, NEVER))
    days = np.where(cleared, how.window_days, days)
    label_at = np.where(fraud == NEVER, NEVER, rows["at"] + (days * DAY).astype(np.int64))
    return fraud.astype(np.int64), label_at.astype(np.int64)
