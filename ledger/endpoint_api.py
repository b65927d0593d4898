"""Endpoints over HTTP, for the platform's key: add, show, change, rotate, replay, test, and how deliveries ended."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Annotated, Any

import asyncpg
from fastapi import APIRouter, Header, Path, Query
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt

from ledger import endpoint_work as work
from ledger import store
from ledger.access import Access
from ledger.answers import PROBLEMS
from ledger.endpoints import DAY_S, Terms
from ledger.targets import LONGEST_URL

READ, WRITE = "endpoints:read", "endpoints:write"
SAYABLE = r"^[^\x00]*$"  # PostgreSQL keeps no NUL in a text
MOST_SEQ = 2**63 - 1
Authorization = Annotated[str | None, Header()]
Key = Annotated[str, Path(max_length=64, pattern=SAYABLE)]
Url = Annotated[str, Field(max_length=LONGEST_URL, description="https, at a public address")]
Kinds = Annotated[
    list[str], Field(max_length=100, description="such as transfer.settled or transfer.*; none means every kind")
]
Description = Annotated[str, Field(max_length=200, pattern=SAYABLE)]

Overlap = Annotated[StrictInt, Field(ge=0, le=30 * DAY_S, description="for so long the old secret signs too")]


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NewEndpoint(Body):
    url: Url
    kinds: Kinds = []
    description: Description = ""


class Change(Body):
    """What is left out stays as it is."""

    url: Url | None = None
    kinds: Kinds | None = None
    description: Description | None = None
    enabled: StrictBool | None = None


class Rotation(Body):
    overlap_s: Overlap = DAY_S


class Replay(Body):
    after: StrictInt | None = Field(None, ge=0, le=MOST_SEQ, description="a seq; 0 is the beginning")
    since: datetime | None = None


def router(pool: asyncpg.Pool, access: Access, terms: Terms) -> APIRouter:
    """The routes of endpoints."""
    routes = APIRouter(prefix="/v1/endpoints", tags=["endpoints"], responses=PROBLEMS)
    add_endpoints(routes, pool, access, terms)
    add_acts(routes, pool, access, terms)
    add_deliveries(routes, pool, access, terms)
    return routes


@asynccontextmanager
async def change(pool: asyncpg.Pool) -> AsyncIterator[asyncpg.Connection]:
    async with pool.acquire() as conn, conn.transaction():
        yield conn


def add_endpoints(routes: APIRouter, pool: asyncpg.Pool, access: Access, terms: Terms) -> None:
    @routes.post("", status_code=201, summary="Add an endpoint; its secret is shown this once")
    async def add(asked: NewEndpoint, authorization: Authorization = None) -> dict[str, Any]:
        actor = await access.actor(authorization, WRITE)
        await work.admit(terms, asked.url)
        async with change(pool) as conn:
            key, secret = await work.add(conn, asked.url, asked.kinds, asked.description, actor.name)
            return {**work.view(await work.find(conn, key)), "secret": secret}

    @routes.get("", summary="Endpoints, oldest first")
    async def listing(
        authorization: Authorization = None,
        cursor: Annotated[str | None, Query(max_length=64, pattern=SAYABLE)] = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 100,
    ) -> dict[str, Any]:
        await access.actor(authorization, READ)
        rows = await pool.fetch(store.SQL["endpoints"], cursor, limit + 1)
        more = rows[limit - 1]["id"] if len(rows) > limit else None
        return {"endpoints": [work.view(row) for row in rows[:limit]], "next_cursor": more}

    @routes.get("/{key}", summary="Show an endpoint")
    async def show(key: Key, authorization: Authorization = None) -> dict[str, Any]:
        await access.actor(authorization, READ)
        return work.view(await work.find(pool, key))

    @routes.patch("/{key}", summary="Change an endpoint, or enable or disable it")
    async def change_it(key: Key, asked: Change, authorization: Authorization = None) -> dict[str, Any]:
        actor = await access.actor(authorization, WRITE)
        given = asked.model_dump(exclude_unset=True, exclude_none=True)
        if "url" in given:
            await work.admit(terms, given["url"])
        async with change(pool) as conn:
            await work.change(conn, key, actor.name, **given)
            return work.view(await work.find(conn, key))

    @routes.delete("/{key}", summary="Remove an endpoint, and what waits for it")
    async def remove(key: Key, authorization: Authorization = None) -> dict[str, Any]:
        actor = await access.actor(authorization, WRITE)
        async with change(pool) as conn:
            await work.remove(conn, key, actor.name)
        return {"removed": key}


def add_acts(routes: APIRouter, pool: asyncpg.Pool, access: Access, terms: Terms) -> None:
    @routes.post("/{key}/rotate", summary="A new secret, shown this once; the old one signs too for a while")
    async def rotate(key: Key, asked: Rotation | None = None, authorization: Authorization = None) -> dict[str, Any]:
        actor = await access.actor(authorization, WRITE)
        async with change(pool) as conn:
            secret = await work.rotate(conn, key, (asked or Rotation()).overlap_s, actor.name)
            return {**work.view(await work.find(conn, key)), "secret": secret}

    @routes.post("/{key}/replay", summary="Bring every wanted event after a seq, or of a time and later, once more")
    async def replay(key: Key, asked: Replay, authorization: Authorization = None) -> dict[str, Any]:
        actor = await access.actor(authorization, WRITE)
        async with change(pool) as conn:
            await work.replay(conn, key, actor.name, after=asked.after, since=asked.since)
            return work.view(await work.find(conn, key))

    @routes.post("/{key}/test", summary="Post a test now, and say how that ended")
    async def test(key: Key, authorization: Authorization = None) -> dict[str, Any]:
        actor = await access.actor(authorization, WRITE)
        return work.delivery_view((await work.test(pool, terms, key, actor.name))._asdict())


def add_deliveries(routes: APIRouter, pool: asyncpg.Pool, access: Access, terms: Terms) -> None:
    @routes.get("/{key}/deliveries", summary="What was posted and how it ended, newest first")
    async def deliveries(
        key: Key,
        authorization: Authorization = None,
        seq: Annotated[int | None, Query(ge=1, le=MOST_SEQ)] = None,
        failed: bool = False,
        cursor: Annotated[int | None, Query(ge=1, le=MOST_SEQ)] = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
    ) -> dict[str, Any]:
        await access.actor(authorization, READ)
        await work.find(pool, key)
        rows = await pool.fetch(store.SQL["deliveries"], key, cursor, seq, failed, limit + 1)
        more = rows[limit - 1]["id"] if len(rows) > limit else None
        return {"deliveries": [work.delivery_view(row) for row in rows[:limit]], "next_cursor": more}
