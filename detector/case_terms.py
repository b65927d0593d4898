"""The terms that hold now: those of the generation that judges, read in the transaction that they rule."""

from __future__ import annotations

from functools import lru_cache

import asyncpg

from detector import policy, store
from detector.identity_terms import ANY_IDENTITY, IdentityTerms
from detector.policy import ReviewTerms


async def terms(conn: asyncpg.Connection) -> ReviewTerms:
    """How cases are worked on."""
    return (await judging(conn))[0]


async def identity(conn: asyncpg.Connection) -> IdentityTerms:
    """What gifts ask of their sender's identity."""
    return (await judging(conn))[1]


async def judging(conn: asyncpg.Connection) -> tuple[ReviewTerms, IdentityTerms]:
    generation = await store.active(conn)
    text = None if generation is None else await store.policy_text(conn, generation)
    return read(text) if text else (ReviewTerms(), ANY_IDENTITY)


@lru_cache(maxsize=4)
def read(text: str) -> tuple[ReviewTerms, IdentityTerms]:
    found = policy.read(text)
    return found.review, found.identity
