"""The shapes of stories in which one org gives to many or many to one: each is a record of parameters that drafts
the gifts of one case. Law: a shape knows nothing of fraud; a typology and its look-alike share one shape.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from training.simulate_drafts import typed
from training.simulate_orgs import CREDIT, HOUR, MINUTE, Floats, Table
from training.simulate_scene import Circle, Range, Scene

ANY_PAYING = ("team", "lone", "agency", "classroom", "hackathon", "referrer")


class Shape(Protocol):
    """`usual`: about how many gifts one case has."""

    @property
    def usual(self) -> float: ...

    def gifts(self, scene: Scene) -> Table: ...


def middle(span: Range) -> float:
    return sum(span) / 2


def log_uniform(rng: np.random.Generator, span: Range, n: int = 1) -> Floats:
    drawn: Floats = np.exp(rng.uniform(np.log(span[0]), np.log(span[1]), n))
    return drawn


@dataclass(frozen=True, slots=True)
class Drain:
    """An org gives away, gift by gift, a share of what it has left."""

    gifts_each: Range
    share: Range
    gap_minutes: Range
    strange: float
    circle: Circle
    lives: tuple[str, ...] = ANY_PAYING

    @property
    def usual(self) -> float:
        return middle(self.gifts_each)

    def gifts(self, scene: Scene) -> Table:
        host, n = scene.host(self.lives), scene.many(self.gifts_each)
        takers = scene.others(host, n, self.circle)
        to = scene.rng.choice(takers, n)
        at = scene.gaps(n, self.gap_minutes, MINUTE)
        share = scene.rng.uniform(*self.share, n)
        return scene.send(at, np.full(n, host), to, self.strange, share=share)


@dataclass(frozen=True, slots=True)
class Resale:
    """An org buys credits and soon gives most of them to several others."""

    gifts_each: Range
    bought: Range
    hours_before: Range
    gap_minutes: Range
    founded_for_it: float
    age_days: Range
    new_card: float
    strange: float
    circle: Circle

    @property
    def usual(self) -> float:
        return middle(self.gifts_each)

    def gifts(self, scene: Scene) -> Table:
        rng, n = scene.rng, scene.many(self.gifts_each)
        host = scene.giver(self.founded_for_it, self.age_days, ANY_PAYING)
        bought = float(log_uniform(rng, self.bought)[0])
        scene.fill(host, bought, self.hours_before, scene.card_of(host, self.new_card))
        to = rng.choice(scene.others(host, n, self.circle), n)
        amount = typed(rng, bought * rng.dirichlet(np.full(n, 4.0)) * rng.uniform(0.7, 1.0), 0.6)
        return scene.send(scene.gaps(n, self.gap_minutes, MINUTE), np.full(n, host), to, self.strange, amount=amount)


@dataclass(frozen=True, slots=True)
class FanIn:
    """Many young orgs give what they were granted to one collector."""

    senders: Range
    age_days: Range
    share: Range
    hours: Range
    one_address: float
    strange: float
    collector: Circle

    @property
    def usual(self) -> float:
        return middle(self.senders)

    def gifts(self, scene: Scene) -> Table:
        rng, n = scene.rng, scene.many(self.senders)
        host = scene.host(("classroom", "hackathon", "team"))
        collector = host if scene.crew is None else int(scene.others(host, 3, self.collector)[0])
        home = scene.world.orgs["ip"][host] if scene.crew is None else rng.choice(scene.crew.ips)
        shared = int(home) if rng.random() < self.one_address else None
        senders = scene.newcomers(n, self.age_days, shared, tier=0)
        at = scene.at + np.sort(rng.beta(1.0, 1.6, n) * log_uniform(rng, self.hours)[0] * HOUR).astype(np.int64)
        share = rng.uniform(*self.share, n)
        return scene.send(at, rng.permutation(senders), np.full(n, collector), self.strange, share=share)


@dataclass(frozen=True, slots=True)
class Split:
    """One large sum in gifts that each stay just under a round limit."""

    gifts_each: Range
    limits: tuple[int, ...]
    under: Range
    takers: Range
    gap_minutes: Range
    new_card: float
    strange: float
    circle: Circle

    @property
    def usual(self) -> float:
        return middle(self.gifts_each)

    def gifts(self, scene: Scene) -> Table:
        rng, n = scene.rng, scene.many(self.gifts_each)
        host, limit = scene.host(ANY_PAYING), int(rng.choice(self.limits))
        under = np.minimum(rng.uniform(*self.under) + rng.uniform(-0.04, 0.04, n), 0.999)
        amount = typed(rng, limit * under, 0.0)
        scene.fill(host, limit * n, (0.2, 200.0), scene.card_of(host, self.new_card))
        to = rng.choice(scene.others(host, scene.many(self.takers), self.circle), n)
        return scene.send(scene.gaps(n, self.gap_minutes, MINUTE), np.full(n, host), to, self.strange, amount=amount)


@dataclass(frozen=True, slots=True)
class FanOut:
    """One org gives menu-sized gifts to many who never met it."""

    gifts_each: Range
    menu: tuple[float, ...]
    hours: Range
    founded_for_it: float
    new_card: float
    strange: float
    circle: Circle

    @property
    def usual(self) -> float:
        return middle(self.gifts_each)

    def gifts(self, scene: Scene) -> Table:
        rng, n = scene.rng, scene.many(self.gifts_each)
        host = scene.giver(self.founded_for_it, (2.0, 60.0), ANY_PAYING)
        to = scene.others(host, n, self.circle)
        sizes = np.array(self.menu) * log_uniform(rng, (0.5, 2.0))[0]
        amount = typed(rng, rng.choice(sizes, len(to)), 0.8)
        scene.fill(host, float(amount.sum()) / CREDIT * 1.1, (0.5, 120.0), scene.card_of(host, self.new_card))
        at = scene.at + np.sort(rng.random(len(to)) * log_uniform(rng, self.hours)[0] * HOUR).astype(np.int64)
        return scene.send(at, np.full(len(to), host), to, self.strange, amount=amount)
