"""What an address, a device or a means of payment saw. Law: its latest CROWD gifts and CROWD labels, and no more.

So a crowd behind one address costs no more than a family. An event's number is how many came before it: a window is
the numbers from some number on.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right

from detector.feature_table import CONTEXT_WINDOWS_S, CROWD
from detector.live_labels import MONTH_US, WEEK_US, Label

DAY_US = CONTEXT_WINDOWS_S["24h"] * 1_000_000
Columns = tuple[int | None, ...]
UNKNOWN: Columns = (None,) * 11  # of a gift that names no such key


class Kinds:
    """Who came, each by the number of its latest event."""

    __slots__ = ("latest", "order")

    def __init__(self) -> None:
        self.latest: dict[str, int] = {}
        self.order: list[int] = []

    def add(self, who: str, number: int) -> None:
        before = self.latest.get(who)
        if before is not None:
            del self.order[bisect_left(self.order, before)]
        self.latest[who] = number
        self.order.append(number)

    def since(self, number: int) -> int:
        return len(self.order) - bisect_left(self.order, number)

    def forget(self, before: int) -> None:
        self.latest = {who: number for who, number in self.latest.items() if number >= before}
        del self.order[: bisect_left(self.order, before)]


class Context:
    """The gifts and labels of one key."""

    __slots__ = ("first", "frauds", "known", "recipients", "senders", "times")

    def __init__(self) -> None:
        self.first = 0  # number of the first of `times`
        self.times: list[int] = []
        self.senders = Kinds()
        self.recipients = Kinds()
        self.known: list[int] = []  # when labels became known
        self.frauds: list[int] = [0]  # running count

    def add(self, at: int, sender: str, recipient: str) -> None:
        number = self.first + len(self.times)
        self.times.append(at)
        self.senders.add(sender, number)
        self.recipients.add(recipient, number)
        if len(self.times) == 2 * CROWD:
            self.first += CROWD
            del self.times[:CROWD]
            self.senders.forget(self.first)
            self.recipients.forget(self.first)

    def learn(self, label: Label) -> None:
        """Labels come in the order (known_at, order of their gifts)."""
        self.known.append(label.known_at)
        self.frauds.append(self.frauds[-1] + label.fraud)
        if len(self.known) == 2 * CROWD:
            del self.known[:CROWD], self.frauds[:CROWD]

    def read(self, now: int) -> Columns:
        """Gifts of 24 h and 7 d; senders of 24 h, 7 d and 30 d; recipients of 7 d; seconds since the latest gift; then
        labels and frauds of 7 d and of 30 d."""
        return (*self.gifts(now), *self.labels(now))

    def gifts(self, now: int) -> Columns:
        times, senders = self.times, self.senders
        if not times or times[-1] <= now - MONTH_US:
            return 0, 0, 0, 0, 0, 0, None
        end = len(times)
        month = max(bisect_right(times, now - MONTH_US), end - CROWD)
        week = bisect_right(times, now - WEEK_US, month)
        day = bisect_right(times, now - DAY_US, week)
        return (
            end - day,
            end - week,
            senders.since(self.first + day),
            senders.since(self.first + week),
            senders.since(self.first + month),
            self.recipients.since(self.first + week),
            (now - times[-1]) // 1_000_000,
        )

    def labels(self, now: int) -> Columns:
        known, frauds = self.known, self.frauds
        if not known:
            return 0, 0, 0, 0
        end = len(known)
        month = max(bisect_right(known, now - MONTH_US), end - CROWD)
        week = bisect_right(known, now - WEEK_US, month)
        return end - week, frauds[-1] - frauds[week], end - month, frauds[-1] - frauds[month]
