"""The lists over HTTP, for analysts to read and leads to change."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import asyncpg
import msgspec
from fastapi import APIRouter, Header, Path, Query, Request, Response

from detector import list_work
from detector.api import Allow, json, parse
from detector.case_shapes import Listable, Listed, ListName, ListPage
from detector.contract import body_schema
from detector.errors import Malformed
from detector.lists import plain
from detector.store import SQL

READ, WRITE = "lists:read", "lists:write"
MOST = 500
LISTED = msgspec.json.Decoder(Listed)
Cursor = Annotated[int, Query(ge=0, lt=2**63, description="the `next` of the page before")]
Entry = Annotated[int, Path(ge=1, lt=2**63)]
Most = Annotated[int, Query(ge=1, le=MOST)]
Name = Annotated[str | None, Query(max_length=200, pattern=r"^[^\x00]*$")]


def router(pool: asyncpg.Pool, allow: Allow) -> APIRouter:
    """The routes of lists."""
    routes = APIRouter(prefix="/v1", tags=["lists"])
    add_reading(routes, pool, allow)
    add_changes(routes, pool, allow)
    return routes


def add_reading(routes: APIRouter, pool: asyncpg.Pool, allow: Allow) -> None:
    @routes.get("/lists", summary="List entries, oldest first: those that count now, at a moment, or all")
    async def listing(
        authorization: Annotated[str | None, Header()] = None,
        list: ListName | None = None,
        kind: Listable | None = None,
        value: Name = None,
        as_of: Annotated[datetime | None, Query(description="only those that counted at this moment")] = None,
        standing: Annotated[bool, Query(description="only those that count now; false: all there ever were")] = True,
        limit: Most = 50,
        cursor: Cursor = 0,
    ) -> Response:
        await allow(authorization, READ)
        if as_of is not None and as_of.tzinfo is None:
            raise Malformed("as_of needs a time zone, such as 2027-01-01T00:00:00Z")
        async with pool.acquire() as conn:
            at = as_of or (await conn.fetchval("select clock_timestamp()") if standing else None)
            named = value and plain(kind or "", value)
            rows = await conn.fetch(SQL["list_entries"], cursor, limit + 1, list, kind, named, at)
        entries = [list_work.view(row) for row in rows[:limit]]
        return json(ListPage(entries, entries[-1].id if len(rows) > limit else None))


def add_changes(routes: APIRouter, pool: asyncpg.Pool, allow: Allow) -> None:
    @routes.post("/lists/{name}", openapi_extra=body_schema(Listed), status_code=201, summary="Put an entry on a list")
    async def add(name: ListName, request: Request) -> Response:
        author = await allow(request.headers.get("authorization"), WRITE)
        listed = parse(LISTED, await request.body())
        async with pool.acquire() as conn:
            entry = await list_work.add(conn, name, listed, author)
        return Response(msgspec.json.encode(entry), 201, media_type="application/json")

    @routes.delete("/lists/entries/{entry}", summary="Take an entry off its list; it stays on record")
    async def remove(entry: Entry, authorization: Annotated[str | None, Header()] = None) -> Response:
        author = await allow(authorization, WRITE)
        async with pool.acquire() as conn:
            return json(await list_work.remove(conn, entry, author))
