"""How long models take, in turns, so that a busy machine is as unkind to one as to the other."""

from __future__ import annotations

import time
from collections.abc import Mapping
from statistics import median

import numpy as np

from models.forest import Floats
from models.model import Model

ROUNDS = 60
SIZES = {"one": 1, "batch": 64}


def measured(models: Mapping[str, Model], vectors: Floats) -> dict[str, dict[str, tuple[float, float]]]:
    """Of each model and size, the median and the longest time of one call in µs."""
    found: dict[str, dict[str, tuple[float, float]]] = {name: {} for name in models}
    for what, size in SIZES.items():
        rows = np.ascontiguousarray(vectors[np.linspace(0, len(vectors) - 1, size).astype(np.intp)])
        taken: dict[str, list[float]] = {name: [] for name in models}
        for _ in range(ROUNDS):
            for name, model in models.items():
                began = time.perf_counter()
                model.score(rows)
                taken[name].append((time.perf_counter() - began) * 1e6)
        for name, times in taken.items():
            found[name][what] = (median(times), max(times))
    return found
