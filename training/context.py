"""What a history may say beside its gifts: facts, context keys, the gate's verdicts. Law: never a guess.

A value that cannot be read is unknown, and so is a column that is not there; the history's own rows stay as they are.
Only a verdict that is none of the three words is refused, since it decides what is learned from.
"""

from __future__ import annotations

import polars as pl

from detector.feature_table import BESIDES, CONTEXTS, IDENTITIES
from training import history_columns as columns
from training.errors import HistoryRefused

VERDICTS = ("approve", "hold", "block")
ALIASES = {"sender_available": "sender_balance"}  # the names that other histories use


def read(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with their facts as integers and their context keys as text, under our names."""
    theirs = {their: our for our, their in ALIASES.items() if our not in rows.columns and their in rows.columns}
    rows = rows.rename(theirs)
    found = {name: fact(name, rows.schema[name]) for name in BESIDES if name in rows.columns}
    found |= {name: key(name, rows.schema[name]) for name in CONTEXTS if name in rows.columns}
    return rows.with_columns(**found)


def fact(name: str, dtype: pl.DataType) -> pl.Expr:
    """An integer: an identity by its rank, a truth as 1 or 0."""
    given = pl.col(name)
    if name == "identity":
        text = given.cast(pl.String) if dtype in (pl.String, pl.Categorical, pl.Enum) else pl.lit(None, pl.String)
        return text.replace_strict(IDENTITIES, default=None, return_dtype=pl.Int64)
    if name == "same_owner":
        return columns.fraud(given, dtype).cast(pl.Int64)
    return columns.amount(given, dtype)


def key(name: str, dtype: pl.DataType) -> pl.Expr:
    return pl.lit(None, pl.String) if dtype.is_nested() or dtype == pl.Binary else pl.col(name).cast(pl.String)


def taught(rows: pl.DataFrame) -> pl.Series:
    """Which gifts teach: those that the gate approved, or about which it is not said."""
    if "verdict" not in rows.columns:
        return pl.repeat(True, rows.height, dtype=pl.Boolean, eager=True)
    verdict = rows["verdict"].cast(pl.String).fill_null(VERDICTS[0])
    odd = verdict.filter(~verdict.is_in(VERDICTS))
    if len(odd):
        raise HistoryRefused(f"verdict is {odd[0]!r}: write approve, hold, block or nothing, or name the column apart")
    return verdict == VERDICTS[0]
