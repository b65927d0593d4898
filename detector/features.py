"""The feature table: every number that a rule may name, as a row that says what it is and where it comes from.

Adding a feature is adding a row. A feature whose source the gift does not name (no IP, say) is null, and a rule that
depends on a null holds the gift (law 5).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from detector.activity import WINDOWS_S, Activity, Shape, Source, Track
from detector.expressions import ColumnType
from detector.gift import Gift

Reading = Callable[[Track, int], int | None]


@dataclass(frozen=True, slots=True)
class Feature:
    """One column. Without a source it is a fact of the gift itself, under the same name."""

    name: str
    type: ColumnType
    description: str
    source: Source | None = None
    read: Reading | None = None


INT, STR, BOOL = ColumnType.INT, ColumnType.STR, ColumnType.BOOL

FACTS = [
    Feature("amount", INT, "micro-credits of this gift"),
    Feature("sender", STR, "id of the sending org"),
    Feature("recipient", STR, "id of the receiving org"),
    Feature("ip", STR, "address the sender's user acted from, where the platform says it"),
    Feature("device", STR, "device fingerprint, where the platform says it"),
    Feature("tier", STR, "tier of the sender"),
    Feature("recipient_tier", STR, "tier of the recipient"),
    Feature("identity", STR, "identity level of the sender: none, basic or full"),
    Feature("sender_age_s", INT, "seconds since the sender was created"),
    Feature("recipient_age_s", INT, "seconds since the recipient was created"),
    Feature("sender_available", INT, "micro-credits the sender had before this gift"),
    Feature("topup_age_s", INT, "seconds since the youngest purchase that this gift spends; null if it spends none"),
    Feature("same_owner", BOOL, "sender and recipient name the same owner"),
]

SENT = Shape("sender")
TRIED = Shape("sender", attempts=True)
RECEIVED = Shape("recipient")
OFFERED = Shape("recipient", attempts=True)
TO_ONE = Shape("sender", ("recipient",))
FROM_ONE = Shape("recipient", ("sender",))

# prefix, source, what it is about, what the distinct counterparts are called (or None)
FAMILIES: list[tuple[str, Source, str, str | None]] = [
    ("sender", Source(SENT, "sender"), "gifts the sender sent", "recipients"),
    ("sender_attempt", Source(TRIED, "sender"), "gifts the sender tried, the refused ones too", "recipients"),
    ("sender_received", Source(RECEIVED, "sender"), "gifts the sender was sent", "senders"),
    ("recipient", Source(RECEIVED, "recipient"), "gifts the recipient was sent", "senders"),
    ("recipient_attempt", Source(OFFERED, "recipient"), "gifts tried to the recipient", "senders"),
    ("recipient_sent", Source(SENT, "recipient"), "gifts the recipient sent", "recipients"),
    ("pair", Source(TO_ONE, "sender", ("recipient",)), "gifts from this sender to this recipient", None),
    ("reverse", Source(FROM_ONE, "sender", ("recipient",)), "gifts from this recipient to this sender", None),
    ("ip", Source(Shape("ip"), "ip"), "gifts sent from this address", "senders"),
    ("device", Source(Shape("device"), "device"), "gifts sent from this device", "senders"),
]


def windowed(read: Callable[[Track, int, int], int], window_s: int) -> Reading:
    window = window_s * 1_000_000
    return lambda track, now: read(track, now, window)


def family(prefix: str, source: Source, about: str, counterparts: str | None) -> Iterable[Feature]:
    """Count, sum and distinct counterparts of one family in every window, and its gap."""
    for label, window_s in WINDOWS_S.items():
        tail = f"in the last {label}, this one not counted"
        yield Feature(f"{prefix}_count_{label}", INT, f"{about}, {tail}", source, windowed(Track.count, window_s))
        yield Feature(
            f"{prefix}_sum_{label}", INT, f"micro-credits of {about}, {tail}", source, windowed(Track.total, window_s)
        )
        if counterparts:
            name, text = f"{prefix}_{counterparts}_{label}", f"distinct {counterparts} of {about}, {tail}"
            yield Feature(name, INT, text, source, windowed(Track.distinct, window_s))
    yield Feature(f"{prefix}_gap_s", INT, f"seconds since the latest of {about}; null if none in 30 d", source, Track.gap_s)


FEATURES: dict[str, Feature] = {
    feature.name: feature for feature in [*FACTS, *(row for one in FAMILIES for row in family(*one))]
}
COLUMNS: dict[str, ColumnType] = {name: feature.type for name, feature in FEATURES.items()}


class Vectors:
    """Reads the features that one policy names, live: one gift at a time, from activity."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = tuple(sorted(set(names)))
        self.index = {name: position for position, name in enumerate(self.names)}
        features = [FEATURES[name] for name in self.names]
        self.sources = list(dict.fromkeys(feature.source for feature in features if feature.source))
        self.steps = [self.step(feature) for feature in features]

    @property
    def shapes(self) -> set[Shape]:
        return {source.shape for source in self.sources}

    def step(self, feature: Feature) -> Callable[[Gift, list[Track | None], int], Any]:
        read = feature.read
        if feature.source is None or read is None:
            fact = attrgetter(feature.name)
            return lambda gift, tracks, now: fact(gift)
        position = self.sources.index(feature.source)
        return lambda gift, tracks, now: None if (track := tracks[position]) is None else read(track, now)

    def read(self, gift: Gift, activity: Activity, now: int) -> tuple[Any, ...]:
        """One vector, in the order of `names`. Null where the gift lacks what a feature reads."""
        tracks = [activity.track(source, gift) for source in self.sources]
        return tuple([step(gift, tracks, now) for step in self.steps])
