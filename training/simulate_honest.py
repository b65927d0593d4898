"""Everyday gifts: every org by its own habit, and the classrooms, hackathons and referrals that bring guests.

Law: nothing here knows of fraud; a gift follows from who gives, the calendar and chance.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np

from training.simulate_drafts import CENT, DRAFT, drafts, fillings, joined, typed
from training.simulate_orgs import CREDIT, DAY, HOUR, KINDS, MINUTE, TIERS, Floats, Ints, Table, World

# How lively each month of the year is: quiet in July and August, busy before the holidays.
MONTHS = np.array([0.92, 0.97, 1.02, 1.02, 1.0, 0.97, 0.85, 0.82, 1.04, 1.06, 1.12, 1.25])
TERM_STARTS = ((1, 12), (2, 16), (4, 7), (8, 26), (9, 8), (10, 20))  # month and day
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def habits(rng: np.random.Generator, world: World, start: int, end: int) -> Table:
    """Every org's own gifts: how many by its rate and the season, when by its hours, to whom by its circle."""
    days = (end - start) // DAY
    org, day = _days(rng, world, start, int(days))
    row = world.orgs[org]
    hour = (row["peak"] + row["hours"] * rng.standard_normal(len(org))) % 24.0
    at = start + day * DAY + ((hour - row["zone"]) * HOUR).astype(np.int64)
    at = np.where(at < start, at + DAY, at)
    early = row["created"] + MINUTE + (rng.exponential(6.0, len(org)) * HOUR).astype(np.int64)
    at = _sittings(rng, org, np.where(at <= row["created"] + MINUTE, early, at))
    keep = at < end
    org, at, row = org[keep], at[keep], row[keep]
    slot = np.floor(rng.random(len(org)) ** 2 * row["counterparts"]).astype(np.int64)
    recipient = world.counterpart(org, slot)
    elsewhere = (rng.random(len(org)) < row["novelty"]) | (world.orgs["created"][recipient] >= at)
    recipient = np.where(elsewhere, world.anybody(rng, at), recipient)
    amount = _amounts(rng, row, np.ones(len(org)))
    rows = drafts(at, org, recipient, world.acting(rng, org), amount=amount, funds=row["tier"] > 0)
    kept: Table = rows[(recipient != org) & (world.orgs["created"][recipient] < at)]
    return kept


