"""A small artifact with every part: trees over tail copies, tails, a calibration, p-values and a card."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

from models import artifact
from models.calibration import Calibration, Conformal, Line, Platt, TailCopy
from models.manifest import Window
from models.tails import Tail
from training import export

FEATURES = tuple(f"feature_{number}" for number in range(8))
COPIED = (0, 3)
NOW = datetime(2018, 7, 1, tzinfo=UTC)


def sample(rows: int, seed: int) -> Any:
    """Heavy-tailed vectors with nulls."""
    random = np.random.default_rng(seed)
    vectors = random.lognormal(size=(rows, len(FEATURES)))
    vectors[random.random(vectors.shape) < 0.2] = np.nan
    return vectors


@pytest.fixture(scope="session")
def vectors() -> Any:
    return sample(600, 1)


@pytest.fixture(scope="session")
def floors(vectors: Any) -> Any:
    return np.nanquantile(vectors[:, COPIED], 0.9, axis=0)


def with_copies(vectors: Any, floors: Any) -> Any:
    copies = vectors[:, COPIED].copy()
    copies[copies < floors] = np.nan
    return np.concatenate([vectors, copies], axis=1)


@pytest.fixture(scope="session")
def booster(vectors: Any, floors: Any) -> Any:
    y = np.nansum(vectors[:, :3], axis=1) + np.random.default_rng(2).normal(size=len(vectors)) > 6
    return HistGradientBoostingClassifier(max_iter=30, random_state=0).fit(with_copies(vectors, floors), y)


@pytest.fixture(scope="session")
def content(vectors: Any, floors: Any, booster: Any) -> artifact.Content:
    knots = tuple(np.quantile(vectors[:, 0][~np.isnan(vectors[:, 0])], np.linspace(0.1, 0.99, 20)).tolist())
    surprises = tuple(np.linspace(0, 5, 21).tolist())
    return artifact.Content(
        name="small",
        created_at=datetime(2018, 6, 30, tzinfo=UTC),
        features=FEATURES,
        feature_table_hash="ab12",
        window=Window(datetime(2018, 4, 1, tzinfo=UTC), datetime(2018, 6, 17, tzinfo=UTC)),
        labels={"fraud": 40, "good": 560},
        seeds={"fit": 0},
        libraries=export.libraries(),
        max_age_s=30 * 86_400,
        parameters={"max_iter": 30},
        calibration=Calibration(
            supervised=0.7,
            unsupervised=0.3,
            platt=Platt(1.25, -0.5),
            line=Line((0.0, 3.0, 10.0, 20.0), (-5.0, -2.0, 1.0, 4.0)),
            tail_copies=tuple(TailCopy(FEATURES[n], float(floor)) for n, floor in zip(COPIED, floors, strict=True)),
            conformal=Conformal((0.2, 0.5, 0.9), (1.0, 0.5, 0.1, 0.01)),
            thresholds={"hold": 0.5, "block": 0.9},
        ),
        check=vectors[:40],
        card="# small\n",
        card_json={"name": "small"},
        supervised=export.checkpoint(booster, with_copies(vectors, floors)[:50]),
        tails=(
            *(Tail(name, "high", 1.0, knots, surprises) for name in FEATURES),
            Tail(FEATURES[1], "low", 0.5, (-2.0, -0.5, -0.1), (0.0, 1.0, 2.0, 4.0)),
        ),
        pictures={"weekly.svg": b"<svg/>"},
    )


@pytest.fixture
def directory(content: artifact.Content, tmp_path: Path) -> Path:
    """The artifact, written anew."""
    artifact.write(tmp_path / "small", content)
    return tmp_path / "small"


@pytest.fixture(scope="session")
def model(content: artifact.Content, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return artifact.write(tmp_path_factory.mktemp("models") / "small", content)


@pytest.fixture(scope="session")
def tails_only(content: artifact.Content, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The unlabelled start."""
    calibration = Calibration(unsupervised=1.0, line=content.calibration.line)
    unlabelled = replace(content, supervised=None, calibration=calibration)
    return artifact.write(tmp_path_factory.mktemp("models") / "cold", unlabelled)
