"""The features of a history: one vector a gift, as the gate would have seen it. Law: no row sees a later one.

    rows  →  integer columns  →  kernels, two families at a time  →  aggregates  →  derived: a frame of NAMES

What each feature means stands in `detector/feature_table.py`; this executor reads its rows. `training/context.py`
says how it reads facts and context keys, `numbers.py` makes the integers, `families.py` runs the kernels.
"""

from __future__ import annotations

import polars as pl

from detector.expressions import parse
from detector.feature_table import ASKS_OF_GIFT, LABELLED, LARGEST, NAMES, SPELLED, TABLE, TYPES, Row
from training import context
from training.families import Key, aggregates
from training.kernels import I64, NULL, blank, spelled
from training.numbers import columns_of, integers

DERIVED = {name: parse(row.expression, TYPES).to_polars() for name, row in TABLE.items() if row.expression}


def features(rows: pl.DataFrame, labels: bool = True) -> pl.DataFrame:
    """The columns NAMES for rows in order of time, such as `History.rows`; null where they cannot be known.

    Without `labels`, or without both of their columns, every label feature is null and no habit is cleaned.
    """
    rows = context.read(rows)
    known = {name for name in rows.columns if labels or name not in LABELLED}
    found = aggregates(columns_of(rows, known))
    facts = facts_of(rows, known)
    told = [row for row in TABLE.values() if known.issuperset(row.needs)]
    frame = pl.DataFrame(
        [
            facts[row.name] if row.kind == "fact" else aggregate(row, rows, found)
            for row in told
            if row.expression is None
        ]
    )
    frame = frame.lazy().with_columns(**{row.name: DERIVED[row.name] for row in told if row.expression}).collect()
    return pl.DataFrame([frame[name] if name in frame.columns else unknown(name, rows.height) for name in NAMES])


def facts_of(rows: pl.DataFrame, known: set[str]) -> dict[str, pl.Series]:
    out = blank(len(SPELLED), rows.height)
    spelled(integers(rows["amount"].clip(0, LARGEST)), out)
    facts = {name: pl.Series(name, column) for name, column in zip(SPELLED, out, strict=True)}
    said = {row.name: rows[row.name] for row in TABLE.values() if row.kind == "fact" and row.name in known}
    return facts | {name: column.cast(pl.Int64) for name, column in said.items()}


def aggregate(row: Row, rows: pl.DataFrame, found: dict[Key, I64]) -> pl.Series:
    """The values of a row, null where there is none and where the gift does not say what the row needs of it."""
    values = pl.Series(row.name, found[(row.source, row.aggregate, row.window_s, row.bounds)])
    missing = values == NULL
    for need in row.needs:
        if need in ASKS_OF_GIFT:
            missing |= rows[need].is_null()
    return values.set(missing, None) if missing.any() else values


def unknown(name: str, height: int) -> pl.Series:
    dtype = pl.Float64 if TABLE[name].expression else pl.Int64
    return pl.repeat(None, height, dtype=dtype, eager=True).alias(name)
