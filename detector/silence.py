"""Silence: what holds a gift where nobody could judge it (law 5). SQL says the same in `detector.silent`.

A silent hit saw nothing. A rule that met a null is degraded too, but it was asked, and says what it saw.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import asyncpg

from detector.gift import Hit, micros
from detector.store import HITS, SQL

SILENT = re.compile(r"no_policy|fault|model_[a-z0-9_]+|scorer_[a-z0-9_]+")
# Where the model alone was silent, the limits were asked; where one of these was, nothing was.
UNASKED = re.compile(r"no_policy|fault|scorer_[a-z0-9_]+")


class Mark(NamedTuple):
    """Where a gift stands among those that nobody judged: by when it came to its case."""

    at: datetime
    gift: str


def silent(hits: Sequence[Hit], names: re.Pattern[str] = SILENT) -> bool:
    """Whether nothing but silence holds a gift: no rule, limit, list or model said anything."""
    standing = [hit for hit in hits if hit.waived_by is None]
    return bool(standing) and all(
        hit.by == "degraded" and not hit.seen and names.fullmatch(hit.name) for hit in standing
    )


async def unjudged(conn: asyncpg.Connection | asyncpg.Pool, after: Mark | None, most: int) -> list[Mark]:
    """Gifts that may be held for silence alone, and that nobody has in hand; oldest first, from `after` on."""
    rows = await conn.fetch(SQL["silent_gifts"], *(after or (None, None)), most)
    return [Mark(*row) for row in rows]


async def late(conn: asyncpg.Connection, gifts: Sequence[str]) -> dict[str, int]:
    """The moments (microseconds) of gifts whose first look asked no limit."""
    found: list[tuple[str, datetime, str]] = await conn.fetch(SQL["first_hits"], [f"{gift}.1" for gift in gifts])
    return {name[:-2]: micros(at) for name, at, hits in found if silent(HITS.decode(hits), UNASKED)}
