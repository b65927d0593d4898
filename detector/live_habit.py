"""The habit of a sender: what it usually gives, when, and how far a gift stands out of that.

Law: a habit is its owner's latest HABIT gifts of 30 days, whatever was found out about them since; each profile of it
leaves out the gifts that stood out when they were judged, and the clean one also what is known as fraud by now.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import deque

from detector.feature_table import EXCESS_CAP, HABIT, SURE, UNUSUAL

HOUR_US, DAY_US = 3_600_000_000, 86_400_000_000

# size, sum, largest, median, at least this amount, at least half of it, excess
Reading = tuple[int, int, int | None, int | None, int, int, int]
BLANK: Reading = (0, 0, None, None, 0, 0, 0)


class Kept:
    """One gift of a habit, and which profiles it is part of."""

    __slots__ = ("amount", "at", "clean", "gift", "plain")

    def __init__(self, gift: str, at: int, amount: int, *, plain: bool, clean: bool) -> None:
        self.gift = gift
        self.at = at
        self.amount = amount
        self.plain = plain
        self.clean = clean


class Profile:
    """The amounts of a habit that count, smallest first, and their sum."""

    __slots__ = ("amounts", "total")

    def __init__(self) -> None:
        self.amounts: list[int] = []
        self.total = 0

    def add(self, amount: int) -> None:
        insort(self.amounts, amount)
        self.total += amount

    def drop(self, amount: int) -> None:
        del self.amounts[bisect_left(self.amounts, amount)]
        self.total -= amount

    def read(self, amount: int) -> Reading:
        """`amount` against the profile; the median is the upper one, excess is percent of the mean."""
        amounts, total = self.amounts, self.total
        size = len(amounts)
        if not size:
            return BLANK
        excess = min(100 * amount * size // total, EXCESS_CAP) if size >= SURE and total > 0 else 0
        at_least = size - bisect_left(amounts, amount)
        half = size - bisect_left(amounts, (amount + 1) // 2)
        return size, total, amounts[-1], amounts[size // 2], at_least, half, excess


class Habit:
    """The latest gifts of one sender, the two profiles drawn from them, and the hours they were sent at."""

    __slots__ = ("by_gift", "clean", "hours", "kept", "plain")

    def __init__(self) -> None:
        self.kept: deque[Kept] = deque()
        self.by_gift: dict[str, Kept] = {}
        self.plain = Profile()
        self.clean = Profile()
        self.hours: list[int] = []

    def add(self, gift: str, at: int, amount: int, plain_excess: int, clean_excess: int) -> None:
        plain, clean = plain_excess < UNUSUAL, clean_excess < UNUSUAL
        one = Kept(gift, at, amount, plain=plain, clean=clean)
        self.kept.append(one)
        self.by_gift[gift] = one
        insort(self.hours, at % DAY_US)
        if plain:
            self.plain.add(amount)
        if clean:
            self.clean.add(amount)
        if len(self.kept) > HABIT:
            self.drop_oldest()

    def drop_oldest(self) -> None:
        one = self.kept.popleft()
        del self.by_gift[one.gift]
        del self.hours[bisect_left(self.hours, one.at % DAY_US)]
        if one.plain:
            self.plain.drop(one.amount)
        if one.clean:
            self.clean.drop(one.amount)

    def learn(self, gift: str, fraud: bool) -> None:
        """A label is known: a fraud leaves the clean profile, a good gift joins it however much it stood out."""
        one = self.by_gift.get(gift)
        if one is None or one.clean is not fraud:
            return
        one.clean = not fraud
        if fraud:
            self.clean.drop(one.amount)
        else:
            self.clean.add(one.amount)

    def spare(self) -> Habit:
        """A copy that may forget; what it keeps is shared, and so must not learn."""
        found = Habit()
        found.kept, found.by_gift, found.hours = self.kept.copy(), self.by_gift.copy(), self.hours.copy()
        for own, copied in ((self.plain, found.plain), (self.clean, found.clean)):
            copied.amounts, copied.total = own.amounts.copy(), own.total
        return found

    def forget(self, until: int) -> None:
        while self.kept and self.kept[0].at <= until:
            self.drop_oldest()

    def same_hour(self, now: int) -> int:
        """Gifts whose time of day is within an hour of now's, around midnight too."""
        hours, here = self.hours, now % DAY_US
        near = bisect_right(hours, here + HOUR_US) - bisect_left(hours, here - HOUR_US)
        if here < HOUR_US:
            near += len(hours) - bisect_left(hours, here + DAY_US - HOUR_US)
        elif here >= DAY_US - HOUR_US:
            near += bisect_right(hours, here - DAY_US + HOUR_US)
        return near
