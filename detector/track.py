"""A track: events of one key in order of time, read by exact sliding windows.

A window of w microseconds at `now` holds the events with now - w < at <= now, in order of arrival. Cost of one reading
is O(log n) in the events of one key and O(1) in the amount: a Track keeps running sums, so a window is the difference
of two of them.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right

WINDOWS_S = {"10m": 600, "1h": 3_600, "24h": 86_400, "7d": 604_800, "30d": 2_592_000}
HORIZON_US = max(WINDOWS_S.values()) * 1_000_000
# What a track shares with all others until it has counterparts of its own; most never do. Never changed.
NOBODY: dict[str, int] = {}
NEVER: list[int] = []


class Track:
    """Events of one key in order of time, with running sums and each counterpart's latest time."""

    __slots__ = ("latest", "latest_times", "sums", "times")

    def __init__(self) -> None:
        self.times: list[int] = []
        self.sums: list[int] = [0]
        self.latest, self.latest_times = NOBODY, NEVER

    def add(self, at: int, amount: int, counterpart: str | None) -> None:
        self.times.append(at)
        self.sums.append(self.sums[-1] + amount)
        if counterpart is None:
            return
        if self.latest is NOBODY:
            self.latest, self.latest_times = {}, []
        before = self.latest.get(counterpart)
        if before is not None:
            del self.latest_times[bisect_left(self.latest_times, before)]
        self.latest[counterpart] = at
        self.latest_times.append(at)

    def count(self, now: int, window: int) -> int:
        return len(self.times) - bisect_right(self.times, now - window)

    def total(self, now: int, window: int) -> int:
        return self.sums[-1] - self.sums[bisect_right(self.times, now - window)]

    def distinct(self, now: int, window: int) -> int:
        """Counterparts with an event in the window: those whose latest event is in it."""
        return len(self.latest_times) - bisect_right(self.latest_times, now - window)

    def gap_s(self, now: int) -> int | None:
        """Whole seconds since the latest event inside the horizon; None where there is none."""
        if not self.times or self.times[-1] <= now - HORIZON_US:
            return None
        return (now - self.times[-1]) // 1_000_000

    def forget(self, until: int) -> None:
        """Drop what no window can reach any more, once that is at least half of the track."""
        gone = bisect_right(self.times, until)
        if gone * 2 < len(self.times):
            return
        del self.times[:gone], self.sums[:gone]
        if self.latest is not NOBODY:
            self.latest = {party: at for party, at in self.latest.items() if at > until}
            self.latest_times = sorted(self.latest.values())


NOTHING = Track()
