"""Limits: exact over every true window, all-or-nothing, and as cheap for a huge amount as for a small one (law 6)."""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from detector import policy
from detector.activity import Activity
from detector.decide import decide, degraded, event
from detector.gift import Decision, Event, Gift, Verdict
from detector.limits import KEYS, Limit
from detector.policy import Policy
from tests.support import SECOND_US, examples, gift, limit, remember

MINUTE = 60 * SECOND_US


def play(rules: Policy, schedule: Iterable[tuple[int, Gift]]) -> list[Decision]:
    """The decisions that one process takes on gifts at these moments, in order."""
    schedule = list(schedule)
    activity = remember(rules, [], *(asked for _, asked in schedule))
    told = []
    for at, asked in schedule:
        decision = decide(asked, activity, rules, at)
        activity.add(event(decision))
        told.append(decision)
    return told


def worst(admitted: Sequence[tuple[int, int]], window: int) -> int:
    """The heaviest true window of (moment, weight)s: one that ends with an event is as heavy as any."""
    return max((sum(w for at, w in admitted if end - window < at <= end) for end, _ in admitted), default=0)


def parts(one: Limit, asked: Gift | Event) -> tuple[Any, ...] | None:
    """What the limit counts on, spelled from its keys; None where the gift does not name it."""
    named = [name for key in one.on for name in (("sender", "recipient") if key == "pair" else (key,))]
    values = tuple(getattr(asked, name) for name in named)
    return None if None in values else values


def used(one: Limit, past: Sequence[Event], asked: Gift, now: int) -> int:
    inside = [
        e
        for e in past
        if e.admitted and parts(one, e) == parts(one, asked) and now - one.window_s * SECOND_US < e.at <= now
    ]
    return len(inside) if one.count is not None else sum(e.amount for e in inside)


# --- the oracle ---

KEY_SETS = [*([key] for key in KEYS), ["sender", "tier"], ["ip", "device"], ["recipient", "ip", "tier"]]
WINDOWS = ["1s", "10s", "1m"]


@st.composite
def policies(draw: Any) -> Policy:
    limits = []
    for number in range(draw(st.integers(1, 4))):
        quota = {"count": draw(st.integers(1, 4))} if draw(st.booleans()) else {"value": draw(st.integers(1, 40))}
        on, window = draw(st.sampled_from(KEY_SETS)), draw(st.sampled_from(WINDOWS))
        limits.append(limit(f"l{number}", on, window, draw(st.sampled_from(["block", "block", "hold"])), **quota))
    return policy.read("".join(limits))


@st.composite
def schedules(draw: Any) -> list[tuple[int, Gift]]:
    # Steps of whole windows, one microsecond more or less, ties and bursts.
    step = st.sampled_from([0, 0, 0, 1, SECOND_US - 1, SECOND_US, SECOND_US + 1, 10 * SECOND_US, MINUTE - 1, MINUTE])
    at, schedule = 10**15, []
    for number in range(draw(st.integers(1, 30))):
        at += draw(step)
        sender, recipient = draw(st.sampled_from(["ab", "ac", "ba", "bc"]))
        context = {name: draw(st.sampled_from([None, "x", "y"])) for name in ("ip", "device", "tier")}
        asked = gift(id=f"g{number}", sender=sender, recipient=recipient, amount=draw(st.integers(1, 20)), **context)
        schedule.append((at, asked))
    return schedule


@given(policies(), schedules())
@examples(400)
def test_limits_agree_with_counting_by_hand(rules: Policy, schedule: list[tuple[int, Gift]]) -> None:
    past: list[Event] = []
    for (now, asked), told in zip(schedule, play(rules, schedule), strict=True):
        weights = {one.name: used(one, past, asked, now) for one in rules.limits}
        exceeded = [
            one
            for one in rules.limits
            if parts(one, asked) is not None
            and weights[one.name] + (1 if one.count is not None else asked.amount) > (one.count or one.value or 0)
        ]
        assert [hit.name for hit in told.hits] == [one.name for one in exceeded]
        assert [hit.seen["used"] for hit in told.hits] == [weights[one.name] for one in exceeded]
        assert told.refused == any(one.action is Verdict.BLOCK for one in exceeded)
        past.append(event(told))
    for one in rules.limits:
        if one.action is not Verdict.BLOCK:
            continue
        groups = defaultdict(list)
        for e in past:
            if e.admitted and parts(one, e) is not None:
                groups[parts(one, e)].append((e.at, 1 if one.count is not None else e.amount))
        assert all(worst(group, one.window_s * SECOND_US) <= (one.count or one.value) for group in groups.values())


