"""The terms of a policy that are neither limit nor rule: which model judges, how cases are reviewed, when the breaker
opens."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from detector.breaker import BreakerTerms
from detector.gift import Verdict
from detector.policy_fields import one_of, span_s, unknown, whole

MODEL_FIELDS = {"name", "hold_at", "block_at", "max_age", "when_old"}
REVIEW_FIELDS = {"claim", "four_eyes", "sample"}
BREAKER_FIELDS = {"share", "at_least", "window", "cool"}
# What an artifact may be called (models.manifest.NAME): a hash is such a name too.
MODEL_NAME = re.compile(r"^[a-z0-9][a-z0-9_.-]{0,63}$")
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


PLAIN_REVIEW = ReviewTerms()


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
        return PLAIN_REVIEW
    plain = PLAIN_REVIEW
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
