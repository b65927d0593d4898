"""How far out in its tail each feature is, summed: the score that needs no labels. Law: a null is neutral.

A tail is a feature, the direction in which it is suspicious and a table: sorted knots of its value (negated when
low is suspicious) and one surprise more than knots. A row's surprise is that of the last knot it comes up to:
as a rule −log of the share of training gifts that are as far out, so that it grows outwards. A feature may have two
tails, one a direction. As in ECOD (Li et al., TKDE 2022), with the directions given and a weight for each; and of the
tails of one family, which measure the same thing, the greatest alone counts.
"""

from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np

from models.errors import ArtifactRefused
from models.forest import Floats, Ints

KNOTS = 1023
TAILS = 1_000


class Tail(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One tail as it is stored: `surprises` has one element more than `knots`."""

    feature: str
    direction: Literal["high", "low"]
    weight: float
    knots: tuple[float, ...]
    surprises: tuple[float, ...]
    family: str = ""  # none


@dataclass(frozen=True, slots=True)
class Tails:
    """All tails as one table, every tail filled up to the same 2^k - 1 knots.

    `levels` are the knots as a binary search meets them: level l has 2^l of each tail.
    """

    columns: Ints
    signs: Floats
    levels: tuple[Floats, ...]
    surprises: Floats  # 2^k of each tail, weights included
    families: tuple[Ints, ...]  # the tails of each

    def terms(self, vectors: Floats) -> Floats:
        """The weighted surprise of each tail (n, tails); 0 for a null, and for what another of its family exceeds."""
        values = vectors.take(self.columns, axis=1) * self.signs
        place = np.repeat(np.arange(len(self.columns))[None], len(values), axis=0)
        for level in self.levels:
            passed = level.take(place) <= values
            place += place
            place += passed
        terms = np.where(np.isnan(values), 0.0, self.surprises.take(place))
        for family in self.families:
            part = terms.take(family, axis=1)
            # Of equals the first.
            greatest = part.argmax(axis=1)[:, None] == np.arange(len(family))
            terms[:, family] = np.where(greatest, part, 0.0)
        return terms

    def sums(self, vectors: Floats) -> Floats:
        """Their sums, tail by tail."""
        return total(self.terms(vectors))

    def by_feature(self, terms: Floats, width: int) -> Floats:
        """Terms (n, tails) as (n, features)."""
        found = np.zeros((width, len(terms)))
        np.add.at(found, self.columns, terms.T)
        return found.T


def total(terms: Floats) -> Floats:
    """The sum of each row from left to right: accumulate, since a sum picks an order of its own."""
    sums: Floats = np.add.accumulate(terms, axis=1)[:, -1]
    return sums


def tails(stored: tuple[Tail, ...], features: tuple[str, ...]) -> Tails:
    """Lay the tails out, each checked."""
    if not 1 <= len(stored) <= TAILS:
        raise ArtifactRefused("malformed", f"{len(stored)} tails; 1 to {TAILS} are read")
    for tail in stored:
        if fault := _fault(tail, features):
            raise ArtifactRefused("malformed", f"the tail of {tail.feature!r} {fault}")
    depth = max(len(tail.knots) for tail in stored).bit_length()
    knots = np.full((len(stored), (1 << depth) - 1), np.inf)
    surprises = np.empty((len(stored), 1 << depth))
    for row, tail in enumerate(stored):
        knots[row, : len(tail.knots)] = tail.knots
        # A value that comes up to what fills the row has come up to every knot.
        surprises[row] = tail.surprises[-1] * tail.weight
        surprises[row, : len(tail.surprises)] = np.array(tail.surprises) * tail.weight
    return Tails(
        columns=np.array([features.index(tail.feature) for tail in stored], dtype=np.intp),
        signs=np.array([1.0 if tail.direction == "high" else -1.0 for tail in stored]),
        levels=tuple(knots[:, (1 << down) - 1 :: 2 << down].reshape(-1) for down in reversed(range(depth))),
        surprises=surprises.reshape(-1),
        families=_families(stored),
    )


def _families(stored: tuple[Tail, ...]) -> tuple[Ints, ...]:
    """Which tails are of each family."""
    names = dict.fromkeys(tail.family for tail in stored if tail.family)
    return tuple(np.flatnonzero([tail.family == name for tail in stored]) for name in names)


def _fault(tail: Tail, features: tuple[str, ...]) -> str | None:
    """What is wrong with the tail, if anything."""
    faults = {
        "is of no feature of this model": tail.feature not in features,
        f"has {len(tail.knots)} knots; 1 to {KNOTS} are read": not 1 <= len(tail.knots) <= KNOTS,
        "needs one surprise more than knots": len(tail.surprises) != len(tail.knots) + 1,
        "has knots that do not rise": not np.all(np.diff(tail.knots) > 0),
        "has surprises that fall, or begin below 0": not np.all(np.diff((0.0, *tail.surprises)) >= 0),
        "has a number that is none": not np.isfinite([tail.weight, *tail.knots, *tail.surprises]).all(),
        "has a weight below 0": tail.weight < 0,
    }
    return next((fault for fault, found in faults.items() if found), None)
