"""Past cases like this one, and how they were ruled. Likeness is 0..1: shared reasons first, then amount and score."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import exp, log
from typing import Any, NamedTuple

from detector.explain_shapes import Alike
from detector.gift import stamp

MOST_CASES, MOST_GIFTS = 300, 2_000  # the latest that are compared
MOST_ALIKE = 5
# What each part of a likeness weighs; chosen by hand, since reasons are what an analyst compares first.
REASONS, AMOUNT, SCORE = 0.7, 0.2, 0.1
# How a gift left its case, by the act that did it; where none did, by its own word.
ACTS = {"released": "release", "blocked": "block", "returned": "return"}


class Stopped(NamedTuple):
    """What is compared of a gift: why it was stopped, its amount, its score."""

    reasons: frozenset[str]
    amount: int
    score: float | None


def likeness(one: Stopped, other: Stopped) -> float:
    """How alike two gifts are; 0 where they share no reason.

    >>> one = Stopped(frozenset({"rule:a"}), 5, None)
    >>> likeness(one, one), likeness(one, one._replace(reasons=frozenset({"rule:b"})))
    (1.0, 0.0)
    """
    shared = one.reasons & other.reasons
    if not shared:
        return 0.0
    by_reason = len(shared) / len(one.reasons | other.reasons)
    by_amount = exp(-abs(log(one.amount / other.amount)))
    a, b = one.score, other.score
    by_score = float(a is b) if a is None or b is None else 1 - abs(a - b)
    return round(REASONS * by_reason + AMOUNT * by_amount + SCORE * by_score, 3)


def alike(mine: Stopped, rows: Iterable[Mapping[str, Any]]) -> list[Alike]:
    """The past cases most like this one, each by its likest gift; the newer of two equals first."""
    best: dict[str, tuple[float, Any, list[str]]] = {}
    acts: dict[str, dict[str, int]] = {}
    for row in rows:
        near = likeness(mine, Stopped(frozenset(row["reasons"]), row["amount"], row["score"]))
        act = ACTS.get(row["standing"], row["standing"])
        ruled = acts.setdefault(row["case"], {})
        ruled[act] = ruled.get(act, 0) + 1
        if near and (row["case"] not in best or near > best[row["case"]][0]):
            best[row["case"]] = (near, row["at"], sorted(row["reasons"]))
    order = sorted(best, key=lambda case: best[case][:2], reverse=True)[:MOST_ALIKE]
    return [Alike(case, stamp(best[case][1]), best[case][0], best[case][2], acts[case]) for case in order]
