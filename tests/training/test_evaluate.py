"""Figures: those of scikit-learn where it has them, made by hand where it has not."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from training import evaluate
from training.evaluate import DAY_US, Judged
from training.held import measures, weekly

CASES = st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=2, max_size=60)


@given(CASES)
def test_average_precision_and_auc_are_those_of_scikit_learn(cases: list[tuple[bool, int]]) -> None:
    fraud, score = np.array([bad for bad, _ in cases]), np.array([float(high) for _, high in cases])
    if fraud.any():
        assert evaluate.average_precision(fraud, score) == pytest.approx(average_precision_score(fraud, score))
    if fraud.any() and not fraud.all():
        assert evaluate.roc_auc(fraud, score) == pytest.approx(roc_auc_score(fraud, score))


def test_without_frauds_there_is_no_figure() -> None:
    none = np.zeros(3, dtype=bool)
    assert np.isnan(evaluate.average_precision(none, np.arange(3.0))) and np.isnan(evaluate.roc_auc(none, np.ones(3)))


def test_alerts_by_hand() -> None:
    fraud, score = np.array([True, False, True, False]), np.array([0.9, 0.8, 0.7, 0.1])
    assert evaluate.at_alerts(fraud, score, 0.5) == (0.5, 0.5)
    assert evaluate.at_alerts(fraud, score, 0.001) == (1.0, 0.5)


def test_a_sender_is_found_once_and_the_best_gift_of_a_day_speaks_for_it() -> None:
    at = np.array([0, 1, 2, DAY_US, DAY_US + 1])
    sender = pl.Series(["a", "a", "b", "a", "c"])
    fraud, score = np.array([False, True, False, True, True]), np.array([0.9, 0.1, 0.5, 0.9, 0.2])
    # Day one: a is caught. Day two: a is not looked at again, c is.
    assert evaluate.precision_by_day(at, sender, fraud, score, most=1) == [1.0, 1.0]
    assert evaluate.precision_by_day(at, sender, fraud, score, most=2) == [0.5, 0.5]


def test_known_senders_are_left_out() -> None:
    sender = pl.Series(["a", "b", "a", "c"])
    known, asked = np.array([True, False, False, False]), np.array([False, True, True, True])
    assert evaluate.unknown_senders(sender, known, asked).tolist() == [False, True, False, True]


def test_a_sender_leaves_from_the_day_after_its_fraud_became_known() -> None:
    at, sender = np.array([5, DAY_US - 1, DAY_US, 2 * DAY_US, DAY_US]), pl.Series(["a", "a", "a", "a", "b"])
    found = evaluate.remaining(at, sender, pl.Series(["a", "a"]), np.array([DAY_US, 3 * DAY_US]))
    assert found.tolist() == [True, True, False, False, True]
    nobody = pl.Series([], dtype=pl.String)
    assert evaluate.remaining(at, sender, nobody, np.empty(0, np.int64)).all()


def test_the_interval_holds_the_figure_and_comes_again() -> None:
    chance = np.random.default_rng(1)
    fraud = chance.random(800) < 0.1
    score = fraud + chance.normal(size=800)
    judged = Judged(fraud, score, np.ones(800, np.int64), np.ones(800))
    found = evaluate.figures(judged, resamples=60)["roc_auc"]
    assert found["low"] < evaluate.roc_auc(fraud, score) == found["value"] < found["high"]
    assert found == evaluate.figures(judged, resamples=60)["roc_auc"]


def test_weeks_are_counted_apart() -> None:
    at = np.array([0, DAY_US, 8 * DAY_US])
    judged = Judged(np.array([True, False, False]), np.array([0.9, 0.1, 0.8]), np.array([3, 4, 5]), np.ones(3))
    weeks = weekly(at, judged, measures(0.5, None))
    assert [(week["gifts"], week["frauds"], week["good_held"]) for week in weeks] == [(2, 1, 0.0), (1, 0, 1.0)]
    assert weeks[0]["loss_prevented"] == 1.0


def test_random_scores_have_the_prevalence() -> None:
    chance = np.random.default_rng(2)
    fraud = chance.random(20_000) < 0.05
    assert evaluate.average_precision(fraud, chance.random(20_000)) == pytest.approx(0.05, abs=0.01)
