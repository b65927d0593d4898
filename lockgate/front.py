"""The framework, with the routes that send gifts ahead of its middleware.

Law: such a route answers as it would behind the middleware; faults are translated by the same handlers.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fastapi import FastAPI, Request, Response
from starlette.types import Receive, Scope, Send

from ledger.api import Direct

log = logging.getLogger(__name__)
Endpoint = Callable[[Request], Awaitable[Response]]


class Front(FastAPI):
    """Half of an empty request's cost is the way through middleware and router, which a Direct route needs not."""

    direct: Mapping[str, Endpoint] = {}

    def open_direct(self) -> None:
        """Serve the Direct routes that were added so far, by their path."""
        self.direct = {route.path: route.endpoint for route in self.router.routes if isinstance(route, Direct)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = self.direct.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
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