@given(policies(), schedules())
@examples(200)
def test_waiting_as_long_as_told_is_enough_and_no_second_too_long(
    rules: Policy, schedule: list[tuple[int, Gift]]
) -> None:
    activity = remember(rules, [], *(asked for _, asked in schedule))
    for at, asked in schedule:
        told = decide(asked, activity, rules, at)
        if told.refused and told.retry_after_s is not None:
            wait = told.retry_after_s
            assert wait >= 1
            assert not decide(asked, activity, rules, at + wait * SECOND_US).refused
            assert decide(asked, activity, rules, at + (wait - 1) * SECOND_US).refused
        elif told.refused:
            never = [one for one in rules.limits if one.value is not None and asked.amount > one.value]
            assert never and decide(asked, activity, rules, at + 3600 * SECOND_US).refused
        activity.add(event(told))


# --- all or nothing ---


def test_a_gift_that_one_limit_refuses_burns_no_budget_of_another() -> None:
    rules = policy.read(limit("per_pair", "pair", "1h", count=2) + limit("per_sender", "sender", "1h", count=5))
    tries = [("b",) for _ in range(20)] + [("c",) for _ in range(2)] + [("d",) for _ in range(5)]
    told = play(rules, [(10**15 + n, gift(id=f"g{n}", recipient=r)) for n, (r,) in enumerate(tries)])
    admitted = Counter(one.gift.recipient for one in told if not one.refused)
    assert admitted == {"b": 2, "c": 2, "d": 1}


def test_a_blocked_gift_burns_no_budget_but_a_held_one_does() -> None:
    blocking = '[[rule]]\nname = "big"\nwhen = "amount > 100"\nverdict = "{}"\ndescription = "a test"\n'
    for verdict, left in (("block", 2), ("hold", 0)):
        rules = policy.read(limit("two", "sender", "1h", count=2) + blocking.format(verdict))
        amounts = [101, 102, 1, 1]
        told = play(rules, [(10**15 + n, gift(id=f"g{n}", amount=a)) for n, a in enumerate(amounts)])
        assert sum(one.verdict is Verdict.APPROVE for one in told) == left


# --- the two schedules that break the usual counters ---

L = 100


