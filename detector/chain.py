"""Whether the log is what was appended, pure. Law 12: an altered, dropped, reordered or inserted row is named.

The walk takes link after link with the events at its places, and keeps aside what does not fit; `findings` then tells
what was done to it. An event's hash covers its own place, so a row that was moved is known by the place it hashes to.
Two things no chain shows by itself: a tail cut off together with a head made to match, and a past rewritten whole with
every hash after it. Only a copy of a later head, kept elsewhere, shows those.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice, product
from typing import NamedTuple

from detector.finding import EVENTS, HEAD, LINKS, Finding, lost, of_event, of_link
from detector.log import NOTHING, Event, Link, event_hash, link_hash

LONGEST = 100_000  # the most events of one link: log.append takes no more
MOST_TRIED = 4_096  # ways to put a broken link together again
MOST_CROSSED = 1_000  # odd events that are tried at each other's places
NO_LINK = Link(0, 0, 0, "", b"", NOTHING)


class Head(NamedTuple):
    """The row of log.head: what the newest event and link should be."""

    seq: int
    link: int
    hash: bytes


def behind(head: Head) -> Link:
    """The link that would come next, as far as the head tells."""
    return Link(head.link + 1, head.seq + 1, head.seq + 1, "", head.hash, b"")


class Broken(NamedTuple):
    """A link whose hash its events do not make, with the places it should hold and what stands there."""

    link: Link
    first: int
    last: int
    events: Sequence[Event]


@dataclass(slots=True)
class Chain:
    """A walk along the log. `before` is the last link taken, `end` the last place that it holds."""

    before: Link = NO_LINK
    end: int = 0
    sound: bool = True
    told: list[Finding] = field(default_factory=list)
    odd: list[Event] = field(default_factory=list)
    strays: list[Event] = field(default_factory=list)
    missing: set[int] = field(default_factory=set)
    broken: list[Broken] = field(default_factory=list)

    def take(self, link: Link, upcoming: Sequence[Event], after: Link | None) -> None:
        """The next link. `upcoming` are the events from `end` on, as far as this link may reach; `after` is the link
        that comes next, or what the head says of it."""
        if self.untouched(link, upcoming):
            self.before, self.end, self.sound = link, link.last_seq, True
            return
        if link.id <= self.before.id:
            self.told.append(of_link("inserted", link, "there is another of this id, or it is before the first"))
            return
        gap = link.id - self.before.id - 1
        self.told += [lost(LINKS, link.id - nr) for nr in range(min(gap, LONGEST), 0, -1)]
        first = link.first_seq if gap and link.first_seq > self.end else self.end + 1
        lasts = [reach for reach in reaches(link, after) if first <= reach < first + LONGEST] or [first - 1]
        chained = after.previous if after and after.id == link.id + 1 else None
        fitting = (reach for reach in lasts if self.whole(link, first, reach, between(upcoming, first, reach), chained))
        last = next(fitting, None)
        if last is None:
            last = lasts[0]
            self.broken.append(Broken(link, first, last, between(upcoming, first, last)))
            self.sound = False
        self.strays += [event for event in upcoming if event.seq <= self.end]
        self.sort(between(upcoming, self.end + 1, last), max(self.end + 1, first - LONGEST), last)
        self.before, self.end = link, last

    def sort(self, events: Sequence[Event], first: int, last: int) -> None:
        """Keep aside what does not make its hash, what stands where another does, and what is missing."""
        kept: dict[int, Event] = {}
        for event in sorted(events, key=lambda one: event_hash(one) != one.hash):
            if event.seq in kept:
                self.strays.append(event)
            elif event_hash(kept.setdefault(event.seq, event)) != event.hash:
                self.odd.append(event)
        self.missing |= set(range(first, last + 1)) - kept.keys()

    def untouched(self, link: Link, upcoming: Sequence[Event]) -> bool:
        """The plain case: all is in its place and makes the hashes that are written."""
        if not self.end < link.last_seq <= self.end + LONGEST:
            return False
        places = range(self.end + 1, link.last_seq + 1)
        here = between(upcoming, places.start, link.last_seq)
        hashes = [event.hash for event in here]
        return (
            link.id == self.before.id + 1
            and link.previous == self.before.hash
            and link.first_seq == places.start
            and len(upcoming) >= len(places)
            and upcoming[0].seq == places.start
            and [event.seq for event in here] == list(places)
            and [event_hash(event) for event in here] == hashes
            and link_hash(link, hashes) == link.hash
        )

    def whole(self, link: Link, first: int, last: int, events: Sequence[Event], chained: bytes | None) -> bool:
        """Whether the events make the link's hash; a link that was itself edited is told of, and counts as whole."""
        ways = at_home(first, last, events)
        followed = link.id != self.before.id + 1 or link.previous == self.before.hash
        if (link.first_seq, link.last_seq) == (first, last) and fits(link, ways, link.hash) is not None:
            if not followed and self.sound:
                self.told.append(
                    of_link("replaced", link, f"it follows another link {self.before.id} than the one here")
                )
            self.sound = True
            return True
        at = events[0].at if events else link.at
        mended = link._replace(first_seq=first, last_seq=last, at=at)
        for trial in (mended, mended._replace(previous=self.before.hash), mended._replace(at=link.at)):
            for hash in (link.hash, chained):
                if hash and fits(trial, ways, hash) is not None:
                    names = [
                        name for name in Link._fields if getattr(trial._replace(hash=hash), name) != getattr(link, name)
                    ]
                    self.told.append(of_link("edited", link, f"changed: {', '.join(names)}"))
                    self.sound = hash == link.hash
                    return True
        return False

    def finish(self, rest: Sequence[Event], head: Head | None) -> None:
        """What stands behind the last link, and whether the head agrees."""
        if head is None:
            self.told.append(lost(HEAD, None))
            self.strays += rest
            return
        last = min(head.seq, self.end + LONGEST) if head.link > self.before.id else self.end
        self.strays += [event for event in rest if not self.end < event.seq <= last]
        self.sort(between(rest, self.end + 1, last), self.end + 1, min(head.seq, self.end + LONGEST))
        self.told += [lost(LINKS, nr) for nr in range(self.before.id + 1, min(head.link, self.before.id + LONGEST) + 1)]
        if (head.seq, head.link) < (self.end, self.before.id):
            detail = f"it says event {head.seq}, link {head.link}, and the log goes on to {self.end}, {self.before.id}"
            self.told.append(
                Finding("edited", HEAD, None, None, None, f"{detail}: it, or what follows, is not the log's")
            )
        elif head.link == self.before.id and head.hash != self.before.hash and self.sound:
            detail = f"its hash is not that of link {head.link}: one of them was changed"
            self.told.append(Finding("edited", HEAD, None, None, None, detail))

    def findings(self) -> list[Finding]:
        """Everything that is wrong, events in order."""
        homes = self.homes()
        moved = {id(event): home for event, home in homes}
        found = [of_event("reordered", event, f"it was appended as event {home}") for event, home in homes]
        edited = [event for event in self.odd if id(event) not in moved]
        found += [of_event("edited", event, "what it says does not make its hash") for event in edited]
        found += [of_event("inserted", event, "no link holds it") for event in self.strays if id(event) not in moved]
        stood = {event.seq for event in edited} | {home for _, home in homes}
        gone = (self.missing | {event.seq for event in self.odd}) - stood
        found += [
            Finding("dropped", EVENTS, seq, None, None, "it was appended and is not there") for seq in sorted(gone)
        ]
        for one in self.broken:
            found += mended(one, homes, {event.seq for event in edited} | gone)
        return self.told + sorted(found, key=lambda one: (one.seq is None, one.seq))

    def homes(self) -> list[tuple[Event, int]]:
        """The odd and stray events that hash to another place than theirs, each with that place."""
        displaced = [*self.odd, *self.strays]
        crossed = displaced if len(displaced) <= MOST_CROSSED else []
        missing = sorted(self.missing) if len(displaced) * len(self.missing) <= MOST_CROSSED**2 else []
        return [(event, home) for event in displaced if (home := home_of(event, crossed, missing)) is not None]


