"""The model's primitive columns, live: one gift at a time, from what its two parties remember.

Law 10: bit-equal with the history executor on every column. Nothing is read but the states of the two parties (their
keys are locked) and the digests that their events carry. Time is an argument and never runs backwards for a party.

Order of calls at one moment: labels known by then (`learn`), then `look`, then `remember` where the gift counts. A look
may drop what no later moment can see, and changes nothing else.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Protocol

from detector.activity import Track
from detector.feature_table import HORIZON_S, LARGEST, PAIR, PLAIN, TABLE, UNUSUAL, WINDOWS_S
from detector.live_graph import Digest, Near, Sight, graph
from detector.live_habit import Habit
from detector.live_labels import Label, Labels

HOUR_US, DAY_US, WEEK_US, MONTH_US = (window_s * 1_000_000 for window_s in WINDOWS_S.values())
HORIZON_US = HORIZON_S * 1_000_000
FEW = 64  # how many events of an org come between two sweeps of what it may forget

# The order of `look`'s columns. The facts of the table are the gift's own; the derived rows come from both.
PRIMITIVES: tuple[str, ...] = tuple(row.name for row in TABLE.values() if row.kind == "aggregate")

Columns = tuple[int | None, ...]


class Given(Protocol):
    """What the executor needs of a gift."""

    @property
    def id(self) -> str: ...
    @property
    def sender(self) -> str: ...
    @property
    def recipient(self) -> str: ...
    @property
    def amount(self) -> int: ...


class Party:
    """What one org did in 30 days and what became known of it, as sender and as recipient."""

    __slots__ = (
        "funders",
        "habit",
        "known_received",
        "known_sent",
        "mild",
        "pairs",
        "received",
        "recipients",
        "sent",
        "unusual",
        "unusual_received",
    )

    def __init__(self) -> None:
        self.sent = Track()
        self.received = Track()
        self.pairs: dict[str, list[int]] = {}  # recipient: times of the latest gifts to it
        self.habit = Habit()
        self.mild: list[int] = []  # times of gifts sent at two to three times the habit
        self.unusual: list[int] = []  # … at three times the habit or more
        self.unusual_received: list[int] = []
        self.funders = Near()
        self.recipients = Near()
        self.known_sent = Labels()
        self.known_received = Labels()

    def expire(self, until: int) -> None:
        """Take out of the lists that are read as they stand what is no longer inside the horizon."""
        kept, funders, recipients = self.habit.kept, self.funders.times, self.recipients.times
        if kept and kept[0].at <= until:
            self.habit.forget(until)
        if funders and funders[-1] <= until:
            self.funders.forget(until)
        if recipients and recipients[-1] <= until:
            self.recipients.forget(until)

    def forget(self, until: int) -> None:
        """Drop what no reading after `until` + the horizon can reach; readings are the same with or without it."""
        self.expire(until)
        self.sent.forget(until)
        self.received.forget(until)
        self.known_sent.forget(until)
        self.known_received.forget(until)
        for times in (self.mild, self.unusual, self.unusual_received):
            del times[: bisect_right(times, until)]
        if len(self.pairs) > 2 * len(self.sent.latest):
            self.pairs = {party: times for party, times in self.pairs.items() if times[-1] > until}


def look(gift: Given, sender: Party, recipient: Party, at: int) -> tuple[Columns, Digest]:
    """The primitive columns of a gift, and the digest that its event is to carry."""
    floor = at - HORIZON_US
    sender.expire(floor)
    recipient.expire(floor)
    amount = min(gift.amount, LARGEST)
    pair = pair_columns(sender.pairs.get(gift.recipient), at)
    plain = sender.habit.plain.read(amount)
    clean = sender.habit.clean.read(amount)
    seen = Sight(sender.funders, sender.recipients, recipient.funders, recipient.recipients)
    links, digest = graph(
        gift.sender, gift.recipient, seen, fresh=pair[0] == 0, excess=plain[-1], clean_excess=clean[-1]
    )
    columns = (
        *activity(sender, recipient, at),
        *pair,
        *plain,
        *clean,
        *marks(sender, recipient, at),
        sender.habit.same_hour(at),
        *known(sender, recipient, at),
        *links,
    )
    return columns, digest


def remember(gift: Given, at: int, sender: Party, recipient: Party, digest: Digest) -> None:
    """Add a gift that counts to both parties, with the digest taken when it was judged."""
    amount = min(gift.amount, LARGEST)
    sender.sent.add(at, amount, gift.recipient)
    recipient.received.add(at, amount, gift.sender)
    times = sender.pairs.setdefault(gift.recipient, [])
    times.append(at)
    if len(times) > 2 * PAIR:
        del times[:-PAIR]
    sender.habit.add(gift.id, at, amount, digest.excess, digest.clean_excess)
    if digest.excess >= UNUSUAL:
        sender.unusual.append(at)
        recipient.unusual_received.append(at)
    elif digest.excess >= PLAIN:
        sender.mild.append(at)
    recipient.funders.add(gift.sender, at, digest)
    sender.recipients.add(gift.recipient, at, digest)
    for party, track in ((sender, sender.sent), (recipient, recipient.received)):
        if len(track.times) % FEW == 0:
            party.forget(at - HORIZON_US)


def learn(label: Label, sender: Party | None, recipient: Party | None) -> None:
    """Tell those parties that are remembered of a label; labels come in order of (known_at, order of the gifts)."""
    if sender is not None:
        sender.habit.learn(label.gift, label.fraud)
        sender.known_sent.add(label)
    if recipient is not None:
        recipient.known_received.add(label)


# --- families ---

EMPTY: Columns = (*[0] * 12, None)


def activity(sender: Party, recipient: Party, now: int) -> Columns:
    """Windows of the sender, of what it was sent, of the recipient and of what that sent: the order of the table."""
    return (
        *windows(sender.sent, now),
        *windows(sender.received, now),
        *windows(recipient.received, now),
        *windows(recipient.sent, now),
    )


def known(sender: Party, recipient: Party, now: int) -> Columns:
    """Labels, in the same order."""
    return (
        *sender.known_sent.read(now),
        *sender.known_received.read(now),
        *recipient.known_received.read(now),
        *recipient.known_sent.read(now),
    )


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


def marks(sender: Party, recipient: Party, now: int) -> Columns:
    """Gifts of the sender that stood out, mildly or more, in 3 d and 14 d; those to the recipient in 7 d."""
    mild, unusual, received = sender.mild, sender.unusual, recipient.unusual_received
    return (
        len(mild) - bisect_right(mild, now - 3 * DAY_US) if mild else 0,
        len(unusual) - bisect_right(unusual, now - 3 * DAY_US) if unusual else 0,
        len(mild) - bisect_right(mild, now - 14 * DAY_US) if mild else 0,
        len(unusual) - bisect_right(unusual, now - 14 * DAY_US) if unusual else 0,
        len(received) - bisect_right(received, now - WEEK_US) if received else 0,
    )
