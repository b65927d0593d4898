"""The ledger over HTTP, for a customer's own key: send, list, show, cancel; balance, grants, statement.

The two routes that send gifts bypass the framework's parsing and validation for speed: they read the body with
msgspec, into the same types that the OpenAPI page shows.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any, Literal

import asyncpg
import msgspec
from fastapi import APIRouter, FastAPI, Header, Query, Request, Response
from fastapi.routing import APIRoute
from msgspec import Meta, Struct

from detector.contract import Amount, Context, Party, body_schema
from ledger import answers, books, settlement, store, transfers
from ledger.access import Access, Actor
from ledger.answers import PROBLEMS
from ledger.credits import new_id
from ledger.errors import Forbidden, Invalid, LedgerError, NotFound
from ledger.scorer import Desk
from ledger.transfers import Answer, Status
from ledger.views import transfer_view

Submit = Callable[[transfers.Request], asyncio.Future[Answer]]
PassGate = Callable[[transfers.Request, Any], None]
SubmitAll = Callable[[Sequence[transfers.Request]], Awaitable[list[Answer]]]
PREFIX = "/v1/billing/credits"
MOST_IN_BATCH = 500
Note = Annotated[str, Meta(max_length=280, pattern=r"^[^\x00-\x1f\x7f]*$(?!\n)")]
Key = Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^[\x21-\x7e]+$(?!\n)")]


class Send(Struct, forbid_unknown_fields=True):
    """One gift. ip and device say where the sender's user acted from; the more is told, the better it is judged."""

    recipient: Party
    amount: Amount
    note: Note | None = None
    ip: Context | None = None
    device: Context | None = None


class SendOne(Send):
    """One gift of a batch, under its own idempotency key."""

    idempotency_key: Key | None = None


class Batch(Struct, forbid_unknown_fields=True):
    transfers: Annotated[list[SendOne], Meta(min_length=1, max_length=MOST_IN_BATCH)]


SEND = msgspec.json.Decoder(Send)
BATCH = msgspec.json.Decoder(Batch)
KEY = msgspec.json.Decoder(Key)
ENCODE = msgspec.json.Encoder(order="deterministic").encode


class Direct(APIRoute):
    """A route whose endpoint takes the request and gives the response itself."""

    def get_route_handler(self) -> Callable[[Request], Any]:
        return self.endpoint


def parse(decoder: msgspec.json.Decoder[Any], body: bytes) -> Any:
    """The body in the shape asked for. Raises Invalid naming the field and what it should be."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise Invalid(f"{error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise LedgerError(f"the body is not JSON: {error}") from error


def idempotency_key(key: str | None) -> str:
    """The key of the request, quoted as in the IETF draft or bare."""
    if not key:
        raise LedgerError("no Idempotency-Key header; send one unique key with every gift, and the same on a retry")
    bare = key[1:-1] if len(key) >= 2 and key[0] == key[-1] == '"' else key
    if not (0 < len(bare) <= 255 and bare.isascii() and bare.isprintable() and " " not in bare):
        raise LedgerError(f"Idempotency-Key {bare[:40]!r} is not 1 to 255 printable ASCII characters without spaces")
    return bare


def request_of(actor: Actor, send: Send, key: str) -> transfers.Request:
    """What the gate takes. The hash is of the meaning of the body, so white space does not matter."""
    if actor.org_id is None:
        raise Forbidden("this key is bound to no org, so it cannot send")
    if send.recipient == actor.org_id:
        raise Invalid(f"recipient {send.recipient!r} is the sender; name another org")
    meaning = (send.recipient, send.amount, send.note, send.ip, send.device)
    return transfers.Request(
        new_id("tr"),
        key,
        actor.org_id,
        send.recipient,
        send.amount,
        send.note,
        send.ip,
        send.device,
        hashlib.sha256(ENCODE(meaning)).digest(),
    )


def router(pool: asyncpg.Pool, access: Access, desk: Desk, lock_s: int) -> APIRouter:
    """The routes of an org's own key, but for the sending ones."""
    routes = APIRouter(prefix=PREFIX, tags=["transfers"])
    add_reading(routes, pool, access, desk)
    books.add_books(routes, pool, access, lock_s)
    return routes


KEY_HEADER = {
    "name": "Idempotency-Key", "in": "header", "required": True, "schema": {"type": "string", "maxLength": 255},
    "description": "one for every gift; the same key and body give the same bytes back, at any age",
}  # fmt: skip


