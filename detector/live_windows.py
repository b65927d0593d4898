"""What a look reads of tracks: sliding windows, gaps, pairs, labels. Law: a window of w at `now` holds what came after
`now` - w, to the microsecond; readings change nothing.
"""

from __future__ import annotations

from bisect import bisect_right

from detector.feature_table import HORIZON_S, PAIR, WINDOWS_S
from detector.track import Track

HOUR_US, DAY_US, WEEK_US, MONTH_US = (window_s * 1_000_000 for window_s in WINDOWS_S.values())
HORIZON_US = HORIZON_S * 1_000_000

Columns = tuple[int | None, ...]
EMPTY: Columns = (*[0] * 12, None)
UNTRIED: Columns = (*[0] * 5, None)


def windows(track: Track, now: int) -> Columns:
    """Count, sum and distinct counterparts in 1 h, 24 h, 7 d, 30 d; seconds since the latest event."""
    times = track.times
    if not times or times[-1] <= now - MONTH_US:
        return EMPTY
    sums, kinds = track.sums, len(track.latest_times)
    a, b, c, d = w, x, y, z = edges(times, now)
    n, total = len(times), sums[-1]
    if kinds < n:  # where no counterpart came twice, its latest times are the times
        w, x, y, z = edges(track.latest_times, now)
    return (
        n - a,
        total - sums[a],
        kinds - w,
        n - b,
        total - sums[b],
        kinds - x,
        n - c,
        total - sums[c],
        kinds - y,
        n - d,
        total - sums[d],
        kinds - z,
        (now - times[-1]) // 1_000_000,
    )


def edges(times: list[int], now: int) -> tuple[int, int, int, int]:
    """Where the windows of 1 h, 24 h, 7 d and 30 d begin."""
    month = bisect_right(times, now - MONTH_US)
    week = bisect_right(times, now - WEEK_US, month)
    day = bisect_right(times, now - DAY_US, week)
    return bisect_right(times, now - HOUR_US, day), day, week, month


def pair_columns(times: list[int] | None, now: int) -> tuple[int, int | None]:
    """Gifts from this sender to this recipient in 30 d, 32 at most; seconds since the latest."""
    if times is None or times[-1] <= now - HORIZON_US:
        return 0, None
    return min(len(times) - bisect_right(times, now - HORIZON_US), PAIR), (now - times[-1]) // 1_000_000


def tried(track: Track, now: int) -> Columns:
    """Count in 1 h, 24 h, 7 d; sum and distinct counterparts in 24 h; seconds since the latest event of 7 d."""
    times = track.times
    if not times or times[-1] <= now - WEEK_US:
        return UNTRIED
    week = bisect_right(times, now - WEEK_US)
    day = bisect_right(times, now - DAY_US, week)
    hour = bisect_right(times, now - HOUR_US, day)
    return (
        len(times) - hour,
        len(times) - day,
        len(times) - week,
        track.sums[-1] - track.sums[day],
        track.distinct(now, DAY_US),
        (now - times[-1]) // 1_000_000,
    )
