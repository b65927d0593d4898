"""The features of a history: one vector a gift, as the gate would have seen it. Law: no row sees a later one.

    rows  →  integer columns  →  kernels, two families at a time  →  aggregates  →  derived: a frame of NAMES

What each feature means stands in `detector/feature_table.py`; this executor reads its rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import joblib
import numpy as np
import polars as pl

from detector.expressions import parse
from detector.feature_table import (
    FAR,
    HORIZON_S,
    LABEL_WINDOWS_S,
    LABELLED,
    LARGEST,
    NAMES,
    TABLE,
    TYPES,
    WINDOWS_S,
    Row,
)
from training import kernels_graph, kernels_habit, kernels_labels
from training.engine import at_once
from training.kernels import I64, NULL, SECOND, blank, grouped, neighbours, pairs, windows

THREADS = 2
NEVER = int(np.iinfo(np.int64).max)
DERIVED = {name: parse(row.expression, TYPES).to_polars() for name, row in TABLE.items() if row.expression}

# What names an aggregate in the table: source, aggregate, window, bounds.
Key = tuple[str | None, str | None, int | None, tuple[int, int] | None]
Aggregates = Iterator[tuple[Key, I64]]


@dataclass(frozen=True, slots=True)
class Grouped:
    """Rows by org, in order: those of org k are rows[start[k]:start[k + 1]]."""

    start: I64
    rows: I64


@dataclass(frozen=True, slots=True)
class Columns:
    """A history as integers: times in microseconds, orgs as dense codes. `label_at` is NEVER where no label is."""

    at: I64
    amount: I64
    sender: I64
    recipient: I64
    orgs: int
    sent: Grouped
    received: Grouped
    labelled: bool
    fraud: I64
    label_at: I64

    @property
    def sources(self) -> dict[str, tuple[Grouped, Grouped, I64]]:
        """For each source: the asking gifts by the org they ask about, that org's gifts, and each gift's org."""
        return {
            "sender": (self.sent, self.sent, self.sender),
            "sender_received": (self.sent, self.received, self.recipient),
            "recipient": (self.received, self.received, self.recipient),
            "recipient_sent": (self.received, self.sent, self.sender),
        }


def features(rows: pl.DataFrame, labels: bool = True) -> pl.DataFrame:
    """The columns NAMES for rows in order of time, such as `History.rows`; null where they cannot be known.

    Without `labels`, or without both of their columns, every label feature is null and no habit is cleaned.
    `sender_balance` is read as `sender_available` where that is not there.
    """
    if "sender_available" not in rows.columns and "sender_balance" in rows.columns:
        rows = rows.rename({"sender_balance": "sender_available"})
    known = {name for name in rows.columns if labels or name not in LABELLED}
    history = columns_of(rows, known.issuperset(LABELLED))
    found = aggregates(history)
    frame = pl.DataFrame([primitive(row, rows, found, known) for row in TABLE.values() if row.expression is None])
    return frame.lazy().with_columns(**DERIVED).select(NAMES).collect()


def primitive(row: Row, rows: pl.DataFrame, found: dict[Key, I64], known: set[str]) -> pl.Series:
    if not known.issuperset(row.needs):
        return pl.repeat(None, rows.height, dtype=pl.Int64, eager=True).alias(row.name)
    if row.kind == "fact":
        return rows[row.name].cast(pl.Int64)
    values = pl.Series(row.name, found[(row.source, row.aggregate, row.window_s, row.bounds)])
    missing = values == NULL
    return values.set(missing, None) if missing.any() else values


# A history as integers


def columns_of(rows: pl.DataFrame, labelled: bool) -> Columns:
    at = integers(rows["at"])
    if (at[1:] < at[:-1]).any():
        raise ValueError("the rows are not in order of time: sort them by `at`, keeping the order of ties")
    sender, recipient, orgs = codes(rows["sender"], rows["recipient"])
    fraud, label_at = known_labels(rows, at) if labelled else (np.zeros_like(at), np.full_like(at, NEVER))
    return Columns(
        at=at,
        amount=np.minimum(integers(rows["amount"]), LARGEST),
        sender=sender,
        recipient=recipient,
        orgs=orgs,
        sent=Grouped(*grouped(sender, orgs)),
        received=Grouped(*grouped(recipient, orgs)),
        labelled=labelled,
        fraud=fraud,
        label_at=label_at,
    )


def integers(column: pl.Series) -> I64:
    return np.ascontiguousarray(column.to_physical().cast(pl.Int64).to_numpy())


def codes(sender: pl.Series, recipient: pl.Series) -> tuple[I64, I64, int]:
    """Dense codes of both parties, and how many there are."""
    names = pl.concat([sender.alias("org"), recipient.alias("org")])
    orgs = names.unique()
    code = integers(names.cast(pl.Enum(orgs)))
    return code[: len(sender)], code[len(sender) :], len(orgs)


def known_labels(rows: pl.DataFrame, at: I64) -> tuple[I64, I64]:
    """Each gift's fraud, and when that was known: never before the gift itself, NEVER unless both are given."""
    told = rows.select(pl.all_horizontal(pl.col(LABELLED).is_not_null())).to_series().to_numpy()
    label_at = integers(rows["label_at"].to_physical().fill_null(NEVER))
    return integers(rows["fraud"].fill_null(False)), np.where(told, np.maximum(label_at, at), NEVER)


