"""A policy: limits, rules, score thresholds and the terms of review as one numbered generation, read from TOML, whole.

Nothing of a refused policy is ever used: reading it either gives a complete Policy or raises with every fault named.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from detector.activity import HORIZON_US, Lookup, Shape
from detector.breaker import BreakerTerms
from detector.errors import ExpressionRefused, PolicyRefused
from detector.expressions import ColumnType, parse
from detector.features import COLUMNS, Vectors
from detector.gift import Verdict
from detector.limits import KEYS, Limit
from detector.rules import Check, Rule, compiled

DEFAULT = Path(__file__).parent / "policy.toml"
UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
NAME = re.compile(r"^[a-z][a-z0-9_]{0,63}$")
ACTIONS = {"hold": Verdict.HOLD, "block": Verdict.BLOCK}
LIMIT_FIELDS = {"name", "on", "window", "count", "value", "action", "description"}
RULE_FIELDS = {"name", "when", "verdict", "description", "false_alarms"}
MODEL_FIELDS = {"name", "hold_at", "block_at", "max_age", "when_old"}
REVIEW_FIELDS = {"claim", "four_eyes", "sample"}
BREAKER_FIELDS = {"share", "at_least", "window", "cool"}
POLICY_FIELDS = {"name", "description", "limit", "rule", "model", "review", "breaker"}
# What an artifact may be called (models.manifest.NAME): a hash is such a name too.
MODEL_NAME = re.compile(r"^[a-z0-9][a-z0-9_.-]{0,63}$")
MOST = 200
OLDEST_S = 3_650 * 86_400
LONGEST_CLAIM_S = 7 * 86_400
LONGEST_WINDOW_S = 3_600  # as long as detector.breaker_tallies are kept, and more
LONGEST_COOL_S = 7 * 86_400


@dataclass(frozen=True, slots=True)
class ModelTerms:
    """Which model judges, and how: `name` is 'champion', an artifact's name or its hash. What is None is the artifact's
    own; scores are 0..1, high = more suspicious."""

    name: str
    hold_at: float | None = None
    block_at: float | None = None
    max_age_s: int | None = None
    when_old: Verdict = Verdict.HOLD


@dataclass(frozen=True, slots=True)
class ReviewTerms:
    """How cases are worked on: how long a claim counts, the amount (micro-credits) from which a ruling takes two people
    (law 13), and the part of approved first looks that is drawn for review at random, 0..1."""

    claim_s: int = 1_800
    four_eyes: int = 1_000_000_000
    sample: float = 0.0


@dataclass(frozen=True, slots=True)
class Policy:
    """One generation, ready to judge: `checks` and `vectors` are made once, when it is read."""

    name: str
    text: str
    limits: tuple[Limit, ...]
    rules: tuple[Rule, ...]
    generation: int = 0
    model: ModelTerms | None = None
    review: ReviewTerms = ReviewTerms()
    breaker: BreakerTerms | None = None
    vectors: Vectors = field(init=False)
    checks: list[Check] = field(init=False)
    lookups: list[Lookup] = field(init=False)
    ceilings: list[tuple[Limit, int]] = field(init=False)

    def __post_init__(self) -> None:
        names = {name for rule in self.rules for name in rule.when.columns}
        vectors = Vectors(names)
        object.__setattr__(self, "vectors", vectors)
        object.__setattr__(self, "checks", compiled(self.rules, vectors))
        # Limits and features often read the same track: each is looked up once, features' first.
        sources = list(dict.fromkeys([*vectors.sources, *(limit.source for limit in self.limits)]))
        object.__setattr__(self, "lookups", [Lookup.of(source) for source in sources])
        object.__setattr__(self, "ceilings", [(limit, sources.index(limit.source)) for limit in self.limits])

    @property
    def shapes(self) -> set[Shape]:
        """What activity must keep for this policy."""
        return {source.shape for source in (*self.vectors.sources, *(limit.source for limit in self.limits))}


def read(text: str, *, generation: int = 0) -> Policy:
    """The policy in a TOML text. Raises PolicyRefused naming every fault found."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PolicyRefused(f"not TOML: {error}") from error
    faults: list[str] = []
    unknown("the policy", table, POLICY_FIELDS, faults)
    limits = [limit_of(row, faults) for row in rows(table, "limit", faults)]
    rules = [rule_of(row, faults) for row in rows(table, "rule", faults)]
    model = model_of(table["model"], faults) if "model" in table else None
    review = review_of(table.get("review", {}), faults)
    breaker = breaker_of(table["breaker"], faults) if "breaker" in table else None
    names = [str(row.get("name")) for key in ("limit", "rule") for row in rows(table, key, [])]
    faults += [
        f"the name {name!r} is used twice: names must differ" for name in sorted({*names}) if names.count(name) > 1
    ]
    if not limits and not rules and not model:
        faults.append(
            "no limit, rule or model: an empty policy would hold every gift; write at least one [[limit]] or [[rule]], "
            "or a [model]"
        )
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
    )


def rows(table: Mapping[str, Any], key: str, faults: list[str]) -> list[dict[str, Any]]:
    found = table.get(key, [])
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        faults.append(f"{key!r} must be written as [[{key}]] tables")
        return []
    if len(found) > MOST:
        faults.append(f"{len(found)} [[{key}]] tables; at most {MOST}")
    return found


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


