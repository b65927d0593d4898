"""Export: a checkpoint serves the margins of scikit-learn bit for bit, or is refused."""

from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, IsolationForest, RandomForestClassifier

from models.errors import ArtifactRefused
from models.trees import trees
from training import export


def sample(nulls: float = 0.2) -> tuple[Any, Any]:
    random = np.random.default_rng(5)
    x = random.lognormal(size=(500, 6))
    x[random.random(x.shape) < nulls] = np.nan
    return x, np.nan_to_num(x[:, 0]) + np.isnan(x[:, 1]) + random.normal(size=500) > 2


@pytest.mark.parametrize("nulls", [0.0, 0.2, 0.9])
@pytest.mark.parametrize("leaves", [2, 31, 64])
def test_margins_are_those_of_scikit_learn_to_the_last_bit(nulls: float, leaves: int) -> None:
    x, y = sample(nulls)
    booster = HistGradientBoostingClassifier(
        max_iter=25, max_leaf_nodes=leaves, min_samples_leaf=2, random_state=0
    ).fit(x, y)
    served = trees(export.checkpoint(booster, x[:40]), 6)
    more = np.concatenate([x, np.full((3, 6), np.nan), [[0.0] * 6, [-1e300] * 6, [1e300] * 6]])
    assert served.margins(more).tobytes() == booster.decision_function(more).tobytes()
    alone = np.concatenate([served.margins(row[None]) for row in more])
    assert alone.tobytes() == served.margins(more).tobytes()


def test_the_same_fit_gives_the_same_bytes() -> None:
    x, y = sample()
    fits = [HistGradientBoostingClassifier(max_iter=5, random_state=0).fit(x, y) for _ in range(2)]
    assert export.checkpoint(fits[0], x[:20]) == export.checkpoint(fits[1], x[:20])


def test_a_forest_is_exported_for_the_card_and_never_served() -> None:
    x, _ = sample(0.0)
    found = export.checkpoint(IsolationForest(n_estimators=10, random_state=0).fit(x), x[:50])
    with pytest.raises(ArtifactRefused, match="no binary classifier"):
        trees(found, 6)


def test_what_cannot_be_served_is_refused() -> None:
    x, y = sample()
    large = HistGradientBoostingClassifier(max_iter=3, max_leaf_nodes=100, min_samples_leaf=1, random_state=0)
    with pytest.raises(export.ExportRefused, match="64 leaves"):
        export.checkpoint(large.fit(x, y), x[:20])
    with pytest.raises(export.ExportRefused, match="RandomForestClassifier"):
        export.checkpoint(RandomForestClassifier(n_estimators=2).fit(x, y), x[:20])  # type: ignore[arg-type]
    with pytest.raises(export.ExportRefused, match="would not load"):
        export.checkpoint(HistGradientBoostingClassifier(max_iter=3).fit(x, y), x[:20, :5])


def test_margins_that_differ_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = sample()
    booster = HistGradientBoostingClassifier(max_iter=3, random_state=0).fit(x, y)
    margins = booster.decision_function(x[:20])
    monkeypatch.setattr(booster, "decision_function", lambda rows: np.nextafter(margins, 9))
    with pytest.raises(export.ExportRefused, match="row 0 of the sample"):
        export.checkpoint(booster, x[:20])


def test_libraries_are_those_at_work() -> None:
    found = export.libraries()
    assert found.numpy == np.__version__ and found.scikit_learn and found.treelite and found.python
