"""The whole decision: the most severe verdict wins, and whatever cannot be told holds (law 5)."""

from __future__ import annotations

import itertools

import pytest

from detector import policy
from detector.decide import decide, degraded, event, turned_away
from detector.gift import Hit, Verdict
from tests.support import event as past
from tests.support import gift, limit, remember, rule

NOW = 10**15
HOLDS = rule("holds", "amount >= 10")
BLOCKS = rule("blocks", "amount >= 100", "block")
NULLS = rule("nulls", "ip = 'x'")


def test_verdicts_are_ordered_by_severity() -> None:
    assert Verdict.APPROVE < Verdict.HOLD < Verdict.BLOCK
    assert [verdict.word for verdict in sorted(Verdict)] == ["approve", "hold", "block"]


@pytest.mark.parametrize("order", list(itertools.permutations([HOLDS, BLOCKS, NULLS])))
def test_the_most_severe_verdict_wins_whatever_the_order(order: tuple[str, ...]) -> None:
    rules = policy.read("".join(order))
    for amount, ip, verdict, count in [
        (1, "y", Verdict.APPROVE, 0),
        (1, "x", Verdict.HOLD, 1),
        (10, "y", Verdict.HOLD, 1),
        (100, "y", Verdict.BLOCK, 2),
        (100, None, Verdict.BLOCK, 3),
    ]:
        asked = gift(amount=amount, ip=ip)
        decision = decide(asked, remember(rules, []), rules, NOW)
        assert (decision.verdict, len(decision.hits)) == (verdict, count)


def test_a_null_holds_as_degraded_even_where_the_rule_would_block() -> None:
    rules = policy.read(rule("nulls", "ip = 'x'", "block"))
    decision = decide(gift(), remember(rules, []), rules, NOW)
    assert decision.verdict is Verdict.HOLD and not decision.refused and decision.admitted
    assert decision.hits == (Hit("degraded", "nulls", "hold", {"ip": None}),)
    assert decision.reasons == ["degraded:nulls"]


def test_without_a_policy_every_gift_is_held() -> None:
    decision = decide(gift(), remember(policy.read(HOLDS), []), None, NOW)
    assert (decision.verdict, decision.reasons, decision.generation) == (Verdict.HOLD, ["degraded:no_policy"], 0)


def test_what_its_ledger_holds_is_no_milder_for_any_verdict_and_no_judge() -> None:
    rules = policy.read(HOLDS + BLOCKS)
    theirs = Hit("ledger", "cool_off", "hold")
    for amount, verdict in ((1, Verdict.HOLD), (10, Verdict.HOLD), (100, Verdict.BLOCK)):
        asked = gift(amount=amount, ledger_hold="cool_off")
        plain = decide(gift(amount=amount), remember(rules, []), rules, NOW)
        decision = decide(asked, remember(rules, []), rules, NOW)
        assert (decision.verdict, decision.hits) == (verdict, (*plain.hits, theirs))
        assert decide(asked, remember(rules, []), None, NOW).hits[1:] == (theirs,)


def test_a_second_look_asks_the_rules_but_no_limit() -> None:
    rules = policy.read(limit("one", "sender", "1h", count=1) + HOLDS)
    activity = remember(rules, [past(NOW - 1)])
    assert decide(gift(), activity, rules, NOW).refused
    second = decide(gift(look=2), activity, rules, NOW)
    assert (second.verdict, second.budget, second.id) == (Verdict.APPROVE, None, "g1.2")
    assert decide(gift(amount=10, look=2), activity, rules, NOW).verdict is Verdict.HOLD


def test_a_limit_that_blocks_refuses_and_one_that_holds_does_not() -> None:
    rules = policy.read(limit("b", "sender", "1h", count=2) + limit("h", "sender", "10m", "hold", count=1))
    once, twice = remember(rules, [past(NOW - 1)]), remember(rules, [past(NOW - 2), past(NOW - 1)])
    held, refused = decide(gift(), once, rules, NOW), decide(gift(), twice, rules, NOW)
    assert (held.verdict, held.refused, held.reasons) == (Verdict.HOLD, False, ["limit:h"])
    assert (refused.verdict, refused.refused, refused.reasons) == (Verdict.BLOCK, True, ["limit:b", "limit:h"])


def test_waiting_is_told_only_where_it_helps_for_every_limit() -> None:
    rules = policy.read(limit("n", "sender", "10s", count=1) + limit("v", "sender", "1h", value=50))
    activity = remember(rules, [past(NOW - 1_000_000, amount=10)])
    assert decide(gift(amount=40), activity, rules, NOW).retry_after_s == 9
    assert decide(gift(amount=45), activity, rules, NOW).retry_after_s == 3599
    assert decide(gift(amount=51), activity, rules, NOW).retry_after_s is None


def test_a_decision_carries_what_it_saw() -> None:
    rules = policy.read(rule("r", "amount > 5 and sender_count_1h >= 1"), generation=7)
    decision = decide(gift(amount=6), remember(rules, [past(NOW - 1)]), rules, NOW)
    assert decision.hits[0].seen == {"amount": 6, "sender_count_1h": 1}
    assert dict(zip(rules.vectors.names, decision.vector, strict=True)) == decision.hits[0].seen
    assert (decision.generation, decision.model, decision.score, decision.at) == (7, None, None, NOW)


def test_deciding_changes_nothing() -> None:
    rules = policy.read(limit("n", "sender", "1h", count=2))
    activity = remember(rules, [past(NOW - 1)])
    assert decide(gift(), activity, rules, NOW) == decide(gift(), activity, rules, NOW)


def test_what_was_turned_away_or_refused_is_an_attempt_only() -> None:
    refused = turned_away(gift(), NOW, "insufficient_credits", 3)
    assert (refused.verdict, refused.refused, refused.reasons) == (
        Verdict.BLOCK, True, ["ledger:insufficient_credits"],
    )  # fmt: skip
    assert not event(refused).admitted
    assert event(degraded(gift(), NOW, "fault")).admitted


def test_what_was_waived_holds_no_more_and_stays_on_record() -> None:
    rules = policy.read(HOLDS + BLOCKS + NULLS)
    activity, waived = remember(rules, []), {"rule:holds": "rl_1", "rule:blocks": "rl_1", "degraded:nulls": "rl_2"}
    freed = decide(gift(amount=10, ip="y", look=3), activity, rules, NOW, waived=waived)
    assert (freed.verdict, [hit.waived_by for hit in freed.hits]) == (Verdict.APPROVE, ["rl_1"])
    assert freed.reasons == ["rule:holds"]
    both = decide(gift(amount=10, look=3), activity, rules, NOW, waived=waived)
    assert (both.verdict, [hit.waived_by for hit in both.hits]) == (Verdict.APPROVE, ["rl_1", "rl_2"])
    new = decide(gift(amount=10, ip="x", look=3), activity, rules, NOW, waived=waived)
    assert (new.verdict, [hit.waived_by for hit in new.hits]) == (Verdict.HOLD, ["rl_1", None])
    blocked = decide(gift(amount=100, ip="y", look=3), activity, rules, NOW, waived=waived)
    assert (blocked.verdict, [hit.waived_by for hit in blocked.hits]) == (Verdict.BLOCK, ["rl_1", None])
