"""Models: a score depends on its vector alone, contributions add up, nulls are neutral, serving stays light."""

import math
import subprocess
import sys
from datetime import UTC, datetime
from itertools import permutations
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import treelite
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from models import calibration as calibrations
from models.attribution import paths
from models.calibration import Line
from models.errors import ArtifactRefused, VectorRefused
from models.logistic import FARTHEST, logistic
from models.tails import Tail, tails
from models.trees import FEW, ROWS
from tests.support import examples

EDGES = [0.0, -0.0, math.nan, math.inf, -math.inf, 5e-324, 1.0, 3.0, 1e308, -1e308]


def rows_of(width: int, most: int = 80) -> st.SearchStrategy[Any]:
    cells = st.one_of(st.sampled_from(EDGES), st.floats(0, 20), st.floats(allow_nan=True))
    return hnp.arrays(np.float64, st.tuples(st.integers(1, most), st.just(width)), elements=cells)


def on_edges(model: Any, vectors: Any, seed: int) -> Any:
    """Some values replaced by thresholds of the trees themselves, where `<=` and `<` differ."""
    random = np.random.default_rng(seed)
    found = vectors.copy()
    for tree in model.trees.forest:
        for node in np.flatnonzero(tree.left >= 0):
            if (column := tree.column[node]) < found.shape[1]:
                found[random.integers(len(found)), column] = tree.threshold[node]
    return found


def bits(numbers: Any) -> list[str]:
    return [float(number).hex() for number in numbers]


@given(st.data())
@examples(60)
def test_a_row_scores_the_same_alone_and_in_any_batch(model: Any, data: st.DataObject) -> None:
    rows = on_edges(model, data.draw(rows_of(len(model.features))), data.draw(st.integers(0, 99)))
    scores = model.score(rows)
    assert np.isfinite(scores).all() and (scores >= 0).all() and (scores <= 1).all()
    assert bits(scores) == bits(model.score(row[None])[0] for row in rows)
    split = data.draw(st.integers(0, len(rows)))
    assert bits(scores) == bits([*model.score(rows[:split]), *model.score(rows[split:])])


@pytest.mark.parametrize("count", [0, 1, FEW, FEW + 1, 63, 64, 65, ROWS, ROWS + 1, 2 * ROWS + 70])
def test_batches_of_every_size_score_alike(model: Any, vectors: Any, count: int) -> None:
    rows = np.resize(vectors, (count, len(model.features)))
    alone = [model.score(row[None])[0] for row in rows]
    assert bits(model.score(rows)) == bits(alone)
    assert bits(model.score(np.asfortranarray(rows))) == bits(alone)


@given(st.data())
@examples(40)
def test_every_leaf_is_the_one_that_treelite_reaches(
    model: Any, content: Any, vectors: Any, data: st.DataObject
) -> None:
    rows = on_edges(model, data.draw(rows_of(len(model.features))), data.draw(st.integers(0, 99)))
    columns = model._columns(rows)
    given_rows = columns.copy()
    checkpoint = treelite.Model.deserialize_bytes(content.supervised)
    by_tree = treelite.gtil.predict_per_tree(checkpoint, columns, nthread=1)[:, :, 0]
    base = float(checkpoint.get_header_accessor().get_field("base_scores")[0])
    expected = []
    for row in by_tree.tolist():
        margin = base
        for leaf in row:
            margin += leaf
        expected.append(margin)
    assert bits(model.trees.margins(columns)) == bits(expected)
    assert np.array_equal(columns, given_rows, equal_nan=True)


@given(st.data())
@examples(30)
def test_contributions_add_up_to_the_logit(model: Any, tails_only: Any, data: st.DataObject) -> None:
    rows = data.draw(rows_of(len(model.features), most=5))
    for one in (model, tails_only):
        found = one.contributions(rows)
        assert found.terms.shape == rows.shape
        assert np.abs(found.base + found.terms.sum(axis=1) - one.logits(rows)).max() < 1e-9


def test_contributions_of_a_tree_are_its_shapley_values(model: Any) -> None:
    """By their definition: the mean gain of a column over all orders in which columns become known."""
    by_columns = sorted(model.trees.forest, key=lambda tree: len(set(tree.column[tree.left >= 0])))
    tree = next(tree for tree in by_columns if len(set(tree.column[tree.left >= 0])) >= 4)
    columns = sorted(set(tree.column[tree.left >= 0].tolist()))
    assert len(columns) <= 7, "too many orders to try them all"
    row = np.linspace(0.5, 3.0, model.trees.width)
    row[columns[0]] = np.nan

    def worth(known: frozenset[int], node: int = 0) -> float:
        left, right = tree.left[node], tree.right[node]
        if left < 0:
            return float(tree.value[node])
        if (column := int(tree.column[node])) in known:
            value = row[column]
            goes_left = tree.null_left[node] if np.isnan(value) else value <= tree.threshold[node]
            return worth(known, left if goes_left else right)
        share = tree.count[left] / tree.count[node]
        return float(share * worth(known, left) + (1 - share) * worth(known, right))

    found = paths((tree,))
    assert found.base() == pytest.approx(worth(frozenset()), abs=1e-12)
    gains: dict[int, list[float]] = {column: [] for column in columns}
    for order in permutations(columns):
        for place, column in enumerate(order):
            gains[column].append(worth(frozenset(order[: place + 1])) - worth(frozenset(order[:place])))
    expected = np.zeros(len(row))
    expected[columns] = [np.mean(gains[column]) for column in columns]
    assert found.contributions(row) == pytest.approx(expected, abs=1e-12)