def home_of(event: Event, others: Sequence[Event], missing: Sequence[int]) -> int | None:
    """The place that an event hashes to, if it is not its own."""
    for seq in (event.seq - 1, event.seq + 1, *missing):
        if seq != event.seq and event_hash(event._replace(seq=seq)) == event.hash:
            return seq
    for other in others:
        if other.seq == event.seq:
            continue
        there = event._replace(seq=other.seq, link=other.link, at=other.at)
        if event_hash(there) in (event.hash, other.hash) or event_hash(event._replace(seq=other.seq)) == event.hash:
            return other.seq
    return None


def mended(one: Broken, homes: Sequence[tuple[Event, int]], explained: set[int]) -> Iterator[Finding]:
    """What a broken link tells once the moved events are back in their places: which was put into another's."""
    ways = at_home(one.first, one.last, one.events)
    for event, home in homes:
        if one.first <= home <= one.last:
            ways[home - one.first].insert(0, event.hash)
    found = fits(one.link, ways, one.link.hash)
    places = range(one.first, one.last + 1)
    if found is not None:
        chosen = dict(zip(places, found, strict=True))
        away = {id(event) for event, _ in homes}
        for event in one.events:
            if id(event) not in away and chosen[event.seq] not in (event.hash, event_hash(event)):
                yield of_event("inserted", event, "it stands in another event's place")
    elif explained.isdisjoint(places):
        where = f"{one.first} to {one.last}" if one.first < one.last else f"{one.first}"
        detail = f"link {one.link.id} is over other events than {where}: one was replaced, and its hash with it"
        for event in one.events[:1]:
            yield of_event("replaced", event, detail)
        if not one.events:
            yield of_link("inserted", one.link, "it is over no event that is there")


def at_home(first: int, last: int, events: Sequence[Event]) -> list[list[bytes]]:
    """For each place the hashes that may have stood there: as the row says it, and as it makes it."""
    ways: list[list[bytes]] = [[] for _ in range(first, last + 1)]
    for event in events:
        ways[event.seq - first] += dict.fromkeys((event.hash, event_hash(event)))
    return ways


def fits(link: Link, ways: Sequence[Sequence[bytes]], hash: bytes) -> tuple[bytes, ...] | None:
    """The hashes, one of each place's, that make the link's hash."""
    return next((some for some in islice(product(*ways), MOST_TRIED) if link_hash(link, some) == hash), None)


def reaches(link: Link, after: Link | None) -> list[int]:
    """Up to where a link may hold events: as it says, or up to where the next one begins."""
    if after is None or after.id != link.id + 1:
        return [link.last_seq]
    return list(dict.fromkeys((link.last_seq, after.first_seq - 1)))


def between(events: Sequence[Event], first: int, last: int) -> list[Event]:
    return [event for event in events if first <= event.seq <= last]
