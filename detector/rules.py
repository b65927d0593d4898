"""Rules: named SQL boolean expressions over features, each with a verdict, what it catches and its false alarms.

The same parsed expression judges one gift in the gate and a whole history in Polars, with equal results (law 10).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from detector.expressions import Expression
from detector.features import Vectors
from detector.gift import Hit, Verdict


@dataclass(frozen=True, slots=True)
class Rule:
    """`when` true fires the verdict; null holds, since what cannot be told must not pass (law 5)."""

    name: str
    when: Expression
    verdict: Verdict
    description: str
    false_alarms: str


Check = tuple[Rule, Callable[[Sequence[Any]], Any], dict[str, int]]


def compiled(rules: Sequence[Rule], vectors: Vectors) -> list[Check]:
    """Each rule with its closure over a vector, and where the features it names stand."""
    return [
        (rule, rule.when.compile(vectors.index), {name: vectors.index[name] for name in sorted(rule.when.columns)})
        for rule in rules
    ]


def hits(checks: list[Check], vector: Sequence[Any]) -> list[Hit]:
    """The rules that fire on one vector, in the order of the policy."""
    found = []
    for rule, when, columns in checks:
        outcome = when(vector)
        if outcome is False:
            continue
        seen = {name: vector[position] for name, position in columns.items()}
        if outcome is None:
            found.append(Hit("degraded", rule.name, Verdict.HOLD.word, seen))
        else:
            found.append(Hit("rule", rule.name, rule.verdict.word, seen))
    return found


def over_history(rules: Sequence[Rule], rows: pl.LazyFrame) -> pl.LazyFrame:
    """Each rule as a column `rule:<name>` holding the verdict it gives (0 approve, 1 hold, 2 block)."""
    return rows.with_columns(verdict_of(rule).alias(f"rule:{rule.name}") for rule in rules)


def verdict_of(rule: Rule) -> pl.Expr:
    fires = rule.when.to_polars()
    verdict = pl.when(fires).then(int(rule.verdict)).otherwise(int(Verdict.APPROVE))
    return pl.when(fires.is_null()).then(int(Verdict.HOLD)).otherwise(verdict)
