"""Activity: every window equals what counting by hand gives, to the microsecond."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from detector import policy
from detector.activity import Activity, Shape, State
from detector.decide import decide
from detector.features import FEATURES
from detector.gift import Event, Gift
from detector.track import HORIZON_US, WINDOWS_S, Track
from tests.support import HOUR_US, SECOND_US, event, examples, gift, remember, rule

WINDOWS = [seconds * SECOND_US for seconds in WINDOWS_S.values()]
NOW = 60 * 86_400 * SECOND_US

# --- one track against a list ---

# Ties, bursts, and steps that fall just inside, on and just outside the edge of a window.
steps = st.sampled_from([0, 0, 1, *(window + off for window in WINDOWS for off in (-1, 0, 1))]) | st.integers(0, 10**9)
additions = st.tuples(steps, st.integers(1, 10**15), st.sampled_from("abc"))


@given(st.lists(additions, max_size=40), steps, st.sets(st.integers(0, 39)))
@example([(0, 1, "a"), (0, 2, "a"), (0, 3, "b")], 0, set())
@example([(0, 5, "a"), (WINDOWS[0], 7, "b")], 0, {1})
@examples(400)
def test_a_track_reads_what_a_list_of_its_events_holds(
    added: list[tuple[int, int, str]], wait: int, forgets: set[int]
) -> None:
    track, told, now = Track(), [], 0
    for turn, (step, amount, party) in enumerate(added):
        now += step
        if turn in forgets:
            track.forget(now - HORIZON_US)
        track.add(now, amount, party)
        told.append((now, amount, party))
    now += wait
    for window in WINDOWS:
        inside = [one for one in told if now - window < one[0] <= now]
        assert track.count(now, window) == len(inside)
        assert track.total(now, window) == sum(amount for _, amount, _ in inside)
        assert track.distinct(now, window) == len({party for _, _, party in inside})
    recent = [at for at, _, _ in told if at > now - HORIZON_US]
    assert track.gap_s(now) == ((now - recent[-1]) // SECOND_US if recent else None)


def test_a_window_opens_after_its_first_microsecond_and_closes_with_now() -> None:
    track = Track()
    track.add(1_000, 7, "a")
    window = 600 * SECOND_US
    assert track.count(1_000, window) == 1
    assert track.count(1_000 + window - 1, window) == 1
    assert track.count(1_000 + window, window) == 0


def test_forgetting_keeps_a_track_small_and_its_readings_whole() -> None:
    track = Track()
    for day in range(400):
        for turn in range(3):
            track.forget(day * 86_400 * SECOND_US - HORIZON_US)
            track.add(day * 86_400 * SECOND_US + turn, 10, f"p{day}")
    now = 399 * 86_400 * SECOND_US + 2
    assert track.count(now, HORIZON_US) == 3 * 30
    assert track.total(now, HORIZON_US) == 30 * 3 * 10
    assert track.distinct(now, HORIZON_US) == 30
    assert len(track.times) <= 2 * 3 * 31
    assert len(track.latest) == len(track.latest_times) <= 2 * 31


def test_a_busy_key_forgets_by_itself_what_no_window_reaches() -> None:
    activity = Activity([Shape("sender")])
    activity.states["o:a"] = State()
    for hour in range(24 * 120):
        activity.add(event(hour * HOUR_US))
    (track,) = activity.states["o:a"].tracks.values()
    assert track.count(24 * 120 * HOUR_US, HORIZON_US) == 24 * 30 - 1
    assert len(track.times) <= 2 * 24 * 30 + 65


# --- every feature against its definition ---

Picks = Callable[[Event, Gift], bool]
# The family's meaning, said a second time: which events, with the refused ones or not, and the counterpart's side.
MEANING: dict[str, tuple[Picks, bool, str]] = {
    "sender": (lambda e, g: e.sender == g.sender, False, "recipient"),
    "sender_attempt": (lambda e, g: e.sender == g.sender, True, "recipient"),
    "sender_received": (lambda e, g: e.recipient == g.sender, False, "sender"),
    "recipient": (lambda e, g: e.recipient == g.recipient, False, "sender"),
    "recipient_attempt": (lambda e, g: e.recipient == g.recipient, True, "sender"),
    "recipient_sent": (lambda e, g: e.sender == g.recipient, False, "recipient"),
    "pair": (lambda e, g: (e.sender, e.recipient) == (g.sender, g.recipient), False, ""),
    "reverse": (lambda e, g: (e.sender, e.recipient) == (g.recipient, g.sender), False, ""),
    "ip": (lambda e, g: e.ip == g.ip, False, "sender"),
    "device": (lambda e, g: e.device == g.device, False, "sender"),
}
WINDOWED = sorted(name for name, feature in FEATURES.items() if feature.source)
EVERYTHING = policy.read("".join(rule(f"r_{name}", f"{name} < 0") for name in WINDOWED))


def by_hand(name: str, events: Sequence[Event], asked: Gift, now: int) -> int | None:
    """A feature's value, from its name and nothing else."""
    family = next(one for one in sorted(MEANING, key=len, reverse=True) if name.startswith(f"{one}_"))
    kind, _, label = name.removeprefix(f"{family}_").partition("_")
    picks, attempts, counterpart = MEANING[family]
    if family in ("ip", "device") and getattr(asked, family) is None:
        return None
    window = HORIZON_US if kind == "gap" else WINDOWS_S[label] * SECOND_US
    found = [one for one in events if picks(one, asked) and (attempts or one.admitted) and now - window < one.at <= now]
    if kind == "gap":
        return (now - max(one.at for one in found)) // SECOND_US if found else None
    if kind == "count":
        return len(found)
    if kind == "sum":
        return sum(one.amount for one in found)
    assert kind == f"{counterpart}s", name
    return len({getattr(one, counterpart) for one in found})


