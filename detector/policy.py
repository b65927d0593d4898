"""A policy: limits, rules, score thresholds, terms of review and identity as one numbered generation, from TOML, whole.

Nothing of a refused policy is ever used: reading it either gives a complete Policy or raises with every fault named.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from detector.activity import Lookup, Shape, lookups
from detector.breaker import BreakerTerms
from detector.errors import ExpressionRefused, PolicyRefused
from detector.expressions import ColumnType, parse
from detector.features import COLUMNS, Vectors
from detector.identity_terms import ANY_IDENTITY, IdentityTerms, identity_of
from detector.limits import KEYS, Limit
from detector.policy_fields import named, one_of, rows, span_s, unknown, whole
from detector.policy_terms import PLAIN_REVIEW, ModelTerms, ReviewTerms, breaker_of, model_of, review_of
from detector.rules import Checks, Rule, compiled
from detector.track import HORIZON_US

__all__ = ["DEFAULT", "IdentityTerms", "ModelTerms", "Policy", "ReviewTerms", "read"]

DEFAULT = Path(__file__).parent / "policy.toml"
LIMIT_FIELDS = {"name", "on", "window", "count", "value", "action", "description"}
RULE_FIELDS = {"name", "when", "verdict", "description", "false_alarms"}
POLICY_FIELDS = {"name", "description", "limit", "rule", "model", "review", "breaker", "identity"}
EMPTY = (
    "no limit, rule or model: an empty policy would hold every gift; write at least one [[limit]] or [[rule]], "
    "or a [model]"
)


@dataclass(frozen=True, slots=True)
class Policy:
    """One generation, ready to judge: `checks` and `vectors` are made once, when it is read."""

    name: str
    text: str
    limits: tuple[Limit, ...]
    rules: tuple[Rule, ...]
    generation: int = 0
    model: ModelTerms | None = None
    review: ReviewTerms = PLAIN_REVIEW
    breaker: BreakerTerms | None = None
    identity: IdentityTerms = ANY_IDENTITY
    vectors: Vectors = field(init=False)
    checks: Checks = field(init=False)
    lookups: list[Lookup] = field(init=False)
    ceilings: list[tuple[Limit, int]] = field(init=False)

    def __post_init__(self) -> None:
        names = {name for rule in self.rules for name in rule.when.columns}
        # Limits and features often read the same track: each is looked up once.
        vectors = Vectors(names, (limit.source for limit in self.limits))
        object.__setattr__(self, "vectors", vectors)
        object.__setattr__(self, "checks", compiled(self.rules, vectors))
        object.__setattr__(self, "lookups", lookups(vectors.sources))
        ceilings = [(limit, vectors.sources.index(limit.source)) for limit in self.limits]
        object.__setattr__(self, "ceilings", ceilings)

    @property
    def shapes(self) -> set[Shape]:
        """What activity must keep for this policy."""
        return self.vectors.shapes


def read(text: str, *, generation: int = 0) -> Policy:
    """The policy in a TOML text. Raises PolicyRefused naming every fault found."""
    table = toml(text)
    faults: list[str] = []
    unknown("the policy", table, POLICY_FIELDS, faults)
    limits = [limit_of(row, faults) for row in rows(table, "limit", faults)]
    rules = [rule_of(row, faults) for row in rows(table, "rule", faults)]
    model = model_of(table["model"], faults) if "model" in table else None
    review = review_of(table.get("review", {}), faults)
    breaker = breaker_of(table["breaker"], faults) if "breaker" in table else None
    identity = identity_of(rows(table, "identity", faults), faults)
    names_differ(table, faults)
    if not limits and not rules and not model:
        faults.append(EMPTY)
    if faults:
        raise PolicyRefused(*faults)
    return Policy(
        name=str(table.get("name", "unnamed")),
        text=text,
        limits=tuple(limit for limit in limits if limit),
        rules=tuple(rule for rule in rules if rule),
        generation=generation,
        model=model,
        review=review,
        breaker=breaker,
        identity=identity,
    )


def toml(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PolicyRefused(f"not TOML: {error}") from error


def names_differ(table: dict[str, Any], faults: list[str]) -> None:
    """Limits and rules are told apart by their names alone."""
    names = [str(row.get("name")) for key in ("limit", "rule") for row in rows(table, key, [])]
    twice = sorted({name for name in names if names.count(name) > 1})
    faults += [f"the name {name!r} is used twice: names must differ" for name in twice]


def limit_of(row: dict[str, Any], faults: list[str]) -> Limit | None:
    """One [[limit]] table, or None with its faults noted."""
    where = f"limit {row.get('name')!r}"
    before = len(faults)
    unknown(where, row, LIMIT_FIELDS, faults)
    named(where, row, faults)
    on = row.get("on")
    if not isinstance(on, list) or not on or not all(key in KEYS for key in on):
        faults.append(f"{where}: on = {on!r}; name one or more of {', '.join(KEYS)}")
    ceilings = [key for key in ("count", "value") if key in row]
    if len(ceilings) != 1 or not whole(row[ceilings[0]]):
        faults.append(f"{where}: give exactly one of count (gifts) or value (micro-credits), a whole number from 1")
    window_s = span_s(where, "window", row.get("window"), faults, HORIZON_US // 1_000_000)
    action = one_of(where, row, "action", faults)
    if len(faults) > before or not isinstance(on, list):
        return None
    return Limit(
        row["name"], tuple(on), window_s, action, row["description"], count=row.get("count"), value=row.get("value")
    )


def rule_of(row: dict[str, Any], faults: list[str]) -> Rule | None:
    """One [[rule]] table, or None with its faults noted."""
    where = f"rule {row.get('name')!r}"
    before = len(faults)
    unknown(where, row, RULE_FIELDS, faults)
    named(where, row, faults)
    verdict = one_of(where, row, "verdict", faults)
    if not isinstance(row.get("when"), str):
        faults.append(f"{where}: when = {row.get('when')!r}; write a SQL expression as a text")
        return None
    try:
        when = parse(row["when"], COLUMNS)
    except ExpressionRefused as error:
        faults.append(f"{where}: {error.detail}")
        return None
    if when.type is not ColumnType.BOOL:
        faults.append(
            f"{where}: {row['when']!r} is a {when.type.name.lower()}, not a condition; compare it with something"
        )
    if len(faults) > before:
        return None
    return Rule(row["name"], when, verdict, row["description"], str(row.get("false_alarms", "")))
