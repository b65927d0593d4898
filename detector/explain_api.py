"""Explanations over HTTP: why one decision fell as it did, for whoever may read decisions or cases."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import APIRouter, Header, Response

from detector.api import json, names_of
from detector.explaining import Explainer

# Who may read an explanation: the client whose own gifts alone it is shown beside those of the ledger here; None where
# the key's role may read cases, and so everything. Handed in, since keys are the ledger's.
Reader = Callable[[str | None], Awaitable[str | None]]
# Refuses a key whose role has not the scope.
Allow = Callable[[str | None, str], Awaitable[str]]


def router(explainer: Explainer, reader: Reader, allow: Allow) -> APIRouter:
    routes = APIRouter(prefix="/v1", tags=["cases"])

    @routes.get("/decisions/{decision_id}/explanation", summary="Why a decision fell as it did, and what would turn it")
    async def of_decision(decision_id: str, authorization: Annotated[str | None, Header()] = None) -> Response:
        client = await reader(authorization)
        return json(await explainer.explain(names_of(decision_id, client), client))

    @routes.get("/cases/{case}/explanation", summary="Why a gift of a case was stopped, by default its most pressing")
    async def of_case(
        case: str, gift: str | None = None, authorization: Annotated[str | None, Header()] = None
    ) -> Response:
        await allow(authorization, "cases:read")
        return json(await explainer.explain([await explainer.decision(case, gift)]))

    return routes
