"""From calm scores to p-values and thresholds. Law: what is promised of false holds holds on average, and errs low.

A conformal p-value is the share of good gifts, unseen by the fit, that score at least as high, the gift itself counted
among them: (reached + 1) / (n + 1). Holding what has p ≤ 0.005 so holds at most 0.5 % of good gifts on average, however
few are known, as long as the coming weeks are like the calm ones; single weeks stray.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from models.calibration import Conformal, PValues
from training.evaluate import Judged
from training.held import measures, stolen
from training.split import Floats

# Every score of the far tail is kept, and so many of the rest.
TAIL_SCORES, BODY_SCORES = 4_000, 1_000
FALSE_HOLD_RATE, GOOD_BLOCKED = 0.005, 0.0005
# Rates of good gifts whose thresholds the card compares.
COMPARED = (0.001, 0.0025, 0.005, 0.01, 0.02)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What the operator states. The first two are shares of the good gifts; a missed credit of fraud costs
    `missed_cost` times a good one delayed, and where it is stated it decides what is held, not `false_holds`."""

    false_holds: float = FALSE_HOLD_RATE
    good_blocked: float = GOOD_BLOCKED
    cases_a_day: float | None = None
    missed_cost: float | None = None


def conformal(calm: Floats, weight: Floats | None = None) -> Conformal:
    """The p-values of scores, by the scores of good gifts; a gift of weight w counts as w gifts."""
    order = np.argsort(calm, kind="stable")
    rising, count = calm[order], len(calm)
    weights = np.ones(count) if weight is None else weight[order]
    places = np.unique(np.linspace(0, max(0, count - TAIL_SCORES), BODY_SCORES).astype(np.intp))
    scores = np.unique(np.concatenate([rising[places], rising[-TAIL_SCORES:]])) if count else rising
    # Rounded up between two scores that are kept: a p-value may be too high, and never too low.
    beyond = np.append(np.cumsum(weights[::-1])[::-1], 0.0)
    reached, one = beyond[np.searchsorted(rising, scores, side="left")], max(1.0, weights.max(initial=1.0))
    return Conformal(tuple(scores.tolist()), (1.0, *((reached + one) / (beyond[0] + one)).tolist()))


def p_values(found: Conformal) -> PValues:
    return PValues(np.array(found.scores, dtype=np.float64), np.array(found.p_values, dtype=np.float64))


def verdicts(scores: Floats, thresholds: dict[str, float]) -> pl.Series:
    """The most severe verdict whose threshold the score comes up to."""
    found = np.full(len(scores), "approve", dtype=object)
    for verdict in ("hold", "block"):
        if verdict in thresholds:
            found[scores >= thresholds[verdict]] = verdict
    return pl.Series(found.tolist(), dtype=pl.String)


def threshold(found: Conformal, rate: float) -> float | None:
    """The lowest score whose p-value is at most `rate`; none where too few good gifts are known to say."""
    low_enough = np.flatnonzero(np.array(found.p_values[1:]) <= rate)
    return float(found.scores[low_enough[0]]) if len(low_enough) else None


def chosen(
    found: Conformal, judged: Judged, days: float, terms: Terms, weeks: tuple[Conformal, ...]
) -> dict[str, float]:
    """The thresholds that can be stated, on gifts of so many days; a verdict without one is never given.

    Good gifts that score as frauds come in bunches, such as those of a customer whose account leaked, so that a few
    hundredths of a percent stray from week to week more than their count says. What may be blocked therefore holds in
    each of the `weeks` that can say; without weeks nothing is blocked.
    """
    most = terms.good_blocked if terms.missed_cost is not None else min(terms.good_blocked, terms.false_holds)
    said_by = [at for at in (threshold(one, most) for one in weeks and (found, *weeks)) if at is not None]
    block = max(said_by, default=None)
    hold = _hold(found, judged, days, terms, np.inf if block is None else block)
    said = {"hold": hold, "block": block}
    return {verdict: at for verdict, at in said.items() if at is not None}


def _hold(found: Conformal, judged: Judged, days: float, terms: Terms, block: float) -> float | None:
    """The cheapest threshold that an analyst's day has room for; without costs, the lowest that is calm enough."""
    # Frauds may lie beyond every good gift, and a small budget may lie among them.
    scores = np.unique(np.concatenate([found.scores, judged.score[judged.fraud]]))
    room = np.full(len(scores), True)
    if terms.cases_a_day is not None:
        held = _above(judged, judged.weight, scores) - _above(judged, judged.weight, np.array([block]))
        room = held <= terms.cases_a_day * days
    if terms.missed_cost is None:
        room &= p_values(found).of(scores) <= terms.false_holds
    left = np.flatnonzero(room & (scores <= block))
    if not len(left):
        # Not one case fits the day: what is blocked is all that is stopped.
        return None
    place = left[0] if terms.missed_cost is None else _cheapest(costs(judged, scores, terms.missed_cost), left)
    return float(scores[place])


def _cheapest(cost: Floats, left: Any) -> int:
    """Of equal costs the highest threshold, which holds the fewest."""
    return int(left[len(left) - 1 - np.argmin(cost[left][::-1])])


def costs(judged: Judged, hold: Floats, missed_cost: float) -> Floats:
    """What each threshold costs, in credits delayed: `missed_cost` for a credit of fraud let go, 1 for a good one
    held."""
    bad = stolen(judged) * judged.weight
    good = judged.amount * judged.weight * ~judged.fraud
    found: Floats = missed_cost * (bad.sum() - _above(judged, bad, hold)) + _above(judged, good, hold)
    return found


def _above(judged: Judged, values: Floats, scores: Floats) -> Floats:
    """The sum of values of the gifts that come up to each score."""
    order = np.argsort(judged.score, kind="stable")
    sums = np.append(np.cumsum(values[order][::-1])[::-1], 0.0)
    found: Floats = sums[np.searchsorted(judged.score[order], scores, side="left")]
    return found


def compared(
    found: Conformal, judged: Judged, days: float, terms: Terms, thresholds: dict[str, float]
) -> list[dict[str, Any]]:
    """What the chosen hold threshold gives on these gifts, and what others would have given."""
    block = thresholds.get("block")
    rates = {f"{rate:.2%} of good gifts": threshold(found, rate) for rate in COMPARED}
    asked = {"chosen": thresholds.get("hold"), **rates}
    rows = []
    for why, hold in asked.items():
        if hold is None:
            continue
        above = _above(judged, judged.weight, np.array([hold, np.inf if block is None else block]))
        row = {"why": why, "hold": hold, "cases_a_day": float(max(0.0, above[0] - above[1])) / days}
        row |= {name: measure(judged) for name, measure in measures(hold, block).items()}
        if terms.missed_cost is not None:
            row["cost_a_day"] = float(costs(judged, np.array([hold]), terms.missed_cost)[0]) / days
        rows.append(row)
    return rows