orgs = st.sampled_from("abcd")
contexts = st.sampled_from([None, "x", "y"])
moments = st.sampled_from([NOW, *(NOW - w + off for w in WINDOWS for off in (-1, 0, 1))]) | st.integers(0, NOW)


@st.composite
def events_(draw: Any) -> Event:
    sender, recipient = draw(st.permutations("abcd"))[:2]
    return Event(
        draw(moments),
        sender,
        recipient,
        draw(st.integers(1, 10**15)),
        draw(contexts),
        draw(contexts),
        draw(contexts),
        draw(st.booleans()),
    )


@given(st.lists(events_(), max_size=30), st.permutations("abcd"), contexts, contexts)
@examples(150)
def test_every_feature_is_what_its_name_says(
    events: list[Event], parties: list[str], ip: str | None, device: str | None
) -> None:
    asked = gift(sender=parties[0], recipient=parties[1], ip=ip, device=device)
    decision = decide(asked, remember(EVERYTHING, events, asked), EVERYTHING, NOW)
    seen = dict(zip(EVERYTHING.vectors.names, decision.vector, strict=True))
    assert seen == {name: by_hand(name, events, asked, NOW) for name in seen}
    assert sorted(seen) == WINDOWED


@given(st.lists(events_(), max_size=30), st.permutations("abcd"), st.data())
@examples(100)
def test_a_policy_that_reads_less_reads_the_same(events: list[Event], parties: list[str], data: st.DataObject) -> None:
    """Whatever else a policy reads, and whether a track tells counterparts apart for it or not."""
    names = data.draw(st.lists(st.sampled_from(WINDOWED), min_size=1, max_size=4, unique=True))
    few = policy.read("".join(rule(f"r_{name}", f"{name} < 0") for name in names))
    asked = gift(sender=parties[0], recipient=parties[1], ip="x", device="x")
    less, all_ = (decide(asked, remember(one, events, asked), one, NOW).vector for one in (few, EVERYTHING))
    whole = dict(zip(EVERYTHING.vectors.names, all_, strict=True))
    assert less == tuple(whole[name] for name in few.vectors.names)


def test_attempts_are_counted_apart_from_what_was_admitted() -> None:
    events = [event(NOW - 5), event(NOW - 4, admitted=False), event(NOW - 3, recipient="c", admitted=False)]
    seen = dict(
        zip(EVERYTHING.vectors.names, decide(gift(), remember(EVERYTHING, events), EVERYTHING, NOW).vector, strict=True)
    )
    assert (seen["sender_count_1h"], seen["sender_attempt_count_1h"], seen["sender_attempt_recipients_1h"]) == (1, 3, 2)
    assert (seen["recipient_count_1h"], seen["recipient_attempt_count_1h"]) == (1, 2)


def test_a_gift_is_locked_by_its_parties_and_by_the_context_that_the_policy_reads() -> None:
    asked = gift(ip="1.2.3.4", device="d", tier="gold")
    assert Activity([Shape("sender")]).keys(asked) == ["o:a", "o:b"]
    assert set(Activity([Shape("ip"), Shape("tier")]).keys(asked)) == {"o:a", "o:b", "i:1.2.3.4", "t:gold"}
    assert Activity([Shape("device")]).keys(gift()) == ["o:a", "o:b"]


def test_trimming_never_forgets_a_state_in_use(monkeypatch: Any) -> None:
    monkeypatch.setattr("detector.activity.MOST_STATES", 2)
    activity = Activity([])
    for name in "abcd":
        activity.states[name] = State()
    activity.states["a"].busy = object()  # type: ignore[assignment]
    activity.trim()
    assert "a" in activity.states and len(activity.states) == 2
