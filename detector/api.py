"""The scoring API, for a service's key: score, outcomes, labels, decisions."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import asyncpg
import msgspec
from fastapi import APIRouter, Header, Request, Response
from msgspec import Meta, Struct

from detector import cases, labels, log, store
from detector.contract import CONTRACT, Answers, Asked, Judged, Label, Labelled, Left, Outcome, body_schema
from detector.errors import DecisionUnknown, DetectorError, GiftConflict, Malformed
from detector.scoring import Question

Ask = Callable[[Question], Awaitable[Judged | None]]
# Who is asking, if the key's role has the scope: the name of the client. Handed in, since keys are the ledger's.
Allow = Callable[[str | None, str], Awaitable[str]]
# Whether the key is the platform's own: it may label any gift, where a client may label its own ones.
Own = Callable[[str | None], Awaitable[bool]]
ENCODE = msgspec.json.Encoder().encode
MOST_IN_BATCH = 500
# How a held gift left its case when its own ledger says what became of it.
LEFT: dict[str, Any] = {
    "settled": "settled",
    "cancelled": "cancelled",
    "returned": "returned",
    "reversed": "returned",
    "failed": "returned",
}
OneOrMany = Label | Annotated[list[Label], Meta(min_length=1, max_length=MOST_IN_BATCH)]


class Batch(Struct, forbid_unknown_fields=True):
    gifts: Annotated[list[Asked], Meta(min_length=1, max_length=MOST_IN_BATCH)]


class Outcomes(Struct, forbid_unknown_fields=True):
    outcomes: Annotated[list[Outcome], Meta(min_length=1, max_length=MOST_IN_BATCH)]


ASKED = msgspec.json.Decoder(Asked)
BATCH = msgspec.json.Decoder(Batch)
OUTCOMES = msgspec.json.Decoder(Outcomes)
LABELS = msgspec.json.Decoder(OneOrMany)


def parse(decoder: msgspec.json.Decoder[Any], body: bytes) -> Any:
    """The body in the shape asked for. Raises Malformed naming the field and what it should be."""
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Malformed(str(error)) from error


def router(pool: asyncpg.Pool, allow: Allow, ask: Ask, own: Own) -> APIRouter:
    """The routes of the scoring API."""
    routes = APIRouter(prefix="/v1", tags=["scoring"])
    add_scoring(routes, allow, ask)
    add_records(routes, pool, allow)
    add_labels(routes, pool, allow, own)
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
        return json(Answers(answers, CONTRACT))


def add_records(routes: APIRouter, pool: asyncpg.Pool, allow: Allow) -> None:
    @routes.post("/outcomes", openapi_extra=body_schema(Outcomes), summary="Say what became of judged gifts")
    async def outcomes(request: Request) -> Response:
        client = await allow(request.headers.get("authorization"), "score:write")
        listed = parse(OUTCOMES, await request.body()).outcomes
        async with pool.acquire() as conn, conn.transaction():
            known = {row["id"] for row in await store.decisions(conn, [f"{client}:{one.gift}.1" for one in listed])}
            noted, gone = 0, []
            for one in listed:
                if one.at.tzinfo is None:
                    raise Malformed(f"at of gift {one.gift!r} needs a time zone, such as 2027-01-01T00:00:00Z")
                if f"{client}:{one.gift}.1" in known:
                    news = await store.note_outcome(conn, f"{client}:{one.gift}", one.outcome, one.at)
                    noted += news
                    gone += [one] if news else []
            now = await conn.fetchval("select clock_timestamp()")
            await cases.move(conn, [], [Left(f"{client}:{one.gift}", LEFT[one.outcome], now) for one in gone])
        unknown = [one.gift for one in listed if f"{client}:{one.gift}.1" not in known]
        return json({"noted": noted, "unknown": unknown})

    @routes.get("/decisions/{decision_id}", summary="A recorded decision, with everything it saw")
    async def decision(decision_id: str, authorization: Annotated[str | None, Header()] = None) -> Response:
        client = await allow(authorization, "score:read")
        async with pool.acquire() as conn:
            rows = await store.decisions(conn, names_of(decision_id, client))
            if not rows:
                raise DecisionUnknown(
                    f"no decision {decision_id!r}; ask by gift id, or by gift id and look as in 'gift.2'"
                )
            text = await store.policy_text(conn, rows[0]["generation"])
        return json(record_view(rows[0], text))


def add_labels(routes: APIRouter, pool: asyncpg.Pool, allow: Allow, own: Own) -> None:
    @routes.post("/labels", openapi_extra=body_schema(OneOrMany), summary="Say what became known of gifts, one or many")
    async def label(request: Request) -> Response:
        authorization = request.headers.get("authorization")
        client = await allow(authorization, "labels:write")
        body = parse(LABELS, await request.body())
        listed = body if isinstance(body, list) else [body]
        prefix = "" if await own(authorization) else f"{client}:"
        async with pool.acquire() as conn, conn.transaction():
            told = [(prefix + one.gift, one) for one in listed]
            answers = await labels.note(conn, told, client)
            await log.append(conn, labels.events(told, answers, client))
        if isinstance(body, list):
            return json({"results": [in_list(one, answer) for one, answer in zip(listed, answers, strict=True)]})
        if isinstance(answers[0], DetectorError):
            raise answers[0]
        return json(answers[0])


def in_list(label: Label, answer: Labelled | DetectorError) -> Any:
    return failed(label.gift, answer) if isinstance(answer, DetectorError) else answer


def failed(gift: str, error: DetectorError) -> dict[str, Any]:
    return {"gift": gift, "error": {"status": error.status, "code": error.code, "detail": error.detail}}


def names_of(decision_id: str, client: str | None) -> list[str]:
    """The ids under which a decision may be on record: by gift id the first look is meant.

    A client sees its own decisions, and those of the ledger here; another client's carry its name.
    """
    gift, _, look = decision_id.rpartition(".")
    name = decision_id if look.isdigit() and gift else f"{decision_id}.1"
    if client is None:
        return [name]
    return [name if name.startswith(f"{client}:") else f"{client}:{name}"] + [name] * (":" not in name)


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
        return failed(asked.id, error)


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
