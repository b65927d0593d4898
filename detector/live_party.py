"""What a model remembers of an org: its tracks, its habit, its links and labels, over 30 days.

What is forgotten is what no reading can reach any more: readings are the same with or without it.
"""

from __future__ import annotations

from bisect import bisect_right

from detector.live_context import Context
from detector.live_graph import Near
from detector.live_habit import Habit
from detector.live_labels import Labels
from detector.track import Track


class Party:
    """What one org did in 30 days and what became known of it, as sender and as recipient."""

    __slots__ = (
        "funders",
        "habit",
        "known_received",
        "known_sent",
        "mild",
        "offered",
        "pairs",
        "promo",
        "received",
        "recipients",
        "sent",
        "tried",
        "unusual",
        "unusual_received",
    )

    def __init__(self) -> None:
        self.sent = Track()
        self.received = Track()
        self.tried = Track()  # all gifts it tried, whatever was said to them
        self.offered = Track()  # all gifts tried to it
        self.promo = Track()  # what it was sent of promotions and free tiers
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
        self.promo.forget(until)
        self.known_sent.forget(until)
        self.known_received.forget(until)
        for times in (self.mild, self.unusual, self.unusual_received):
            del times[: bisect_right(times, until)]
        if len(self.pairs) > 2 * len(self.sent.latest):
            self.pairs = {party: times for party, times in self.pairs.items() if times[-1] > until}


Memory = Party | Context
