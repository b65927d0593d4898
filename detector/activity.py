"""What the parties of a gift did lately: a track for all that is read of a key, in memory, proved fresh against
PostgreSQL.

Nothing here is authoritative: a State may be read only while its key's row is locked and its version equals the row's
(law 6).

Where a policy names a model, a state also holds a memory: what the model keeps of an org (a Party) or a context key.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from copy import copy
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple

from detector.feature_table import CONTEXTS
from detector.gift import Event, Gift, Parties
from detector.live_party import Memory
from detector.track import HORIZON_US, NOTHING, Track

PREFIX = {"sender": "o:", "recipient": "o:", "ip": "i:", "device": "d:", "tier": "t:", "fingerprint": "f:"}
ROLES = {"i": "ip", "d": "device", "t": "tier", "f": "fingerprint"}
Facets = Callable[[Any], Any]
# A state without a memory takes some 1 KB, a party some 16 KB: either way a process stays under 350 MB.
MOST_STATES = 200_000
MOST_PARTIES = 20_000


class Shape(NamedTuple):
    """Which events a track holds: those of one owner, split by facets, with or without the refused ones; and whether it
    tells their counterparts apart."""

    owner: str
    facets: tuple[str, ...] = ()
    attempts: bool = False
    people: bool = False

    @property
    def slot(self) -> str:
        """The shape's name inside a state: a text, because those hash at once."""
        return "/".join((self.owner, *self.facets)) + ("?" if self.attempts else "")


def facets_of(names: Sequence[str]) -> Facets | None:
    """What reads the facets of a gift or an event, one as itself and more as a tuple."""
    return attrgetter(*names) if names else None


class State:
    """All tracks of one locked key. `busy` is set while a batch that changed it is not yet committed."""

    __slots__ = ("busy", "last_at", "memory", "tracks", "version")

    def __init__(self, memory: Memory | None = None) -> None:
        self.memory = memory
        self.version = 0
        self.last_at = 0
        self.tracks: dict[str | tuple[str, Any], Track] = {}
        self.busy: asyncio.Future[None] | None = None


BLANK = State()


class Source(NamedTuple):
    """Where a reading looks: the track of `shape` that belongs to gift.<owner>, at the facets named."""

    shape: Shape
    owner: str
    facets: tuple[str, ...] = ()


class Lookup(NamedTuple):
    """Sources of one owner made ready for the hot path: its state is found once for all of their slots."""

    owner: str
    prefix: str
    slots: list[tuple[str, Facets | None]]


def lookups(sources: Iterable[Source]) -> list[Lookup]:
    """The lookups that find the track of each of these sources, in their order; those of one owner stand together."""
    return [
        Lookup(owner, PREFIX[owner], [(one.shape.slot, facets_of(one.facets)) for one in owned])
        for owner, owned in groupby(sources, lambda one: one.owner)
    ]


class Activity:
    """The states that one process remembers, for the shapes that one policy generation needs.

    `memory` makes what a model remembers of a new key, where the generation names a model.
    """

    def __init__(self, shapes: Iterable[Shape], memory: Callable[[str], Memory | None] | None = None) -> None:
        wanted = sorted(set(shapes))
        self.roles: dict[str, list[tuple[str, Facets | None, bool, bool]]] = {}
        for shape in wanted:
            kept = shape.slot, facets_of(shape.facets), shape.attempts, shape.people
            self.roles.setdefault(shape.owner, []).append(kept)
        asked = () if memory is None else CONTEXTS
        self.extra = [role for role in ROLES.values() if role in self.roles or role in asked]
        self.states: dict[str, State] = {}
        self.memory = memory
        self.most = MOST_PARTIES if memory else MOST_STATES

    def passing(self) -> Activity:
        """As this, for what is looked at once and not remembered."""
        other = copy(self)
        other.states = {}
        return other

    def new(self, key: str) -> State:
        """A blank state, remembered under its key."""
        state = self.states[key] = State(self.memory(key) if self.memory else None)
        return state

    def keys(self, gift: Parties | Gift) -> list[str]:
        """The keys to lock for a gift: both parties, and each context key that a limit, a rule or the model reads."""
        keys = ["o:" + gift.sender, "o:" + gift.recipient]
        for role in self.extra:
            value = getattr(gift, role)
            if value is not None:
                keys.append(PREFIX[role] + value)
        return keys

    def add(self, event: Event) -> None:
        """Tell every remembered key of the event about it."""
        self.tell("o:" + event.sender, "sender", event)
        self.tell("o:" + event.recipient, "recipient", event)
        for role in self.extra:
            value = getattr(event, role)
            if value is not None:
                self.tell(PREFIX[role] + value, role, event)

    def tell(self, key: str, role: str, event: Event) -> None:
        state = self.states.get(key)
        if state is None:
            return
        at = state.last_at = event.at
        amount, admitted, tracks = event.amount, event.admitted, state.tracks
        other = event.recipient if role == "sender" else event.sender
        for slot, facets, attempts, people in self.roles.get(role, ()):
            if not (admitted or attempts):
                continue
            name = slot if facets is None else (slot, facets(event))
            track = tracks.get(name)
            if track is None:
                track = tracks[name] = Track()
            elif len(track.times) > 64 and track.times[0] <= at - HORIZON_US:
                track.forget(at - HORIZON_US)
            track.add(at, amount, other if people else None)

    def tracks(self, lookups: Sequence[Lookup], gift: Gift) -> list[Track | None]:
        """The track of each lookup; None where the gift does not name its owner or a facet."""
        found: list[Track | None] = []
        for owner, prefix, slots in lookups:
            name = getattr(gift, owner)
            if name is None:
                found += [None] * len(slots)
                continue
            track = self.states.get(prefix + name, BLANK).tracks.get
            for slot, facets in slots:
                if facets is None:
                    found.append(track(slot, NOTHING))
                    continue
                value = facets(gift)
                missing = value is None or (type(value) is tuple and None in value)
                found.append(None if missing else track((slot, value), NOTHING))
        return found

    def trim(self) -> None:
        """Forget the oldest idle states beyond the most that may be; they are read again when needed.

        A sixteenth of them at once, since finding them means walking all.
        """
        if len(self.states) <= self.most:
            return
        surplus = len(self.states) - self.most + self.most // 16
        idle = [key for key, state in self.states.items() if state.busy is None]
        for key in idle[:surplus]:
            del self.states[key]


def role_of(key: str, event: Event) -> str:
    """The role that a key plays in an event."""
    if key.startswith("o:"):
        return "sender" if key[2:] == event.sender else "recipient"
    return ROLES[key[0]]
