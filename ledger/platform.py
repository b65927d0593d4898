"""The ledger over HTTP, for the platform's key: orgs, their keys, identity and freezing; grants; consumption."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import asyncpg
from fastapi import APIRouter, Header
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt

from ledger import funding, orgs, store
from ledger.access import Access, issue_key, revoke_key
from ledger.answers import PROBLEMS
from ledger.credits import MOST
from ledger.errors import NotFound
from ledger.funding import Issue, Terms
from ledger.identity import note, platform
from ledger.views import grant_view, org_view

DOMAIN = r"^[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$"
PARTY = r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$"
Authorization = Annotated[str | None, Header()]
Amount = Annotated[StrictInt, Field(gt=0, le=MOST, description="integer micro-credits")]
Level = Literal["none", "basic", "full"]


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NewOrg(Body):
    id: str = Field(pattern=PARTY)
    tier: str = Field("standard", pattern=PARTY)
    identity: Level = "none"
    owner: str | None = Field(None, max_length=200, description="who stands behind the org, in any stable form")
    domain: str | None = Field(None, pattern=DOMAIN, description="that of its people's addresses; lists may name it")


class Identity(Body):
    level: Level


class NewGrant(Body):
    amount: Amount
    origin: Literal["purchase", "promo", "free_tier", "gift"]
    expires_at: datetime | None = None
    priority: StrictInt = Field(100, ge=0, le=1000, description="0 is spent first")
    giftable: StrictBool | None = None
    giftable_at: datetime | None = None


class Consumption(Body):
    amount: Amount
    id: str = Field(pattern=PARTY, description="names the consumption; a second one of this id is refused")


class NewKey(Body):
    role: Literal["owner", "reader"] = "owner"
    name: str = Field("default", max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")


class OldKey(Body):
    key: str


def router(pool: asyncpg.Pool, access: Access, terms: Terms) -> APIRouter:
    """The platform's routes."""
    routes = APIRouter(prefix="/v1", tags=["platform"], responses=PROBLEMS)
    add_orgs(routes, pool, access)
    add_keys(routes, pool, access)
    add_credits(routes, pool, access, terms)
    return routes


def add_orgs(routes: APIRouter, pool: asyncpg.Pool, access: Access) -> None:
    @routes.post("/orgs", status_code=201, summary="Create an org")
    async def create(org: NewOrg, authorization: Authorization = None) -> dict[str, Any]:
        actor = await access.actor(authorization, "orgs:write")
        async with pool.acquire() as conn:
            row = await orgs.create(
                conn, org.id, org.tier, org.identity, owner=org.owner, domain=org.domain, actor=actor.name
            )
        return org_view(row)

    @routes.get("/orgs/{org_id}", summary="Show an org")
    async def show(org_id: str, authorization: Authorization = None) -> dict[str, Any]:
        await access.actor(authorization, "orgs:read")
        return org_view(found(org_id, await pool.fetchrow(store.SQL["org"], org_id)))

    @routes.put("/orgs/{org_id}/identity", summary="Say how far an org's identity is verified")
    async def identity(org_id: str, body: Identity, authorization: Authorization = None) -> dict[str, Any]:
        actor = await access.actor(authorization, "orgs:write")
        async with pool.acquire() as conn, conn.transaction():
            org = await funding.lock_org(conn, org_id)
            await note(conn, platform(org_id, body.level, org["now"]), actor=actor.name)
            return org_view(await conn.fetchrow(store.SQL["org"], org_id))

    @routes.post("/orgs/{org_id}/freeze", summary="Stop an org from sending and receiving")
    async def freeze(org_id: str, authorization: Authorization = None) -> dict[str, Any]:
        actor = await access.actor(authorization, "orgs:write")
        async with pool.acquire() as conn:
            return org_view(await orgs.freeze(conn, org_id, True, actor=actor.name))

    @routes.post("/orgs/{org_id}/unfreeze", summary="Let an org send and receive again")
    async def unfreeze(org_id: str, authorization: Authorization = None) -> dict[str, Any]:
        actor = await access.actor(authorization, "orgs:write")
        async with pool.acquire() as conn:
            return org_view(await orgs.freeze(conn, org_id, False, actor=actor.name))


def add_keys(routes: APIRouter, pool: asyncpg.Pool, access: Access) -> None:
    @routes.post("/orgs/{org_id}/keys", status_code=201, summary="Issue an API key of an org; shown this once")
    async def issue(org_id: str, body: NewKey, authorization: Authorization = None) -> dict[str, Any]:
        actor = await access.actor(authorization, "keys:write")
        found(org_id, await pool.fetchrow(store.SQL["org"], org_id))
        async with pool.acquire() as conn:
            key = await issue_key(conn, body.role, body.name, org_id, actor=actor.name)
        return {"key": key, "role": body.role, "name": body.name, "org": org_id}

    @routes.post("/orgs/{org_id}/keys/revoke", summary="Revoke an API key of an org")
    async def revoke(org_id: str, body: OldKey, authorization: Authorization = None) -> dict[str, Any]:
        actor = await access.actor(authorization, "keys:write")
        async with pool.acquire() as conn:
            return {"revoked": await revoke_key(conn, body.key, org_id, actor=actor.name)}


def add_credits(routes: APIRouter, pool: asyncpg.Pool, access: Access, terms: Terms) -> None:
    @routes.post("/orgs/{org_id}/grants", status_code=201, summary="Issue a grant")
    async def issue(org_id: str, body: NewGrant, authorization: Authorization = None) -> dict[str, Any]:
        actor = await access.actor(authorization, "grants:write")
        async with pool.acquire() as conn, conn.transaction():
            org = await funding.lock_org(conn, org_id)
            row = funding.grant_row(org_id, Issue(**body.model_dump()), terms, org["now"])
            await funding.issue(conn, [row], actor=actor.name)
            return grant_view(await conn.fetchrow(store.SQL["grant"], row[0]))

    @routes.post("/orgs/{org_id}/consume", summary="Burn credits that an org used")
    async def consume(org_id: str, body: Consumption, authorization: Authorization = None) -> dict[str, Any]:
        actor = await access.actor(authorization, "grants:write")
        async with pool.acquire() as conn, conn.transaction():
            left = await funding.consume(conn, org_id, body.amount, f"{org_id}/{body.id}", actor=actor.name)
        return {"org": org_id, "id": body.id, "consumed": body.amount, "available": left}


def found(org_id: str, row: asyncpg.Record | None) -> asyncpg.Record:
    if row is None:
        raise NotFound(f"org {org_id!r} does not exist")
    return row
