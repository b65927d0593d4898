"""Settlement's plan is pure: from a transfer, its slices and a verdict to the step, grants and entries that follow."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from detector.gift import Decision, Verdict
from ledger.credits import Account
from ledger.plan import Plan, fate
from ledger.transfers import Status
from tests.support import examples, gift

NOW = datetime(2026, 5, 1, tzinfo=UTC)
TRANSFER = {"id": "tr_1", "sender": "a", "recipient": "b", "status": "pending", "version": 1, "amount": 30}
APPROVED = Decision(gift(id="tr_1", payload_hash=b"h", look=2), 0, Verdict.APPROVE, (), (), 1)


def piece(name: str, part: int, *, expires_s: int = 1, revoked: bool = False) -> dict[str, Any]:
    """One slice, with the nature of its grant."""
    return {
        "id": name,
        "part": part,
        "origin": "promo",
        "root_id": f"root-{name}",
        "priority": 7,
        "expires_at": NOW + timedelta(seconds=expires_s),
        "giftable": True,
        "giftable_at": NOW - timedelta(days=3),
        "rooted_at": NOW - timedelta(days=4),
        "revoked_at": NOW - timedelta(days=1) if revoked else None,
    }


def moved(plan: Plan) -> Counter[tuple[str, str, str]]:
    """Where credits went: (org, account, the sender's grant or "new")."""
    minted = {grant.id for grant in plan.minted}
    sums: Counter[tuple[str, str, str]] = Counter()
    for one in plan.entries:
        sums[one.org_id, one.account, "new" if one.grant_id in minted else one.grant_id] += one.amount
    return sums


def test_live_slices_become_grants_of_the_same_nature() -> None:
    plan = Plan()
    plan.settle(TRANSFER, [piece("g1", 10), piece("g2", 20)], APPROVED, NOW)
    assert [grant.amount for grant in plan.minted] == [10, 20]
    for grant, source in zip(plan.minted, [piece("g1", 10), piece("g2", 20)], strict=True):
        for nature in ("origin", "root_id", "priority", "expires_at", "giftable", "giftable_at", "rooted_at"):
            assert getattr(grant, nature) == source[nature]
        assert (grant.org_id, grant.parent_id, grant.transfer_id) == ("b", source["id"], "tr_1")
        assert grant.created_at == NOW
    (step,) = plan.steps
    assert (step.status, step.settled_amount, step.decision_id, step.verdict, step.hash) == (
        "settled", 30, "tr_1.2", "approve", b"h",
    )  # fmt: skip


def test_lapsed_slices_go_where_their_grants_went_and_the_rest_settles() -> None:
    plan = Plan()
    slices = [piece("g1", 10), piece("old", 5, expires_s=0), piece("gone", 15, revoked=True)]
    plan.settle(TRANSFER, slices, APPROVED, NOW)
    assert moved(plan) == {
        ("a", "reserved", "g1"): -10, ("a", "reserved", "old"): -5, ("a", "reserved", "gone"): -15,
        ("b", "available", "new"): 10, ("a", "expired", "old"): 5, ("a", "revoked", "gone"): 15,
    }  # fmt: skip
    assert (plan.steps[0].status, plan.steps[0].settled_amount) == ("settled", 10)


def test_a_gift_of_which_nothing_lives_goes_back() -> None:
    plan = Plan()
    plan.settle(TRANSFER, [piece("old", 10, expires_s=0), piece("gone", 20, revoked=True)], APPROVED, NOW)
    assert (plan.steps[0].status, plan.steps[0].reason, plan.minted) == ("returned", "credits_lapsed", [])
    assert moved(plan)["a", "expired", "old"] == 10 and moved(plan)["a", "revoked", "gone"] == 20


def test_what_goes_back_goes_to_the_grant_that_it_came_from() -> None:
    plan = Plan()
    slices = [piece("g1", 10), piece("old", 5, expires_s=-1), piece("gone", 15, revoked=True)]
    plan.give_back(TRANSFER, slices, Status.CANCELLED, "cancelled", NOW)
    assert moved(plan) == {
        ("a", "reserved", "g1"): -10, ("a", "reserved", "old"): -5, ("a", "reserved", "gone"): -15,
        ("a", "available", "g1"): 10, ("a", "expired", "old"): 5, ("a", "revoked", "gone"): 15,
    }  # fmt: skip
    (step,) = plan.steps
    assert (step.was, step.version, step.status, step.decision_id) == ("pending", 1, "cancelled", None)


def test_holding_moves_no_credits() -> None:
    plan = Plan()
    plan.hold(TRANSFER, APPROVED, NOW)
    assert (plan.entries, plan.minted, plan.steps[0].status) == ([], [], "held")


def test_a_grant_expires_with_its_moment_and_revocation_weighs_more() -> None:
    assert fate(piece("g", 1, expires_s=1), NOW) is Account.AVAILABLE
    assert fate(piece("g", 1, expires_s=0), NOW) is Account.EXPIRED
    assert fate(piece("g", 1, expires_s=0, revoked=True), NOW) is Account.REVOKED


pieces = st.builds(
    piece, st.uuids().map(str), st.integers(1, 10**15), expires_s=st.integers(-1, 1), revoked=st.booleans()
)


@given(st.lists(pieces, min_size=1, max_size=8), st.booleans())
@examples(150)
def test_every_plan_empties_the_lock_and_loses_nothing(slices: list[dict[str, Any]], settles: bool) -> None:
    plan = Plan()
    if settles:
        plan.settle(TRANSFER, slices, APPROVED, NOW)
    else:
        plan.give_back(TRANSFER, slices, Status.RETURNED, "hold_expired", NOW)
    assert sum(one.amount for one in plan.entries) == 0
    assert -sum(one.amount for one in plan.entries if one.account == "reserved") == sum(one["part"] for one in slices)
    received = sum(one.amount for one in plan.entries if one.org_id == "b")
    assert received == sum(grant.amount for grant in plan.minted) == (plan.steps[0].settled_amount or 0)
