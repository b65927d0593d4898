"""The aggregates of a history, a family of kernels at a time, two at once here, or on the engine's machines.

Law: no row sees a later one. Each family is made of the whole history, so that it is the same wherever it is made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial

import joblib
import numpy as np

from detector.feature_table import (
    CONTEXT_WINDOWS_S,
    CONTEXTS,
    CROWD,
    FAR,
    HORIZON_S,
    LABEL_WINDOWS_S,
    PROMO_S,
    TABLE,
    TRIED_WINDOWS_S,
    WINDOWS_S,
)
from training import kernels_graph, kernels_habit, kernels_labels
from training.engine import at_once
from training.kernels import ALL, I64, SECOND, Bools, Links, blank, grouped, neighbours, pairs, taken, windows
from training.kernels_labels import Labels
from training.numbers import NEVER, Columns, Source

THREADS = 2

# What names an aggregate in the table: source, aggregate, window, bounds.
Key = tuple[str | None, str | None, int | None, tuple[int, int] | None]
Aggregates = Iterator[tuple[Key, I64]]
PARTIES = ("sender", "sender_received", "recipient", "recipient_sent")
TRIED = ("sender_tried", "recipient_tried")


def aggregates(history: Columns) -> dict[Key, I64]:
    """All aggregates that the history's columns allow, by the key that names them in the table."""
    links = links_of(history.sources["sender"], history.recipient, history.orgs, history.taught)
    families: list[Callable[[], Aggregates]] = [
        partial(of_graph, history, links.before),
        partial(of_clean_habit, history),
        *(partial(of_activity, history, source, links) for source in PARTIES),
        partial(of_habit, history),
        *(partial(of_context, history, name) for name in CONTEXTS if name in history.sources),
    ]
    if "sender_tried" in history.sources:
        families.append(partial(of_tried, history))
    if history.promo is not None:
        families.append(partial(of_promo, history, history.promo, links))
    # Threads unless an engine was named: the kernels run without the interpreter's lock, and copy nothing.
    found = joblib.Parallel(n_jobs=at_once(THREADS), prefer="threads")(joblib.delayed(_listed)(one) for one in families)
    return dict(one for family in found for one in family)


def _listed(family: Callable[[], Aggregates]) -> list[tuple[Key, I64]]:
    return [*family()]


def keyed(source: str, words: Iterable[tuple[str, int]], columns: Iterable[I64]) -> Aggregates:
    """Columns under their keys; `words` are their aggregates and windows."""
    for (word, window_s), values in zip(words, columns, strict=True):
        yield (source, word, window_s, None), values


def spans_of(windows_s: dict[str, int]) -> I64:
    return np.array([window_s * SECOND for window_s in windows_s.values()])


def links_of(source: Source, other: I64, others: int, taught: Bools) -> Links:
    """For each gift, the one before and the one after it of the same key and other party."""
    return neighbours(source.asking, other, others, taught)


def windowed(history: Columns, source: Source, amount: I64, links: Links, windows_s: dict[str, int], most: int) -> I64:
    """Count, sum and distinct others in each window, then the gap within the longest."""
    out = blank(3 * len(windows_s) + 1, len(history.at))
    windows(source.asking, source.events, history.at, amount, links, spans_of(windows_s), most, out)
    return out


def words_of(windows_s: dict[str, int], distinct: str = "distinct") -> list[tuple[str, int]]:
    words = [(word, window_s) for window_s in windows_s.values() for word in ("count", "sum", distinct)]
    return [*words, ("gap_s", max(windows_s.values()))]


# Families


def of_activity(history: Columns, source: str, links: Links) -> Aggregates:
    out = windowed(history, history.sources[source], history.amount, links, WINDOWS_S, ALL)
    return keyed(source, words_of(WINDOWS_S), out)


def of_tried(history: Columns) -> Aggregates:
    """The same of every gift that was tried, whatever the gate said to it."""
    links = links_of(history.sources["sender_tried"], history.recipient, history.orgs, np.ones_like(history.taught))
    for source in TRIED:
        out = windowed(history, history.sources[source], history.amount, links, TRIED_WINDOWS_S, ALL)
        yield from keyed(source, words_of(TRIED_WINDOWS_S), out)


def of_promo(history: Columns, promo: I64, links: Links) -> Aggregates:
    out = windowed(history, history.sources["recipient"], promo, links, {"7d": PROMO_S}, ALL)
    yield ("recipient", "promo_sum", PROMO_S, None), out[1]


