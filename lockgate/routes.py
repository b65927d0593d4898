"""The routes of a process, made of its works: all of them, or those of the half of the house that it serves."""

from __future__ import annotations

from typing import Annotated

import msgspec
from fastapi import FastAPI, Header, Request, Response

import detector.api
import detector.case_api
import detector.explain_api
import detector.list_api
import detector.log_api
import ledger.api
import ledger.compromise_api
import ledger.endpoint_api
import ledger.identity_api
import ledger.platform
import ledger.trace_api
from detector.case_work import Person
from detector.explaining import Explainer
from ledger.access import ROLES
from ledger.funding import Terms
from ledger.rulings import Rulings
from ledger.transfers import Answer
from lockgate.config import Settings
from lockgate.front import Front
from lockgate.wire import ShortWay
from lockgate.works import Works


def short_way(app: Front, works: Works) -> ShortWay:
    """How a gift that is sent alone passes the framework by, where the protocol knows of it (`lockgate.wire`)."""
    path = f"{ledger.api.PREFIX}/transfer"
    asked = Request({"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": []})

    async def translate(error: Exception) -> Answer:
        response = await app.translate(asked, error)
        return Answer(response.status_code, bytes(response.body))

    return ShortWay(path.encode(), ledger.api.short_way(works.access, works.pass_gate), translate)


def add_routes(app: FastAPI, works: Works, settings: Settings) -> None:
    access = works.access

    async def allow(authorization: str | None, scope: str) -> str:
        return (await access.actor(authorization, scope)).name

    async def own(authorization: str | None) -> bool:
        return (await access.actor(authorization, "labels:write")).role == "platform"

    async def reader(authorization: str | None) -> str | None:
        return await access.reader(authorization, "cases:read", "score:read")

    async def person(authorization: str | None, scope: str) -> Person:
        actor = await access.actor(authorization, scope)
        return Person(actor.name, detector.case_api.ASSIGN in ROLES[actor.role])

    async def whoami(authorization: Annotated[str | None, Header()] = None) -> Response:
        actor = await access.whose(authorization)
        told = {"name": actor.name, "role": actor.role, "org": actor.org_id, "scopes": sorted(ROLES[actor.role])}
        return Response(msgspec.json.encode(told), media_type="application/json")

    app.add_api_route("/v1/whoami", whoami, tags=["keys"], summary="Whose key this is, and what it may do")
    if settings.only != "detector":
        ledger.api.add_sending(app, access, works.send, works.send_all)
        app.include_router(ledger.api.router(works.pool, access, works.apart.house, settings.lock_s))
    # Held gifts of a ledger alone wait at its own desk: a release moves its credits.
    app.include_router(detector.case_api.router(works.pool, person, Rulings()))
    app.include_router(detector.log_api.router(works.pool, allow))
    app.include_router(ledger.endpoint_api.router(works.pool, access, settings.webhooks))
    if settings.only != "ledger":
        app.include_router(detector.list_api.router(works.pool, allow))
        app.include_router(detector.api.router(works.pool, allow, works.scoring.submit, own))
        app.include_router(detector.explain_api.router(Explainer(works.pool, settings.trusted_key), reader, allow))
    if settings.only != "detector":
        house, terms = works.apart.house, Terms(settings.giftable_origins, settings.clearing_s)
        back = ledger.compromise_api.Terms(settings.hold_s, settings.cool_off_s)
        app.include_router(ledger.platform.router(works.pool, access, terms))
        app.include_router(ledger.compromise_api.router(works.pool, access, house, back))
        app.include_router(ledger.trace_api.router(works.pool, access, house))
        app.include_router(ledger.identity_api.router(works.pool, access, settings.identity_secrets))
    app.add_api_route("/healthz", works.health, tags=["health"], summary="Whether this process can judge, and by what")
