"""An act of the platform under an idempotency key: the same key and body give the same bytes, for ever (law 7).

Keys of the platform are a scope of their own beside those of the orgs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import msgspec
from fastapi import Response

from ledger import answers, store
from ledger.errors import LedgerError

# No org can be called so.
PLATFORM = "~platform"
ENCODE = msgspec.json.Encoder(order="deterministic").encode


async def once(
    pool: asyncpg.Pool, key: str, meaning: Any, act: Callable[[asyncpg.Connection], Awaitable[Any]], status: int = 200,
    *, scope: str = PLATFORM,
) -> Response:  # fmt: skip
    """Do `act` in one transaction and keep its answer, a refusal too; or give the answer that the key had before.

    `scope` is whose keys these are; an org's for such acts are not those of its gifts.

    The key's lock comes before all others, and nobody waits for it: who comes second is told 409.
    """
    body_hash = hashlib.sha256(ENCODE(meaning)).digest()
    async with pool.acquire() as conn, conn.transaction():
        if not await conn.fetchval(store.SQL["key_lock"], scope, key):
            return respond(409, answers.still_running(key).body)
        earlier = await conn.fetchrow(store.SQL["answer"], scope, key)
        if earlier is not None and earlier["body_hash"] != body_hash:
            detail = f"Idempotency-Key {key!r} was used with another request; use a new key for a new one"
            return respond(422, problem(422, "idempotency_key_reused", detail))
        if earlier is not None:
            return respond(earlier["status"], earlier["body"], {"Idempotency-Replayed": "true"})
        try:
            async with conn.transaction():
                body = ENCODE(await act(conn))
        except LedgerError as error:
            status, body = error.status, problem(error.status, error.code, error.detail)
        await conn.execute(store.SQL["answer_add"], scope, key, body_hash, status, body)
        return respond(status, body)


def problem(status: int, code: str, detail: str) -> bytes:
    return answers.problem(status, code, detail).body


def respond(status: int, body: bytes, headers: dict[str, str] | None = None) -> Response:
    kind = "application/json" if status < 400 else "application/problem+json"
    return Response(body, status, headers, kind)
