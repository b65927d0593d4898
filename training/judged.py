"""The gifts by which two models are compared. Law: later than all that either of them learned from, and the same ones.

A segment is a name and a mask; what splits gifts is known at the gate (amount, a new sender, tier), but for `typology`,
which only a simulated history has.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import polars as pl
from numpy.typing import NDArray

from detector.expressions import parse
from detector.feature_table import LABELLED, TABLE, TYPES
from models.forest import Floats
from models.model import Model
from training.split import Bools

QUARTILES = 4


@dataclass(frozen=True, slots=True)
class Judged:
    """`vectors` (n, features) with their truths; `columns` are those of the history that split gifts, such as tier.

    `known` is how many frauds of the challenger's window were known by its as_of; None where the history cannot say.
    """

    names: tuple[str, ...]
    vectors: Floats
    fraud: Bools
    start: datetime
    end: datetime
    columns: dict[str, pl.Series] = field(default_factory=dict)
    known: int | None = None

    def feature(self, name: str) -> Floats:
        column: Floats = self.vectors[:, self.names.index(name)]
        return column


def segments(judged: Judged) -> Iterator[tuple[str, Bools]]:
    """Every segment with its gifts."""
    amount = judged.feature("amount")
    quarter = np.searchsorted(np.quantile(amount, [0.25, 0.5, 0.75]), amount, side="right")
    for number in range(QUARTILES):
        yield f"amount quarter {number + 1}", quarter == number
    new = judged.feature("sender_count_30d") == 0
    yield "new senders", new
    yield "known senders", ~new
    for column in ("tier", "typology"):
        if column in judged.columns:
            values = judged.columns[column].cast(pl.String).fill_null("none")
            for value in sorted(values.unique().to_list()):
                yield f"{column} {value}", (values == value).to_numpy()


def families(names: tuple[str, ...]) -> dict[str, NDArray[np.intp]]:
    """Columns that may be missing together, and all that is derived of them: facts, labels, each source of gifts."""
    found: dict[str, list[int]] = {}
    for name, row in TABLE.items():
        if name in names and row.kind != "derived":
            family = "label" if set(LABELLED) & set(row.needs) else (row.source or "fact")
            found.setdefault(family, []).append(names.index(name))
    for name, row in TABLE.items():
        if name in names and row.expression:
            operands = parse(row.expression, TYPES).columns
            for columns in found.values():
                if operands & {names[column] for column in columns}:
                    columns.append(names.index(name))
    return {family: np.array(sorted(set(columns)), dtype=np.intp) for family, columns in found.items()}


def alerts(score: Floats, count: int) -> Bools:
    """The gifts that are looked at when so many can be: those with the highest scores, ties in order of input."""
    chosen = np.zeros(len(score), dtype=np.bool_)
    chosen[np.argsort(-score, kind="stable")[:count]] = True
    return chosen


def held(model: Model, score: Floats) -> Bools:
    """What the model would hold or block."""
    found: Bools = score >= min(model.thresholds.values(), default=np.inf)
    return found
