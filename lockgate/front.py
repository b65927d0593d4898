"""The framework, with a bound on bodies, and one place where a fault becomes a problem."""

from __future__ import annotations

import logging
from typing import Any

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

log = logging.getLogger(__name__)
# 500 gifts with the longest notes, every character escaped, are below 2 MB.
MOST_BODY = 4_000_000


class Front(FastAPI):
    """The framework; a body that says that it is too long is refused before it is read."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        length = body_length(scope) if scope["type"] == "http" else None
        if length is None or length <= MOST_BODY:
            return await super().__call__(scope, receive, send)
        request = Request(scope, receive)
        detail = f"the body is over {MOST_BODY} bytes; send fewer gifts in one request"
        response = await self.translate(request, HTTPException(413, detail))
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
