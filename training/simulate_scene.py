"""The stage that a story plays on: who takes part, from which machine, paid by which card.

Law: thieves and honest people are cast by the same means; only the parameters of their stories differ.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from training.simulate_drafts import FILLING, drafts, fillings, joined, typed
from training.simulate_orgs import CREDIT, DAY, HOUR, KINDS, MINUTE, PUBLIC_IPS, Ints, Table, World

Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Crew:
    """People who work together and what they use again and again; `mules` are orgs that collect for them."""

    ips: Ints
    devices: Ints
    cards: Ints
    mules: Ints


@dataclass(frozen=True, slots=True)
class Circle:
    """Where the others of a story come from: the host's counterparts, new orgs, the crew's, or anybody."""

    known: float = 0.0
    fresh: float = 0.0
    crew: float = 0.0
    age_days: Range = (0.05, 20.0)


@dataclass(slots=True)
class Scene:
    """One case of one story, beginning `at`. Without a crew the actors are honest."""

    world: World
    rng: np.random.Generator
    start: int
    at: int
    crew: Crew | None = None
    filled: list[Table] = field(default_factory=list)

    def many(self, span: Range) -> int:
        return int(self.rng.integers(int(span[0]), int(span[1]) + 1))

    def gaps(self, n: int, span: Range, unit: int) -> Ints:
        """`n` ascending moments from the beginning on, whose gaps are drawn log-uniformly from a span."""
        gap = np.exp(self.rng.uniform(np.log(span[0]), np.log(span[1]), n)) * unit
        gap[0] = 0
        return self.at + np.cumsum(gap).astype(np.int64)

    def host(self, lives: tuple[str, ...], paying: bool = True) -> int:
        """A customer of one of these lives, founded at least a week before."""
        orgs = self.world.orgs[: self.world.customers]
        fit = np.isin(orgs["kind"], [KINDS[life] for life in lives]) & (orgs["created"] < self.at - 7 * DAY)
        fit = fit & (orgs["tier"] > 0) if paying else fit
        found = np.flatnonzero(fit)
        if not len(found):
            found = np.flatnonzero(orgs["created"] < self.start)
        return int(self.rng.choice(found))

    def giver(self, founded_for_it: float, age_days: Range, lives: tuple[str, ...]) -> int:
        """An org founded for this story, with that chance; otherwise a customer of one of these lives."""
        new = self.rng.random() < founded_for_it
        return int(self.newcomers(1, age_days)[0]) if new else self.host(lives)

    def newcomers(self, n: int, age_days: Range, ip: int | None = None, **given: int) -> Ints:
        """Orgs founded for this story, so many days before it. Many act from few machines: a crew's own, or those of a
        laboratory or a café."""
        age = np.exp(self.rng.uniform(np.log(age_days[0]), np.log(age_days[1]), n)) * DAY
        columns: dict[str, object] = dict(given)
        if ip is not None:
            columns |= {"ip": ip, "ips": 1}
        elif self.crew is not None and self.rng.random() < 0.5:
            columns |= {"ip": self.rng.choice(self.crew.ips, n), "ips": 1}
        if self.crew is not None and self.rng.random() < 0.5:
            columns |= {"device": self.rng.choice(self.crew.devices, n), "devices": 1}
        elif self.crew is None and self.rng.random() < 0.35:
            columns |= {"device": self.rng.choice(self.world.devices(max(2, n // 3)), n), "devices": 1}
        created = self.at - age.astype(np.int64)
        orgs = self.world.found(self.rng, np.full(n, KINDS["newcomer"]), created, **columns)
        known = np.maximum(created + MINUTE, self.start - 5 * DAY)
        tier = self.world.orgs["tier"][orgs]
        self.filled.append(fillings(known, orgs, np.where(tier == 0, 10, 3) * CREDIT))
        return orgs

    def others(self, host: int, n: int, circle: Circle) -> Ints:
        """Up to `n` different orgs, at least one, none of them the host, all founded before the story begins."""
        hosts = np.full(n, host)
        slots = self.rng.integers(0, max(int(self.world.orgs["counterparts"][host]), n), n)
        cast = self.world.anybody(self.rng, np.full(n, self.at))
        odds = np.cumsum([circle.known, circle.fresh, circle.crew])
        source = np.searchsorted(odds, self.rng.random(n), side="right")
        cast[source == 0] = self.world.counterpart(hosts, slots)[source == 0]
        if self.crew is not None and len(self.crew.mules):
            cast[source == 2] = self.rng.choice(self.crew.mules, n)[source == 2]
        cast = np.unique(cast[source != 1])
        cast = cast[(cast != host) & (self.world.orgs["created"][cast] < self.at - MINUTE)]
        fresh = max(int((source == 1).sum()), 0 if len(cast) else 1)
        if fresh:
            cast = np.concatenate([cast, self.newcomers(fresh, circle.age_days)])
        return self.rng.permutation(cast)

    def hands(self, senders: Ints, strange: float) -> tuple[Ints, Ints]:
        """From where each gift is sent: the sender's own places or, in a case that is strange, somebody else's."""
        ip, device = self.world.acting(self.rng, senders)
        if self.rng.random() >= strange:
            return ip, device
        n = len(senders)
        if self.crew is not None:
            ip, machine = self.rng.choice(self.crew.ips, n), self.rng.choice(self.crew.devices)
        else:
            ip, machine = np.full(n, self.rng.integers(0, PUBLIC_IPS)), self.world.devices(1)[0]
        return ip, np.where(self.rng.random(n) < 0.9, machine, device)

    def fill(self, org: int, credits: float, hours_before: Range, card: int) -> None:
        """The host buys credits so many hours before the story begins."""
        before = np.exp(self.rng.uniform(np.log(hours_before[0]), np.log(hours_before[1])))
        created = int(self.world.orgs["created"][org])
        at = max(self.at - int(before * HOUR), created + MINUTE // 2)
        self.filled.append(fillings(at, org, typed(self.rng, np.array([credits]), 1.0), card))

    def card_of(self, org: int, strange: float) -> int:
        """The card that pays: a strange one or the org's own. A strange one is new, stolen or just renewed, or else it
        has paid for others before: the crew's, or that of a partner who pays."""
        if self.rng.random() >= strange:
            return int(self.world.orgs["card"][org])
        if self.rng.random() < 0.6:
            return int(self.world.cards(1)[0])
        if self.crew is not None:
            return int(self.rng.choice(self.crew.cards))
        partner = self.world.counterpart(np.array([org]), np.array([0]))[0]
        return int(self.world.orgs["card"][partner])

    def send(self, at: Ints, sender: Ints, recipient: Ints, strange: float, **given: object) -> Table:
        return drafts(at, sender, recipient, self.hands(sender, strange), **given)

    def fillings(self) -> Table:
        return joined(self.filled, FILLING)


def crews(rng: np.random.Generator, world: World, start: int, end: int) -> list[Crew]:
    """A crew for every five hundred customers, two at least: some bought old orgs, most found their own."""
    found = []
    for _ in range(max(2, world.customers // 500)):
        ips = np.concatenate([rng.integers(0, PUBLIC_IPS, 6), world.ips(4)])
        devices, cards = world.devices(6), world.cards(8)
        n = int(rng.integers(6, 16))
        created = rng.integers(start - 60 * DAY, max(end - DAY, start + DAY), n)
        own = world.found(rng, np.full(n, KINDS["newcomer"]), created, ip=rng.choice(ips, n), ips=1)
        aged = rng.integers(0, world.customers, 4)
        found.append(Crew(ips, devices, cards, np.concatenate([own, aged])))
    return found