def fixed_window() -> Callable[[int], bool]:
    buckets: Counter[int] = Counter()

    def admit(at: int) -> bool:
        buckets[at // MINUTE] += 1
        return buckets[at // MINUTE] <= L

    return admit


def two_buckets() -> Callable[[int], bool]:
    """The "sliding window" counter: the last bucket weighted by how much of it is still in the window."""
    buckets: Counter[int] = Counter()

    def admit(at: int) -> bool:
        bucket, into = divmod(at, MINUTE)
        if buckets[bucket - 1] * (1 - into / MINUTE) + buckets[bucket] + 1 > L:
            return False
        buckets[bucket] += 1
        return True

    return admit


def ours() -> Callable[[int], bool]:
    rules = policy.read(limit("l", "sender", "1m", count=L))
    activity = remember(rules, [], gift())

    def admit(at: int) -> bool:
        decision = decide(gift(), activity, rules, at)
        activity.add(event(decision))
        return not decision.refused

    return admit


# A burst before the edge of a fixed window, and one after it.
STRADDLE = [10 * MINUTE - SECOND_US // 10 + n for n in range(L)] + [10 * MINUTE + n for n in range(L)]
# A full burst at the very end of one bucket, then a steady stream while its weight in the next one fades.
FADE = [10 * MINUTE - SECOND_US // 10 + n for n in range(L)] + [
    10 * MINUTE + n * SECOND_US // 10 for n in range(2 * 600)
]


@pytest.mark.parametrize(
    ("schedule", "fooled"), [(STRADDLE, fixed_window), (FADE, two_buckets)], ids=["straddle", "fade"]
)
def test_the_schedules_that_fool_others_never_exceed_the_true_window(
    schedule: list[int], fooled: Callable[[], Callable[[int], bool]]
) -> None:
    def heaviest(admit: Callable[[int], bool]) -> int:
        return worst([(at, 1) for at in schedule if admit(at)], MINUTE)

    assert heaviest(fooled()) >= 1.5 * L
    assert heaviest(ours()) == L


# --- cost ---


def calls_of(activity: Activity, rules: Policy, asked: Gift) -> Counter[str]:
    """The built-in calls that one decision makes."""
    calls: Counter[str] = Counter()

    def note(frame: Any, kind: str, called: Any) -> None:
        if kind == "c_call":
            calls[called.__name__] += 1

    sys.setprofile(note)
    try:
        decide(asked, activity, rules, 10**15 + 1)
    finally:
        sys.setprofile(None)
    return calls


def test_a_huge_amount_costs_what_a_small_one_costs() -> None:
    rules = policy.read(limit("value", "sender", "1h", value=2 * 10**15) + limit("n", "pair", "1h", count=50))
    activity = remember(rules, [], gift())
    for at in (10**15 - 120 * MINUTE, *range(10**15 - 20, 10**15 - 10)):
        activity.add(event(decide(gift(amount=10**13), activity, rules, at)))
    small = calls_of(activity, rules, gift(amount=1))
    assert small["bisect_right"] >= 1
    assert small == calls_of(activity, rules, gift(amount=10**15))


# --- what a sender may see ---


@pytest.mark.parametrize(
    ("on", "action", "shown"),
    [("sender", "block", True), ("pair", "block", True), ("sender", "hold", False), ("recipient", "block", False),
     ("ip", "block", False)],
)  # fmt: skip
def test_a_sender_sees_its_own_refusing_budgets_only(on: str, action: str, shown: bool) -> None:
    rules = policy.read(limit("one", on, "1h", action, count=3))
    (first, second) = play(rules, [(10**15, gift(ip="x")), (10**15 + 10 * SECOND_US, gift(id="g2", ip="x"))])
    assert (second.budget is not None) == shown
    if second.budget:
        assert (second.budget.remaining, second.budget.reset_s, second.budget.quota) == (1, 3590, 3)
        assert first.budget is not None and (first.budget.remaining, first.budget.reset_s) == (2, 3600)


def test_the_budget_shown_is_the_tightest() -> None:
    rules = policy.read(limit("wide", "sender", "1h", count=100) + limit("narrow", "pair", "1h", count=2))
    (told,) = play(rules, [(10**15, gift())])
    assert told.budget is not None and told.budget.name == "narrow"


def test_a_limit_on_a_key_that_the_gift_does_not_name_says_nothing() -> None:
    rules = policy.read(limit("one", ["ip", "device"], "1h", count=1))
    told = play(rules, [(10**15 + n, gift(id=f"g{n}", ip="x")) for n in range(5)])
    assert not any(one.hits for one in told)


@given(policies(), schedules())
@examples(200)
def test_a_look_that_comes_late_asks_limits_as_of_the_gifts_own_moment(
    rules: Policy, schedule: list[tuple[int, Gift]]
) -> None:
    """Gifts of a time when nobody judged are all counted; each is told what it would be, had those before it passed."""
    past = [event(degraded(asked, at, "no_policy")) for at, asked in schedule]
    activity = remember(rules, past)
    for at, asked in schedule:
        late = structs.replace(asked, look=2)
        told = decide(late, activity, rules, schedule[-1][0] + MINUTE, late=at)
        over = {one.name: used(one, past, asked, at) for one in rules.limits if parts(one, asked) is not None}
        quotas = {one.name: one.count or one.value or 0 for one in rules.limits}
        assert {hit.name: hit.seen["used"] for hit in told.hits} == {k: n for k, n in over.items() if n > quotas[k]}
        assert decide(late, activity, rules, at).hits == (), "a second look takes no budget again"
