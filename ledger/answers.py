"""What a request is told, as bytes. A sender never learns why a gift was held or blocked; only its own limits show."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from http import HTTPStatus
from typing import Any

import msgspec
from msgspec import Struct

from detector.contract import Asks, Decision
from ledger import store
from ledger.credits import Org, Slice
from ledger.stops import stands_at
from ledger.transfers import PENDING, Answer, Request, Status

ENCODE = msgspec.json.Encoder().encode
# What the routes say of their refusals on the OpenAPI page.
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


class Kept(Struct, frozen=True, gc=False):
    """An answer as it is stored under its key."""

    body_hash: bytes
    status: int
    body: bytes

    def __getitem__(self, name: str) -> Any:
        return getattr(self, name)


class Opened(Struct, gc=False):
    """The body of a 201, field by field as it is written."""

    id: str
    status: str
    sender: str
    recipient: str
    amount: int
    note: str | None
    created_at: str
    settle_at: str | None


def kept(answer: Answer, body_hash: bytes) -> Kept:
    return Kept(body_hash, answer.status, answer.body)


@lru_cache(maxsize=16)  # a batch shares its moment
def rfc3339(at: int) -> str:
    """Microseconds since 1970 as RFC 3339 in UTC."""
    return store.moment(at).isoformat(timespec="microseconds").replace("+00:00", "Z")


def title(status: int) -> str:
    """The status' own phrase, as RFC 9457 asks for problems without a page of their own."""
    return HTTPStatus(status).phrase


def problem(status: int, code: str, detail: str, headers: dict[str, str] | None = None, **extra: Any) -> Answer:
    """An RFC 9457 problem."""
    body = {"type": f"urn:lockgate:{code}", "title": title(status), "status": status, "code": code, "detail": detail}
    return Answer(status, ENCODE({**body, **extra}), headers or {})


def earlier(request: Request, answer: Any) -> Answer:
    """The answer that the key was given before; 422 where the body is another one."""
    if answer["body_hash"] != request.body_hash:
        return msgspec.structs.replace(reused(request), replayed=True)
    return Answer(answer["status"], answer["body"], {"Idempotency-Replayed": "true"}, replayed=True)


def refusal(
    request: Request, sender: Org, recipient: Org, slices: list[Slice] | None, asks: Asks, now: datetime
) -> tuple[str, Answer] | None:
    """Why the ledger itself refuses a gift that `asks` for an identity: (reason, answer), or None where it does not."""
    if sender.frozen or sender.caution == "compromised":
        return "org_frozen", problem(403, "org_frozen", "sending is frozen for this org; ask the platform's support")
    if not asks.met(sender.identity, sender.identity_at, now):
        stands = stands_at(sender.identity, sender.identity_at)
        detail = (
            f"a gift of {request.amount} micro-credits needs {asks.words}; this org {stands}: verify it, then send "
            "with a new key"
        )
        return "identity_required", problem(403, "identity_required", detail)
    if recipient.frozen:
        detail = f"recipient {request.recipient!r} cannot receive gifts at present"
        return "recipient_frozen", problem(422, "recipient_unavailable", detail)
    if slices is None:
        detail = (
            f"{request.amount} micro-credits are more than this org can gift: only cleared, giftable credits that "
            "outlive the lock count; see giftable in GET …/balance"
        )
        return "insufficient_credits", problem(402, "insufficient_credits", detail)
    return None


def created(request: Request, status: Status, decision: Decision, lock_s: int) -> Answer:
    """201: the transfer as it begins. A held one has no settle_at yet, since a hold stops the clock."""
    one, settle_at = request, decision.at + lock_s * 1_000_000 if status is PENDING else None
    body = opened(one.id, status, one.sender, one.recipient, one.amount, one.note, decision.at, settle_at)
    return Answer(201, body, budget_headers(decision))


def stands(row: Any, status: str, settle_at: int | None) -> Answer:
    """201 for a transfer that was opened before it was judged, as it stands after it."""
    parties = row["sender"], row["recipient"]
    made = store.micros(row["created_at"])
    return Answer(201, opened(row["id"], status, *parties, row["amount"], row["note"], made, settle_at))


def opened(
    id: str, status: str, sender: str, recipient: str, amount: int, note: str | None, made: int, settle_at: int | None
) -> bytes:
    """A transfer as its sender is told of it at once; moments in microseconds, None for what is yet unknown."""
    later = None if settle_at is None else rfc3339(settle_at)
    return ENCODE(Opened(id, status, sender, recipient, amount, note, rfc3339(made), later))


def still_judged(request: Request, body_hash: bytes) -> Answer:
    """409 while the key's gift is being judged; 422 where the body is another one. Neither is kept."""
    return reused(request) if body_hash != request.body_hash else still_running(request.key, {"Retry-After": "1"})


def still_running(key: str, headers: dict[str, str] | None = None) -> Answer:
    return problem(409, "still_running", f"Idempotency-Key {key!r} is still running; retry soon", headers)


def reused(request: Request) -> Answer:
    detail = f"Idempotency-Key {request.key!r} was used with another body; use a new key for a new gift"
    return problem(422, "idempotency_key_reused", detail)


def rate_limited(decision: Decision) -> Answer:
    """429, with the wait that is enough where waiting helps."""
    wait = decision.retry_after_s
    detail = (
        f"too many gifts or too much value lately; none of it was counted; try again in {wait} s with a new key"
        if wait is not None
        else "this gift is larger than a limit allows at any time; send a smaller one"
    )
    headers = budget_headers(decision)
    if wait is not None:
        headers["Retry-After"] = str(wait)
    return problem(429, "rate_limited", detail, headers, retry_after_s=wait)


def budget_headers(decision: Decision) -> dict[str, str]:
    """RateLimit fields as in the IETF draft, for the sender's tightest budget."""
    budget = decision.budget
    if budget is None:
        return {}
    return {
        "RateLimit-Policy": f'"{budget.name}";q={budget.quota};w={budget.window_s}',
        "RateLimit": f'"{budget.name}";r={budget.remaining};t={budget.reset_s}',
    }