def of_context(history: Columns, name: str) -> Aggregates:
    """What one context key saw: its latest CROWD gifts and labels."""
    source = history.sources[name]
    for others, other in (("senders", history.sender), ("recipients", history.recipient)):
        links = links_of(source, other, history.orgs, history.taught)
        out = windowed(history, source, history.amount, links, CONTEXT_WINDOWS_S, CROWD)
        yield from keyed(name, words_of(CONTEXT_WINDOWS_S, others), out)
    if history.labelled:
        yield from of_labels(history, name, labels_of(history, source, by_label(history)), CROWD)


def of_graph(history: Columns, before: I64) -> Aggregates:
    pair = blank(2, len(history.at))
    pairs(before, history.at, pair)
    yield from keyed("pair", [("count", HORIZON_S), ("gap_s", HORIZON_S)], pair)
    fresh = (pair[0] == 0).astype(np.int64)
    far, depths = (np.empty((len(fresh), FAR), np.int32) for _ in range(2))
    out = blank(len(kernels_graph.COLUMNS), len(fresh))
    gifts = (history.sender, history.recipient, history.at, fresh, history.young, history.taught)
    kernels_graph.graph(*gifts, history.orgs, far, depths, out)
    yield from keyed("graph", [(name, HORIZON_S) for name in kernels_graph.COLUMNS], out)


def habits(history: Columns, labelled: bool) -> I64:
    source = history.sources["sender"]
    out = blank(len(kernels_habit.WORDS), len(history.at))
    told = (history.label_at, history.fraud, labelled)
    kernels_habit.habits(source.asking, source.events, history.at, history.amount, *told, out)
    return out


def of_habit(history: Columns) -> Aggregates:
    out = habits(history, labelled=False)
    yield from keyed("sender_habit", [(word, HORIZON_S) for word in kernels_habit.WORDS], out)
    for row in TABLE.values():
        if row.source and row.window_s and row.bounds:
            source, mark = history.sources[row.source], blank(1, len(history.at))
            grouping = (source.asking, source.events)
            kernels_habit.marked(*grouping, history.at, out[-1], *row.bounds, row.window_s * SECOND, mark)
            yield (row.source, row.aggregate, row.window_s, row.bounds), mark[0]
    source, hours = history.sources["sender"], blank(1, len(history.at))
    kernels_habit.same_hours(source.asking, source.events, history.at, hours)
    yield from keyed("sender", [("same_hour", HORIZON_S)], hours)


def of_clean_habit(history: Columns) -> Aggregates:
    """The clean habit, and the label features, which ask what was usual by it; of a gift that did not teach, nobody
    kept that."""
    out = habits(history, history.labelled)
    yield from keyed("sender_clean", [(word, HORIZON_S) for word in kernels_habit.WORDS], out)
    if history.labelled:
        known, excess = by_label(history), out[-1] * history.taught
        for source in PARTIES:
            labels = labels_of(history, history.sources[source], known)
            yield from of_labels(history, source, labels, ALL)
            yield from of_streaks(history, source, labels, excess)


def by_label(history: Columns) -> I64:
    """The labelled rows in the order in which their labels became known."""
    order = np.argsort(history.label_at, kind="stable")
    return order[: np.count_nonzero(history.label_at < NEVER)]


def labels_of(history: Columns, source: Source, known: I64) -> Labels:
    start, order = grouped(source.key[known], source.keys)
    rows = taken(known, order)
    return Labels(start, rows, taken(history.label_at, rows), taken(history.fraud, rows))


def of_labels(history: Columns, source: str, labels: Labels, most: int) -> Aggregates:
    words = [(word, window_s) for window_s in LABEL_WINDOWS_S.values() for word in ("labels", "frauds")]
    out = blank(len(words), len(history.at))
    kernels_labels.labelled(history.sources[source].asking, labels, history.at, spans_of(LABEL_WINDOWS_S), most, out)
    return keyed(source, words, out)


def of_streaks(history: Columns, source: str, labels: Labels, excess: I64) -> Aggregates:
    words = [(word, 2 * HORIZON_S if word == "good_age_s" else HORIZON_S) for word in kernels_labels.WORDS]
    out = blank(len(words), len(history.at))
    kernels_labels.streaks(history.sources[source].asking, labels, history.at, excess, out)
    return keyed(source, words, out)