def test_nulls_are_neutral_in_tails_and_a_vector_of_nulls_still_scores(model: Any, tails_only: Any) -> None:
    nulls = np.full((3, len(model.features)), np.nan)
    assert 0 <= model.score(nulls)[0] <= 1
    assert tails_only.tails.sums(nulls).tolist() == [0.0] * 3
    found = tails_only.contributions(nulls)
    assert not found.terms.any()


def test_a_more_surprising_value_never_scores_lower_without_labels(tails_only: Any) -> None:
    rows = np.full((300, len(tails_only.features)), np.nan)
    rows[:, 2] = np.linspace(-1, 40, 300)
    scores = tails_only.score(rows)
    assert (np.diff(scores) >= 0).all() and scores[-1] > scores[0]


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=40, unique=True), st.data())
def test_a_tail_is_looked_up_as_by_searchsorted(knots: list[float], data: st.DataObject) -> None:
    ordered = tuple(sorted({knot + 0.0 for knot in knots}))
    surprises = tuple(float(n) for n in range(len(ordered) + 1))
    table = tails((Tail("a", "high", 1.0, ordered, surprises), Tail("a", "low", 2.0, (0.0,), (0.0, 1.0))), ("a",))
    values = data.draw(st.lists(st.one_of(st.sampled_from(ordered), st.floats(allow_nan=False)), min_size=1))
    found = table.terms(np.array(values)[:, None])
    assert found[:, 0].tolist() == np.searchsorted(ordered, values, side="right").tolist()
    assert found[:, 1].tolist() == [2.0 if value <= 0 else 0.0 for value in values]


@given(rows_of(3))
def test_of_a_family_the_greatest_surprise_alone_counts(rows: Any) -> None:
    alone = [Tail(name, "high", 1.0, (1.0, 3.0, 9.0), (0.0, 1.0, 2.0, 4.0)) for name in "abc"]
    terms = tails(tuple(alone), tuple("abc")).terms(rows)
    first, last = (msgspec.structs.replace(tail, family="of") for tail in (alone[0], alone[2]))
    found = tails((first, alone[1], last), tuple("abc")).terms(rows)
    assert found[:, 1].tolist() == terms[:, 1].tolist()
    assert (found[:, 0] + found[:, 2]).tolist() == np.maximum(terms[:, 0], terms[:, 2]).tolist()
    assert not (found[:, 0] * found[:, 2]).any()


@pytest.mark.parametrize(
    "tail",
    [
        Tail("b", "high", 1.0, (1.0,), (0.0, 1.0)),
        Tail("a", "high", 1.0, (), (0.0,)),
        Tail("a", "high", 1.0, (1.0,), (0.0,)),
        Tail("a", "high", 1.0, (2.0, 1.0), (0.0, 1.0, 2.0)),
        Tail("a", "high", 1.0, (1.0,), (1.0, 0.0)),
        Tail("a", "high", 1.0, (math.nan,), (0.0, 1.0)),
        Tail("a", "high", 1.0, (1.0,), (0.0, math.inf)),
        Tail("a", "high", -1.0, (1.0,), (0.0, 1.0)),
    ],
)
def test_a_crooked_tail_is_refused(tail: Tail) -> None:
    with pytest.raises(ArtifactRefused, match=r"^malformed: the tail of"):
        tails((tail,), ("a",))


@given(st.lists(st.one_of(st.floats(-60, 60), st.sampled_from([*EDGES, FARTHEST, -FARTHEST])), min_size=9, max_size=40))
def test_the_logistic_function_is_near_the_true_one_and_the_same_one_by_one(logits: list[float]) -> None:
    found = logistic(np.array(logits))
    assert bits(found) == bits(logistic(np.array([logit]))[0] for logit in logits)
    for logit, score in zip(logits, found.tolist(), strict=True):
        if math.isnan(logit):
            assert math.isnan(score)
        else:
            true = 1 / (1 + math.exp(-min(max(logit, -FARTHEST), FARTHEST)))
            assert score == pytest.approx(true, rel=1e-14)


def test_the_logistic_function_rises() -> None:
    """To within its last place: two logits that close are as good as equal."""
    assert (np.diff(logistic(np.linspace(-40, 40, 200_001))) >= -2.3e-16).all()


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=30))
def test_a_line_is_walked_as_by_interp(sums: list[float]) -> None:
    line = Line((0.0, 1.0, 4.0), (-2.0, 0.0, 5.0))
    assert calibrations.curve(line).at(np.array(sums)) == pytest.approx(np.interp(sums, line.sums, line.logits))


def test_p_values_are_those_of_the_scores_come_up_to(model: Any, tails_only: Any) -> None:
    assert model.p_values(np.array([0.1, 0.2, 0.6, 0.95])).tolist() == [1.0, 0.5, 0.1, 0.01]
    assert tails_only.p_values(np.array([0.1])) is None


@pytest.mark.parametrize("shape", [(8,), (3, 7), (3, 9), (1, 3, 8)])
def test_vectors_of_another_shape_are_refused(model: Any, shape: tuple[int, ...]) -> None:
    with pytest.raises(VectorRefused, match="float64"):
        model.score(np.zeros(shape))
    with pytest.raises(VectorRefused, match="float32"):
        model.score(np.zeros((1, 8), dtype=np.float32))


def test_a_model_says_when_it_is_too_old(model: Any) -> None:
    assert not model.stale(datetime(2018, 7, 1, tzinfo=UTC))
    assert model.stale(datetime(2018, 8, 1, tzinfo=UTC))


def test_serving_imports_neither_scikit_learn_nor_joblib() -> None:
    code = "import models.artifact, models.registry, sys; print([m for m in ('sklearn', 'joblib') if m in sys.modules])"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "[]"
