"""The scoring API, for a service's key: score, outcomes, decisions."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import asyncpg
import msgspec
from fastapi import APIRouter, Header, Request, Response
from msgspec import Meta, Struct

from detector import store
from detector.contract import Asked, Judged, Outcome, body_schema
from detector.errors import DecisionUnknown, GiftConflict, Malformed
from detector.scoring import Question

Ask = Callable[[Question], Awaitable[Judged | None]]
# Who is asking, if the key's role has the scope: the name of the client. Handed in, since keys are the ledger's.
Allow = Callable[[str | None, str], Awaitable[str]]
ENCODE = msgspec.json.Encoder().encode
MOST_IN_BATCH = 500


class Batch(Struct, forbid_unknown_fields=True):
    gifts: Annotated[list[Asked], Meta(min_length=1, max_length=MOST_IN_BATCH)]


class Outcomes(Struct, forbid_unknown_fields=True):
    outcomes: Annotated[list[Outcome], Meta(min_length=1, max_length=MOST_IN_BATCH)]


ASKED = msgspec.json.Decoder(Asked)
BATCH = msgspec.json.Decoder(Batch)
OUTCOMES = msgspec.json.Decoder(Outcomes)


def parse(decoder: msgspec.json.Decoder[Any], body: bytes) -> Any:
    """The body in the shape asked for. Raises Malformed naming the field and what it should be."""
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Malformed(str(error)) from error


def router(pool: asyncpg.Pool, allow: Allow, ask: Ask) -> APIRouter:
    """The routes of the scoring API."""
    routes = APIRouter(prefix="/v1", tags=["scoring"])
    add_scoring(routes, allow, ask)
    add_records(routes, pool, allow)
    return routes


def add_scoring(routes: APIRouter, allow: Allow, ask: Ask) -> None:
    @routes.post("/score", openapi_extra=body_schema(Asked), summary="Judge a gift")
    async def score(request: Request) -> Response:
        client = await allow(request.headers.get("authorization"), "score:write")
        asked = parse(ASKED, await request.body())
        return json(resolved(asked, await ask(question(client, asked))))

    @routes.post("/score/batch", openapi_extra=body_schema(Batch), summary="Judge up to 500 gifts, one answer each")
    async def score_batch(request: Request) -> Response:
        client = await allow(request.headers.get("authorization"), "score:write")
        gifts = parse(BATCH, await request.body()).gifts
        answers = await asyncio.gather(*[ask_one(client, one, ask) for one in gifts])
        return json({"results": answers})


def add_records(routes: APIRouter, pool: asyncpg.Pool, allow: Allow) -> None:
    @routes.post("/outcomes", openapi_extra=body_schema(Outcomes), summary="Say what became of judged gifts")
    async def outcomes(request: Request) -> Response:
        client = await allow(request.headers.get("authorization"), "score:write")
        listed = parse(OUTCOMES, await request.body()).outcomes
        async with pool.acquire() as conn, conn.transaction():
            known = {row["id"] for row in await store.decisions(conn, [f"{client}:{one.gift}.1" for one in listed])}
            noted = 0
            for one in listed:
                if one.at.tzinfo is None:
                    raise Malformed(f"at of gift {one.gift!r} needs a time zone, such as 2027-01-01T00:00:00Z")
                if f"{client}:{one.gift}.1" in known:
                    noted += await store.note_outcome(conn, f"{client}:{one.gift}", one.outcome, one.at)
        unknown = [one.gift for one in listed if f"{client}:{one.gift}.1" not in known]
        return json({"noted": noted, "unknown": unknown})

    @routes.get("/decisions/{decision_id}", summary="A recorded decision, with everything it saw")
    async def decision(decision_id: str, authorization: Annotated[str | None, Header()] = None) -> Response:
        client = await allow(authorization, "score:read")
        gift, _, look = decision_id.rpartition(".")
        name = decision_id if look.isdigit() and gift else f"{decision_id}.1"
        # a client sees its own decisions, and those of the ledger here; another client's carry its name
        names = [name if name.startswith(f"{client}:") else f"{client}:{name}"] + [name] * (":" not in name)
        async with pool.acquire() as conn:
            rows = await store.decisions(conn, names)
            if not rows:
                raise DecisionUnknown(
                    f"no decision {decision_id!r}; ask by gift id, or by gift id and look as in 'gift.2'"
                )
            text = await store.policy_text(conn, rows[0]["generation"])
        return json(record_view(rows[0], text))


def question(client: str, asked: Asked) -> Question:
    if asked.sender == asked.recipient:
        raise Malformed(f"sender and recipient are both {asked.sender!r}; a gift goes to another org")
    return Question(client, asked)


def resolved(asked: Asked, answer: Judged | None) -> Judged:
    if answer is None:
        raise GiftConflict(f"gift {asked.id!r} was judged before with other fields; give a new gift a new id")
    return answer


async def ask_one(client: str, asked: Asked, ask: Ask) -> Any:
    """One answer of a batch; what is wrong with one gift is its own answer."""
    try:
        return resolved(asked, await ask(question(client, asked)))
    except (Malformed, GiftConflict) as error:
        return {"gift": asked.id, "error": {"status": error.status, "code": error.code, "detail": error.detail}}


def record_view(row: Any, policy: str | None) -> dict[str, Any]:
    """Everything that is recorded of a decision, with names to its vector."""
    from detector.policy import read

    names = read(policy).vectors.names if policy else ()
    vector = msgspec.json.decode(row["vector"])
    return {
        "id": row["id"],
        "look": row["look"],
        "at": row["at"],
        **{key: row[key] for key in ("sender", "recipient", "amount", "ip", "device", "tier", "verdict")},
        "hits": msgspec.json.decode(row["hits"]),
        "features": dict(zip(names, vector, strict=False)),
        **{key: row[key] for key in ("generation", "model", "score", "retry_after_s")},
    }


def json(shape: Any) -> Response:
    return Response(ENCODE(shape), media_type="application/json")
