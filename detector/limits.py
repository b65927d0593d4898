"""Exact rate limits: at most `count` gifts or `value` micro-credits per key in any window of `window_s` seconds.

A limit only reads. What it counts are admitted gifts, so a gift that any limit or rule refuses burns no budget
anywhere (law 6): all-or-nothing without a roll-back.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from detector.activity import Shape, Source
from detector.gift import Budget, Hit, Verdict
from detector.track import Track

KEYS = ("sender", "recipient", "pair", "tier", "ip", "device")
# The owner is the key whose row is locked and whose state holds the track; the rarer the contention, the better.
OWNERS = ("sender", "recipient", "ip", "device", "tier")


@dataclass(frozen=True, slots=True)
class Limit:
    """One declared limit; exactly one of `count` and `value` is set, and is the quota. `window` is microseconds."""

    name: str
    on: tuple[str, ...]
    window_s: int
    action: Verdict
    description: str
    count: int | None = None
    value: int | None = None

    source: Source = field(init=False)
    shown: bool = field(init=False)
    quota: int = field(init=False)
    window: int = field(init=False)

    def __post_init__(self) -> None:
        source = source_of(self.on)
        object.__setattr__(self, "quota", self.count if self.value is None else self.value)
        object.__setattr__(self, "window", self.window_s * 1_000_000)
        object.__setattr__(self, "source", source)
        # A sender may see its own budgets only: others' activity, and what merely holds, stays hidden.
        object.__setattr__(self, "shown", self.action is Verdict.BLOCK and "sender" in (source.owner, *source.facets))


def source_of(on: tuple[str, ...]) -> Source:
    """Where the events that these keys select are kept: owner first, every other key as a facet."""
    named = {name for key in on for name in (("sender", "recipient") if key == "pair" else (key,))}
    owner = next(name for name in OWNERS if name in named)
    facets = tuple(sorted(named - {owner}))
    return Source(Shape(owner, facets), owner, facets)


class Exceeded(NamedTuple):
    """A limit that a gift does not fit. `retry_after_s` is None when waiting cannot help."""

    limit: Limit
    used: int
    retry_after_s: int | None

    def hit(self) -> Hit:
        limit = self.limit
        kind = "count" if limit.value is None else "value"
        return Hit(
            "limit", limit.name, limit.action.word, {kind: limit.quota, "used": self.used, "window_s": limit.window_s}
        )


def check(
    limits: Sequence[tuple[Limit, int]], tracks: Sequence[Track | None], amount: int, now: int
) -> tuple[list[Exceeded], Budget | None]:
    """The limits that a gift exceeds, and the tightest budget that its sender may see.

    Each limit comes with the position of its track; one on a key that the gift does not name says nothing.
    """
    exceeded: list[Exceeded] = []
    tightest, least = None, 2.0
    for limit, position in limits:
        track = tracks[position]
        if track is None:
            continue
        times, quota = track.times, limit.quota
        start = now - limit.window
        # Many a window holds all there is: then its edge need not be sought.
        oldest = bisect_right(times, start) if times and times[0] <= start else 0
        if limit.value is None:
            used = len(times) - oldest
            left = quota - used - 1
        else:
            used = track.sums[-1] - track.sums[oldest]
            left = quota - used - amount
        if left < 0:
            exceeded.append(Exceeded(limit, used, wait_s(limit, track, amount, now)))
        if limit.shown and (share := left / quota) < least:
            tightest, least = (limit, times, oldest, left if left >= 0 else quota - used), share
    return exceeded, budget(*tightest, now) if tightest else None


def over(limits: Sequence[tuple[Limit, int]], tracks: Sequence[Track | None], at: int) -> list[Exceeded]:
    """The limits that were passed at the moment `at` of a gift that is counted already: with it, or by those before.

    For a first look that nobody took in time. What came at the same moment counts as before it.
    """
    exceeded = []
    for limit, position in limits:
        track = tracks[position]
        if track is None:
            continue
        oldest, newest = bisect_right(track.times, at - limit.window), bisect_right(track.times, at)
        used = newest - oldest if limit.value is None else track.sums[newest] - track.sums[oldest]
        if used > limit.quota:
            exceeded.append(Exceeded(limit, used, None))
    return exceeded


def wait_s(limit: Limit, track: Track, amount: int, now: int) -> int | None:
    """Whole seconds until enough events have left the window for this gift; None if it can never fit."""
    if limit.value is None:
        leaves = len(track.times) - limit.quota
    elif amount > limit.value:
        return None
    else:
        leaves = bisect_left(track.sums, track.sums[-1] + amount - limit.value) - 1
    return seconds_up(track.times[leaves] + limit.window - now)


def budget(limit: Limit, times: Sequence[int], oldest: int, left: int, now: int) -> Budget:
    """What is left of a limit, and when the oldest event in its window leaves it."""
    start = times[oldest] if oldest < len(times) else now
    return Budget(limit.name, limit.quota, limit.window_s, max(0, left), seconds_up(start + limit.window - now))


def seconds_up(span: int) -> int:
    """Microseconds to whole seconds, rounded up, so that waiting this long is enough."""
    return -(-span // 1_000_000)
