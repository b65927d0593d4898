"""Labels of one org in one role, in the order in which they became known. Law: never before `label_at`.

A window of w microseconds at `now` holds the labels with now - w < label_at <= now, however old their gifts are.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import NamedTuple

from detector.feature_table import LABEL_WINDOWS_S, NEAR, PLAIN

WEEK_US, MONTH_US = (window_s * 1_000_000 for window_s in LABEL_WINDOWS_S.values())
MEMORY_US = 2 * MONTH_US  # how long a gift known as good is remembered, from the gift on
FEW = 64  # how many labels come between two sweeps of what may be forgotten

Reading = tuple[int | None, ...]
BLANK: Reading = (0, 0, 0, 0, 0, 0, 0, None, None, None)


class Label(NamedTuple):
    """What became known about one gift at `label_at`. `at` and `excess` are the gift's own, as it was judged:
    its time and the `clean_excess` of its digest. A label never counts before its gift."""

    gift: str
    fraud: bool
    label_at: int
    at: int
    excess: int

    @property
    def known_at(self) -> int:
        return max(self.label_at, self.at)


class Labels:
    """Known labels with running counts: a window is the difference of two of them."""

    __slots__ = ("frauds", "gifts_at", "last_bad", "last_good", "streak", "times", "usual")

    def __init__(self) -> None:
        self.times: list[int] = []
        self.gifts_at: list[int] = []
        self.frauds: list[int] = [0]
        self.usual: list[int] = [0]  # frauds of a usual amount
        self.streak = 0
        self.last_good: int | None = None
        self.last_bad: int | None = None

    def add(self, label: Label) -> None:
        """Labels come in the order (known_at, order of their gifts)."""
        self.times.append(label.known_at)
        self.gifts_at.append(label.at)
        self.frauds.append(self.frauds[-1] + label.fraud)
        self.usual.append(self.usual[-1] + (label.fraud and 0 < label.excess < PLAIN))
        if label.fraud:
            self.streak += 1
            self.last_bad = label.at
        else:
            self.streak = 0
            self.last_good = label.at
        if len(self.times) % FEW == 0:
            self.forget(label.known_at - MONTH_US)

    def read(self, now: int) -> Reading:
        """Labels and frauds of 7 d, of 30 d; usual frauds of 30 d; the streak: the latest labels of 30 d that are all
        fraud, the usual ones of its last eight, seconds since its first gift; seconds since the latest gift known as
        good; seconds since the latest known fraud."""
        times, frauds, usual, good = self.times, self.frauds, self.usual, self.last_good
        good_age_s = None if good is None or good <= now - MEMORY_US else (now - good) // 1_000_000
        end = len(times)
        month = bisect_right(times, now - MONTH_US)
        if month == end:
            return BLANK if good_age_s is None else (*BLANK[:8], good_age_s, None)
        week = bisect_right(times, now - WEEK_US, month)
        bad = frauds[-1] - frauds[month]
        if not bad:
            return end - week, 0, end - month, 0, 0, 0, 0, None, good_age_s, None
        assert self.last_bad is not None
        run = min(self.streak, end - month)
        return (
            end - week,
            frauds[-1] - frauds[week],
            end - month,
            bad,
            usual[-1] - usual[month],
            run,
            usual[-1] - usual[end - min(run, NEAR)],
            (now - self.gifts_at[end - run]) // 1_000_000 if run else None,
            good_age_s,
            (now - self.last_bad) // 1_000_000,
        )

    def forget(self, until: int) -> None:
        """Drop what no window can reach any more, once that is at least half."""
        gone = bisect_right(self.times, until)
        if gone * 2 < len(self.times):
            return
        del self.times[:gone], self.gifts_at[:gone], self.frauds[:gone], self.usual[:gone]
