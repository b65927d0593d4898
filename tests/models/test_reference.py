"""The reference: spreads that count every gift, kept with the model, and refused where they cannot be true."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import artifact
from models.errors import ArtifactRefused
from models.reference import BINS, Reference, spread
from tests.models.conftest import FEATURES


def reference(vectors: Any) -> Reference:
    rows = len(vectors)
    return {
        "features": {name: spread(vectors[:, column]) for column, name in enumerate(FEATURES)},
        "score": spread(np.linspace(0, 1, rows)),
        "verdicts": {"approve": rows - 3, "hold": 2, "block": 1},
        "rows": rows,
    }


@given(st.lists(st.one_of(st.integers(-3, 40).map(float), st.just(float("nan"))), max_size=200))
def test_every_value_is_in_one_bin(values: list[float]) -> None:
    found = spread(np.array(values, dtype=np.float64))
    edges = [-np.inf, *found["edges"], np.inf]
    there = [value for value in values if value == value]
    bins = itertools.pairwise(edges)
    assert found["counts"] == [sum(low <= value < high for value in there) for low, high in bins]
    assert sum(found["counts"]) + found["nulls"] == len(values)
    assert len(found["counts"]) <= BINS and (0 not in found["counts"] or not there)


def test_bins_are_quantiles() -> None:
    assert spread(np.arange(1000.0))["counts"] == [50] * BINS


def test_it_comes_back_with_the_model(content: artifact.Content, vectors: Any, tmp_path: Path) -> None:
    told = reference(vectors)
    model = artifact.write(tmp_path / "small", replace(content, reference=told))
    assert model.reference == told
    assert artifact.write(tmp_path / "untold", content).reference is None


@pytest.mark.parametrize(
    "spoil",
    [
        lambda told: told["features"].pop(FEATURES[0]),
        lambda told: told["score"]["edges"].append(0.0),
        lambda told: told["score"]["counts"].append(0),
        lambda told: told["verdicts"].update(hold=9),
        lambda told: told["features"][FEATURES[1]].update(nulls=-1),
        lambda told: told["score"].pop("nulls"),
    ],
)
def test_one_that_cannot_be_true_is_refused(
    content: artifact.Content, vectors: Any, tmp_path: Path, spoil: Callable[[Any], Any]
) -> None:
    told = reference(vectors)
    spoil(told)
    with pytest.raises(ArtifactRefused, match="reference"):
        artifact.write(tmp_path / "small", replace(content, reference=told))
