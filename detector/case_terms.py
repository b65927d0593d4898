"""The terms of review that hold now: those of the generation that judges, read in the transaction that they rule."""

from __future__ import annotations

from functools import lru_cache

import asyncpg

from detector import policy, store
from detector.policy import ReviewTerms


async def terms(conn: asyncpg.Connection) -> ReviewTerms:
    generation = await store.active(conn)
    text = None if generation is None else await store.policy_text(conn, generation)
    return read(text) if text else ReviewTerms()


@lru_cache(maxsize=4)
def read(text: str) -> ReviewTerms:
    return policy.read(text).review