def model_of(row: Any, faults: list[str]) -> ModelTerms | None:
    """The [model] table, or None with its faults noted."""
    if not isinstance(row, dict):
        faults.append("'model' must be written as one [model] table")
        return None
    before = len(faults)
    unknown("model", row, MODEL_FIELDS, faults)
    if not isinstance(row.get("name"), str) or not MODEL_NAME.match(row["name"]):
        faults.append(f"model: name = {row.get('name')!r}; write 'champion', an artifact's name or its SHA-256")
    hold_at, block_at = (threshold(key, row.get(key), faults) for key in ("hold_at", "block_at"))
    if hold_at is not None and block_at is not None and block_at < hold_at:
        faults.append(
            f"model: block_at = {block_at} is below hold_at = {hold_at}: what is blocked would have been held"
        )
    age = row.get("max_age")
    max_age_s = None if age is None else span_s("model", "max_age", age, faults, OLDEST_S)
    when_old = one_of("model", {"when_old": "hold", **row}, "when_old", faults)
    if len(faults) > before:
        return None
    return ModelTerms(row["name"], hold_at, block_at, max_age_s, when_old)


def review_of(row: Any, faults: list[str]) -> ReviewTerms:
    """The [review] table; what it leaves out is as ReviewTerms has it."""
    if not isinstance(row, dict):
        faults.append("'review' must be written as one [review] table")
        return ReviewTerms()
    plain = ReviewTerms()
    unknown("review", row, REVIEW_FIELDS, faults)
    claim_s = span_s("review", "claim", row["claim"], faults, LONGEST_CLAIM_S) if "claim" in row else plain.claim_s
    four_eyes, sample = row.get("four_eyes", plain.four_eyes), row.get("sample", plain.sample)
    if four_eyes != 0 and not whole(four_eyes):
        faults.append(
            f"review: four_eyes = {four_eyes!r}; write the amount (micro-credits) from which a ruling takes two, "
            "0 for every ruling"
        )
    if not isinstance(sample, int | float) or isinstance(sample, bool) or not 0 <= sample <= 1:
        faults.append(f"review: sample = {sample!r}; write the part of approved gifts to draw, 0 to 1, such as 0.001")
        sample = plain.sample
    return ReviewTerms(claim_s, four_eyes, float(sample))


def breaker_of(row: Any, faults: list[str]) -> BreakerTerms:
    """The [breaker] table; what it leaves out is as BreakerTerms has it."""
    plain = BreakerTerms()
    if not isinstance(row, dict):
        faults.append("'breaker' must be written as one [breaker] table")
        return plain
    unknown("breaker", row, BREAKER_FIELDS, faults)
    share, at_least = row.get("share", plain.share), row.get("at_least", plain.at_least)
    if not isinstance(share, int | float) or isinstance(share, bool) or not 0 < share < 1:
        faults.append(f"breaker: share = {share!r}; write the part of looks that may be blocks, above 0 and below 1")
    if not whole(at_least):
        faults.append(f"breaker: at_least = {at_least!r}; write how many looks there must have been, from 1")
    window_s = span_s("breaker", "window", row.get("window", f"{plain.window_s}s"), faults, LONGEST_WINDOW_S)
    cool_s = span_s("breaker", "cool", row.get("cool", f"{plain.cool_s}s"), faults, LONGEST_COOL_S)
    return BreakerTerms(share, at_least, window_s, cool_s)


def threshold(key: str, value: Any, faults: list[str]) -> float | None:
    """A score from which a verdict is given."""
    if value is None:
        return None
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 < value <= 1:
        faults.append(f"model: {key} = {value!r}; write a score above 0 and up to 1, such as 0.9")
        return None
    return float(value)


def unknown(where: str, row: Mapping[str, Any], known: Iterable[str], faults: list[str]) -> None:
    for key in row.keys() - set(known):
        near = difflib.get_close_matches(key, list(known), 1)
        faults.append(f"{where}: unknown field {key!r}" + (f"; did you mean {near[0]!r}?" if near else ""))


def named(where: str, row: Mapping[str, Any], faults: list[str]) -> None:
    if not isinstance(row.get("name"), str) or not NAME.match(row["name"]):
        faults.append(f"{where}: a name is 1 to 64 of a-z, 0-9 and _, and starts with a letter")
    if not isinstance(row.get("description"), str) or not row["description"].strip():
        faults.append(f"{where}: say in description which abuse it catches")


def one_of(where: str, row: Mapping[str, Any], key: str, faults: list[str]) -> Verdict:
    action = ACTIONS.get(str(row.get(key)))
    if action is None:
        faults.append(f"{where}: {key} = {row.get(key)!r}; write {' or '.join(map(repr, ACTIONS))}")
    return action or Verdict.HOLD


def whole(ceiling: Any) -> bool:
    return isinstance(ceiling, int) and not isinstance(ceiling, bool) and 1 <= ceiling < 2**63


def span_s(where: str, key: str, span: Any, faults: list[str], most_s: int) -> int:
    """A span such as "90s", "10m", "24h" or "30d" in seconds, at most `most_s`."""
    match = re.fullmatch(r"([1-9][0-9]{0,6})([smhd])", span) if isinstance(span, str) else None
    seconds = int(match[1]) * UNITS_S[match[2]] if match else 0
    if not 0 < seconds <= most_s:
        faults.append(f'{where}: {key} = {span!r}; write a span from "1s" to "{longest(most_s)}", such as "10m"')
    return seconds


def longest(most_s: int) -> str:
    return f"{most_s // 86_400}d" if most_s >= 86_400 else f"{most_s // 3_600}h"
