"""Thresholds: what is promised of good gifts holds on average, and costs are the least that the day has room for."""

from __future__ import annotations

import numpy as np
import pytest

from training import thresholds
from training.boosting import thinned
from training.evaluate import Judged, figures
from training.thresholds import Terms


@pytest.mark.parametrize(("count", "rate"), [(999, 0.002), (2_500, 0.0005), (8_000, 0.0005), (8_000, 0.005)])
def test_what_may_be_blocked_holds_on_average(count: int, rate: float) -> None:
    """Of uniform scores the share beyond a threshold is known: no later gift need be drawn."""
    chance = np.random.default_rng(count)
    shares = []
    for _ in range(400):
        at = thresholds.threshold(thresholds.conformal(chance.random(count)), rate)
        shares.append(0.0 if at is None else 1 - at)
    assert np.mean(shares) <= rate * 1.01
    assert np.mean(shares) > rate / 3 or count * rate < 2


def judged(count: int = 3_000) -> Judged:
    chance = np.random.default_rng(5)
    fraud = chance.random(count) < 0.05
    score = 1 / (1 + np.exp(-chance.normal(size=count) - 2.0 * fraud + 3))
    return Judged(fraud, score, chance.integers(1, 1000, count) * 1_000_000, np.ones(count))


def held_at(one: Judged, hold: float, block: float) -> int:
    return int(((one.score >= hold) & (one.score < block)).sum())


@pytest.mark.parametrize("cases", [None, 2.0, 20.0])
def test_the_hold_is_the_cheapest_that_analysts_have_time_for(cases: float | None) -> None:
    one, days = judged(), 10.0
    found = thresholds.conformal(one.score[~one.fraud])
    terms = Terms(missed_cost=20.0, cases_a_day=cases, good_blocked=0.002)
    at = thresholds.chosen(found, one, days, terms, (found,))

    def cost(hold: float) -> float:
        held = one.score >= hold
        return 20.0 * one.amount[one.fraud & ~held].sum() + one.amount[~one.fraud & held].sum()

    room = [
        hold
        for hold in (*found.scores, *one.score[one.fraud].tolist())
        if hold <= at["block"] and (cases is None or held_at(one, hold, at["block"]) <= cases * days)
    ]
    assert cost(at["hold"]) == pytest.approx(min(cost(hold) for hold in room))
    assert cases is None or held_at(one, at["hold"], at["block"]) <= cases * days


def test_without_costs_both_the_rate_and_the_day_hold() -> None:
    one, days = judged(), 10.0
    found = thresholds.conformal(one.score[~one.fraud])
    free = thresholds.chosen(found, one, days, Terms(false_holds=0.05, good_blocked=0.002), (found,))
    tight = thresholds.chosen(found, one, days, Terms(false_holds=0.05, good_blocked=0.002, cases_a_day=1.0), (found,))
    assert tight["hold"] > free["hold"] and held_at(one, tight["hold"], tight["block"]) <= 10
    assert (one.score[~one.fraud] >= free["hold"]).mean() <= 0.05
    rows = thresholds.compared(found, one, days, Terms(false_holds=0.05, good_blocked=0.002), free)
    assert rows[0]["why"] == "chosen" and rows[0]["good_held"] <= 0.05
    assert rows[0]["cases_a_day"] == pytest.approx(held_at(one, free["hold"], free["block"]) / days)


def test_blocking_holds_in_the_worse_week() -> None:
    chance = np.random.default_rng(1)
    calm, rough = chance.random(4_000) * 0.5, chance.random(4_000)
    weeks = tuple(thresholds.conformal(each) for each in (calm, rough))
    both = np.concatenate([calm, rough])
    one = Judged(np.zeros(8_000, dtype=bool), both, np.ones(8_000, dtype=np.int64), np.ones(8_000))
    at = thresholds.chosen(thresholds.conformal(both), one, 14.0, Terms(good_blocked=0.001), weeks)
    assert (rough >= at["block"]).mean() <= 0.001 < (rough >= at["hold"]).mean()
    assert "block" not in thresholds.chosen(thresholds.conformal(both), one, 14.0, Terms(), ())


# Gifts reviewed with unequal chances


def test_weights_undo_a_biased_review() -> None:
    """All suspicious gifts are reviewed and one in twenty of the others: only weights tell what all would have."""
    chance = np.random.default_rng(3)
    count = 60_000
    fraud = chance.random(count) < 0.03
    score = 1 / (1 + np.exp(-chance.normal(size=count) - 1.5 * fraud))
    whole = Judged(fraud, score, np.ones(count, dtype=np.int64), np.ones(count))
    odds = np.where(score > 0.75, 1.0, 0.05)
    seen = chance.random(count) < odds
    weighted = Judged(fraud[seen], score[seen], whole.amount[seen], 1 / odds[seen])
    plain = Judged(fraud[seen], score[seen], whole.amount[seen], np.ones(int(seen.sum())))
    truth, told, naive = (figures(each) for each in (whole, weighted, plain))
    for name in ("average_precision", "roc_auc", "recall_at_1.0%"):
        value = truth[name]["value"]
        assert told[name]["low"] <= value <= told[name]["high"], name
        assert not naive[name]["low"] <= value <= naive[name]["high"], name
    good = ~weighted.fraud
    right = thresholds.threshold(thresholds.conformal(weighted.score[good], weighted.weight[good]), 0.1)
    wrong = thresholds.threshold(thresholds.conformal(plain.score[good]), 0.1)
    assert right is not None and wrong is not None
    assert (score[~fraud] >= right).mean() == pytest.approx(0.1, abs=0.01)
    assert (score[~fraud] >= wrong).mean() < 0.05


def test_a_gift_is_drawn_as_often_as_it_weighs() -> None:
    fraud = np.arange(20_000) % 10 == 0
    weight = np.where(np.arange(20_000) % 2 == 0, 2.5, 0.0)
    drawn = np.bincount(thinned(fraud, 0, 0.2, weight), minlength=len(fraud))
    assert not drawn[weight == 0].any()
    assert drawn[fraud & (weight > 0)].mean() == pytest.approx(2.5, abs=0.05)
    assert drawn[~fraud & (weight > 0)].mean() == pytest.approx(0.5, abs=0.02)
    assert np.array_equal(thinned(fraud, 0, 0.2), thinned(fraud, 0, 0.2, np.ones(len(fraud))))
