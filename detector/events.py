"""Events as the detector tells them to the log. Law: in the transaction that they tell of, and last in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import asyncpg
import msgspec

from detector.store import SQL

SYSTEM = "system"
ENCODE = msgspec.json.Encoder(order="deterministic").encode


class Told(NamedTuple):
    kind: str
    subject: str
    actor: str
    body: dict[str, Any]


async def append(conn: asyncpg.Connection, events: Sequence[Told]) -> None:
    """Append events in order, as one link of the chain."""
    if events:
        kinds, subjects, actors, bodies = zip(*events, strict=True)
        await conn.execute(SQL["log_append"], kinds, subjects, actors, [ENCODE(body).decode() for body in bodies])
