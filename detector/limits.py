"""Exact rate limits: at most `count` gifts or `value` micro-credits per key in any window of `window_s` seconds.

A limit only reads. What it counts are admitted gifts, so a gift that any limit or rule refuses burns no budget
anywhere (law 6): all-or-nothing without a roll-back.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from typing import NamedTuple

from detector.activity import Activity, Shape, Source, Track
from detector.gift import Budget, Gift, Hit, Verdict

KEYS = ("sender", "recipient", "pair", "tier", "ip", "device")
# The owner is the key whose row is locked and whose state holds the track; the rarer the contention, the better.
OWNERS = ("sender", "recipient", "ip", "device", "tier")


@dataclass(frozen=True, slots=True)
class Limit:
    """One declared limit; exactly one of `count` and `value` is set."""

    name: str
    on: tuple[str, ...]
    window_s: int
    action: Verdict
    description: str
    count: int | None = None
    value: int | None = None

    source: Source = field(init=False)
    shown: bool = field(init=False)

    def __post_init__(self) -> None:
        source = source_of(self.on)
        object.__setattr__(self, "source", source)
        # A sender may see its own budgets only: others' activity, and what merely holds, stays hidden.
        object.__setattr__(self, "shown", self.action is Verdict.BLOCK and "sender" in (source.owner, *source.facets))


def source_of(on: tuple[str, ...]) -> Source:
    """Where the events that these keys select are kept: owner first, every other key as a facet."""
    named = {name for key in on for name in (("sender", "recipient") if key == "pair" else (key,))}
    owner = next(name for name in OWNERS if name in named)
    facets = tuple(sorted(named - {owner}))
    return Source(Shape(owner, facets), owner, facets)


class Reading(NamedTuple):
    """What one limit says to one gift. `retry_after_s` is None when waiting cannot help."""

    limit: Limit
    used: int
    exceeded: bool
    retry_after_s: int | None
    budget: Budget | None

    def hit(self) -> Hit:
        limit = self.limit
        quota = {"count": limit.count} if limit.count is not None else {"value": limit.value}
        return Hit("limit", limit.name, limit.action.word, {**quota, "used": self.used, "window_s": limit.window_s})


def readings(limits: tuple[Limit, ...], gift: Gift, activity: Activity, now: int) -> list[Reading]:
    """Every limit's word on a gift; a limit on a key that the gift does not name says nothing."""
    found = []
    for limit in limits:
        track = activity.track(limit.source, gift)
        if track is not None:
            found.append(reading(limit, track, gift.amount, now))
    return found


def reading(limit: Limit, track: Track, amount: int, now: int) -> Reading:
    window = limit.window_s * 1_000_000
    if limit.count is not None:
        used, cost, quota = track.count(now, window), 1, limit.count
    else:
        used, cost, quota = track.total(now, window), amount, limit.value or 0
    exceeded = used + cost > quota
    retry = wait_s(limit, track, amount, now) if exceeded else None
    after = used if exceeded else used + cost
    budget = budget_after(limit, track, after, quota, now) if limit.shown else None
    return Reading(limit, used, exceeded, retry, budget)


def wait_s(limit: Limit, track: Track, amount: int, now: int) -> int | None:
    """Whole seconds until enough events have left the window for this gift; None if it can never fit."""
    if limit.count is not None:
        if limit.count < 1:
            return None
        leaves = len(track.times) - limit.count
    else:
        quota = limit.value or 0
        if amount > quota:
            return None
        leaves = bisect_left(track.sums, track.sums[-1] + amount - quota) - 1
    return seconds_up(track.times[leaves] + limit.window_s * 1_000_000 - now)


def budget_after(limit: Limit, track: Track, used: int, quota: int, now: int) -> Budget:
    """What remains after this gift, and when the oldest event in the window leaves it."""
    window = limit.window_s * 1_000_000
    oldest = bisect_right(track.times, now - window)
    start = track.times[oldest] if oldest < len(track.times) else now
    return Budget(limit.name, quota, limit.window_s, max(0, quota - used), seconds_up(start + window - now))


def seconds_up(span: int) -> int:
    """Microseconds to whole seconds, rounded up, so that waiting this long is enough."""
    return -(-span // 1_000_000)