def _days(rng: np.random.Generator, world: World, start: int, days: int) -> tuple[Ints, Ints]:
    """Org and day of each gift: a Poisson draw over the days that the org exists, weighed by season and weekend."""
    orgs = world.orgs
    dates = [EPOCH + timedelta(microseconds=start) + timedelta(days=day) for day in range(days)]
    season = np.array([MONTHS[date.month - 1] for date in dates])
    weekend = np.array([date.weekday() >= 5 for date in dates])
    # Orgs that like weekends about equally share a calendar, so that no org × day table is ever made.
    liking = np.clip(np.rint(orgs["weekend"] * 4), 0, 5).astype(np.int64)
    found_org, found_day = [], []
    for like in range(6):
        members = np.flatnonzero(liking == like)
        weight = np.concatenate([[0.0], np.cumsum(season * np.where(weekend, like / 4, 1.0))])
        first = np.clip((orgs["created"][members] - start) // DAY, 0, days)
        span = weight[-1] - weight[first]
        org = np.repeat(np.arange(len(members)), rng.poisson(orgs["rate"][members] * span))
        drawn = weight[first[org]] + rng.random(len(org)) * span[org]
        found_day.append(np.clip(np.searchsorted(weight, drawn, side="right") - 1, 0, max(days - 1, 0)))
        found_org.append(members[org])
    return np.concatenate(found_org), np.concatenate(found_day)


def _sittings(rng: np.random.Generator, org: Ints, at: Ints) -> Ints:
    """A third of the gifts follow the org's gift before them by minutes: people do such things in one sitting."""
    order = np.lexsort((at, org))
    org, at = org[order], at[order]
    close = (rng.random(len(org)) < 0.33) & (org == np.roll(org, 1)) & (at - np.roll(at, 1) < 3 * DAY)
    close[:1] = False
    soon = np.roll(at, 1) + (MINUTE * rng.lognormal(0.7, 1.0, len(org))).astype(np.int64)
    at = np.where(close, soon, at)
    back = np.empty_like(at)
    back[order] = at
    return back


def _amounts(rng: np.random.Generator, row: Table, factor: Floats) -> Ints:
    credits = row["scale"] * factor * np.exp(row["sigma"] * rng.standard_normal(len(row)))
    return typed(rng, credits, row["rounds"])


def gatherings(rng: np.random.Generator, world: World, start: int, end: int) -> Table:
    """Gifts to newly founded guests: lessons at the start of term, weekends of hackathons, referrals."""
    parts = [_lesson(rng, world, host, at) for host, at in _terms(rng, world, start, end)]
    parts += [_hackathon(rng, world, host, at) for host, at in _weekends(rng, world, start, end)]
    parts.append(_referrals(rng, world, start, end))
    rows = joined(parts, DRAFT)
    return rows[(rows["at"] >= start) & (rows["at"] < end)]


def _terms(rng: np.random.Generator, world: World, start: int, end: int) -> list[tuple[int, int]]:
    """Host and moment of every course: most around a term's start, in the host's working hours."""
    hosts = np.flatnonzero(world.orgs["kind"] == KINDS["classroom"])
    years = range((EPOCH + timedelta(microseconds=start)).year, (EPOCH + timedelta(microseconds=end)).year + 1)
    first = [datetime(year, *term, tzinfo=UTC) for year in years for term in TERM_STARTS]
    found = []
    for term in first:
        base = (term - EPOCH) // timedelta(microseconds=1)
        for host in hosts[rng.random(len(hosts)) < 0.3]:
            at = base + int((rng.normal(3.0, 5.0) // 1 * DAY) + rng.uniform(8, 17) * HOUR) - _offset(world, host)
            if start <= at < end and world.orgs["created"][host] < at - DAY:
                found.append((int(host), at))
    return found


def _weekends(rng: np.random.Generator, world: World, start: int, end: int) -> list[tuple[int, int]]:
    """Host and first moment of every hackathon: a Friday evening, about three a year and host."""
    hosts = np.flatnonzero(world.orgs["kind"] == KINDS["hackathon"])
    found = []
    for host in np.repeat(hosts, rng.poisson((end - start) / DAY / 120, len(hosts))):
        drawn = int(rng.integers(start, end))
        friday = (drawn // DAY - (drawn // DAY + 3 - 4) % 7) * DAY  # 1970-01-01 was a Thursday, weekday 3
        at = friday + 18 * HOUR - _offset(world, host)
        if world.orgs["created"][host] < at - DAY:
            found.append((int(host), at))
    return found


def _offset(world: World, host: int | np.int64) -> int:
    return int(world.orgs["zone"][host]) * HOUR


def _lesson(rng: np.random.Generator, world: World, host: int, at: int) -> Table:
    """The same gift to each of a class of new orgs within the hour, and often a second one in the weeks after."""
    n = int(rng.integers(6, 28))
    campus = world.orgs["ip"][host] if rng.random() < 0.7 else None
    founded = at - (rng.exponential(1.5, n) * DAY).astype(np.int64) - MINUTE
    guests = _guests(rng, world, founded, campus, laboratory=campus is not None and rng.random() < 0.4)
    amount = int(typed(rng, np.array([rng.lognormal(2.0, 0.7)]), 0.9)[0])
    times = at + np.sort(rng.uniform(0, rng.uniform(2, 90) * MINUTE, n)).astype(np.int64)
    if rng.random() < 0.5:
        guests, times = np.tile(guests, 2), np.concatenate([times, times + int(rng.integers(10, 40)) * DAY])
    hosts = np.full(len(times), host)
    return drafts(times, host, guests, world.acting(rng, hosts), amount=amount, funds=True)


def _hackathon(rng: np.random.Generator, world: World, host: int, at: int) -> Table:
    """A burst to many new orgs over a weekend, in a few sizes of prize and starter gift."""
    n = int(rng.integers(10, 50))
    times = at + np.sort(rng.beta(1.2, 2.5, n) * 52 * HOUR).astype(np.int64)
    venue = world.orgs["ip"][host] if rng.random() < 0.6 else None
    guests = _guests(rng, world, times - (rng.exponential(0.4, n) * DAY).astype(np.int64) - MINUTE, venue)
    starter = float(rng.lognormal(2.7, 0.6))
    amount = typed(rng, starter * rng.choice([1.0, 5.0, 20.0], n, p=[0.9, 0.07, 0.03]), 1.0)
    hosts = np.full(n, host)
    return drafts(times, host, guests, world.acting(rng, hosts), amount=amount, funds=True)


def _referrals(rng: np.random.Generator, world: World, start: int, end: int) -> Table:
    """Gifts to friends who joined minutes or days ago because of them."""
    orgs = world.orgs
    likely = np.where(orgs["kind"] == KINDS["referrer"], 0.12, 0.003)
    host = np.repeat(np.arange(len(orgs)), rng.poisson(likely * (end - start) / DAY))
    at = rng.integers(start, end, len(host))
    row = orgs[host]
    local = (row["peak"] + row["hours"] * rng.standard_normal(len(host))) % 24.0
    at = at // DAY * DAY + ((local - row["zone"]) * HOUR).astype(np.int64)
    keep = at > row["created"] + DAY
    host, at, row = host[keep], at[keep], row[keep]
    guests = _guests(rng, world, at - (rng.lognormal(-1.5, 2.0, len(at)) * DAY).astype(np.int64) - MINUTE, None)
    amount = _amounts(rng, row, np.full(len(host), 0.6))
    return drafts(at, host, guests, world.acting(rng, host), amount=amount, funds=row["tier"] > 0)


def _guests(rng: np.random.Generator, world: World, created: Ints, ip: int | None, *, laboratory: bool = False) -> Ints:
    """New orgs; at an address they share it, in a laboratory also its few machines."""
    shared: dict[str, object] = {} if ip is None else {"ip": ip, "ips": 2}
    if laboratory:
        machines = world.devices(max(2, len(created) // 3))
        shared |= {"device": rng.choice(machines, len(created)), "devices": 1}
    return world.found(rng, np.full(len(created), KINDS["guest"]), created, **shared)


def funding(rng: np.random.Generator, world: World, start: int, end: int) -> Table:
    """What fills purses: a balance to begin with, free-tier grants each month, purchases by habit, promotions."""
    orgs = world.orgs
    every = np.arange(len(orgs))
    old = np.flatnonzero((orgs["created"] < start - DAY) & (orgs["tier"] > 0))
    spent = orgs["scale"] * np.maximum(orgs["rate"] * 30.0, 1.0)  # what it gives away in a month
    before = np.minimum(rng.exponential(25.0, len(old)) * DAY, start - orgs["created"][old] - HOUR).astype(np.int64)
    stock = _parcel(rng, np.maximum(spent[old] * 0.5, orgs["scale"][old] * 4))
    parts = [fillings(start - before, old, stock, orgs["card"][old])]
    free = np.where(orgs["tier"] == TIERS.index("free"), 10, 2) * CREDIT
    parts.append(fillings(np.maximum(orgs["created"], start - 10 * DAY), every, free))
    for month in range(start, end, 30 * DAY):
        at = month + rng.integers(0, 30 * DAY, len(orgs))
        living, lucky = at > orgs["created"] + DAY, rng.random(len(orgs)) < 0.04
        for who, amount in ((orgs["tier"] == 0, np.full(len(orgs), 10 * CREDIT)), (lucky, _promotion(rng, len(orgs)))):
            parts.append(fillings(at[living & who], every[living & who], amount[living & who]))
        buying = living & (orgs["tier"] > 0) & (rng.random(len(orgs)) < 0.7)
        parcel = _parcel(rng, np.maximum(spent * 0.9, orgs["scale"] * 2))
        parts.append(fillings(at[buying], every[buying], parcel[buying], orgs["card"][buying]))
    rows = np.concatenate(parts)
    return rows[rows["at"] < end]


def _parcel(rng: np.random.Generator, credits: Floats) -> Ints:
    """A purchase of about so much, in a round number of credits, as price lists have them."""
    parcel = typed(rng, credits * rng.lognormal(0.2, 0.5, len(credits)), 1.5)
    return np.maximum(parcel // (500 * CENT), 1) * 500 * CENT


def _promotion(rng: np.random.Generator, n: int) -> Ints:
    return rng.choice([5, 10, 20, 50], n, p=[0.4, 0.4, 0.15, 0.05]) * CREDIT
