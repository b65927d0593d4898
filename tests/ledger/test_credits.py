"""Credits: cutting slices, balanced postings, ids that sort by time."""

from __future__ import annotations

import os
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.credits import NEVER, Account, Grant, cut, new_id, posting
from tests.support import examples

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def grants(*available: int) -> list[Grant]:
    return [Grant(f"g{n}", amount, "purchase", NOW) for n, amount in enumerate(available)]


@pytest.mark.parametrize(
    ("available", "amount", "parts"),
    [
        ([10], 10, [10]),
        ([10, 5], 12, [10, 2]),
        ([10, 5], 3, [3]),
        ([0, 5], 5, [5]),
        ([3, 0, 4], 7, [3, 4]),
        ([10, 5], 16, None),
        ([], 1, None),
        ([10**15, 10**15], 10**15 + 1, [10**15, 1]),
    ],
)
def test_slices_are_cut_in_burn_order(available: list[int], amount: int, parts: list[int] | None) -> None:
    slices = cut(grants(*available), amount)
    assert (slices and [part for _, part in slices]) == parts


@given(st.lists(st.integers(0, 50), max_size=10), st.integers(1, 200))
@examples(200)
def test_slices_are_worth_the_amount_and_empty_grants_from_the_front(available: list[int], amount: int) -> None:
    slices = cut(grants(*available), amount)
    if slices is None:
        assert sum(available) < amount
        return
    assert sum(part for _, part in slices) == amount
    assert all(0 < part <= grant.available for grant, part in slices)
    touched = [grant.id for grant, _ in slices]
    holding = [grant.id for grant in grants(*available) if grant.available]
    assert touched == holding[: len(touched)]
    assert all(part == grant.available for grant, part in slices[:-1])


def test_nothing_is_cut_beyond_need() -> None:
    assert cut(grants(5, 5), 5) == [(grants(5)[0], 5)]


def test_a_posting_is_numbered_and_named_by_kind_and_subject() -> None:
    entries = posting("settle", "tr_1", NOW, [("a", "g", "reserved", -5), ("b", "h", "available", 5)])
    assert [(one.posting_id, one.line, one.org_id, one.amount) for one in entries] == [
        ("tr_1/settle", 0, "a", -5),
        ("tr_1/settle", 1, "b", 5),
    ]


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=5))
@examples(100)
def test_a_posting_that_does_not_sum_to_zero_is_refused(amounts: list[int]) -> None:
    legs = [("a", "g", Account.AVAILABLE.value, amount) for amount in amounts]
    if sum(amounts) == 0:
        assert sum(one.amount for one in posting("issue", "x", NOW, legs)) == 0
    else:
        with pytest.raises(ValueError, match="does not sum to zero"):
            posting("issue", "x", NOW, legs)


def test_ids_sort_by_their_time_and_differ_within_it() -> None:
    early, late = new_id("tr", 1_000), new_id("tr", 1_001)
    assert early < late and early.startswith("tr_0000000003e8")
    assert len({new_id("tr", 1_000) for _ in range(1000)}) == 1000


def test_a_process_that_forks_shares_no_ids_with_its_child() -> None:
    new_id("tr")
    heard, said = os.pipe()
    child = os.fork()
    if not child:
        os.write(said, "".join(new_id("tr")[-16:] for _ in range(50)).encode())
        os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(heard, 10_000).decode()
    os.close(heard), os.close(said)
    ids = {theirs[start : start + 16] for start in range(0, len(theirs), 16)}
    assert len(ids) == 50 and ids.isdisjoint(new_id("tr")[-16:] for _ in range(1000))


def test_never_is_later_than_any_expiry_and_has_a_zone() -> None:
    assert NEVER.tzinfo is UTC and NEVER.year == 9999 and datetime.max.replace(tzinfo=UTC) != NEVER