# Families of aggregates


def aggregates(history: Columns) -> dict[Key, I64]:
    """All of the table's aggregates by the key that names them there; the families run two at a time here, or on the
    engine's machines: each is made of the whole history, so that it is the same wherever it is made."""
    before, after = neighbours(history.sent.start, history.sent.rows, history.recipient)
    families: list[Callable[[], Aggregates]] = [
        partial(of_graph, history, before),
        partial(of_clean_habit, history),
        *(partial(of_activity, history, before, after, source) for source in history.sources),
        partial(of_habit, history),
    ]
    # Threads unless an engine was named: the kernels run without the interpreter's lock, and copy nothing.
    found = joblib.Parallel(n_jobs=at_once(THREADS), prefer="threads")(joblib.delayed(_listed)(one) for one in families)
    return dict(one for family in found for one in family)


def _listed(family: Callable[[], Aggregates]) -> list[tuple[Key, I64]]:
    return [*family()]


def keyed(source: str, words: Iterable[tuple[str, int]], columns: I64) -> Aggregates:
    """Columns under their keys; `words` are their aggregates and windows."""
    for (word, window_s), values in zip(words, columns, strict=True):
        yield (source, word, window_s, None), values


def spans_of(windows_s: dict[str, int]) -> I64:
    return np.array([window_s * SECOND for window_s in windows_s.values()])


def of_activity(history: Columns, before: I64, after: I64, source: str) -> Aggregates:
    asking, events, _ = history.sources[source]
    spans = spans_of(WINDOWS_S)
    out = blank(3 * len(spans) + 1, len(history.at))
    windows(
        asking.start,
        asking.rows,
        events.start,
        events.rows,
        history.at,
        history.amount,
        before,
        after,
        spans,
        out,
    )
    words = [(word, window_s) for window_s in WINDOWS_S.values() for word in ("count", "sum", "distinct")]
    return keyed(source, [*words, ("gap_s", HORIZON_S)], out)


def of_graph(history: Columns, before: I64) -> Aggregates:
    pair = blank(2, len(history.at))
    pairs(before, history.at, pair)
    yield from keyed("pair", [("count", HORIZON_S), ("gap_s", HORIZON_S)], pair)
    fresh = (pair[0] == 0).astype(np.int64)
    far, depths = (np.empty((len(fresh), FAR), np.int32) for _ in range(2))
    out = blank(len(kernels_graph.COLUMNS), len(fresh))
    gifts = (history.sender, history.recipient, history.at, fresh)
    kernels_graph.graph(*gifts, history.orgs, far, depths, out)
    yield from keyed("graph", [(name, HORIZON_S) for name in kernels_graph.COLUMNS], out)


def habits(history: Columns, labelled: bool) -> I64:
    rows = history.sent.rows
    at, amount, label_at, fraud = (
        column[rows] for column in (history.at, history.amount, history.label_at, history.fraud)
    )
    out, excess = blank(len(kernels_habit.WORDS), len(rows)), np.empty_like(rows)
    kernels_habit.habits(history.sent.start, rows, at, amount, label_at, fraud, labelled, excess, out)
    return out


def of_habit(history: Columns) -> Aggregates:
    out = habits(history, labelled=False)
    yield from keyed("sender_habit", [(word, HORIZON_S) for word in kernels_habit.WORDS], out)
    for row in TABLE.values():
        if row.source and row.window_s and row.bounds:
            asking, events, _ = history.sources[row.source]
            grouping = (asking.start, asking.rows, events.start, events.rows)
            mark = blank(1, len(history.at))
            kernels_habit.marked(*grouping, history.at, out[-1], *row.bounds, row.window_s * SECOND, mark)
            yield (row.source, row.aggregate, row.window_s, row.bounds), mark[0]
    hours = blank(1, len(history.at))
    kernels_habit.same_hours(history.sent.start, history.sent.rows, history.at[history.sent.rows], hours)
    yield from keyed("sender", [("same_hour", HORIZON_S)], hours)


def of_clean_habit(history: Columns) -> Aggregates:
    """The clean habit, and the label features, which ask what was usual by it."""
    out = habits(history, history.labelled)
    yield from keyed("sender_clean", [(word, HORIZON_S) for word in kernels_habit.WORDS], out)
    if history.labelled:
        by_label = np.argsort(history.label_at, kind="stable")
        by_label = by_label[: np.count_nonzero(history.label_at < NEVER)]
        for source in history.sources:
            yield from of_labels(history, source, by_label, out[-1])


def of_labels(history: Columns, source: str, by_label: I64, excess: I64) -> Aggregates:
    asking, _, org = history.sources[source]
    start, order = grouped(org[by_label], history.orgs)
    spans = spans_of(LABEL_WINDOWS_S)
    out = blank(2 * len(spans) + len(kernels_labels.WORDS), len(history.at))
    kernels_labels.told(
        asking.start,
        asking.rows,
        start,
        by_label[order],
        history.at,
        history.label_at,
        history.fraud,
        excess,
        spans,
        out,
    )
    words = [(word, window_s) for window_s in LABEL_WINDOWS_S.values() for word in ("labels", "frauds")]
    words += [(word, 2 * HORIZON_S if word == "good_age_s" else HORIZON_S) for word in kernels_labels.WORDS]
    return keyed(source, words, out)
