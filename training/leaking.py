"""Whether answers were given away: by the judged time, by labels from the future, or by a feature that is the label."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from models.forest import Floats
from training.evaluate import average_precision, roc_auc
from training.ruling import Finding, Pair, as_of
from training.split import Bools

CREDIBLE = 0.98  # average precision beyond which frauds were not predicted but known
ORDERS = 0.9995  # area under the curve of a feature that gives the answer away


def later(pair: Pair) -> Iterator[Finding]:
    """The judged gifts come after all that either model was told."""
    for role, model in (("challenger", pair.challenger), ("champion", pair.champion)):
        if model is not None:
            overlap_h = (as_of(model) - pair.judged.start).total_seconds() / 3600
            cure = f"judge from {as_of(model).isoformat()} on (--from), or train it as of an earlier day"
            said = f"hours of the judged time that the {role} {model.name} already knew"
            yield Finding("later", overlap_h <= 0, max(0.0, overlap_h), 0, said, cure)


def leaks(pair: Pair) -> Iterator[Finding]:
    """Answers that were given away: by labels from the future, or by a feature that is the label."""
    judged, told = pair.judged, pair.challenger.manifest.labels.get("fraud", 0)
    if judged.known is not None:
        said = f"frauds it learned from, of which {judged.known} were known by its as_of"
        cure = "it saw labels from after its as_of: train it again from the history itself"
        yield Finding("leaking labels", told <= judged.known, told, judged.known, said, cure)
    precision = average_precision(judged.fraud, pair.ours)
    cure = "no honest model is that good: look for a column that is filled in after the fact"
    yield Finding("leaking", precision <= CREDIBLE, precision, CREDIBLE, "average precision", cure)
    found = [(ordering(judged.feature(name), judged.fraud), name) for name in judged.names]
    most, name = max(found)
    cure = f"{name} gives the answer away: mend the history, and train again"
    yield Finding("leaking feature", most <= ORDERS, most, ORDERS, f"how far {name} alone orders the gifts", cure)


def ordering(column: Floats, fraud: Bools) -> float:
    """The area under the curve of one feature in its better direction, nulls below or above all others."""
    there = ~np.isnan(column)
    if not there.any():
        return 0.5
    ends = (column[there].min() - 1.0, column[there].max() + 1.0)
    areas = [roc_auc(fraud, np.where(there, column, end)) for end in (ends if not there.all() else ends[:1])]
    return max(max(area, 1.0 - area) for area in areas)
