"""Casework over HTTP, for a person's key: the queue, one case, claims, notes, rulings. An act answers with its case."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Literal

import asyncpg
import msgspec
from fastapi import APIRouter, Header, Path, Query, Request, Response

from detector import case_rulings, case_terms, case_views, case_work
from detector.api import json, parse
from detector.case_shapes import Assign, Claim, Rule, Why
from detector.case_views import Wanted
from detector.case_work import Person
from detector.contract import Books, body_schema

# Who is asking, if the key's role has the scope. Handed in, since keys are the ledger's.
Who = Callable[[str | None, str], Awaitable[Person]]
READ, WRITE, ASSIGN = "cases:read", "cases:write", "cases:assign"
MOST = 500
SAYABLE = r"^[^\x00]+$"  # PostgreSQL keeps no NUL in a text
Name = Annotated[str, Path(max_length=64, pattern=SAYABLE)]
CLAIM, ASSIGNMENT, WHY, RULE = (msgspec.json.Decoder(shape) for shape in (Claim, Assign, Why, Rule))
Act = Callable[[asyncpg.Connection, Person], Awaitable[None]]


def router(pool: asyncpg.Pool, who: Who, books: Books) -> APIRouter:
    """The routes of casework."""
    routes = APIRouter(prefix="/v1/cases", tags=["cases"])
    add_reading(routes, pool, who)
    add_work(routes, pool, who)
    add_rulings(routes, pool, who, books)
    return routes


def add_reading(routes: APIRouter, pool: asyncpg.Pool, who: Who) -> None:
    @routes.get("", summary="The queue, most pressing first")
    async def listing(
        authorization: Annotated[str | None, Header()] = None,
        status: Literal["open", "claimed", "ended"] | None = None,
        kind: Literal["hold", "sample"] | None = None,
        sender: Annotated[str | None, Query(max_length=64, pattern=SAYABLE)] = None,
        recipient: Annotated[str | None, Query(max_length=64, pattern=SAYABLE)] = None,
        rule: Annotated[str | None, Query(max_length=128, pattern=SAYABLE)] = None,
        min_amount: Annotated[int | None, Query(ge=0, lt=2**63)] = None,
        older_than: Annotated[float | None, Query(ge=0, le=1e9)] = None,
        claimed_by: Annotated[str | None, Query(max_length=64, pattern=SAYABLE)] = None,
        q: Annotated[str | None, Query(max_length=200, pattern=SAYABLE)] = None,
        sort: Literal["priority", "deadline", "age"] = "priority",
        limit: Annotated[int, Query(ge=1, le=MOST)] = 50,
        cursor: Annotated[str | None, Query(max_length=300)] = None,
    ) -> Response:
        await who(authorization, READ)
        wanted = Wanted(status, kind, sender, recipient, rule, min_amount, older_than, claimed_by, q, sort)
        async with pool.acquire() as conn:
            return json(await case_views.page(conn, wanted, cursor, limit))

    @routes.get("/{case}", summary="One case, with its gifts, rulings, notes and audit")
    async def show(case: Name, authorization: Annotated[str | None, Header()] = None) -> Response:
        await who(authorization, READ)
        async with pool.acquire() as conn:
            return json(await case_views.whole(conn, case))


async def acted(pool: asyncpg.Pool, case: str, person: Person, act: Act) -> Response:
    """Do it in one transaction, then answer with the case as it is."""
    async with pool.acquire() as conn:
        async with conn.transaction():
            await act(conn, person)
        return json(await case_views.whole(conn, case))


def add_work(routes: APIRouter, pool: asyncpg.Pool, who: Who) -> None:
    @routes.post("/{case}/claim", openapi_extra=body_schema(Claim), summary="Claim a case as it was read")
    async def claim(case: Name, request: Request) -> Response:
        person = await who(request.headers.get("authorization"), WRITE)
        version = parse(CLAIM, await request.body()).version

        async def act(conn: asyncpg.Connection, person: Person) -> None:
            terms = await case_terms.terms(conn)
            await case_work.claim(conn, case, version, person, terms.claim_s)

        return await acted(pool, case, person, act)

    @routes.post("/{case}/unclaim", summary="Hand a case back")
    async def unclaim(case: Name, request: Request) -> Response:
        person = await who(request.headers.get("authorization"), WRITE)
        return await acted(pool, case, person, lambda conn, one: case_work.hand_back(conn, case, one))

    @routes.post("/{case}/assign", openapi_extra=body_schema(Assign), summary="Give a case to somebody (a lead)")
    async def assign(case: Name, request: Request) -> Response:
        person = await who(request.headers.get("authorization"), ASSIGN)
        to = parse(ASSIGNMENT, await request.body()).to
        return await acted(pool, case, person, lambda conn, one: case_work.assign(conn, case, to, one))

    @routes.post("/{case}/escalate", openapi_extra=body_schema(Why), summary="Ask the leads to look")
    async def escalate(case: Name, request: Request) -> Response:
        person = await who(request.headers.get("authorization"), WRITE)
        text = parse(WHY, await request.body()).text
        return await acted(pool, case, person, lambda conn, one: case_work.escalate(conn, case, text, one))

    @routes.post("/{case}/notes", openapi_extra=body_schema(Why), summary="Write a note")
    async def note(case: Name, request: Request) -> Response:
        person = await who(request.headers.get("authorization"), WRITE)
        text = parse(WHY, await request.body()).text
        return await acted(pool, case, person, lambda conn, one: case_work.note(conn, case, text, one))


def add_rulings(routes: APIRouter, pool: asyncpg.Pool, who: Who, books: Books) -> None:
    @routes.post("/{case}/rulings", openapi_extra=body_schema(Rule), summary="Rule on gifts, or propose it")
    async def rule(case: Name, request: Request) -> Response:
        person = await who(request.headers.get("authorization"), WRITE)
        asked = parse(RULE, await request.body())

        async def act(conn: asyncpg.Connection, person: Person) -> None:
            await case_rulings.rule(conn, books, case, asked, person, await case_terms.terms(conn))

        return await acted(pool, case, person, act)

    @routes.post("/{case}/rulings/{ruling}/confirm", summary="Do what another person proposed")
    async def confirm(case: Name, ruling: Name, request: Request) -> Response:
        person = await who(request.headers.get("authorization"), WRITE)
        return await acted(pool, case, person, lambda conn, one: case_rulings.confirm(conn, books, case, ruling, one))

    @routes.post(
        "/{case}/rulings/{ruling}/refuse", openapi_extra=body_schema(Why), summary="Refuse what another proposed"
    )
    async def refuse(case: Name, ruling: Name, request: Request) -> Response:
        person = await who(request.headers.get("authorization"), WRITE)
        text = parse(WHY, await request.body()).text
        return await acted(pool, case, person, lambda conn, one: case_rulings.refuse(conn, case, ruling, text, one))
