"""The event log over HTTP, for the platform's key and for auditors: every change, in order."""

from __future__ import annotations

from typing import Annotated

import asyncpg
from fastapi import APIRouter, Header, Query, Response

from detector.api import Allow, json
from detector.reading import MOST, Newest, Wanted

READ = "events:read"
LONGEST_WAIT_S = 30
After = Annotated[int, Query(ge=0, lt=2**63, description="the `next` of the page before; 0 for the first")]
Limit = Annotated[int, Query(ge=1, le=MOST)]
Name = Annotated[str | None, Query(max_length=200, pattern=r"^[^\x00]*$")]
Kind = Annotated[str | None, Query(max_length=64, description="such as transfer.settled, or transfer.*")]
Wait = Annotated[int, Query(ge=0, le=LONGEST_WAIT_S, description="how long to wait where there is no event yet")]


def router(pool: asyncpg.Pool, allow: Allow) -> APIRouter:
    """The route of the log."""
    routes, newest = APIRouter(prefix="/v1", tags=["events"]), Newest(pool)

    @routes.get("/events", summary="The event log in order: every change, from any point on")
    async def events(
        authorization: Annotated[str | None, Header()] = None,
        after: After = 0,
        limit: Limit = 100,
        kind: Kind = None,
        subject: Name = None,
        actor: Name = None,
        wait_s: Wait = 0,
    ) -> Response:
        await allow(authorization, READ)
        return json(await newest.page(Wanted(after, limit, subject, kind, actor), wait_s))

    return routes
