"""A history as a Polars frame, one row a gift. Law: no row is dropped or changed in silence.

Every row of the input ends either in `History.rows`, typed, or in `History.bad`, with a stable reason.

* Times: Parquet datetimes of any unit and zone; or text as in RFC 3339, with `T` or a space, 0 to 9 digits of
  fraction, `Z` or an offset, also the `+00` and `+0000` that PostgreSQL and Polars write. Without a zone it
  is UTC. What is finer than a microsecond is cut off. Not taken: numbers (an epoch does not say its unit),
  days without a time, leap seconds, years outside 1 to 9999.
* Amounts: integer micro-credits. `12.0` is 12, as text or float, but a float only where floats are exact.
* CSV: UTF-8, comma-separated, read as text; an empty field is a null. Empty lines at the end are no rows.
"""

import csv
from dataclasses import dataclass
from functools import partial
from glob import glob
from pathlib import Path

import polars as pl

from training import history_columns as columns
from training import history_csv
from training.errors import HistoryRefused

REQUIRED = ("id", "at", "sender", "recipient", "amount")
OPTIONAL = ("fraud", "label_at")
PARTY = r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$"

# In order of precedence: a bad row is reported once, with the first reason that applies.
REASONS = {
    "ragged_line": "the CSV line has more or fewer fields than the header",
    "missing_id": "id is empty",
    "missing_at": "at is empty",
    "bad_at": "at is no RFC 3339 time such as 2018-05-01T00:00:00Z (an epoch number does not say its unit)",
    "missing_sender": "sender is empty",
    "missing_recipient": "recipient is empty",
    "missing_amount": "amount is empty",
    "bad_amount": "amount is no number, or no exact one of 64 bits",
    "fractional_amount": "amount is not whole: write integer micro-credits (1 credit = 1000000)",
    "nonpositive_amount": "amount is zero or negative",
    "self_gift": "sender and recipient are the same",
    "bad_party": f"sender or recipient does not match {PARTY}",
    "bad_fraud": "fraud is not true, false, 1, 0 or empty",
    "bad_label_at": "label_at is neither empty nor an RFC 3339 time",
    "duplicate_id": "an earlier good row has this id",
}
BAD_SCHEMA = {"row": pl.Int64, "id": pl.String, "reason": pl.String, "value": pl.String}
VALUE_CHARS = 80

WRITTEN_AS = dict.fromkeys(("id", "sender", "recipient"), "text") | {
    "at": "a datetime",
    "amount": "a 64-bit integer",
    "fraud": "a boolean",
    "label_at": "a datetime",
}


@dataclass(frozen=True, slots=True)
class History:
    """`rows`: the good ones, typed, by time, then in input order. `bad`: the others, in input order, each with its
    number over the whole input (from 1, headers not counted), its id, why, and the value."""

    rows: pl.DataFrame
    bad: pl.DataFrame

    def bad_counts(self) -> dict[str, int]:
        """How many bad rows each reason has: only reasons that occur, in order of precedence."""
        counts = dict(self.bad["reason"].value_counts().iter_rows())
        return {reason: counts[reason] for reason in REASONS if reason in counts}


@dataclass(frozen=True, slots=True)
class _Part:
    """One file judged: its good rows with their row numbers, and its bad rows."""

    good: pl.DataFrame
    numbers: pl.Series
    bad: pl.DataFrame


def read(source: str | Path, *, limit: int | None = None) -> History:
    """Read one file, or every file that a glob such as `history/*.parquet` names, in order of name.

    `limit` takes the first rows of the input as stored (not by time), bad ones included.
    """
    if limit is not None and limit < 0:
        raise HistoryRefused(f"limit is {limit}: give the number of rows to read, 0 or more")
    parts: list[_Part] = []
    seen = 0
    for path in _paths(source):
        given, ragged = _stored(path, None if limit is None else limit - seen)
        parts.append(_judged(given, ragged, first_row=seen + 1))
        seen += given.height
        if seen == limit:
            break
    return _joined(source, parts)


# What is stored


def _paths(source: str | Path) -> list[Path]:
    exact = Path(source)
    if exact.is_dir():
        raise HistoryRefused(f"{source} is a folder: name its files, such as {exact / '*.parquet'}")
    paths = [exact] if exact.exists() else sorted(Path(name) for name in glob(str(source), recursive=True))
    if not paths:
        raise HistoryRefused(f"no history at {source}: no such file, and as a glob it matches none")
    for path in paths:
        if path.suffix.lower() not in (".parquet", ".csv"):
            raise HistoryRefused(f"{path} ends in {path.suffix!r}: a history ends in .parquet or .csv")
    return paths


def _stored(path: Path, limit: int | None) -> tuple[pl.DataFrame, pl.Series]:
    """The rows as they are, and for each the text of its line where that is ragged, else null."""
    is_csv = path.suffix.lower() == ".csv"
    try:
        if is_csv:
            return history_csv.fields(path, limit, partial(_refuse_columns, path))
        given = pl.read_parquet(path, n_rows=limit, glob=False, hive_partitioning=False)
    except (OSError, UnicodeDecodeError, csv.Error, pl.exceptions.PolarsError) as error:
        cure = "write it again as UTF-8 text with balanced quotes" if is_csv else "write it again"
        raise HistoryRefused(f"{path} cannot be read: {error}; {cure}") from error
    _refuse_columns(path, given.columns)
    _refuse_types(path, given.schema)
    return given, pl.repeat(None, given.height, dtype=pl.String, eager=True)


