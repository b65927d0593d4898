"""What a gift asks of its sender's identity: read whole or refused with every fault named, and exact at its edges."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from detector import policy
from detector.cli import compare, shown
from detector.errors import PolicyRefused
from detector.identity_terms import ANY, LEVELS
from tests.support import asks, rule

GOOD = rule("good", "amount > 1")
NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
TICK = timedelta(microseconds=1)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (asks(-1, "basic"), "identity from -1: write in from the amount"),
        (asks(0, "basic").replace("= 0", "= false"), "identity from False: write in from the amount"),
        (asks(0, "basic").replace("from = 0\n", ""), "identity from None: write in from the amount"),
        (asks(0, "gold"), "level = 'gold'; write 'none', 'basic' or 'full'"),
        (asks(0, "none", "1d"), "max_age = '1d' of nothing"),
        (asks(0, "basic", "1y"), "max_age = '1y'; write a span from"),
        (asks(0, "basic").replace("a test", " "), "say in description why"),
        (asks(0, "basic") + "max_ag = 1\n", "unknown field 'max_ag'; did you mean 'max_age'?"),
        (asks(5, "basic") + asks(5, "full"), "two [[identity]] tables begin at from = 5"),
        (asks(5, "basic") + asks(5, "basic", "1d"), "two [[identity]] tables begin at from = 5"),
        (asks(0, "full") + asks(9, "basic"), "identity from 9 asks for 'basic', which is less than 'full' from 0"),
        (asks(9, "none"), "identity from 9 asks for 'none', which is less than 'basic' from 0"),
        ("identity = 3\n" + GOOD, "'identity' must be written as [[identity]] tables"),
    ],
)
def test_every_fault_is_named_with_its_cure(text: str, named: str) -> None:
    with pytest.raises(PolicyRefused) as refused:
        policy.read(text if text.startswith("identity") else GOOD + text)
    assert named in refused.value.detail


def test_the_last_table_that_an_amount_reaches_counts_in_whatever_order_they_stand() -> None:
    terms = policy.read(GOOD + asks(100, "full", "1h") + asks(10, "basic", "2d")).identity
    assert [terms.asked(amount).least for amount in (1, 9, 10, 99, 100, 10**15)] == [0, 0, 10, 10, 100, 100]
    assert terms.asked(9) is ANY
    assert policy.read(GOOD).identity.asked(10**15) is ANY


# --- level by level, to the microsecond ---

ENOUGH: list[tuple[str, str | None, str, timedelta | None, bool]] = [
    # asked,  at most, level, verified so long ago (None: nobody knows), enough
    ("none", None, "none", None, True),
    ("none", None, "full", None, True),
    ("basic", None, "none", timedelta(0), False),
    ("basic", None, "basic", 9_000 * DAY, True),
    ("basic", None, "full", None, True),
    ("basic", "1h", "basic", timedelta(0), True),
    ("basic", "1h", "basic", HOUR - TICK, True),
    ("basic", "1h", "basic", HOUR, False),
    ("basic", "1h", "full", HOUR - TICK, True),
    ("basic", "1h", "full", HOUR, False),
    ("basic", "1h", "basic", None, False),
    ("full", None, "basic", timedelta(0), False),
    ("full", "180d", "full", 180 * DAY - TICK, True),
    ("full", "180d", "full", 180 * DAY, False),
    ("full", "180d", "full", -TICK, True),  # told ahead of our clock
]


@pytest.mark.parametrize(("asked", "most", "level", "age", "enough"), ENOUGH)
def test_an_identity_is_enough_to_the_microsecond(
    asked: str, most: str | None, level: str, age: timedelta | None, enough: bool
) -> None:
    wanted = policy.read(GOOD + asks(0, asked, most)).identity.asked(1)
    assert wanted.met(level, None if age is None else NOW - age, NOW) is enough


def test_more_identity_is_never_worse() -> None:
    for asked in LEVELS:
        met = [policy.read(GOOD + asks(0, asked)).identity.asked(1).met(level, NOW, NOW) for level in LEVELS]
        assert met == sorted(met), asked


def test_what_changes_is_shown() -> None:
    old = policy.read(GOOD + asks(0, "basic", "365d") + asks(5, "full"))
    new = policy.read(GOOD + asks(0, "basic", "30d") + asks(7, "full"))
    lines = [line.strip() for change in compare(old, new) for line in shown(change)]
    assert lines == [
        "~ identity from 0", "max_age: 365d", "→ 30d",
        "+ identity from 7", "level: full", "description: a test",
        "- identity from 5", "level: full", "description: a test",
    ]  # fmt: skip


def test_the_default_policy_asks_more_of_more() -> None:
    terms = policy.read(policy.DEFAULT.read_text()).identity
    assert [terms.asked(amount).words for amount in (1, 10**9 - 1, 10**9)] == [
        "an identity verified as basic within the last 730d",
        "an identity verified as basic within the last 730d",
        "an identity verified as full within the last 365d",
    ]
    assert all(len(one.description) > 20 for one in terms.tables)
