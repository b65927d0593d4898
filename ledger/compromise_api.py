"""Stolen accounts over HTTP: reports, by the platform or the org itself; recovery and key rotation, by the platform."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, NamedTuple, Protocol

import asyncpg
from fastapi import APIRouter, Response
from pydantic import Field, StrictBool

from detector.contract import PolicyMoved
from ledger import compromise, keyed, store
from ledger.access import Access, Actor
from ledger.answers import PROBLEMS
from ledger.api import idempotency_key
from ledger.compromise import Claim, Reported
from ledger.errors import Forbidden, Invalid, NotFound
from ledger.keys import rotate
from ledger.platform import Authorization, Body, NewKey
from ledger.scorer import Desk, Scorer
from ledger.trace_api import KEY_HEADER, OwnKey
from ledger.views import org_view, report_view

MOST_REPORTS = 100
Detail = Annotated[str, Field(min_length=1, max_length=2_000, pattern=r"^[^\x00]+$")]


class Report(Body):
    since: datetime = Field(description="when the account was stolen, as far as is known; not in the future")
    detail: Detail = Field(description="how it is known, for whoever works on the case")
    gifts: Literal["hold", "return"] = Field("hold", description="what becomes of gifts that wait in the lock")
    revoke_keys: StrictBool = Field(True, description="end every key of the org, the one that reports it too")


class Terms(NamedTuple):
    """How long a hold lasts, and how long an org's gifts are held once it is back."""

    hold_s: int
    cool_off_s: int


class Judge(Scorer, Desk, Protocol):
    """Who judges and keeps the desk: one and the same, in process."""


def router(pool: asyncpg.Pool, access: Access, judge: Judge, terms: Terms) -> APIRouter:
    routes = APIRouter(prefix="/v1", tags=["platform"], responses=PROBLEMS)
    add_reporting(routes, pool, access, judge, terms)
    add_recovering(routes, pool, access, terms)
    return routes


def add_reporting(routes: APIRouter, pool: asyncpg.Pool, access: Access, judge: Judge, terms: Terms) -> None:
    needs_key = {"parameters": [KEY_HEADER]}

    @routes.post(
        "/orgs/{org_id}/compromise-reports",
        status_code=201,
        summary="Say that an account was stolen: stop its sending, hold its gifts, end its keys",
        openapi_extra=needs_key,
    )
    async def report(org_id: str, body: Report, authorization: Authorization = None, key: OwnKey = None) -> Response:
        actor = await allowed(access, authorization, org_id)
        if body.since.tzinfo is None:
            raise Invalid("since needs a time zone, such as 2027-01-01T00:00:00Z")
        claim = Claim(org_id, body.since, actor.name, body.detail, body.gifts, body.revoke_keys)
        scope = keyed.PLATFORM if actor.org_id is None else f"{keyed.PLATFORM}/{actor.org_id}"
        name, meaning = idempotency_key(key), ("compromise", org_id, body.model_dump())
        while True:
            try:
                answer = await once(pool, judge, claim, terms.hold_s, (name, meaning, scope))
                access.forget(org_id)
                return answer
            except PolicyMoved:  # it is loaded now
                continue

    @routes.get("/orgs/{org_id}/compromise-reports", summary="The reports on an org, newest first")
    async def reports(org_id: str, authorization: Authorization = None) -> dict[str, Any]:
        await access.actor(authorization, "orgs:read")
        rows = await pool.fetch(store.SQL["compromise_reports"], org_id, MOST_REPORTS)
        if not rows and await pool.fetchrow(store.SQL["org"], org_id) is None:
            raise NotFound(f"org {org_id!r} does not exist")
        return {"reports": [report_view(row) for row in rows]}


async def allowed(access: Access, authorization: str | None, org_id: str) -> Actor:
    """The platform, for any org; an org's owner for it alone."""
    actor = await access.actor(authorization, "compromise:write")
    if actor.org_id not in (None, org_id):
        raise Forbidden(f"this key is of org {actor.org_id}: it may report that one alone")
    return actor


async def once(pool: asyncpg.Pool, judge: Judge, claim: Claim, hold_s: int, asked: tuple[str, Any, str]) -> Response:
    """One report under its idempotency key, in a transaction that its sitting hears the end of."""
    done: list[Reported] = []
    committed = False

    async def act(conn: asyncpg.Connection) -> dict[str, Any]:
        done.append(await compromise.report(conn, judge, judge, claim, hold_s))
        return done[-1].answer

    name, meaning, scope = asked
    try:
        answer = await keyed.once(pool, name, meaning, act, 201, scope=scope)
        committed = True
        return answer
    finally:
        for one in done:
            one.seen.close(committed=committed)


def add_recovering(routes: APIRouter, pool: asyncpg.Pool, access: Access, terms: Terms) -> None:
    @routes.post("/orgs/{org_id}/recover", summary="Say that a stolen account is its owner's again; a cool-off begins")
    async def recover(org_id: str, authorization: Authorization = None) -> dict[str, Any]:
        actor = await access.actor(authorization, "orgs:write")
        async with pool.acquire() as conn, conn.transaction():
            return org_view(await compromise.recover(conn, org_id, actor.name, terms.cool_off_s))

    @routes.post(
        "/orgs/{org_id}/keys/rotate",
        status_code=201,
        summary="End every key of an org and issue one, shown this once; a cool-off begins",
    )
    async def rotate_keys(org_id: str, body: NewKey, authorization: Authorization = None) -> dict[str, Any]:
        actor = await access.actor(authorization, "keys:write")
        async with pool.acquire() as conn, conn.transaction():
            answer = await rotate(conn, org_id, body.role, body.name, actor.name, terms.cool_off_s)
        access.forget(org_id)
        return answer