def _refuse_columns(path: Path, found: list[str]) -> None:
    listed = ", ".join(repr(name) for name in found)
    if len(set(found)) < len(found):
        raise HistoryRefused(f"{path} has two columns of one name among {listed}: name each column once")
    missing = [name for name in REQUIRED if name not in found]
    if missing:
        cure = f"a history needs {', '.join(REQUIRED)}, comma-separated under these names"
        raise HistoryRefused(f"{path} has no column {', '.join(missing)}; found {listed}; {cure}")


def _refuse_types(path: Path, schema: pl.Schema) -> None:
    for name in _known(schema):
        dtype = schema[name]
        text = dtype in (pl.String, pl.Categorical, pl.Enum, pl.Null) or dtype.is_integer()
        if dtype.is_nested() or dtype == pl.Binary or (WRITTEN_AS[name] == "text" and not text):
            raise HistoryRefused(f"{path} holds {dtype} in {name}: write {name} as {WRITTEN_AS[name]}")


def _known(schema: pl.Schema) -> list[str]:
    return [name for name in (*REQUIRED, *OPTIONAL) if name in schema]


# What is good of it


def _judged(given: pl.DataFrame, ragged: pl.Series, first_row: int) -> _Part:
    known = _known(given.schema)
    # Lazy, so that Polars evaluates each shared subexpression once: a third faster than eager.
    typed = given.lazy().select(columns.typed(name, given.schema[name]).alias(name) for name in known).collect()
    rows = pl.int_range(first_row, first_row + given.height, dtype=pl.Int64, eager=True).alias("row")
    facts = given.select(pl.col(known).name.prefix("given_")).hstack(
        [rows, ragged.alias("given_line"), *typed.get_columns()]
    )
    checks = _checks(facts.schema)
    reason = pl.coalesce(pl.when(bad).then(pl.lit(code)) for code, _, bad in checks)
    facts = facts.lazy().with_columns(reason=reason).collect()
    fine = facts["reason"].is_null()
    good = typed.hstack(given.drop(known).get_columns()).filter(fine)
    return _Part(good, rows.filter(fine), _reported(facts.filter(~fine), checks))


def _checks(schema: pl.Schema) -> list[tuple[str, str, pl.Expr]]:
    """Reason, the column to show, and the condition: the order is that of REASONS."""
    fractional = columns.fractional(pl.col("given_amount"), schema["given_amount"])
    return [
        ("ragged_line", "line", pl.col("given_line").is_not_null()),
        ("missing_id", "id", columns.empty("id", schema)),
        ("missing_at", "at", columns.empty("at", schema)),
        ("bad_at", "at", pl.col("at").is_null()),
        ("missing_sender", "sender", columns.empty("sender", schema)),
        ("missing_recipient", "recipient", columns.empty("recipient", schema)),
        ("missing_amount", "amount", columns.empty("amount", schema)),
        ("bad_amount", "amount", pl.col("amount").is_null() & ~fractional),
        ("fractional_amount", "amount", fractional),
        ("nonpositive_amount", "amount", pl.col("amount") <= 0),
        ("self_gift", "sender", pl.col("sender") == pl.col("recipient")),
        ("bad_party", "sender", ~pl.col("sender").str.contains(PARTY)),
        ("bad_party", "recipient", ~pl.col("recipient").str.contains(PARTY)),
        *(
            (f"bad_{name}", name, pl.col(name).is_null() & ~columns.empty(name, schema))
            for name in OPTIONAL
            if name in schema
        ),
    ]


def _reported(facts: pl.DataFrame, checks: list[tuple[str, str, pl.Expr]]) -> pl.DataFrame:
    value = pl.coalesce(pl.when(bad).then(columns.shown(about, facts.schema)) for _, about, bad in checks)
    value = value.fill_null("").str.slice(0, VALUE_CHARS).alias("value")
    known_id = pl.when(~columns.empty("id", facts.schema)).then("id").alias("id")
    return facts.select("row", known_id, "reason", value).cast(pl.Schema(BAD_SCHEMA))


def _joined(source: str | Path, parts: list[_Part]) -> History:
    """All files together; of good rows that share an id, the first stays."""
    try:
        rows = pl.concat([part.good for part in parts], how="diagonal_relaxed")
    except pl.exceptions.PolarsError as error:
        reason = f"the files of {source} do not fit together: {error}; read them one by one"
        raise HistoryRefused(reason) from error
    numbers = pl.concat([part.numbers for part in parts])
    first = rows["id"].is_first_distinct()
    known = _known(rows.schema)
    again = rows.select(numbers.alias("row"), "id").filter(~first)
    repeated = again.with_columns(reason=pl.lit("duplicate_id"), value=pl.col("id").str.slice(0, VALUE_CHARS))
    bad = pl.concat([*(part.bad for part in parts), repeated]).sort("row")
    return History(rows.select(*known, pl.exclude(known)).filter(first).sort("at", maintain_order=True), bad)


# One column's type
