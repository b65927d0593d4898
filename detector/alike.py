"""Past cases like this one, and how they were ruled. Likeness is 0..1: shared reasons first, then amount and score."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import exp, log
from typing import Any

from detector.case_shapes import Alike
from detector.gift import stamp
from detector.store import HITS

MOST_PAST = 500  # the latest that are compared
MOST_ALIKE = 5
# What each part of a likeness weighs; chosen by hand, since reasons are what an analyst compares first.
REASONS, AMOUNT, SCORE = 0.7, 0.2, 0.1


def reasons_of(hits: str) -> frozenset[str]:
    return frozenset(hit.reason for hit in HITS.decode(hits))


def likeness(mine: Mapping[str, Any], other: Mapping[str, Any]) -> float:
    """How alike two decisions are by their reasons, amount and score; 0 where they share no reason.

    >>> one = {"reasons": frozenset({"rule:a"}), "amount": 5, "score": None}
    >>> likeness(one, one), likeness(one, one | {"reasons": frozenset({"rule:b"})})
    (1.0, 0.0)
    """
    shared, both = mine["reasons"] & other["reasons"], mine["reasons"] | other["reasons"]
    if not shared:
        return 0.0
    by_reason = len(shared) / len(both)
    by_amount = exp(-abs(log(mine["amount"] / other["amount"])))
    a, b = mine["score"], other["score"]
    by_score = float(a is b) if a is None or b is None else 1 - abs(a - b)
    return round(REASONS * by_reason + AMOUNT * by_amount + SCORE * by_score, 3)


def alike(mine: Mapping[str, Any], rows: Iterable[Mapping[str, Any]]) -> list[Alike]:
    """The past cases most like this one, by the gift in each that is likest; the newer of two equals first."""
    best: dict[str, tuple[float, Any, frozenset[str]]] = {}
    acts: dict[str, dict[str, int]] = {}
    for row in rows:
        reasons = reasons_of(row["hits"])
        near = likeness(mine, {"reasons": reasons, "amount": row["amount"], "score": row["score"]})
        ruled = acts.setdefault(row["case"], {})
        ruled[row["act"]] = ruled.get(row["act"], 0) + 1
        if near and (row["case"] not in best or near > best[row["case"]][0]):
            best[row["case"]] = (near, row["at"], reasons)
    order = sorted(best, key=lambda case: best[case][:2], reverse=True)[:MOST_ALIKE]
    return [Alike(case, stamp(best[case][1]), best[case][0], sorted(best[case][2]), acts[case]) for case in order]