def short_way(access: Access, pass_gate: PassGate) -> Callable[[Sequence[tuple[bytes, bytes]], bytes, Any], bool]:
    """POST transfer without the framework: whoever waits will be told, or False where the route must see to it."""

    def take(headers: Sequence[tuple[bytes, bytes]], body: bytes, waiter: Any) -> bool:
        named = dict(headers)
        if len(named) < len(headers):  # which of two counts is the framework's to say
            return False
        try:
            actor = access.remembered(text(named.get(b"authorization")), "transfers:write")
            if actor is None:
                return False
            key = idempotency_key(text(named.get(b"idempotency-key")))
            request = request_of(actor, parse(SEND, body), key)
        except Exception:  # the route meets it again, and tells
            return False
        pass_gate(request, waiter)
        return True

    return take


def text(header: bytes | None) -> str | None:
    return None if header is None else header.decode("latin-1")


def add_sending(app: FastAPI, access: Access, submit: Submit, submit_all: SubmitAll) -> None:
    """POST transfer and transfer/batch, the hot path: put first and flat, since routes are tried in order."""

    async def send(request: Request) -> Response:
        headers = request.headers
        actor = await access.actor(headers.get("authorization"), "transfers:write")
        key = idempotency_key(headers.get("idempotency-key"))
        answer = await submit(request_of(actor, parse(SEND, await request.body()), key))
        kind = "application/json" if answer.status == 201 else "application/problem+json"
        return Response(answer.body, answer.status, answer.headers, kind)

    async def send_batch(request: Request) -> Response:
        headers = request.headers
        actor = await access.actor(headers.get("authorization"), "transfers:write")
        batch: Batch = parse(BATCH, await request.body())
        key = headers.get("idempotency-key")
        asked = [one_of(actor, one, key, place) for place, one in enumerate(batch.transfers)]
        given = iter(await submit_all([one for one in asked if isinstance(one, transfers.Request)]))
        told = [next(given) if isinstance(one, transfers.Request) else one for one in asked]
        results = b",".join([b'{"status":%d,"body":%b}' % (one.status, one.body) for one in told])
        return Response(b'{"results":[%b]}' % results, 200, media_type="application/json")

    shared: dict[str, Any] = {"methods": ["POST"], "route_class_override": Direct, "tags": ["transfers"]}
    shared["responses"] = PROBLEMS
    single = {**body_schema(Send), "parameters": [KEY_HEADER]}
    app.router.add_api_route(
        f"{PREFIX}/transfer", send, status_code=201, openapi_extra=single, summary="Send a gift", **shared
    )
    many = "Send up to 500 gifts, one answer each"
    app.router.add_api_route(
        f"{PREFIX}/transfer/batch", send_batch, openapi_extra=body_schema(Batch), summary=many, **shared
    )


def one_of(actor: Actor, one: SendOne, key: str | None, place: int) -> transfers.Request | Answer:
    """One gift of a batch; what is wrong with it is its own answer, never its neighbours'."""
    try:
        return request_of(actor, one, one.idempotency_key or f"{idempotency_key(key)}#{place}")
    except LedgerError as error:
        return answers.problem(error.status, error.code, error.detail)


def add_reading(routes: APIRouter, pool: asyncpg.Pool, access: Access, desk: Desk) -> None:
    """Listing, showing and cancelling transfers."""

    @routes.get("/transfers", summary="List transfers, newest first", responses=PROBLEMS)
    async def listing(
        authorization: Annotated[str | None, Header()] = None,
        direction: Literal["sent", "received", "both"] = "both",
        status: Status | None = None,
        cursor: Annotated[str | None, Query(max_length=64)] = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
    ) -> dict[str, Any]:
        org_id = await access.own(authorization, "transfers:read")
        rows = await pool.fetch(store.SQL["transfers"], org_id, direction, status, cursor, limit + 1)
        page = rows[:limit]
        more = page[-1]["id"] if len(rows) > limit else None
        return {"transfers": [transfer_view(row) for row in page], "next_cursor": more}

    @routes.get("/transfers/{transfer_id}", summary="Show a transfer", responses=PROBLEMS)
    async def show(transfer_id: str, authorization: Annotated[str | None, Header()] = None) -> dict[str, Any]:
        org_id = await access.own(authorization, "transfers:read")
        row = await pool.fetchrow(store.SQL["transfer"], transfer_id, org_id)
        if row is None:
            raise NotFound(f"this org has no transfer {transfer_id!r}")
        return transfer_view(row)

    @routes.post("/transfers/{transfer_id}/cancel", summary="Cancel before it settles", responses=PROBLEMS)
    async def cancel(transfer_id: str, authorization: Annotated[str | None, Header()] = None) -> dict[str, Any]:
        org_id = await access.own(authorization, "transfers:write")
        return transfer_view(await settlement.cancel(pool, desk, org_id, transfer_id))
