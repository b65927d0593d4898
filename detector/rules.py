"""Rules: named SQL boolean expressions over features, each with a verdict, what it catches and its false alarms.

The same parsed expression judges one gift in the gate and a whole history in Polars, with equal results (law 10).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import polars as pl

from detector.expressions import Expression
from detector.expressions_tree import Node
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


# A rule, its closure over a vector, and where the features it names stand.
Check = tuple[Rule, Callable[[Sequence[Any]], Any], dict[str, int]]
AMOUNT = "amount"


class Checks(NamedTuple):
    """Rules made ready to judge vectors. Most need a gift to be large, so small ones are asked few of them: `levels[n]`
    are those that may fire where the amount, which stands at `place`, reaches n of the `floors`; the last are all."""

    floors: list[int]
    levels: list[list[Check]]
    place: int


def compiled(rules: Sequence[Rule], vectors: Vectors) -> Checks:
    index = vectors.index
    checks: list[Check] = [
        (rule, rule.when.compile(index), {name: index[name] for name in sorted(rule.when.columns)}) for rule in rules
    ]
    least = [floor(rule.when.tree) for rule in rules]
    floors = sorted({one for one in least if one is not None})
    levels = [
        [check for check, low in zip(checks, least, strict=True) if low is None or low in floors[:reached]]
        for reached in range(len(floors) + 1)
    ]
    return Checks(floors, levels, index.get(AMOUNT, 0))


def floor(node: Node) -> int | None:
    """An amount below which a condition is false, whatever else is known or null; None where it has none."""
    if node.kind in (">=", ">", "="):
        left, right = node.parts
        named = left.kind == "column" and left.value == AMOUNT and right.kind == "literal"
        return right.value if named else None
    found = [floor(part) for part in node.parts] if node.kind in ("and", "or") else []
    known = [one for one in found if one is not None]
    if node.kind == "or" and len(known) < len(found):
        return None
    return (max if node.kind == "and" else min)(known, default=None)


def hits(checks: Checks, vector: Sequence[Any]) -> list[Hit]:
    """The rules that fire on one vector, in the order of the policy."""
    floors, levels, place = checks
    amount = vector[place] if floors else None
    found = []
    for rule, when, columns in levels[-1 if amount is None else bisect_right(floors, amount)]:
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
