"""What becomes of deliveries, pure: waits, what is given up, when an endpoint is disabled, what is posted."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.endpoints import (
    DAY_S,
    LONGEST_WAIT_S,
    SILENCE_S,
    Due,
    Reply,
    Terms,
    Tried,
    Turn,
    backoff_s,
    lanes,
    secrets,
    stops,
    turn,
)

NOW = datetime(2027, 1, 1, 12, tzinfo=UTC)
TERMS = Terms()


def due(seq: int, subject: str = "tr_1", **more: Any) -> Due:
    return Due(seq, NOW, "transfer.settled", subject, "acme", '{"amount":5}', **more)


def tried(one: Due, status: int | None, *, retry_after_s: float | None = None, draw: float = 0.5) -> Tried:
    reply = Reply(status, None if status else "no connection", 7, retry_after_s, "said")
    return Tried(one, NOW, reply, draw)


def days(number: float) -> datetime:
    return NOW - timedelta(days=number)


# --- how long is waited ---


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True), st.floats(0.001, 3600))
def test_a_wait_is_spread_over_all_of_a_bound_that_doubles_up_to_an_hour(n: int, draw: float, base: float) -> None:
    terms = Terms(retry_s=base)
    bound = min(LONGEST_WAIT_S, base * 2.0 ** min(n - 1, 30))
    assert 0 <= backoff_s(n, draw, terms) <= bound <= LONGEST_WAIT_S
    assert backoff_s(n, 0.0, terms) == 0 and backoff_s(n, 1.0, terms) == bound
    assert backoff_s(n, draw, terms) <= backoff_s(n + 1, draw, terms)


# --- lanes ---


@given(st.lists(st.tuples(st.integers(1, 10**6), st.sampled_from("abcd")), unique_by=lambda one: one[0]))
def test_lanes_hold_every_event_once_each_subjects_in_order(events: list[tuple[int, str]]) -> None:
    found = lanes([due(seq, subject) for seq, subject in events])
    assert sorted(one.seq for lane in found for one in lane) == sorted(seq for seq, _ in events)
    for lane in found:
        assert len({one.subject for one in lane}) == 1
        assert [one.seq for one in lane] == sorted(one.seq for one in lane)
    assert len(found) == len({subject for _, subject in events})


# --- one turn: how the endpoint stood, what was tried, what follows ---

OLD = {"attempts": 9, "first_at": days(6), "queued": True}
TURNS: list[tuple[str, datetime | None, list[Tried], dict[str, Any]]] = [
    ("all is well", None, [tried(due(1), 200), tried(due(2), 204)], {}),
    ("one fails", None, [tried(due(1), 500), tried(due(2, "b"), 200)], {"waiting": [(1, 1)]}),
    ("all fail", None, [tried(due(1), 500)], {"waiting": [(1, 1)], "failing_since": NOW}),
    ("it goes on failing", days(1), [tried(due(1), None)], {"waiting": [(1, 1)], "failing_since": days(1)}),
    ("it is back", days(1), [tried(due(1), 200), tried(due(2, "b"), 500)], {"waiting": [(2, 1)], "hurry": True}),
    ("it is back soon", NOW - timedelta(seconds=SILENCE_S - 1), [tried(due(1), 200)], {}),
    ("a waiting one gets through", None, [tried(due(1, **OLD), 200)], {"done": [1]}),
    (
        "a waiting one fails again",
        None,
        [tried(due(1, attempts=2, first_at=days(1), queued=True), 400), tried(due(2, "b"), 200)],
        {"waiting": [(1, 3)]},
    ),
    ("an old one is given up", None, [tried(due(1, **OLD), 500), tried(due(2, "b"), 200)], {"done": [1]}),
    (
        "an old one is kept while nothing gets through",
        days(1),
        [tried(due(1, **OLD), 500)],
        {"waiting": [(1, 10)], "failing_since": days(1)},
    ),
    (
        "days of nothing but failure",
        days(5),
        [tried(due(1, **OLD), 500)],
        {"waiting": [(1, 10)], "failing_since": days(5), "disabled": "failing"},
    ),
    ("gone", None, [tried(due(1), 410)], {"waiting": [(1, 1)], "failing_since": NOW, "disabled": "gone"}),
    (
        "too many",
        None,
        [tried(due(1), 429, retry_after_s=90), tried(due(2, "b"), 200)],
        {"waiting": [(1, 1)], "not_before": NOW + timedelta(seconds=90)},
    ),
    ("a redirect", None, [tried(due(1), 301), tried(due(2, "b"), 200)], {"waiting": [(1, 1)]}),
]


@pytest.mark.parametrize(("name", "since", "posts", "follows"), TURNS, ids=[name for name, *_ in TURNS])
def test_a_turn_leaves_behind(name: str, since: datetime | None, posts: list[Tried], follows: dict[str, Any]) -> None:
    took = turn(since, posts, [], NOW, TERMS)
    found = {
        "waiting": [(one.seq, one.attempts) for one in took.waiting],
        **{key: getattr(took, key) for key in ("done", "failing_since", "not_before", "disabled", "hurry")},
    }
    plain = {"waiting": [], "done": [], "failing_since": None, "not_before": None, "disabled": None, "hurry": False}
    assert found == {**plain, **follows}
    assert [one.seq for one in took.deliveries] == [one.due.seq for one in posts]


def test_what_was_left_untried_waits_and_what_waited_already_stays_as_it_is() -> None:
    took = turn(None, [], [due(1), due(2, queued=True, attempts=1, first_at=NOW), due(3, behind=True)], NOW, TERMS)
    assert [(one.seq, one.attempts, one.next_at) for one in took.waiting] == [(1, 0, None), (3, 0, None)]
    assert took.deliveries == [] and took.done == []


def test_a_retry_waits_for_the_longer_of_backoff_and_what_was_asked_for() -> None:
    asked = tried(due(1, attempts=3, first_at=NOW, queued=True), 500, retry_after_s=60, draw=1.0)
    backed_off = tried(due(1, attempts=9, first_at=NOW, queued=True), 500, retry_after_s=60, draw=1.0)
    waits = [turn(None, [one], [], NOW, TERMS).waiting[0].next_at for one in (asked, backed_off)]
    assert waits == [NOW + timedelta(seconds=60), NOW + timedelta(seconds=1024)]
    assert turn(None, [asked], [], NOW, TERMS).not_before is None  # a 500 speaks for its event alone
    asks = [stops(Reply(status, None, 1, wait)) for status, wait in ((410, None), (429, 1.0), (503, None), (500, 1.0))]
    assert asks == [True, True, False, False]


@given(
    st.none() | st.integers(0, 9).map(days),
    st.lists(st.tuples(st.sampled_from([200, 204, 301, 410, 429, 500, None]), st.integers(0, 9), st.booleans())),
    st.integers(0, 5),
)
def test_no_event_is_lost_in_a_turn(
    since: datetime | None, posts: list[tuple[int | None, int, bool]], untried: int
) -> None:
    """Each is done with, waits, or was delivered at its first attempt; and nothing is given up while all fails."""
    made = []
    for seq, (status, age, queued) in enumerate(posts):
        first_at = days(age) if queued else None
        made.append(tried(due(seq, f"s{seq}", attempts=1 if queued else 0, first_at=first_at, queued=queued), status))
    left = [due(1000 + n) for n in range(untried)]
    took: Turn = turn(since, made, left, NOW, TERMS)
    waiting = {one.seq for one in took.waiting}
    outcomes = {one.seq: one.outcome for one in took.deliveries}
    for one in made:
        seq = one.due.seq
        assert (outcomes[seq] == "delivered") == one.reply.delivered
        assert (seq in waiting) == (outcomes[seq] == "failed")
        assert (seq in took.done) == (one.due.queued and outcomes[seq] != "failed")
    assert {one.seq for one in left} <= waiting
    if since is not None and not any(one.reply.delivered for one in made):
        assert "given_up" not in outcomes.values()


# --- what is posted ---


@given(
    st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=5), st.integers() | st.text(max_size=5), max_size=3),
    st.text(st.characters(codec="utf-8"), max_size=9),
)
def test_a_message_is_the_event_as_the_log_has_it(body: dict[str, Any], subject: str) -> None:
    at = datetime(2027, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
    one = Due(7, at, "case.note", subject, "alice", json.dumps(body))
    told = json.loads(one.message())
    data = {"seq": 7, "subject": subject, "actor": "alice", **body}
    assert told == {"type": "case.note", "timestamp": "2027-01-02T03:04:05.000006Z", "data": data}
    assert one.name == "evt_7"


def test_a_rotated_secret_signs_until_its_overlap_ends() -> None:
    until = NOW + timedelta(seconds=DAY_S)
    assert secrets("new", "old", until, NOW) == ["new", "old"]
    assert secrets("new", "old", until, until) == ["new"] == secrets("new", None, None, NOW)
