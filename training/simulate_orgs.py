"""Who lives on a synthetic platform: one row an org, founded as the platform grows. Law: ids of orgs, addresses,
devices and cards are handed out once and tell nothing about who is a thief.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Table = npt.NDArray[np.void]

CREDIT = 1_000_000
MINUTE, HOUR, DAY = 60_000_000, 3_600_000_000, 86_400_000_000

TIERS = ("free", "standard", "business", "enterprise")
IDENTITIES = ("none", "basic", "full")
TIER_SCALE = np.array([0.25, 1.0, 4.0, 15.0])
# Identity level given the tier: the more an org pays, the more it had to show.
IDENTITY_ODDS = np.array([[0.65, 0.30, 0.05], [0.15, 0.60, 0.25], [0.02, 0.28, 0.70], [0.0, 0.05, 0.95]])
# Hours from UTC of the customers' homes, and how many live there: the Americas, Europe, Asia.
ZONES = np.array([-8, -6, -5, -3, 0, 1, 2, 3, 5, 8, 9, 10])
ZONE_ODDS = np.array([0.14, 0.06, 0.16, 0.05, 0.12, 0.16, 0.05, 0.03, 0.08, 0.08, 0.05, 0.02])
PUBLIC_IPS = 240  # exits of VPNs, airports and cafés: strangers share them, honest or not


@dataclass(frozen=True, slots=True)
class Life:
    """How one kind of org gifts. `wide`: its counterparts are strangers to each other, not a circle."""

    name: str
    share: float
    gifts_a_day: float
    counterparts: tuple[int, int]
    novelty: float
    credits: float
    tiers: tuple[float, float, float, float]
    weekend: float
    wide: bool = False


LIVES = (
    Life("team", 0.33, 0.30, (2, 7), 0.010, 20, (0.10, 0.55, 0.28, 0.07), 0.25),
    Life("lone", 0.34, 0.07, (1, 4), 0.120, 8, (0.45, 0.50, 0.05, 0.00), 1.10),
    Life("agency", 0.10, 0.90, (8, 30), 0.020, 60, (0.00, 0.35, 0.55, 0.10), 0.15, wide=True),
    Life("classroom", 0.05, 0.12, (2, 6), 0.020, 10, (0.15, 0.55, 0.20, 0.10), 0.40),
    Life("hackathon", 0.03, 0.10, (2, 6), 0.030, 25, (0.00, 0.40, 0.40, 0.20), 0.80),
    Life("reseller", 0.02, 5.00, (60, 300), 0.040, 40, (0.00, 0.00, 0.60, 0.40), 0.60, wide=True),
    Life("referrer", 0.06, 0.10, (1, 5), 0.050, 8, (0.20, 0.60, 0.20, 0.00), 0.90),
    # Not seen for months: their owners come back one day, or a thief does.
    Life("dormant", 0.07, 0.001, (1, 5), 0.010, 25, (0.10, 0.60, 0.25, 0.05), 0.60),
    # Brought in by others: students, people at a hackathon, friends. Not among the customers asked for.
    Life("guest", 0.0, 0.012, (1, 3), 0.100, 4, (0.90, 0.10, 0.00, 0.00), 1.00),
    # Founded for a story: a mule, a farmed org, or the new org of somebody honest.
    Life("newcomer", 0.0, 0.010, (1, 3), 0.100, 8, (0.70, 0.28, 0.02, 0.00), 0.80),
)
KINDS = {life.name: kind for kind, life in enumerate(LIVES)}

ORG = np.dtype(
    [(name, "i8") for name in ("created", "kind", "tier", "identity", "owner", "zone", "place", "stride")]
    + [(name, "i8") for name in ("counterparts", "ip", "ips", "device", "devices", "card")]
    + [(name, "f8") for name in ("peak", "hours", "weekend", "rate", "scale", "sigma", "rounds", "novelty")]
)


@dataclass(slots=True)
class World:
    """Every org so far, by number. The customers come first, in order of their founding."""

    rows: Table = field(default_factory=lambda: np.zeros(1_024, ORG))
    count: int = 0
    customers: int = 0
    circle: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    next_ip: int = PUBLIC_IPS
    next_device: int = 0
    next_card: int = 0

    @property
    def orgs(self) -> Table:
        return self.rows[: self.count]

    def found(self, rng: np.random.Generator, kinds: Ints, created: Ints, **given: Any) -> Ints:
        """New orgs and their habits; `given` columns replace what would be drawn. Returns their numbers."""
        n, first = len(kinds), self.count
        new = np.zeros(n, ORG)
        new["kind"], new["created"] = kinds, created
        _standing(rng, new)
        _habits(rng, new)
        new["owner"] = first + np.arange(n)
        new["place"] = rng.integers(0, max(self.customers, n), n)
        new["ips"], new["devices"] = rng.integers(1, 5, n), rng.integers(1, 4, n)
        new["ip"], new["device"] = self.ips(n * 4)[::4], self.devices(n * 3)[::3]
        new["card"] = self.cards(n)
        for name, column in given.items():
            new[name] = column
        if first + n > len(self.rows):
            self.rows = np.concatenate([self.orgs, np.zeros(first + 2 * n, ORG)])
        self.rows[first : first + n] = new
        self.count += n
        return first + np.arange(n)

    def ips(self, n: int) -> Ints:
        self.next_ip += n
        return np.arange(self.next_ip - n, self.next_ip)

    def devices(self, n: int) -> Ints:
        self.next_device += n
        return np.arange(self.next_device - n, self.next_device)

    def cards(self, n: int) -> Ints:
        self.next_card += n
        return np.arange(self.next_card - n, self.next_card)

    def counterpart(self, org: Ints, slot: Ints) -> Ints:
        """The org in one slot of another's counterparts: near on the circle, so mutual, or far if its life is wide."""
        row = self.orgs[org]
        near = (slot // 2 + 1) * np.where(slot % 2 == 0, 1, -1)
        step = np.where(row["stride"] > 0, row["stride"] * (slot + 1), near)
        found: Ints = self.circle[(row["place"] + step) % self.customers]
        return found

    def anybody(self, rng: np.random.Generator, at: Ints) -> Ints:
        """Any customer that existed at each of these moments."""
        existing = np.searchsorted(self.orgs["created"][: self.customers], at, side="right")
        return np.floor(rng.random(len(at)) * np.maximum(existing, 1)).astype(np.int64)

    def acting(self, rng: np.random.Generator, org: Ints) -> tuple[Ints, Ints]:
        """Address and device of each act, as each org is used to: mostly its first ones, -1 where none is known."""
        row, n = self.orgs[org], len(org)
        ip = row["ip"] + np.floor(rng.random(n) ** 2 * row["ips"]).astype(np.int64)
        device = row["device"] + np.floor(rng.random(n) ** 2 * row["devices"]).astype(np.int64)
        away, new = rng.random(n) < 0.03, rng.random(n) < 0.012
        ip[away] = rng.integers(0, PUBLIC_IPS, int(away.sum()))
        device[new] = self.devices(int(new.sum()))
        ip[rng.random(n) < 0.02] = -1
        device[(row["devices"] == 0) | (rng.random(n) < 0.02)] = -1
        return ip, device


def customers(rng: np.random.Generator, orgs: int, start: int, end: int) -> World:
    """A world of customers: four years of growth, ever faster, the last of it within the history."""
    world = World(customers=orgs)
    kinds = rng.choice(len(LIVES), orgs, p=[life.share for life in LIVES])
    created = np.sort(end - (rng.exponential(500.0, orgs) % 1460.0 * DAY).astype(np.int64))
    created[:10] = np.minimum(created[:10], start - 30 * DAY)  # somebody is there from the first day on
    asleep = kinds == KINDS["dormant"]
    kinds[asleep & (created > start - 90 * DAY)] = KINDS["lone"]
    place = rng.permutation(orgs)
    world.found(rng, kinds, created, place=place)
    world.circle = np.argsort(place)
    _shared(rng, world)
    return world


def _shared(rng: np.random.Generator, world: World) -> None:
    """Some neighbours on the circle share an owner, an office's address or machine, or a company card; some use an
    API."""
    rows, n = world.orgs, world.customers
    neighbour = world.circle[(rows["place"] + 1) % n]
    for column, share in (("owner", 0.04), ("ip", 0.08), ("card", 0.04), ("device", 0.03)):
        mask = rng.random(n) < share
        rows[column][mask] = rows[column][neighbour[mask]]
    rows["devices"][rng.random(n) < 0.06] = 0


def _standing(rng: np.random.Generator, new: Table) -> None:
    odds = np.array([life.tiers for life in LIVES])[new["kind"]]
    new["tier"] = _drawn(rng, odds)
    new["identity"] = _drawn(rng, IDENTITY_ODDS[new["tier"]])


def _habits(rng: np.random.Generator, new: Table) -> None:
    n, kinds = len(new), new["kind"]
    wide = np.array([life.wide for life in LIVES])[kinds]
    low, high = np.array([life.counterparts for life in LIVES])[kinds].T
    new["counterparts"] = rng.integers(low, high + 1)
    new["stride"] = np.where(wide, rng.integers(7, 2_000, n) * 2 + 1, 0)
    new["rate"] = np.array([life.gifts_a_day for life in LIVES])[kinds] * np.exp(0.7 * rng.standard_normal(n) - 0.25)
    new["novelty"] = np.array([life.novelty for life in LIVES])[kinds] * np.exp(0.5 * rng.standard_normal(n))
    new["weekend"] = np.array([life.weekend for life in LIVES])[kinds]
    usual = np.array([life.credits for life in LIVES])[kinds] * TIER_SCALE[new["tier"]]
    new["scale"] = usual * np.exp(0.9 * rng.standard_normal(n))
    new["sigma"] = rng.uniform(0.25, 1.1, n)
    new["rounds"] = rng.beta(0.8, 0.8, n)
    new["zone"] = rng.choice(ZONES, n, p=ZONE_ODDS)
    new["peak"] = rng.normal(14.0, 2.5, n)
    new["hours"] = rng.uniform(1.5, 5.0, n)


def _drawn(rng: np.random.Generator, odds: Floats) -> Ints:
    """One category a row, by that row's odds."""
    drawn: Ints = (rng.random(len(odds))[:, None] > np.cumsum(odds, axis=1)[:, :-1]).sum(axis=1)
    return drawn
