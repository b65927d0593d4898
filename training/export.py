"""From a fitted scikit-learn model to a Treelite checkpoint. Law: what is served is what was trained, bit for bit.

The checkpoint is loaded again as the service will load it, and its margins on sample rows must be the estimator's own.
"""

import platform

import numpy as np
import sklearn
import treelite
import treelite.sklearn
from sklearn.ensemble import HistGradientBoostingClassifier, IsolationForest

from models.errors import ArtifactRefused
from models.forest import Floats
from models.manifest import Libraries
from models.trees import trees
from training.errors import TrainingError

# How far Treelite's scores of a forest may be from scikit-learn's, which pass through float32: 3e-9 was measured.
CLOSE = 1e-6


class ExportRefused(TrainingError):
    """The estimator cannot be served as it was trained."""


def checkpoint(estimator: HistGradientBoostingClassifier | IsolationForest, sample: Floats) -> bytes:
    """The estimator as a checkpoint; `sample` are rows as it was trained on, nulls among them."""
    if isinstance(estimator, HistGradientBoostingClassifier):
        return _of_booster(estimator, sample)
    if isinstance(estimator, IsolationForest):
        return _of_forest(estimator, sample)
    raise ExportRefused(f"a {type(estimator).__name__} is not exported; fit a HistGradientBoostingClassifier instead")


def libraries() -> Libraries:
    """The versions at work here, for the manifest."""
    return Libraries(
        python=platform.python_version(),
        numpy=np.__version__,
        treelite=treelite.__version__,
        scikit_learn=sklearn.__version__,
    )


def _of_booster(estimator: HistGradientBoostingClassifier, sample: Floats) -> bytes:
    """The margins must be equal to the last bit, in one batch as row by row."""
    found: bytes = treelite.sklearn.import_model(estimator).serialize_bytes()
    try:
        served = trees(found, sample.shape[1])
    except ArtifactRefused as fault:
        raise ExportRefused(f"the service would not load the model: {fault.detail}") from fault
    margins = estimator.decision_function(sample)
    alone = np.concatenate([served.margins(row[None]) for row in sample])
    for way, own in {"in a batch": served.margins(sample), "alone": alone}.items():
        if len(wrong := np.flatnonzero(own != margins)):
            raise ExportRefused(
                f"row {wrong[0]} of the sample, {way}, has margin {own[wrong[0]]!r} when served and "
                f"{margins[wrong[0]]!r} in scikit-learn"
            )
    return found


def _of_forest(estimator: IsolationForest, sample: Floats) -> bytes:
    """Kept for the card only: it is compared as Treelite itself walks it, and never served."""
    model = treelite.sklearn.import_model(estimator)
    found: bytes = model.serialize_bytes()
    depths = treelite.gtil.predict(model, sample.astype(np.float32).astype(np.float64), nthread=1).reshape(-1)
    if len(wrong := np.flatnonzero(~(np.abs(depths + estimator.score_samples(sample)) <= CLOSE))):
        raise ExportRefused(f"row {wrong[0]} of the sample scores differently in Treelite")
    return found
