"""The ledger over HTTP, for a customer's own key: send, list, show, cancel; balance, grants, statement.

The two routes that send gifts bypass the framework's parsing and validation for speed: they read the body with
msgspec, into the same types that the OpenAPI page shows.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import asyncpg
import msgspec
from fastapi import APIRouter, FastAPI, Header, Query, Request, Response
from fastapi.routing import APIRoute
from msgspec import Meta, Struct

from detector.contract import Amount, Context, Party, body_schema
from ledger import answers, settlement, store, transfers
from ledger.access import Access, Actor
from ledger.credits import new_id
from ledger.errors import Forbidden, Invalid, LedgerError, NotFound
from ledger.transfers import Answer, Status

Submit = Callable[[transfers.Request], Awaitable[Answer]]
PREFIX = "/v1/billing/credits"
MOST_IN_BATCH = 500
Note = Annotated[str, Meta(max_length=280, pattern=r"^[^\x00-\x1f\x7f]*$")]
Key = Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^[\x21-\x7e]+$")]


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
    bare = key[1:-1] if len(key) > 2 and key[0] == key[-1] == '"' else key
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


def router(pool: asyncpg.Pool, access: Access, lock_s: int) -> APIRouter:
    """The routes of an org's own key, but for the sending ones."""
    routes = APIRouter(prefix=PREFIX, tags=["transfers"])
    add_reading(routes, pool, access)
    add_books(routes, pool, access, lock_s)
    return routes


KEY_HEADER = {
    "name": "Idempotency-Key", "in": "header", "required": True, "schema": {"type": "string", "maxLength": 255},
    "description": "one for every gift; the same key and body give the same bytes back, at any age",
}  # fmt: skip


def add_sending(app: FastAPI, access: Access, submit: Submit) -> None:
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
        told = await asyncio.gather(
            *[submit_one(actor, one, key, position, submit) for position, one in enumerate(batch.transfers)]
        )
        results = ",".join(f'{{"status":{one.status},"body":{one.body.decode()}}}' for one in told)
        return Response(f'{{"results":[{results}]}}', 200, media_type="application/json")

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


async def submit_one(actor: Actor, one: SendOne, key: str | None, position: int, submit: Submit) -> Answer:
    """One gift of a batch; what is wrong with it is its own answer, never its neighbours'."""
    try:
        own = one.idempotency_key or f"{idempotency_key(key)}#{position}"
        return await submit(request_of(actor, one, own))
    except LedgerError as error:
        return answers.problem(error.status, error.code, error.detail)


PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"description": text, "content": {"application/problem+json": {}}}
    for status, text in {
        401: "no valid API key",
        402: "not enough giftable credits",
        403: "identity not verified, org frozen, or a key without the scope",
        409: "the same idempotency key is still running",
        422: "a field is wrong, or the key was used with another body",
        429: "a rate limit; see Retry-After",
    }.items()
}


def add_reading(routes: APIRouter, pool: asyncpg.Pool, access: Access) -> None:
    """Listing, showing and cancelling transfers."""

    @routes.get("/transfers", summary="List transfers, newest first", responses=PROBLEMS)
    async def listing(
        authorization: Annotated[str | None, Header()] = None,
        direction: Literal["sent", "received", "both"] = "both",
        status: Status | None = None,
        cursor: Annotated[str | None, Query(max_length=64)] = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
    ) -> dict[str, Any]:
        org_id = await own(access, authorization, "transfers:read")
        rows = await pool.fetch(store.SQL["transfers"], org_id, direction, status, cursor, limit + 1)
        page = rows[:limit]
        more = page[-1]["id"] if len(rows) > limit else None
        return {"transfers": [transfer_view(row) for row in page], "next_cursor": more}

    @routes.get("/transfers/{transfer_id}", summary="Show a transfer", responses=PROBLEMS)
    async def show(transfer_id: str, authorization: Annotated[str | None, Header()] = None) -> dict[str, Any]:
        org_id = await own(access, authorization, "transfers:read")
        row = await pool.fetchrow(store.SQL["transfer"], transfer_id, org_id)
        if row is None:
            raise NotFound(f"this org has no transfer {transfer_id!r}")
        return transfer_view(row)

    @routes.post("/transfers/{transfer_id}/cancel", summary="Cancel before it settles", responses=PROBLEMS)
    async def cancel(transfer_id: str, authorization: Annotated[str | None, Header()] = None) -> dict[str, Any]:
        org_id = await own(access, authorization, "transfers:write")
        return transfer_view(await settlement.cancel(pool, org_id, transfer_id))


