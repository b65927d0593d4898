"""The split: spans that meet, a gap before as_of, and no label before its time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from training.errors import TrainingError
from training.split import GAP, HELD, TRAIN, frauds, known, split, weights

FIRST, DAY = datetime(2026, 1, 1, tzinfo=UTC), timedelta(days=1)


def test_spans_meet_and_end_at_as_of() -> None:
    as_of = FIRST + 200 * DAY
    found = split(FIRST, as_of)
    assert found.gap.end == as_of and found.gap.start == found.held.end == as_of - GAP
    assert found.held.start == found.early.end == found.held.end - HELD
    assert found.train.start == found.held.end - TRAIN and found.train.end == found.held.end


def test_a_short_history_holds_a_quarter() -> None:
    found = split(FIRST, FIRST + 27 * DAY)
    assert found.train.start == FIRST and found.held.end - found.held.start == 5 * DAY


def test_rows_at_an_edge_are_of_one_span_only() -> None:
    found = split(FIRST, FIRST + 100 * DAY)
    at = pl.Series([found.early.start, found.held.start, found.gap.start, found.gap.end])
    assert [span.rows(at).tolist() for span in (found.early, found.held, found.gap)] == [[0], [1], [2]]


@pytest.mark.parametrize(("days", "said"), [(0, "no row before"), (-3, "no row before"), (7, "late labels")])
def test_a_moment_too_early_is_refused_with_the_cure(days: int, said: str) -> None:
    with pytest.raises(TrainingError, match=said):
        split(FIRST, FIRST + days * DAY)


def test_a_label_counts_from_its_moment_on() -> None:
    rows = pl.DataFrame({"fraud": [True, True, False, None], "label_at": [FIRST, FIRST + DAY, FIRST, FIRST]})
    assert known(rows, FIRST).tolist() == [True, False, True, False]
    assert frauds(rows, FIRST).tolist() == [True, False, False, False]
    assert not known(rows.drop("label_at"), FIRST).any() and not frauds(rows.drop("fraud"), FIRST).any()


def test_weights_are_one_where_nothing_is_said() -> None:
    rows = pl.DataFrame({"id": ["a", "b", "c"], "weight": [20.0, None, 0.0]})
    assert weights(rows).tolist() == [20.0, 1.0, 0.0] and weights(rows.drop("weight")).tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("wrong", [-1.0, float("nan"), float("inf"), "many"])
def test_a_weight_that_is_none_is_named(wrong: object) -> None:
    with pytest.raises(TrainingError, match=r"weight is .* in the gift 'a'"):
        weights(pl.DataFrame({"id": ["a"], "weight": [wrong]}))
