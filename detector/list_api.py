"""The lists over HTTP, for analysts to read and leads to change; and the log, for auditors."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import asyncpg
import msgspec
from fastapi import APIRouter, Header, Path, Query, Request, Response

from detector import list_work
from detector.api import Allow, json, parse
from detector.case_shapes import AuditEvent, AuditPage, Listable, Listed, ListName, ListPage
from detector.contract import body_schema
from detector.errors import Malformed
from detector.gift import stamp
from detector.lists import plain
from detector.store import SQL

READ, WRITE, AUDIT = "lists:read", "lists:write", "audit:read"
MOST = 500
LISTED = msgspec.json.Decoder(Listed)
Cursor = Annotated[int, Query(ge=0, lt=2**63, description="the `next` of the page before")]
Entry = Annotated[int, Path(ge=1, lt=2**63)]
Most = Annotated[int, Query(ge=1, le=MOST)]
Name = Annotated[str | None, Query(max_length=200, pattern=r"^[^\x00]*$")]


def router(pool: asyncpg.Pool, allow: Allow) -> APIRouter:
    """The routes of lists and of the audit."""
    routes = APIRouter(prefix="/v1", tags=["lists"])
    add_reading(routes, pool, allow)
    add_changes(routes, pool, allow)
    add_audit(routes, pool, allow)
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


def add_audit(routes: APIRouter, pool: asyncpg.Pool, allow: Allow) -> None:
    @routes.get("/audit", summary="The event log in order, for an auditor's key", tags=["audit"])
    async def audit(
        authorization: Annotated[str | None, Header()] = None,
        subject: Name = None,
        kind: Name = None,
        actor: Name = None,
        limit: Most = 100,
        cursor: Cursor = 0,
    ) -> Response:
        await allow(authorization, AUDIT)
        async with pool.acquire() as conn, conn.transaction(isolation="repeatable_read", readonly=True):
            rows = await conn.fetch(SQL["log_audit"], cursor, limit + 1, subject, kind, actor)
            head = await conn.fetchrow(SQL["log_head"])
        told = [AuditEvent(**{**row, "at": stamp(row["at"])}) for row in rows[:limit]]
        last = told[-1].seq if len(rows) > limit else None
        return json(AuditPage(told, last, f"{head['seq']} {head['hash'].hex()}" if head else ""))
