"""The feature table: every number that a rule may name, as a row that says what it is and where it comes from.

Adding a feature is adding a row. A feature whose source the gift does not name (no IP, say) is null, and a rule that
depends on a null holds the gift (law 5).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, NamedTuple

from detector.activity import Shape, Source
from detector.expressions import ColumnType
from detector.gift import Gift
from detector.track import WINDOWS_S, Track


class Reading(NamedTuple):
    """What is read of a track: how many events, credits or counterparts a window holds, in microseconds; without a
    window, how many seconds ago the latest event was."""

    kind: str
    window: int = 0


COUNT, TOTAL, DISTINCT, GAP = "count", "total", "distinct", "gap"


@dataclass(frozen=True, slots=True)
class Feature:
    """One column. Without a source it is a fact of the gift itself, under the same name."""

    name: str
    type: ColumnType
    description: str
    source: Source | None = None
    reading: Reading | None = None


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
    Feature("promo_amount", INT, "micro-credits of this gift that began as a promotion or free tier"),
    Feature("young_amount", INT, "micro-credits of this gift from purchases under 7 days old"),
    Feature(
        "revoked_amount",
        INT,
        "micro-credits of this gift from purchases of which a part was taken back; null at the first look, so write "
        "look > 1 and …",
    ),
    Feature(
        "look", INT, "1 when the gift is sent, 2 or more when it is looked at again; activity then includes the gift"
    ),
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


def family(prefix: str, source: Source, about: str, counterparts: str | None) -> Iterable[Feature]:
    """Count, sum and distinct counterparts of one family in every window, and its gap."""
    for label, window_s in WINDOWS_S.items():
        tail = f"in the last {label}; this one is counted only when it is looked at again"
        window = window_s * 1_000_000
        yield Feature(f"{prefix}_count_{label}", INT, f"{about}, {tail}", source, Reading(COUNT, window))
        text = f"micro-credits of {about}, {tail}"
        yield Feature(f"{prefix}_sum_{label}", INT, text, source, Reading(TOTAL, window))
        if counterparts:
            name, text = f"{prefix}_{counterparts}_{label}", f"distinct {counterparts} of {about}, {tail}"
            yield Feature(name, INT, text, source, Reading(DISTINCT, window))
    text = f"seconds since the latest of {about}; null if none in 30 d"
    yield Feature(f"{prefix}_gap_s", INT, text, source, Reading(GAP))


FEATURES: dict[str, Feature] = {
    feature.name: feature for feature in [*FACTS, *(row for one in FAMILIES for row in family(*one))]
}
COLUMNS: dict[str, ColumnType] = {name: feature.type for name, feature in FEATURES.items()}


class Vectors:
    """Reads the features that one policy names, live: one gift at a time, from activity. Facts come first.

    `sources` are theirs and those `also` named, each once; those of one owner stand together.
    """

    def __init__(self, names: Iterable[str], also: Iterable[Source] = ()) -> None:
        features = sorted((FEATURES[name] for name in set(names)), key=lambda one: (one.source is not None, one.name))
        self.names = tuple(feature.name for feature in features)
        self.index = {name: position for position, name in enumerate(self.names)}
        sources = dict.fromkeys([*(feature.source for feature in features if feature.source), *also])
        self.sources = sorted(sources, key=lambda one: one.owner)
        told_apart = {
            one.source.shape for one in features if one.source and one.reading and one.reading.kind == DISTINCT
        }
        self.shapes = {one.shape._replace(people=one.shape in told_apart) for one in self.sources}
        # attrgetter gives a tuple only for two names or more
        facts = [feature.name for feature in features if feature.source is None]
        self.facts: Callable[[Gift], tuple[Any, ...]] = (
            attrgetter(*facts) if len(facts) > 1 else lambda gift: tuple(getattr(gift, name) for name in facts)
        )
        self.reads = [(self.sources.index(one.source), *one.reading) for one in features if one.source and one.reading]

    def read(self, gift: Gift, tracks: Sequence[Track | None], now: int) -> tuple[Any, ...]:
        """One vector, in the order of `names`; `tracks` are those of `sources`, in their order. Where there is no
        track, its features are null."""
        vector: list[Any] = [*self.facts(gift)]
        for place, kind, window in self.reads:
            track = tracks[place]
            if track is None:
                vector.append(None)
            elif kind == GAP:
                vector.append(track.gap_s(now))
            else:
                times, start = track.latest_times if kind == DISTINCT else track.times, now - window
                # Many a window holds all there is: then its edge need not be sought.
                oldest = bisect_right(times, start) if times and times[0] <= start else 0
                vector.append(track.sums[-1] - track.sums[oldest] if kind == TOTAL else len(times) - oldest)
        return tuple(vector)
