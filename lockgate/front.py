"""The framework, with the routes that send gifts ahead of its middleware.

Law: such a route answers as it would behind the middleware; faults are translated by the same handlers.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from ledger.api import Direct

log = logging.getLogger(__name__)
# 500 gifts with the longest notes, every character escaped, are below 2 MB.
MOST_BODY = 4_000_000
Endpoint = Callable[[Request], Awaitable[Response]]


class Front(FastAPI):
    """A Direct route uses nothing of the middleware and the router, which cost 60 to 100 µs a gift (ADR 7)."""

    direct: Mapping[str, Endpoint] = {}

    def open_direct(self) -> None:
        """Serve the Direct routes that were added so far, by their path."""
        self.direct = {route.path: route.endpoint for route in self.router.routes if isinstance(route, Direct)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await super().__call__(scope, receive, send)
        length = body_length(scope)
        endpoint = self.direct.get(scope["path"]) if scope["method"] == "POST" and length is not None else None
        if length is not None and length > MOST_BODY:
            endpoint = too_large
        if endpoint is None:
            return await super().__call__(scope, receive, send)
        request = Request(scope, receive)
        try:
            response = await endpoint(request)
        except Exception as error:
            response = await self.translate(request, error)
        await response(scope, receive, send)

    async def translate(self, request: Request, error: Exception) -> Response:
        """The problem that the application's handlers make of a fault; the nearest class counts."""
        handlers: dict[Any, Any] = self.exception_handlers
        handler = next(handlers[kind] for kind in type(error).__mro__ if kind in handlers)
        if handler is handlers[Exception]:
            log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        response: Response = await handler(request, error)
        return response


def body_length(scope: Scope) -> int | None:
    """How long the request says that its body is; what does not say so is counted by the middleware as it comes."""
    length = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
    return int(length) if length.isdigit() else None


async def too_large(request: Request) -> Response:
    raise HTTPException(413, f"the body is over {MOST_BODY} bytes; send fewer gifts in one request")
