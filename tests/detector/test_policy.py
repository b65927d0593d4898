"""Policies: read whole or refused with every fault named; the default one is held to what it says."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from detector import policy
from detector.cli import compare, shown
from detector.decide import decide
from detector.errors import PolicyRefused
from detector.gift import Event, Gift, Verdict
from detector.limits import Limit
from tests.support import HOUR_US, event, gift, limit, remember, rule

NOW = 10**16
DAY_S = 86_400
CREDITS = 1_000_000

# --- reading ---

GOOD = rule("good", "amount > 1")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("x = ", "not TOML"),
        ("", "empty policy would hold every gift"),
        ('name = "x"', "write at least one [[limit]] or [[rule]]"),
        (GOOD + "\n[limits]\n", "unknown field 'limits'; did you mean 'limit'?"),
        ("limit = 3\n" + GOOD, "'limit' must be written as [[limit]] tables"),
        ("rule = [1]\n", "'rule' must be written as [[rule]] tables"),
        (GOOD + GOOD, "the name 'good' is used twice"),
        (GOOD + limit("good", "sender", "1h", count=1), "the name 'good' is used twice"),
        (limit("l", "sendr", "1h", count=1), "name one or more of sender, recipient, pair, tier, ip, device"),
        (limit("l", [], "1h", count=1), "on = []"),
        (limit("l", "sender", "1h", count=0), "exactly one of count (gifts) or value (micro-credits)"),
        (limit("l", "sender", "1h", count=1) + "value = 2\n", "exactly one of count"),
        (limit("l", "sender", "1h", value=-5), "a whole number from 1"),
        (limit("l", "sender", "1h", count=1).replace("count = 1", "count = 1.5"), "a whole number from 1"),
        (limit("l", "sender", "1h", count=1).replace("count = 1", "count = true"), "a whole number from 1"),
        (limit("l", "sender", "1h", value=2**63), "a whole number from 1"),
        (limit("l", "sender", "31d", count=1), "write a span from"),
        (limit("l", "sender", "0s", count=1), "window = '0s'"),
        (limit("l", "sender", "1 hour", count=1), "window = '1 hour'"),
        (limit("l", "sender", "1h", "approve", count=1), "action = 'approve'; write 'hold' or 'block'"),
        (limit("L", "sender", "1h", count=1), "a name is 1 to 64 of a-z"),
        (limit("l", "sender", "1h", count=1).replace("a test", " "), "say in description which abuse"),
        (limit("l", "sender", "1h", count=1) + "windw = 3\n", "unknown field 'windw'; did you mean 'window'?"),
        (rule("r", "amount > 1", "approve"), "verdict = 'approve'"),
        (rule("r", "amount > 1").replace('"""amount > 1"""', "7"), "write a SQL expression as a text"),
        (rule("r", "amount"), "not a condition; compare it with something"),
        (rule("r", "amunt > 1"), "amunt"),
        (rule("r", "sender > 1"), "rule 'r'"),
        (rule("r", "(select 1) > 0"), "rule 'r'"),
        (rule("9r", "amount > 1"), "a name is 1 to 64 of a-z"),
        ("".join(rule(f"r{n}", "amount > 1") for n in range(201)), "201 [[rule]] tables; at most 200"),
    ],
)
def test_every_fault_is_named_with_its_cure(text: str, named: str) -> None:
    with pytest.raises(PolicyRefused) as refused:
        policy.read(text)
    assert named in refused.value.detail


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("", "name = None; write 'champion', an artifact's name or its SHA-256"),
        ('name = "../x"', "name = '../x'"),
        ('name = "x"\nhold_at = 0', "hold_at = 0; write a score above 0 and up to 1"),
        ('name = "x"\nblock_at = 1.5', "block_at = 1.5"),
        ('name = "x"\nhold_at = true', "hold_at = True"),
        ('name = "x"\nhold_at = nan', "hold_at = nan"),
        ('name = "x"\nhold_at = 0.9\nblock_at = 0.8', "block_at = 0.8 is below hold_at = 0.9"),
        ('name = "x"\nmax_age = "90"', "max_age = '90'; write a span from"),
        ('name = "x"\nwhen_old = "approve"', "when_old = 'approve'; write 'hold' or 'block'"),
        ('name = "x"\nholdat = 1', "unknown field 'holdat'; did you mean 'hold_at'?"),
    ],
)
def test_every_fault_of_a_model_is_named(line: str, named: str) -> None:
    with pytest.raises(PolicyRefused) as refused:
        policy.read(f"[model]\n{line}\n{GOOD}")
    assert f"model: {named}" in refused.value.detail


def test_a_model_is_one_table() -> None:
    with pytest.raises(PolicyRefused, match="one \\[model\\] table"):
        policy.read('[[model]]\nname = "x"\n' + GOOD)


def test_the_terms_of_a_model() -> None:
    assert policy.read(GOOD).model is None
    assert policy.read('[model]\nname = "champion"').model == policy.ModelTerms("champion")
    told = policy.read('[model]\nname = "x"\nhold_at = 0.5\nblock_at = 1\nmax_age = "90d"\nwhen_old = "block"')
    assert told.model == policy.ModelTerms("x", 0.5, 1.0, 90 * DAY_S, Verdict.BLOCK)


def test_what_changes_of_a_model_is_shown() -> None:
    old, new = (policy.read(f'[model]\nname = "x"\n{line}') for line in ("", "hold_at = 0.5"))
    (change,) = compare(old, new)
    assert (change.change, change.kind, change.fields) == ("changed", "model", {"hold_at": (None, 0.5)})


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ('claim = "30"', "review: claim = '30'; write a span from"),
        ('claim = "8d"', 'review: claim = \'8d\'; write a span from "1s" to "7d"'),
        ("claim = 30", "review: claim = 30;"),
        ("four_eyes = -1", "review: four_eyes = -1; write the amount (micro-credits)"),
        ("four_eyes = 1.5", "review: four_eyes = 1.5"),
        ("four_eyes = true", "review: four_eyes = True"),
        (f"four_eyes = {2**63}", "review: four_eyes = 9223372036854775808"),
        ("sample = 1.01", "review: sample = 1.01; write the part of approved gifts to draw"),
        ("sample = -0.1", "review: sample = -0.1"),
        ("sample = nan", "review: sample = nan"),
        ("sample = true", "review: sample = True"),
        ('sample = "0.1"', "review: sample = '0.1'"),
        ("samples = 0.1", "review: unknown field 'samples'; did you mean 'sample'?"),
    ],
)
def test_every_fault_of_a_review_is_named(line: str, named: str) -> None:
    with pytest.raises(PolicyRefused) as refused:
        policy.read(f"[review]\n{line}\n{GOOD}")
    assert named in refused.value.detail


def test_a_review_is_one_table() -> None:
    with pytest.raises(PolicyRefused, match="one \\[review\\] table"):
        policy.read('[[review]]\nclaim = "1h"\n' + GOOD)


def test_the_terms_of_a_review() -> None:
    assert policy.read(GOOD).review == policy.ReviewTerms(1_800, 1_000_000_000, 0.0)
    told = policy.read(GOOD.replace("[[rule]]", '[review]\nclaim = "1h"\nfour_eyes = 0\nsample = 1\n[[rule]]', 1))
    assert told.review == policy.ReviewTerms(3_600, 0, 1.0)


def test_what_changes_of_a_review_is_shown() -> None:
    old, new = policy.read(GOOD), policy.read("[review]\nsample = 0.01\n" + GOOD)
    (change,) = compare(old, new)
    assert (change.change, change.kind, change.fields) == ("changed", "review", {"sample": (0.0, 0.01)})
    assert shown(change) == ["~ review", "    sample: 0.0", "          → 0.01"]


def test_all_faults_are_named_at_once() -> None:
    text = limit("A", "nobody", "9y", "shrug", count=0) + rule("b", "nosuch > 1", "maybe")
    with pytest.raises(PolicyRefused) as refused:
        policy.read(text)
    for piece in ("a name is", "nobody", "9y", "shrug", "whole number", "nosuch", "maybe"):
        assert piece in refused.value.detail


@pytest.mark.parametrize(
    ("span", "seconds"), [("1s", 1), ("90s", 90), ("10m", 600), ("24h", 86_400), ("30d", 2_592_000)]
)
def test_windows_are_spans(span: str, seconds: int) -> None:
    (one,) = policy.read(limit("l", "sender", span, count=1)).limits
    assert one.window_s == seconds


# --- the battery: every limit and rule of the default policy fires on what it names, and is silent else ---

# Its limits and rules; what a model says of gifts is tested elsewhere.
DEFAULT = replace(policy.read(policy.DEFAULT.read_text(), generation=1), model=None)
LIMITS = {one.name: one for one in DEFAULT.limits}
RULES = {one.name: one for one in DEFAULT.rules}


def calm(**facts: Any) -> Gift:
    """A gift that gives nobody a reason: 20 of 1,000 credits between old acquaintances."""
    plain: dict[str, Any] = {
        "amount": 20 * CREDITS,
        "ip": "10.0.0.1",
        "device": "d1",
        "tier": "standard",
        "recipient_tier": "standard",
        "identity": "full",
        "sender_age_s": 400 * DAY_S,
        "recipient_age_s": 400 * DAY_S,
        "sender_available": 1_000 * CREDITS,
        "topup_age_s": 90 * DAY_S,
        "same_owner": False,
    }
    return gift(**{**plain, **facts})


def hours_ago(hours: float, **facts: Any) -> Event:
    plain = {"amount": CREDITS, "ip": "10.0.0.9", "device": "d9", "tier": "standard"}
    return event(NOW - int(hours * HOUR_US), **{**plain, **facts})


KNOWN = [hours_ago(20 * 24)]


@dataclass(frozen=True, slots=True)
class Case:
    """A gift and past that a rule fires on, and the changes to either that keep it silent by a hair."""

    facts: dict[str, Any]
    past: list[Event] = field(default_factory=list)
    silent_facts: dict[str, Any] | None = None
    silent_past: list[Event] | None = None


def senders(count: int, **facts: Any) -> list[Event]:
    return [hours_ago(1 + n / 10, sender=f"s{n}", **{"recipient": f"r{n}", **facts}) for n in range(count)]


def fan_out(count: int) -> list[Event]:
    return [hours_ago(0.5 + n / 100, recipient=f"r{n}") for n in range(count)]


TOPS = {"amount": 490 * CREDITS, "sender_available": 10_000 * CREDITS}
CASES: dict[str, Case] = {
    "drained_account": Case(
        {"amount": 900 * CREDITS}, [hours_ago(30, recipient="c")], silent_facts={"amount": 899 * CREDITS}
    ),
    "dormant_burst": Case(
        {"amount": 500 * CREDITS, "sender_available": 10_000 * CREDITS},
        [],
        silent_past=[hours_ago(29 * 24)],
    ),
    "attempt_storm": Case(
        {},
        [hours_ago(n / 40, admitted=False) for n in range(30)] + KNOWN,
        silent_past=[hours_ago(n / 40, admitted=False) for n in range(29)] + KNOWN,
    ),
    "fan_in_to_new_org": Case(
        {"recipient_age_s": 6 * DAY_S},
        senders(5, recipient="b") + KNOWN,
        silent_past=senders(4, recipient="b") + KNOWN,
    ),
    "fan_out_to_strangers": Case({}, fan_out(8), silent_past=fan_out(7)),
    "structuring": Case(
        TOPS,
        [hours_ago(n, amount=480 * CREDITS) for n in (2, 3)] + KNOWN,
        silent_past=[hours_ago(2, amount=480 * CREDITS), hours_ago(3, amount=100 * CREDITS), *KNOWN],
    ),
    "ping_pong": Case(
        {"amount": 60 * CREDITS},
        [hours_ago(3, sender="b", recipient="a", amount=60 * CREDITS), *KNOWN],
        silent_past=[hours_ago(3, sender="b", recipient="a", amount=40 * CREDITS), *KNOWN],
    ),
    "pass_through": Case(
        {"amount": 80 * CREDITS},
        [hours_ago(3, sender="c", recipient="a", amount=100 * CREDITS), *KNOWN],
        silent_past=[hours_ago(25, sender="c", recipient="a", amount=100 * CREDITS), *KNOWN],
    ),
    "fresh_top_up": Case(
        {"amount": 100 * CREDITS, "topup_age_s": 2 * DAY_S - 1},
        [hours_ago(30, recipient="c")],
        silent_facts={"amount": 100 * CREDITS, "topup_age_s": 2 * DAY_S},
    ),
    "first_gift_of_new_org": Case(
        {"amount": 50 * CREDITS, "sender_age_s": 7 * DAY_S - 1},
        [],
        silent_facts={"amount": 50 * CREDITS, "sender_age_s": 7 * DAY_S},
    ),
    "shared_ip": Case({}, senders(5, ip="10.0.0.1") + KNOWN, silent_past=senders(4, ip="10.0.0.1") + KNOWN),
    "shared_device": Case({}, senders(3, device="d1") + KNOWN, silent_past=senders(2, device="d1") + KNOWN),
    "self_dealing": Case({"amount": 100 * CREDITS, "same_owner": True}, KNOWN, silent_facts={"amount": 100 * CREDITS}),
}


def reasons(asked: Gift, past: list[Event]) -> dict[str, Verdict]:
    decision = decide(asked, remember(DEFAULT, past, asked), DEFAULT, NOW)
    words = {verdict.word: verdict for verdict in Verdict}
    return {hit.reason: words[hit.verdict] for hit in decision.hits}


def test_every_rule_of_the_default_policy_has_its_case() -> None:
    assert CASES.keys() == RULES.keys()


@pytest.mark.parametrize("name", CASES)
def test_a_rule_fires_on_the_abuse_that_it_names_and_only_there(name: str) -> None:
    case = CASES[name]
    assert reasons(calm(**case.facts), case.past) == {f"rule:{name}": RULES[name].verdict}
    silent = case.facts if case.silent_facts is None else case.silent_facts
    assert reasons(calm(**silent), case.past if case.silent_past is None else case.silent_past) == {}


def full(one: Limit, less: int = 0) -> list[Event]:
    """A past that leaves the limit no room, or `less` of its unit."""
    near = {"ip": "10.0.0.1", "device": "d1"} if one.on[0] in ("ip", "device") else {}
    step = one.window_s * 1_000_000 // 200
    if one.count is not None:
        return [
            event(NOW - n * step, **{"recipient": "b", "amount": 1, "tier": "standard", **near})
            for n in range(one.count - less)
        ]
    assert one.value is not None
    return [event(NOW, amount=one.value - less, tier="standard", **near)]


@pytest.mark.parametrize("name", LIMITS)
def test_a_limit_fires_at_its_quota_and_not_one_unit_before(name: str) -> None:
    one = LIMITS[name]
    room = 1 if one.count is not None else 20 * CREDITS
    assert reasons(calm(), full(one))[f"limit:{name}"] is one.action
    assert f"limit:{name}" not in reasons(calm(), full(one, room))


@pytest.mark.parametrize("one", [*DEFAULT.limits, *DEFAULT.rules], ids=lambda one: one.name)
def test_every_limit_and_rule_says_what_it_catches(one: Any) -> None:
    assert len(one.description) > 20
    assert isinstance(one, Limit) or len(one.false_alarms) > 10


def test_a_calm_gift_passes_the_default_policy() -> None:
    assert reasons(calm(), KNOWN) == {}
    assert reasons(calm(ip=None, device=None, topup_age_s=None), KNOWN) == {}
