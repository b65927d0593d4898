"""Which verified identity a gift asks of its sender, by its amount: how far verified, and how lately. Pure.

Law: an identity verified at t is fresh at `now` while now - max_age < t, as a limit's window counts; one whose time
nobody knows is never fresh where freshness is asked for.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from detector.policy_fields import span, span_s, unknown, whole

LEVELS: Final = ("none", "basic", "full")
ENOUGH: Final = {level: frozenset(LEVELS[rank:]) for rank, level in enumerate(LEVELS)}
FIELDS = {"from", "level", "max_age", "description"}
OLDEST_S = 3_650 * 86_400


class Asks(NamedTuple):
    """What gifts of `least` micro-credits and more ask: a level, and how long ago it may have been verified at most."""

    least: int
    level: str
    max_age: timedelta | None = None
    description: str = ""

    def met(self, level: str, since: datetime | None, now: datetime) -> bool:
        """Whether an identity of this level, verified at `since`, is enough at `now`."""
        if level not in ENOUGH[self.level]:
            return False
        return self.max_age is None or (since is not None and now - since < self.max_age)

    @property
    def words(self) -> str:
        """What is asked, after 'needs'."""
        if self.level == "none":
            return "no verified identity"
        fresh = f" within the last {self.span}" if self.max_age else ""
        return f"an identity verified as {self.level}{fresh}"

    @property
    def span(self) -> str | None:
        """How long ago at most, as the policy file writes it."""
        return span(int(self.max_age.total_seconds())) if self.max_age else None


# What every gift asks where the policy says nothing of its amount.
ANY: Final = Asks(0, "basic")


@dataclass(frozen=True, slots=True)
class IdentityTerms:
    """The [[identity]] tables, by ascending amount. The one with the largest `least` up to a gift's amount counts."""

    tables: Sequence[Asks] = ()
    leasts: list[int] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "leasts", [one.least for one in self.tables])

    def asked(self, amount: int) -> Asks:
        """What a gift of this amount asks; any identity but none, of any age, below the smallest `least`."""
        place = bisect_right(self.leasts, amount)
        return self.tables[place - 1] if place else ANY


ANY_IDENTITY: Final = IdentityTerms()


def identity_of(found: Sequence[dict[str, Any]], faults: list[str]) -> IdentityTerms:
    """The [[identity]] tables of a policy file; their faults are noted."""
    tables = sorted((asks for row in found if (asks := asks_of(row, faults))), key=lambda asks: asks.least)
    leasts = [one.least for one in tables]
    faults += [f"two [[identity]] tables begin at from = {one}" for one in sorted({*leasts}) if leasts.count(one) > 1]
    faults += [
        f"identity from {more.least} asks for {more.level!r}, which is less than {less.level!r} from {less.least}: "
        "a larger gift cannot ask for less"
        for less, more in itertools.pairwise(tables if 0 in leasts else [ANY, *tables])
        if LEVELS.index(more.level) < LEVELS.index(less.level)
    ]
    return IdentityTerms(tuple(tables))


def asks_of(row: dict[str, Any], faults: list[str]) -> Asks | None:
    """One [[identity]] table, or None with its faults noted."""
    least = row.get("from")
    where, before = f"identity from {least!r}", len(faults)
    unknown(where, row, FIELDS, faults)
    if isinstance(least, bool) or (least != 0 and not whole(least)):
        faults.append(f"{where}: write in from the amount (micro-credits) from which it counts, 0 for every gift")
    level, age = row.get("level"), row.get("max_age")
    if level not in LEVELS:
        faults.append(f"{where}: level = {level!r}; write 'none', 'basic' or 'full'")
    if level == "none" and age is not None:
        faults.append(f"{where}: max_age = {age!r} of nothing: level 'none' asks for no identity; leave it out")
    max_age = None if age is None else timedelta(seconds=span_s(where, "max_age", age, faults, OLDEST_S))
    if not isinstance(row.get("description"), str) or not row["description"].strip():
        faults.append(f"{where}: say in description why gifts of this size ask for it")
    return Asks(int(row["from"]), row["level"], max_age, row["description"]) if len(faults) == before else None
