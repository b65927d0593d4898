"""Past cases like a gift: by the likest gift of each, with every act that ended it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from detector.alike import MOST_ALIKE, Stopped, alike, likeness

AT = datetime(2026, 1, 1, tzinfo=UTC)
MINE = Stopped(frozenset({"rule:a", "rule:b"}), 100, 0.5)


def past(case: str, *reasons: str, amount: int = 100, score: float | None = 0.5, **more: Any) -> dict[str, Any]:
    told = {"case": case, "at": AT, "reasons": list(reasons), "amount": amount, "score": score, "standing": "released"}
    return told | more


def test_likeness_is_one_for_itself_and_falls_with_each_difference() -> None:
    near = [
        MINE,
        MINE._replace(score=0.6),
        MINE._replace(amount=200),
        MINE._replace(reasons=frozenset({"rule:a"})),
        MINE._replace(reasons=frozenset({"rule:a"}), score=None),
        MINE._replace(reasons=frozenset({"rule:c"})),
    ]
    found = [likeness(MINE, one) for one in near]
    assert found[0] == 1.0 and found[-1] == 0.0 and found == sorted(found, reverse=True)
    assert found == [likeness(one, MINE) for one in near] and len(set(found)) == len(found)


def test_a_case_is_as_alike_as_its_likest_gift_and_tells_all_its_acts() -> None:
    rows = [
        past("case1", "rule:c"),
        past("case1", "rule:a", standing="blocked"),
        past("case1", "rule:a", "rule:b", standing="blocked"),
        past("case2", "rule:c"),
        past("case3", "rule:a", "rule:b", standing="lapsed", at=AT + timedelta(days=1)),
    ]
    found = alike(MINE, rows)
    assert [(one.case, one.likeness, one.acts) for one in found] == [
        ("case3", 1.0, {"lapsed": 1}),
        ("case1", 1.0, {"release": 1, "block": 2}),
    ]
    assert found[1].reasons == ["rule:a", "rule:b"]


def test_only_the_likest_are_told() -> None:
    assert len(alike(MINE, [past(f"case{n}", "rule:a") for n in range(50)])) == MOST_ALIKE
