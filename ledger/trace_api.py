"""Traceable credits over HTTP, for the platform's key: purchases taken back, gifts reversed, what is owed, traces."""

from __future__ import annotations

from typing import Annotated, Any

import asyncpg
from fastapi import APIRouter, Header, Path, Query, Response
from pydantic import Field, StrictBool

from ledger import keyed, store
from ledger.access import Access
from ledger.answers import PROBLEMS
from ledger.api import idempotency_key
from ledger.errors import Invalid, NotFound
from ledger.platform import PARTY, Amount, Authorization, Body
from ledger.reversal import reverse
from ledger.revocation import revoke
from ledger.scorer import Desk
from ledger.trace import MOST, view
from ledger.tracing import trace
from ledger.views import receivable_view, reversal_view, revocation_view

Key = Annotated[
    str | None, Header(alias="Idempotency-Key", max_length=257, description="the same key and body give the same bytes")
]
OwnKey = Annotated[str | None, Header(alias="Idempotency-Key", include_in_schema=False)]
KEY_HEADER = {
    "name": "Idempotency-Key", "in": "header", "required": True, "schema": {"type": "string", "maxLength": 255},
    "description": "one for every reversal; the same key and body give the same bytes back, at any age",
}  # fmt: skip
Id = Annotated[str, Path(max_length=128, pattern=r"^[\x21-\x7e]+$")]
Reason = Annotated[str, Field(min_length=1, max_length=280, pattern=r"^[^\x00-\x1f\x7f]+$")]


class Revocation(Body):
    amount: Amount | None = Field(None, description="how much of the grant to take back; all that is left by default")
    reason: Reason | None = None


class Reversal(Body):
    amount: Amount | None = Field(None, description="how much to take back; all that settled and is left by default")
    reason: Reason
    only_gift: StrictBool = Field(False, description="take from this gift's own slices only")


def router(pool: asyncpg.Pool, access: Access, desk: Desk) -> APIRouter:
    routes = APIRouter(prefix="/v1", tags=["platform"], responses=PROBLEMS)
    add_revoking(routes, pool, access, desk)
    add_owed(routes, pool, access)
    add_reversing(routes, pool, access)
    add_tracing(routes, pool, access)
    return routes


def add_revoking(routes: APIRouter, pool: asyncpg.Pool, access: Access, desk: Desk) -> None:
    @routes.post("/grants/{grant_id}/revoke", summary="Take a purchase back, through any chain of gifts")
    async def revoke_grant(
        grant_id: Id, body: Revocation | None = None, authorization: Authorization = None, key: Key = None
    ) -> Response:
        actor = await access.actor(authorization, "grants:write")
        asked = body or Revocation(amount=None, reason=None)
        if asked.amount is not None and key is None:
            raise Invalid("a part of a grant can be taken back more than once, so it needs an Idempotency-Key header")

        async def act(conn: asyncpg.Connection) -> dict[str, Any]:
            return revocation_view(await revoke(conn, desk, grant_id, asked.amount, asked.reason, actor=actor.name))

        if key is None:
            async with pool.acquire() as conn, conn.transaction():
                return keyed.respond(200, keyed.ENCODE(await act(conn)))
        return await keyed.once(pool, idempotency_key(key), ("revoke", grant_id, asked.model_dump()), act)


def add_owed(routes: APIRouter, pool: asyncpg.Pool, access: Access) -> None:
    @routes.get("/receivables", summary="What orgs owe for purchases that were taken back, oldest first")
    async def receivables(
        authorization: Authorization = None,
        org: Annotated[str | None, Query(pattern=PARTY)] = None,
        cursor: Annotated[str | None, Query(max_length=64, pattern=r"^[\x21-\x7e]+$")] = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
    ) -> dict[str, Any]:
        await access.actor(authorization, "orgs:read")
        rows = await pool.fetch(store.SQL["receivables"], org, cursor, limit + 1)
        page = rows[:limit]
        more = page[-1]["id"] if len(rows) > limit else None
        return {"receivables": [receivable_view(row) for row in page], "next_cursor": more}


def add_reversing(routes: APIRouter, pool: asyncpg.Pool, access: Access) -> None:
    needs_key = {"parameters": [KEY_HEADER]}

    @routes.post(
        "/transfers/{transfer_id}/reversals",
        status_code=201,
        summary="Take a settled gift back",
        openapi_extra=needs_key,
    )
    async def reverse_gift(
        transfer_id: Id, body: Reversal, authorization: Authorization = None, key: OwnKey = None
    ) -> Response:
        actor = await access.actor(authorization, "grants:write")
        name = idempotency_key(key)

        async def act(conn: asyncpg.Connection) -> dict[str, Any]:
            record = await reverse(
                conn, transfer_id, body.amount, body.reason, only_gift=body.only_gift, actor=actor.name
            )
            return reversal_view(record)

        return await keyed.once(pool, name, ("reverse", transfer_id, body.model_dump()), act, 201)

    @routes.get("/transfers/{transfer_id}/reversals", summary="How a gift was reversed, oldest first")
    async def reversals(transfer_id: Id, authorization: Authorization = None) -> dict[str, Any]:
        await access.actor(authorization, "orgs:read")
        rows = await pool.fetch(store.SQL["reversals"], transfer_id)
        if not rows and await pool.fetchval(store.SQL["transfer_exists"], transfer_id) is None:
            raise NotFound(f"transfer {transfer_id!r} does not exist")
        return {"transfer_id": transfer_id, "reversals": [reversal_view(row) for row in rows]}


def add_tracing(routes: APIRouter, pool: asyncpg.Pool, access: Access) -> None:
    @routes.get("/grants/{grant_id}/trace", summary="Where a grant's credits came from and went")
    async def trace_grant(
        grant_id: Id,
        authorization: Authorization = None,
        most: Annotated[int, Query(ge=1, le=5000, description="how many grants to show")] = MOST,
    ) -> dict[str, Any]:
        await access.actor(authorization, "orgs:read")
        async with pool.acquire() as conn:
            return view(await trace(conn, grant_id, most, "grant"))
