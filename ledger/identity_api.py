"""Where identity providers call: one route for each, no API key, since the signature is the proof.

Every call is counted by how it ended. What is refused changes nothing but its count.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import asyncpg
from fastapi import APIRouter, Header, Request

from ledger import identity, store
from ledger.access import Access
from ledger.answers import PROBLEMS
from ledger.errors import LedgerError, NotFound
from ledger.signatures import Scheme, check
from ledger.views import stamp

Secrets = Mapping[Scheme, Sequence[str]]


def router(pool: asyncpg.Pool, access: Access, secrets: Secrets) -> APIRouter:
    routes = APIRouter(prefix="/v1/identity", tags=["identity"], responses=PROBLEMS)

    @routes.post("/webhooks/{provider}", summary="A signed event of an identity provider")
    async def webhook(provider: Scheme, request: Request) -> dict[str, Any]:
        try:
            outcome = await take(pool, provider, secrets.get(provider, ()), request.headers, await request.body())
        except LedgerError as error:
            await pool.execute(store.SQL["identity_count"], provider, error.code)
            raise
        await pool.execute(store.SQL["identity_count"], provider, outcome)
        return {"outcome": outcome}

    @routes.get("/webhooks", summary="How many calls of each provider ended how")
    async def counts(authorization: Annotated[str | None, Header()] = None) -> dict[str, Any]:
        await access.actor(authorization, "orgs:read")
        rows = await pool.fetch(store.SQL["identity_calls"])
        return {"calls": [{**row, "last_at": stamp(row["last_at"])} for row in rows]}

    return routes


async def take(
    pool: asyncpg.Pool, provider: Scheme, secrets: Sequence[str], headers: Mapping[str, str], body: bytes
) -> str:
    """Check a call, and let its event count in one transaction; how it ended."""
    if not secrets:
        variable = f"LOCKGATE_IDENTITY_{provider.upper()}_SECRETS"
        raise NotFound(f"webhooks of {provider} are not set up here; set {variable} to the endpoint's secret")
    check(provider, secrets, headers, body, int(time.time()))
    news = identity.read(provider, body)
    if news is None:
        return "ignored"
    async with pool.acquire() as conn, conn.transaction():
        return await identity.note(conn, news)