def add_books(routes: APIRouter, pool: asyncpg.Pool, access: Access, lock_s: int) -> None:
    """Balance, grants and statement."""

    @routes.get("/balance", summary="Balance as of now", responses=PROBLEMS)
    async def balance(authorization: Annotated[str | None, Header()] = None) -> dict[str, Any]:
        org_id = await own(access, authorization, "balance:read")
        row = await pool.fetchrow(store.SQL["balance"], org_id, lock_s)
        return {"org": org_id, "as_of": stamp(row["now"]), **{k: row[k] for k in BALANCES}}

    @routes.get("/grants", summary="Grants, oldest first", responses=PROBLEMS)
    async def grants(
        authorization: Annotated[str | None, Header()] = None,
        open_only: bool = True,
        cursor: Annotated[str | None, Query(max_length=64)] = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
    ) -> dict[str, Any]:
        org_id = await own(access, authorization, "balance:read")
        rows = await pool.fetch(store.SQL["grants"], org_id, open_only, cursor, limit + 1)
        page = rows[:limit]
        more = page[-1]["id"] if len(rows) > limit else None
        return {"grants": [grant_view(row) for row in page], "next_cursor": more}

    @routes.get("/statement", summary="Statement as of a time", responses=PROBLEMS)
    async def statement(
        authorization: Annotated[str | None, Header()] = None,
        as_of: datetime | None = None,
        cursor: Annotated[str | None, Query(max_length=160)] = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 100,
    ) -> dict[str, Any]:
        org_id = await own(access, authorization, "balance:read")
        return await statement_of(pool, org_id, as_of, cursor, limit)


BALANCES = ("available", "reserved", "giftable", "clearing")


async def own(access: Access, authorization: str | None, scope: str) -> str:
    """The org that the key is bound to."""
    actor = await access.actor(authorization, scope)
    if actor.org_id is None:
        raise Forbidden("this key is bound to no org")
    return actor.org_id


async def statement_of(
    pool: asyncpg.Pool, org_id: str, as_of: datetime | None, cursor: str | None, limit: int
) -> dict[str, Any]:
    """What an org had at a moment, and every entry up to it, newest first; sums and lines in one snapshot."""
    if as_of is not None and as_of.tzinfo is None:
        raise Invalid(f"as_of {as_of.isoformat()} needs a time zone, such as 2027-01-01T00:00:00Z")
    after: Sequence[Any] = (None, None, None)
    if cursor:
        try:
            at, posting, line = cursor.rsplit("~", 2)
            after = (datetime.fromisoformat(at), posting, int(line))
        except ValueError as error:
            raise Invalid(f"cursor {cursor!r} is not one of ours; take it from next_cursor") from error
    async with pool.acquire() as conn, conn.transaction(isolation="repeatable_read", readonly=True):
        moment = as_of or await conn.fetchval("select clock_timestamp()")
        sums = await conn.fetchrow(store.SQL["statement"], org_id, moment)
        lines = await conn.fetch(store.SQL["statement_lines"], org_id, moment, *after, limit + 1)
    page = lines[:limit]
    last = page[-1] if len(lines) > limit else None
    return {
        "org": org_id,
        "as_of": stamp(moment),
        **dict(sums),
        "entries": [
            {"at": stamp(e["at"]), **{k: e[k] for k in ("kind", "subject", "grant_id", "account", "amount")}}
            for e in page
        ],
        "next_cursor": f"{stamp(last['at'])}~{last['posting_id']}~{last['line']}" if last else None,
    }


def stamp(at: datetime | None) -> str | None:
    """RFC 3339 in UTC; None for what never comes."""
    if at is None or at.year == 9999:
        return None
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def transfer_view(row: Any) -> dict[str, Any]:
    return {
        **{key: row[key] for key in ("id", "status", "sender", "recipient", "amount", "note")},
        "created_at": stamp(row["created_at"]),
        "settle_at": stamp(row["settle_at"]),
        "ended_at": stamp(row["ended_at"]),
        "settled_amount": row["settled_amount"],
    }


def grant_view(row: Any) -> dict[str, Any]:
    keys = (
        "id",
        "origin",
        "amount",
        "available",
        "reserved",
        "priority",
        "giftable",
        "root_id",
        "parent_id",
        "transfer_id",
    )
    times = ("giftable_at", "expires_at", "created_at", "revoked_at")
    return {**{key: row[key] for key in keys}, **{key: stamp(row[key]) for key in times}}
