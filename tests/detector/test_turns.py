"""What would have changed a verdict: exact where a threshold is, honest where none is found, bounded always."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from detector import policy
from detector.explain_shapes import Turn
from detector.gift import Event, Gift, Verdict
from detector.nearest import nearest
from detector.rebuilt import First, Rebuilt, again, of_amount
from detector.turns import turns
from tests.support import HOUR_US, SECOND_US, event, examples, gift, limit, remember, rule

NOW = 1_000 * 24 * HOUR_US


def rebuilt(
    text: str, *events: Event, first: First | None = None, also: tuple[Gift, ...] = (), **facts: Any
) -> Rebuilt:
    """A gift of 100 from a to b, except as told, and what its parties did before."""
    one, judged = gift(**{"amount": 100, **facts}), policy.read(text)
    return Rebuilt(one, NOW, judged, remember(judged, events, one), first=first)


def told(then: Rebuilt, *known: Gift) -> dict[str, Turn]:
    return {turn.what: turn for turn in turns(then, known)}


# --- amount ---


def test_an_amount_turns_exactly_where_a_limit_has_room() -> None:
    then = rebuilt(limit("worth", "sender", "1h", value=250), event(NOW - 5, amount=180))
    turn = told(then)["amount"]
    assert (turn.was, turn.to, turn.verdict) == ("100", "70", "approve")
    assert turn.words == "at 0.00007 credits (0.00003 credits less) it would be approved"


def test_an_amount_turns_exactly_where_a_rule_says() -> None:
    then = rebuilt(rule("much", "amount * 1.0 / sender_available >= 0.33"), sender_available=290)
    turn = told(then)["amount"]
    assert turn.to == "95" and 95 / 290 < 0.33 <= 96 / 290


def test_a_larger_amount_is_told_where_it_is_nearer() -> None:
    turn = told(rebuilt(rule("structuring", "amount between 20 and 104")))["amount"]
    assert (turn.to, turn.verdict) == ("105", "approve")


def test_approval_goes_before_a_nearer_hold() -> None:
    turn = told(rebuilt(rule("some", "amount >= 10") + rule("much", "amount >= 90", "block")))["amount"]
    assert (turn.to, turn.verdict) == ("9", "approve")
    turn = told(rebuilt(rule("always", "amount > 0") + rule("much", "amount >= 90", "block")))["amount"]
    assert (turn.to, turn.verdict) == ("89", "hold")


def test_an_approved_gift_is_told_what_would_have_stopped_it() -> None:
    text = rule("much", "amount >= 5000")
    assert told(rebuilt(text))["amount"].to == "5000"
    turn = told(rebuilt(text, sender_available=4_999))["amount"]
    assert (turn.to, turn.verdict) == (None, None)
    assert "from 0.000001 to 0.004999 credits was found" in turn.words


def test_no_amount_turns_what_does_not_hang_on_it() -> None:
    turn = told(rebuilt(rule("always", "amount > 0")))["amount"]
    assert turn.to is None and turn.words.startswith("no other amount")


@given(st.integers(1, 10**12), st.integers(2, 10**12), st.sampled_from(["hold", "block"]))
@examples(60)
def test_what_is_told_of_an_amount_was_decided(own: int, mark: int, verdict: str) -> None:
    """It turns the verdict, and one unit nearer to the gift it does not."""
    then = rebuilt(rule("mark", f"amount / 1.0 >= {mark}", verdict), amount=own)
    turn = told(then)["amount"]
    assert turn.to is not None
    to, step = int(turn.to), 1 if int(turn.to) < own else -1
    assert again(then, of_amount(then.gift, to)).verdict.word == turn.verdict != again(then).verdict.word
    assert again(then, of_amount(then.gift, to + step)).verdict is again(then).verdict


# --- time ---


def test_waiting_turns_exactly_when_a_window_is_over() -> None:
    then = rebuilt(limit("two", "sender", "1h", count=2), event(NOW - 600 * SECOND_US), event(NOW - 5 * SECOND_US))
    turn = told(then)["time"]
    assert turn.words == "50 min later, had nothing else happened, it would be approved"
    assert (turn.was[:19], turn.to and turn.to[:19]) == ("1972-09-27T00:00:00", "1972-09-27T00:50:00")


def test_waiting_turns_when_a_party_is_old_enough() -> None:
    turn = told(rebuilt(rule("young", "sender_age_s < 1000"), sender_age_s=37))["time"]
    assert turn.words.startswith("16 min 3 s later")


def test_waiting_does_not_turn_what_does_not_hang_on_time() -> None:
    turn = told(rebuilt(rule("always", "amount > 0")))["time"]
    assert turn.to is None and "waiting does not turn it" in turn.words


def test_waiting_may_stop_what_was_approved() -> None:
    turn = told(rebuilt(rule("silent", "sender_gap_s is null"), event(NOW - 3_600 * SECOND_US)))["time"]
    assert (turn.verdict, turn.words[:11]) == ("hold", "29 d 23 h l")


# --- counterpart ---

STRANGER = rule("stranger", "pair_count_30d = 0")


def test_a_counterpart_that_the_sender_knows_turns_what_strangers_are_held_for() -> None:
    then = rebuilt(STRANGER, event(NOW - 5, recipient="c"))
    turn = told(then, replace(then.gift, recipient="c"))["counterpart"]
    assert (turn.was, turn.to, turn.verdict) == ("b", "c", "approve")
    assert told(then)["counterpart"].to is None, "nobody else was known, and the stranger is one, too"


def test_a_stranger_would_have_been_stopped() -> None:
    turn = told(rebuilt(STRANGER, event(NOW - 5)))["counterpart"]
    assert (turn.was, turn.to, turn.verdict) == ("b", "unknown", "hold")


def test_an_unknown_recipient_turns_what_the_recipient_is_held_for() -> None:
    then = rebuilt(limit("crowd", "recipient", "1h", action="hold", count=1), event(NOW - 5, sender="z"))
    assert told(then)["counterpart"].to == "unknown"


# --- what no search can turn ---


def test_what_fires_whatever_the_amount_is_named_and_nothing_is_searched() -> None:
    text = rule("tiers", "tier = 'free'") + limit("two", "sender", "1h", action="hold", count=1)
    turns = told(rebuilt(text, event(NOW - 5, tier="free"), tier="free"))
    assert turns["amount"].words == "no other amount turns it: limit:two, rule:tiers would stop any"
    assert turns["time"].words == "waiting does not turn it: rule:tiers would stop it at any time"
    assert {turn.to for turn in turns.values()} == {None}


def test_a_hold_is_the_best_where_a_rule_holds_whatever_the_amount() -> None:
    turn = told(rebuilt(rule("tiers", "tier is null") + rule("much", "amount >= 90", "block")))["amount"]
    assert (turn.to, turn.verdict) == ("89", "hold")


def test_what_time_may_turn_is_not_called_steady() -> None:
    for when, facts in (("sender_age_s < 500", {"sender_age_s": 3}), ("sender_count_1h >= 1", {})):
        assert told(rebuilt(rule("passing", when), event(NOW - 5), **facts))["time"].verdict == "approve"


# --- later looks ---


def test_a_later_look_counts_its_own_gift_with_the_amount_it_would_have_had() -> None:
    """Activity holds the gift itself by then, and what came after it."""
    text = rule("full", "look > 1 and sender_sum_24h > 250 and recipient_sum_24h > 250")
    events = [event(NOW - HOUR_US, amount=30), event(NOW - 9, amount=100), event(NOW - 3, amount=130)]
    then = rebuilt(text, *events, look=2, first=First(gift(amount=100), NOW - 9))
    turn = told(then)["amount"]
    assert (turn.to, turn.verdict) == ("90", "approve")
    assert again(then).verdict is Verdict.HOLD, "what was moved was not moved back"
    assert told(then)["counterpart"].to is None and told(then)["time"].verdict == "approve"


# --- the search itself ---


@pytest.mark.parametrize("mark", [1, 2, 63, 64, 65, 999, 1_000])
def test_the_nearest_value_is_found_to_the_last_unit(mark: int) -> None:
    asked: list[int] = []

    def judge(value: int) -> Verdict:
        asked.append(value)
        return Verdict.APPROVE if value >= mark else Verdict.HOLD

    found = nearest(judge, Verdict.HOLD, 0, [1, 10, 100, 1_000])
    assert found and (found.value, found.verdict) == (mark, Verdict.APPROVE)
    assert len(asked) < 16
