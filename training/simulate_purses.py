"""The simulator's own books: what each sender had, what it could give, and which purchase paid for it.

Law: no purse is ever negative, and a gift can be spent only after its 24 hours in the lock.
Grants burn first, then purchases, oldest first. What a gift takes travels on piece by piece, each with the moment and
the card of its purchase (law 9); what was granted, from whichever promotion, as one piece.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from training.simulate_drafts import CENT
from training.simulate_orgs import CREDIT, DAY, MINUTE, Ints, Table, World

LOCK = DAY
LEAST = 10 * CENT  # what is left is not worth a gift
PARCEL = 5 * CREDIT  # purchases are of so many credits, or a multiple
GIFT, FILL, USE = 2, 0, 1  # in this order at one moment
EVERY = 20_000  # events between two words about progress

YOUNG = 7 * DAY

Parcel = list[int]  # bought at (-1: granted), card, what is left


@dataclass(slots=True)
class Purse:
    granted: deque[Parcel] = field(default_factory=deque)
    bought: deque[Parcel] = field(default_factory=deque)
    available: int = 0
    seen: int = 0  # when its balance was last put on record

    def put(self, at: int, card: int, amount: int) -> None:
        (self.granted if at < 0 else self.bought).append([at, card, amount])
        self.available += amount

    def take(self, amount: int) -> list[Parcel]:
        """Burn so much; the pieces that it is made of, one a purchase."""
        assert 0 <= amount <= self.available, (amount, self.available)
        self.available -= amount
        pieces: list[Parcel] = []
        for parcels in (self.granted, self.bought):
            while amount and parcels:
                parcel = parcels[0]
                part = min(amount, parcel[2])
                amount -= part
                parcel[2] -= part
                if pieces and pieces[-1][:2] == parcel[:2]:
                    pieces[-1][2] += part
                else:
                    pieces.append([parcel[0], parcel[1], part])
                if not parcel[2]:
                    parcels.popleft()
        return pieces


@dataclass(slots=True)
class Books:
    """One column a gift, in the order of the drafts; an amount of 0 could not be given."""

    amount: Ints
    available: Ints
    bought_at: Ints  # the youngest purchase that it spends
    card: Ints  # that purchase's
    promo: Ints  # granted credits in it
    young: Ints  # credits in it that were bought less than 7 days before

    @classmethod
    def of(cls, gifts: int) -> Books:
        return cls(*(np.full(gifts, fill, np.int64) for fill in (0, 0, -1, -1, 0, 0)))

    def note(self, row: int, now: int, pieces: list[Parcel]) -> None:
        """What a gift is made of."""
        self.bought_at[row], self.card[row], _ = max(pieces, key=lambda piece: piece[0])
        self.promo[row] = sum(piece[2] for piece in pieces if piece[0] < 0)
        self.young[row] = sum(piece[2] for piece in pieces if piece[0] > now - YOUNG)


def kept(
    rng: np.random.Generator,
    world: World,
    drafts: Table,
    filled: Table,
    end: int,
    step: Callable[[float], None] = lambda share: None,
) -> Books:
    """Play everything in order of time. `drafts` must be sorted by it."""
    uses_at, uses_org, uses_share = _uses(rng, world, int(drafts["at"][0]) if len(drafts) else end, end)
    at = np.concatenate([drafts["at"], filled["at"], uses_at])
    kind = np.repeat([GIFT, FILL, USE], [len(drafts), len(filled), len(uses_at)])
    index = np.concatenate([np.arange(len(drafts)), np.arange(len(filled)), np.arange(len(uses_at))])
    order = np.lexsort((index, kind, at))
    teller = _Teller.of(rng, world, drafts)
    fills = list(zip(*(filled[name].tolist() for name in ("at", "org", "amount", "card")), strict=True))
    uses = list(zip(uses_org.tolist(), uses_share.tolist(), strict=True))
    events = zip(*(column[order].tolist() for column in (at, kind, index)), strict=True)
    for turn, (now, what, row) in enumerate(events):
        teller.open_locks(now)
        if what == GIFT:
            teller.gift(row, now)
        elif what == FILL:
            when, org, amount, card = fills[row]
            teller.purses[org].put(when if card >= 0 else -1, card, amount)
        else:
            teller.use(*uses[row])
        if turn % EVERY == 0:
            step(turn / len(order))
    return teller.books


def _uses(rng: np.random.Generator, world: World, start: int, end: int) -> tuple[Ints, Ints, Ints]:
    """Every few days each org uses some permille of its credits for what the platform really sells."""
    spans = np.maximum(end - np.maximum(world.orgs["created"], start), 0) / DAY
    org = np.repeat(np.arange(len(world.orgs)), rng.poisson(spans / 4.0))
    first = np.maximum(world.orgs["created"][org], start)
    at = first + ((end - first) * rng.random(len(org))).astype(np.int64)
    return at, org, rng.integers(5, 120, len(org))


@dataclass(slots=True)
class _Teller:
    """Plays events one by one: plain numbers in lists, as a table read by element is ten times slower."""

    purses: list[Purse]
    cards: list[int]
    created: list[int]
    books: Books
    drafts: list[tuple[int, int, int, float, bool]]
    luck: list[tuple[float, float, float]]
    locked: deque[tuple[int, int, list[Parcel]]] = field(default_factory=deque)

    @classmethod
    def of(cls, rng: np.random.Generator, world: World, drafts: Table) -> _Teller:
        columns = ("sender", "recipient", "amount", "share", "funds")
        n = len(drafts)
        luck = (rng.uniform(0.4, 0.98, n), rng.lognormal(0.3, 0.6, n), rng.lognormal(-1.0, 2.0, n))
        return cls(
            [Purse() for _ in world.orgs],
            world.orgs["card"].tolist(),
            world.orgs["created"].tolist(),
            Books.of(n),
            list(zip(*(drafts[name].tolist() for name in columns), strict=True)),
            list(zip(*(one.tolist() for one in luck), strict=True)),
        )

    def open_locks(self, now: int) -> None:
        while self.locked and self.locked[0][0] <= now:
            _, recipient, pieces = self.locked.popleft()
            for piece in pieces:
                self.purses[recipient].put(*piece)

    def gift(self, row: int, now: int) -> None:
        sender, recipient, amount, share, funds = self.drafts[row]
        purse = self.purses[sender]
        if share == share:  # not NaN: a share of what is there
            amount = int(share * purse.available) // CENT * CENT
        if amount > purse.available and funds:
            self.buy(row, sender, amount - purse.available, now)
        if amount > purse.available:
            amount = int(purse.available * self.luck[row][0]) // CENT * CENT
        if amount < LEAST:
            return
        books = self.books
        books.available[row], books.amount[row] = purse.available, amount
        pieces = purse.take(amount)
        books.note(row, now, pieces)
        purse.seen = now
        self.locked.append((now + LOCK, recipient, pieces))

    def buy(self, row: int, org: int, lacking: int, now: int) -> None:
        """The sender bought what lacks a while ago, but after what its last gift put on record."""
        _, generous, days = self.luck[row]
        purse = self.purses[org]
        earliest = max(purse.seen, self.created[org]) + 1
        at = max(min(now - MINUTE // 4, now - int(min(days, 40.0) * DAY)), earliest)
        parcels = -(-int(lacking * max(generous, 1.0)) // PARCEL)
        purse.put(min(at, now), self.cards[org], parcels * PARCEL)

    def use(self, org: int, permille: int) -> None:
        purse = self.purses[org]
        purse.take(purse.available * permille // 1000)
