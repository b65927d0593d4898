"""The shapes of stories in which credits travel: round a circle, down a chain, crosswise, or drop by drop.

Law: as in simulate_shapes, a shape knows nothing of fraud.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.simulate_drafts import typed
from training.simulate_orgs import CREDIT, DAY, HOUR, Floats, Ints, Table
from training.simulate_scene import Circle, Range, Scene
from training.simulate_shapes import ANY_PAYING, log_uniform, middle


@dataclass(frozen=True, slots=True)
class Cycle:
    """Gifts go round and come back to where they began."""

    members: Range
    laps: Range
    credits: Range
    keep: Range
    gap_hours: Range
    strange: float
    circle: Circle

    @property
    def usual(self) -> float:
        return middle(self.members) * middle(self.laps)

    def gifts(self, scene: Scene) -> Table:
        rng, host = scene.rng, scene.host(ANY_PAYING)
        cast = scene.others(host, scene.many(self.members) - 1, self.circle)
        round_trip = np.concatenate([[host], cast])
        n = len(round_trip) * scene.many(self.laps)
        sender = np.resize(round_trip, n)
        to = np.resize(np.roll(round_trip, -1), n)
        sums: Floats = log_uniform(rng, self.credits)[0] * np.cumprod(rng.uniform(*self.keep, n))
        scene.fill(host, float(sums[0]) * 1.2, (1.0, 300.0), scene.card_of(host, 0.2))
        at = scene.gaps(n, self.gap_hours, HOUR)
        return scene.send(at, sender, to, self.strange, amount=typed(rng, sums, 0.4))


@dataclass(frozen=True, slots=True)
class Chain:
    """A sum passes through org after org, each keeping a little, and is shared out at the end."""

    hops: Range
    leaves: Range
    bought: Range
    keep: Range
    wait_hours: Range
    new_card: float
    strange: float
    circle: Circle

    @property
    def usual(self) -> float:
        return middle(self.hops) + middle(self.leaves)

    def gifts(self, scene: Scene) -> Table:
        rng, host = scene.rng, scene.host(ANY_PAYING)
        bought = float(log_uniform(rng, self.bought)[0])
        scene.fill(host, bought, (0.5, 150.0), scene.card_of(host, self.new_card))
        cast = np.concatenate([[host], scene.others(host, scene.many(self.hops), self.circle)])
        ends = scene.others(int(cast[-1]), scene.many(self.leaves), self.circle)
        at = scene.gaps(len(cast), self.wait_hours, HOUR)
        passed: Floats = np.cumprod(rng.uniform(*self.keep, len(cast) - 1)) * np.float64(bought * 0.9)
        amount = typed(rng, passed, 0.5)
        last = typed(rng, np.full(len(ends), amount[-1] / CREDIT / len(ends) * 0.95), 0.3)
        shared = at[-1] + (rng.random(len(ends)) * 6 * HOUR).astype(np.int64)
        sender = np.concatenate([cast[:-1], np.full(len(ends), cast[-1])])
        to, when = np.concatenate([cast[1:], ends]), np.concatenate([at[:-1], shared])
        rows = scene.send(when, sender, to, self.strange, amount=np.concatenate([amount, last]))
        others: Table = rows[sender != to]
        return others


@dataclass(frozen=True, slots=True)
class Ring:
    """A handful of orgs give to each other, crosswise, for days."""

    members: Range
    gifts_each: Range
    days: Range
    credits: Range
    strange: float
    circle: Circle

    @property
    def usual(self) -> float:
        return middle(self.gifts_each)

    def gifts(self, scene: Scene) -> Table:
        rng, host = scene.rng, scene.host(ANY_PAYING)
        members = np.concatenate([[host], scene.others(host, scene.many(self.members) - 1, self.circle)])
        n, count = scene.many(self.gifts_each), len(members)
        giver = rng.integers(0, count, n)
        to = members[(giver + rng.integers(1, count, n)) % count]
        credits = log_uniform(rng, self.credits)[0] * rng.lognormal(0.0, 0.5, n)
        for member in members:
            spent = float(credits[members[giver] == member].sum())
            if spent and rng.random() < 0.8:
                scene.fill(int(member), spent, (0.5, 200.0), scene.card_of(int(member), 0.15))
        at = scene.at + np.sort(rng.uniform(0, rng.uniform(*self.days), n) * DAY).astype(np.int64)
        return scene.send(at, members[giver], to, self.strange, amount=typed(rng, credits, 0.5))


@dataclass(frozen=True, slots=True)
class Bleed:
    """Small gifts, week after week, from one org to the same few."""

    gifts_each: Range
    every_hours: Range
    credits: Range
    takers: Range
    strange: float
    circle: Circle

    @property
    def usual(self) -> float:
        return middle(self.gifts_each)

    def gifts(self, scene: Scene) -> Table:
        rng, n = scene.rng, scene.many(self.gifts_each)
        host = scene.host(ANY_PAYING)
        scale = np.clip(float(scene.world.orgs["scale"][host]), 4.0, 200.0)
        to: Ints = rng.choice(scene.others(host, scene.many(self.takers), self.circle), n)
        amount = typed(rng, scale * log_uniform(rng, self.credits, n), 0.4)
        pace = log_uniform(rng, self.every_hours)[0]
        at = scene.gaps(n, (pace * 0.7, pace * 1.4), HOUR)
        return scene.send(at, np.full(n, host), to, self.strange, amount=amount, funds=True)
