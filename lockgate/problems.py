"""Every fault becomes an RFC 9457 problem, here and nowhere else."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import msgspec
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from detector.errors import DetectorError
from ledger import answers
from ledger.errors import LedgerError
from lockgate.group_commit import PASSING, Unavailable

log = logging.getLogger(__name__)


def add_problems(app: FastAPI) -> None:
    """Every fault becomes an RFC 9457 problem, here and nowhere else."""

    def respond(status: int, code: str, detail: str) -> Response:
        body = {
            "type": f"urn:lockgate:{code}",
            "title": answers.title(status),
            "status": status,
            "code": code,
            "detail": detail,
        }
        return Response(msgspec.json.encode(body), status, media_type="application/problem+json")

    async def known(request: Request, error: Any) -> Response:
        return respond(error.status, error.code, error.detail)

    async def invalid(request: Request, error: Any) -> Response:
        faults = [f"{'.'.join(map(str, one['loc'][1:])) or one['loc'][0]}: {one['msg']}" for one in error.errors()]
        return respond(422, "invalid", "; ".join(faults))

    async def http(request: Request, error: Any) -> Response:
        code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "http_error")
        return respond(error.status_code, code, f"{request.method} {request.url.path}: {error.detail}")

    async def unwritable(request: Request, error: Any) -> Response:
        return respond(422, "invalid", "a text holds a zero byte, which PostgreSQL keeps in no text; leave it out")

    async def unavailable(request: Request, error: Any) -> Response:
        log.warning("%s %s: %s: %s", request.method, request.url.path, type(error).__name__, error)
        return respond(503, "unavailable", "the database does not answer; retry, a gift with its same Idempotency-Key")

    async def gone(request: Request, error: Any) -> Response:
        return respond(400, "client_gone", "the client left before its request was whole")  # nobody hears it

    async def fault(request: Request, error: Exception) -> Response:
        return respond(500, "fault", "a fault of ours, noted in the log; retry with the same Idempotency-Key")

    handlers: list[tuple[Any, Callable[[Request, Any], Awaitable[Response]]]] = [
        (LedgerError, known),
        (DetectorError, known),
        (RequestValidationError, invalid),
        (HTTPException, http),
        (ClientDisconnect, gone),
        (asyncpg.CharacterNotInRepertoireError, unwritable),
        *((kind, unavailable) for kind in (Unavailable, *PASSING)),
        (Exception, fault),
    ]
    for kind, handler in handlers:
        app.add_exception_handler(kind, handler)
