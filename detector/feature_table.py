"""The table of the model's features, as data: adding a feature is adding a row. The law kept here: one meaning, two
executors. `training/features.py` reads these rows over a history, `detector/live.py` at the gate, bit-equal.

A row is a fact of the gift, an aggregate over earlier gifts, or derived: an SQL expression over the other rows.

* Gifts stand in order (at, order of input); only gifts before this one count. A window of w at t holds the gifts
  with at > t - w; windows are compared in microseconds, ages and gaps are whole seconds, cut off.
* Amounts are micro-credits, each counted as LARGEST at most, so that no sum leaves 64 bits.
* A label is known at t from the later of its `label_at` and its own gift's time, and only if its gift is earlier.
* Only gifts that the gate approved at its first look teach: count, are habits, profiles or links of later ones. A
  history without the column `verdict` teaches by every gift. Tried gifts are all gifts; labels are those of all.
* A row whose `needs` the history does not have is null, and so is whatever is derived from it. A row that needs a fact
  or a context key is null for a gift that does not say it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from detector.expressions import ColumnType, parse
from detector.feature_derived import DERIVED, Derived
from detector.feature_said import FACTS, KEYS, ORIGIN
from detector.feature_words import ABOUT, GRAPH, HABITS, LABELS, MARKS, TRIED

HOUR_S, DAY_S = 3_600, 86_400
WINDOWS_S = {"1h": HOUR_S, "24h": DAY_S, "7d": 7 * DAY_S, "30d": 30 * DAY_S}
LABEL_WINDOWS_S = {"7d": 7 * DAY_S, "30d": 30 * DAY_S}
TRIED_WINDOWS_S = {"1h": HOUR_S, "24h": DAY_S, "7d": 7 * DAY_S}
CONTEXT_WINDOWS_S = {"24h": DAY_S, "7d": 7 * DAY_S, "30d": 30 * DAY_S}
HORIZON_S = 30 * DAY_S  # habits, pairs and the graph look back this far
HABIT = 64  # most gifts that a habit looks back on
SURE = 3  # fewest gifts of a habit that tell an excess
EXCESS_CAP = 10_000  # percent
UNUSUAL = 300  # percent of the habit from which a gift does not teach it
PLAIN = 200  # percent of the habit under which a fraud looks usual
PAIR = 32  # most gifts of one pair that are counted
NEAR = 8  # most counterparts that an org's short list names
FAR = 16  # most ancestors that a gift names
DEPTH = 8  # how far back its ancestors go
HOPS = 15  # longest chain that is told
LARGEST = 10**15  # micro-credits: a billion credits
CROWD = 128  # most gifts, and most labels, of one context key that are looked at
YOUNG_S = 30 * DAY_S  # an org is young until then
PROMO_S = 7 * DAY_S  # promotional credits are asked for so far back
LIMITS = (
    *(HORIZON_S, HABIT, SURE, EXCESS_CAP, UNUSUAL, PLAIN, PAIR, NEAR, FAR, DEPTH, HOPS, LARGEST),
    *(CROWD, YOUNG_S, PROMO_S),
)

LABELLED = ("fraud", "label_at")
IDENTITIES = {"none": 0, "basic": 1, "full": 2}
CONTEXTS = ("ip", "device", "fingerprint")
SPELLED = ("amount_digits", "amount_under")  # facts that follow from the amount alone
BESIDES = tuple(name for name, (_, needs, *_) in FACTS.items() if needs)
ASKS_OF_GIFT = frozenset((*BESIDES, *CONTEXTS))  # needs that each gift answers for itself
INT, FLOAT = ColumnType.INT, ColumnType.FLOAT


@dataclass(frozen=True, slots=True)
class Row:
    """One feature. `direction` says which end is suspicious; `needs` names the history columns it cannot do without.

    An aggregate has a source (whose gifts), a window and perhaps bounds (low <= excess < high); a derived row an
    expression.
    """

    name: str
    kind: str  # fact, aggregate or derived
    type: ColumnType
    direction: str  # high, low or none
    description: str
    false_alarms: str
    needs: tuple[str, ...] = ()
    source: str | None = None
    aggregate: str | None = None
    window_s: int | None = None
    bounds: tuple[int, int] | None = None
    expression: str | None = None


def facts() -> Iterator[Row]:
    for name, (direction, needs, description, false_alarms) in FACTS.items():
        yield Row(name, "fact", INT, direction, description, false_alarms, needs)


def activity(source: str, about: str, others: str) -> Iterator[Row]:
    """Count, sum and distinct counterparts of one source in every window, and its gap."""
    catches, false_alarms = ABOUT[source][2:]
    for label, window_s in WINDOWS_S.items():
        for word, aggregate, what in (
            ("count", "count", f"{about} in the last {label}"),
            ("sum", "sum", f"micro-credits of {about} in the last {label}"),
            (others, "distinct", f"distinct {others} of {about} in the last {label}"),
        ):
            row = Row(f"{source}_{word}_{label}", "aggregate", INT, "high", f"{what}: {catches}", false_alarms)
            yield replace(row, source=source, aggregate=aggregate, window_s=window_s)
    text = f"seconds since the latest of {about}, null if none in 30 d: a burst after silence, or a machine's pace"
    row = Row(f"{source}_gap_s", "aggregate", INT, "none", text, "orgs that are away for a while, or pay in runs")
    yield replace(row, source=source, aggregate="gap_s", window_s=HORIZON_S)


def pair() -> Iterator[Row]:
    text = f"gifts from this sender to this recipient in 30 d, {PAIR} at most: first dealings, where theft goes"
    row = Row("pair_count_30d", "aggregate", INT, "low", text, "every honest pair has a first gift")
    yield replace(row, source="pair", aggregate="count", window_s=HORIZON_S)
    text = "seconds since the latest gift of this pair, null if none in 30 d: a pair that starts to repeat quickly"
    row = Row("pair_gap_s", "aggregate", INT, "none", text, "shared projects paid in several steps")
    yield replace(row, source="pair", aggregate="gap_s", window_s=HORIZON_S)


def habits() -> Iterator[Row]:
    for source, about in (
        ("sender_habit", "the sender's habit"),
        ("sender_clean", "the sender's habit without known frauds, and with the unusual gifts known as good"),
    ):
        for word, (direction, description, false_alarms) in HABITS.items():
            text = description.format(habit=about)
            row = Row(f"{source}_{word}", "aggregate", INT, direction, text, false_alarms)
            yield replace(row, source=source, aggregate=word, window_s=HORIZON_S)
    for name, (source, low, high, days, description, false_alarms) in MARKS.items():
        row = Row(name, "aggregate", INT, "high", description, false_alarms)
        yield replace(row, source=source, aggregate="marked", window_s=days * DAY_S, bounds=(low, high))
    text = f"of the sender's latest {HABIT} gifts of 30 d, those within an hour of this time of day: strange hours"
    row = Row("sender_same_hour", "aggregate", INT, "low", text, "travel, holidays, a new colleague elsewhere")
    yield replace(row, source="sender", aggregate="same_hour", window_s=HORIZON_S)


def labels(source: str) -> Iterator[Row]:
    about = ABOUT[source][0]
    for label, window_s in LABEL_WINDOWS_S.items():
        for word in ("labels", "frauds"):
            yield labelled(source, f"{word}_{label}", word, window_s, about, label)
    yield labelled(source, "frauds_plain_30d", "frauds_plain", HORIZON_S, about, "30d")
    for word in ("streak", "streak_plain", "streak_age_s", "good_age_s", "fraud_age_s"):
        yield labelled(source, word, word, 2 * HORIZON_S if word == "good_age_s" else HORIZON_S, about, "30d")


def labelled(source: str, tail: str, aggregate: str, window_s: int, about: str, label: str) -> Row:
    direction, description, false_alarms = LABELS[aggregate]
    text = description.format(about=about, label=label)
    row = Row(f"{source}_{tail}", "aggregate", INT, direction, text, false_alarms, LABELLED)
    return replace(row, source=source, aggregate=aggregate, window_s=window_s)


def graph() -> Iterator[Row]:
    for name, (direction, description, false_alarms) in GRAPH.items():
        row = Row(name, "aggregate", INT, direction, description, false_alarms)
        yield replace(row, source="graph", aggregate=name, window_s=HORIZON_S)


def tried() -> Iterator[Row]:
    """Attempts, whatever was said to them."""
    for source, (about, others, catches, false_alarms) in TRIED.items():
        for word, aggregate, label in (
            *(("count", "count", label) for label in TRIED_WINDOWS_S),
            ("sum", "sum", "24h"),
            (others, "distinct", "24h"),
        ):
            what = {"count": "count", "sum": "micro-credits", "distinct": f"distinct {others}"}[aggregate]
            text = f"{what} of {about} in the last {label}: {catches}"
            row = Row(f"{source}_{word}_{label}", "aggregate", INT, "high", text, false_alarms, ("verdict",))
            yield replace(row, source=source, aggregate=aggregate, window_s=TRIED_WINDOWS_S[label])
        text = f"seconds since the latest of {about}, null if none in 7 d: probing at a machine's pace"
        row = Row(f"{source}_gap_s", "aggregate", INT, "none", text, "people who try again at once", ("verdict",))
        yield replace(row, source=source, aggregate="gap_s", window_s=max(TRIED_WINDOWS_S.values()))


def origin() -> Iterator[Row]:
    for name, (source, aggregate, window_s, need, description, false_alarms) in ORIGIN.items():
        row = Row(name, "aggregate", INT, "high", description, false_alarms, (need,))
        yield replace(row, source=source, aggregate=aggregate, window_s=window_s)


def context(key: str) -> Iterator[Row]:
    """What an address, a device or a means of payment saw: its latest CROWD gifts and labels."""
    about, catches, false_alarms = KEYS[key]
    for aggregate, labels in (("count", ("24h", "7d")), ("senders", ("24h", "7d", "30d")), ("recipients", ("7d",))):
        for label in labels:
            what = "gifts" if aggregate == "count" else f"distinct {aggregate} of gifts"
            text = f"{what} {about} in the last {label}, {CROWD} gifts at most: {catches}"
            row = Row(f"{key}_{aggregate}_{label}", "aggregate", INT, "high", text, false_alarms, (key,))
            yield replace(row, source=key, aggregate=aggregate, window_s=CONTEXT_WINDOWS_S[label])
    text = f"seconds since the latest gift {about}, null if none in 30 d: a machine's pace, or a place never seen"
    row = Row(f"{key}_gap_s", "aggregate", INT, "none", text, "new phones, travel, cards that were renewed", (key,))
    yield replace(row, source=key, aggregate="gap_s", window_s=HORIZON_S)
    for label, window_s in LABEL_WINDOWS_S.items():
        for word in ("labels", "frauds"):
            row = labelled(key, f"{word}_{label}", word, window_s, f"gifts {about}", f"{label}, {CROWD} at most")
            yield replace(row, needs=(key, *LABELLED))


def derived(one: Derived, rows: Mapping[str, Row]) -> Row:
    """A derived row needs what its operands need."""
    expression = parse(one.expression, {name: row.type for name, row in rows.items()})
    needs = dict.fromkeys(need for name in sorted(expression.columns) for need in rows[name].needs)
    row = Row(one.name, "derived", expression.type, one.direction, one.description, one.false_alarms, tuple(needs))
    return replace(row, expression=one.expression)


def table() -> dict[str, Row]:
    rows = [*facts()]
    for source, (about, others, *_) in ABOUT.items():
        rows += activity(source, about, others)
    rows += [*pair(), *habits()]
    for source in ABOUT:
        rows += labels(source)
    rows += [*graph(), *tried(), *origin()]
    for key in CONTEXTS:
        rows += context(key)
    known = {row.name: row for row in rows}
    return known | {one.name: derived(one, known) for one in DERIVED}


def canonical(rows: Iterable[Row]) -> str:
    """Everything about the rows that a vector depends on, as text; not what only people read."""
    told = ("name", "kind", "needs", "source", "aggregate", "window_s", "bounds", "expression")
    return json.dumps([LIMITS, [[row.type.value, *(getattr(row, field) for field in told)] for row in rows]])


def digest(rows: Iterable[Row]) -> str:
    return hashlib.sha256(canonical(rows).encode()).hexdigest()


TABLE: dict[str, Row] = table()
NAMES: tuple[str, ...] = tuple(TABLE)
TYPES: dict[str, ColumnType] = {name: row.type for name, row in TABLE.items()}
HASH: str = digest(TABLE.values())
