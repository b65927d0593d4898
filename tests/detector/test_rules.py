"""Rules: the verdicts over a whole history equal those that the gate's closures give row by row (law 10)."""

from __future__ import annotations

from typing import Any

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from detector import policy, rules
from detector.expressions import ColumnType
from detector.features import COLUMNS
from detector.gift import Verdict
from tests.support import examples, rule

DEFAULT = policy.read(policy.DEFAULT.read_text())
MORE = policy.read(
    rule("nulls", "ip = 'x'", "block")
    + rule("divides", "amount / sender_count_24h > 3", "hold")
    + rule("either", "same_owner or identity in ('none', 'basic')", "block")
)
FLOORS = policy.read(
    rule("plain", "amount >= 50000000")
    + rule("exact", "amount = 100000000 and ip is null", "block")
    + rule("turned", "50000000 < amount and sender_count_24h > 3")
    + rule("either", "amount > 200000000 or (amount > 50000001 and same_owner)")
    + rule("open", "amount > 50000000 or same_owner", "block")
    + rule("not", "not (amount >= 50000000)")
    + rule("none", "sender_count_24h >= 2 and (amount >= 50000000) is not null")
)
DTYPES = {
    ColumnType.INT: pl.Int64,
    ColumnType.FLOAT: pl.Float64,
    ColumnType.STR: pl.String,
    ColumnType.BOOL: pl.Boolean,
}
# Numbers around the thresholds of the default policy, so that rules do fire.
EDGES = [0, 1, 2, 3, 5, 8, 30, 604_800, 2_592_000, 172_800, 50_000_000, 10**8, 2 * 10**8, 45 * 10**7, 5 * 10**8, 10**15]
VALUES: dict[ColumnType, st.SearchStrategy[Any]] = {
    ColumnType.INT: st.sampled_from([n + off for n in EDGES for off in (-1, 0, 1) if n + off >= 0]),
    ColumnType.STR: st.sampled_from(["x", "y", "none", "basic", "full"]),
    ColumnType.BOOL: st.booleans(),
}


def rows_of(one: policy.Policy) -> st.SearchStrategy[list[tuple[Any, ...]]]:
    cells = [st.one_of(VALUES[COLUMNS[name]], VALUES[COLUMNS[name]], st.none()) for name in one.vectors.names]
    return st.lists(st.tuples(*cells), min_size=1, max_size=60)


def live(one: policy.Policy, row: tuple[Any, ...]) -> dict[str, int]:
    """Each rule's verdict as the gate finds it."""
    found = {f"rule:{each.name}": int(Verdict.APPROVE) for each in one.rules}
    for hit in rules.hits(one.checks, row):
        found[f"rule:{hit.name}"] = int({verdict.word: verdict for verdict in Verdict}[hit.verdict])
    return found


def same(one: policy.Policy, rows: list[tuple[Any, ...]]) -> None:
    names = one.vectors.names
    frame = pl.LazyFrame(rows, schema={name: DTYPES[COLUMNS[name]] for name in names}, orient="row")
    history = rules.over_history(one.rules, frame).collect().drop(names)
    assert history.to_dicts() == [live(one, row) for row in rows]


@given(st.data())
@examples(60)
def test_the_default_rules_over_a_history_equal_the_gates(data: st.DataObject) -> None:
    same(DEFAULT, data.draw(rows_of(DEFAULT)))


@given(st.data())
@examples(60)
def test_nulls_and_divisions_over_a_history_equal_the_gates(data: st.DataObject) -> None:
    same(MORE, data.draw(rows_of(MORE)))


@given(st.data())
@examples(60)
def test_rules_that_need_large_gifts_over_a_history_equal_the_gates(data: st.DataObject) -> None:
    assert FLOORS.checks.floors == [50_000_000, 50_000_001, 100_000_000]
    same(FLOORS, data.draw(rows_of(FLOORS)))


def test_hits_come_in_the_order_of_the_policy_with_what_they_saw() -> None:
    one = policy.read(rule("zz", "amount > 1") + rule("aa", "amount > 2", "block"))
    assert [(hit.name, hit.verdict, hit.seen) for hit in rules.hits(one.checks, (3,))] == [
        ("zz", "hold", {"amount": 3}),
        ("aa", "block", {"amount": 3}),
    ]
