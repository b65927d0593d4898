"""The model's vector of a gift: what is recorded of it (facts, then aggregates), then the derived rows made of that.

Law 10: derived rows are closures of the very expressions that Polars runs over a history, and the order is the table's.
Law 11: a recorded decision's features give the same vector, and so the same score, anywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from detector.expressions import parse
from detector.feature_table import LABELLED, TABLE, TYPES
from detector.gift import Gift
from detector.live_facts import facts

Floats = npt.NDArray[np.float64]
Recorded = tuple[Any, ...]

RECORDED: tuple[str, ...] = tuple(name for name, row in TABLE.items() if row.kind != "derived")
# Where the rows stand that later labels change: a second look reads them anew.
LABELS = frozenset(place for place, name in enumerate(RECORDED) if set(LABELLED) & set(TABLE[name].needs))

PLACES = sorted(LABELS)
INDEX = {name: place for place, name in enumerate(RECORDED)}
DERIVED = [parse(row.expression, TYPES).compile(INDEX) for row in TABLE.values() if row.expression]


def recorded(gift: Gift, aggregates: Sequence[int | None]) -> Recorded:
    """What is recorded of a look at a gift, in the order of RECORDED; null where it cannot be known."""
    return (*facts(gift), *aggregates)


def relabelled(first: Recorded, now: Recorded) -> Recorded:
    """The first look's features with the label rows as they are now."""
    return tuple([now[place] if place in LABELS else value for place, value in enumerate(first)])


def renewed(first: Recorded, labels: Recorded) -> Recorded:
    """As `relabelled`, where the label rows alone were read now, in the order of the table."""
    features = list(first)
    for place, value in zip(PLACES, labels, strict=True):
        features[place] = value
    return tuple(features)


def vectors(rows: Sequence[Recorded]) -> Floats:
    """The vectors (n, len(NAMES)) of recorded features, float64, a null as NaN."""
    return np.array([(*row, *[derive(row) for derive in DERIVED]) for row in rows], dtype=np.float64)
