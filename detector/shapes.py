"""The shapes of the detector's HTTP API. Whoever only speaks it loads no more of the detector than this."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

# The edition of the scoring API's shapes. An asking ledger takes no answer of another one: it may mean something else.
CONTRACT = 1
# $ alone would let a trailing newline pass
PARTY = r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$(?!\n)"
LABELLED = r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,128}$(?!\n)"
SOURCE = r"^[A-Za-z0-9][A-Za-z0-9_.: -]{0,63}$(?!\n)"
HASH = r"^[0-9a-f]{64}$(?!\n)"
DOMAIN = r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?$(?!\n)"
Act = Literal["release", "block", "return", "freeze"]
Party = Annotated[str, Meta(pattern=PARTY, description="1 to 64 letters, digits, and _ . : -")]
Amount = Annotated[int, Meta(gt=0, le=10**15, description="integer micro-credits; 1 credit = 1_000_000")]
Domain = Annotated[str, Meta(pattern=DOMAIN, max_length=253, description="a party's domain, such as example.com")]
Context = Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[\x20-\x7e]+$(?!\n)")]


class Asked(Struct, forbid_unknown_fields=True):
    """A gift that another ledger asks about. What it leaves out is null to the rules, never guessed."""

    id: Party
    sender: Party
    recipient: Party
    amount: Amount
    ip: Context | None = None
    device: Context | None = None
    fingerprint: Context | None = None
    tier: Context | None = None
    recipient_tier: Context | None = None
    identity: Literal["none", "basic", "full"] | None = None
    sender_age_s: Annotated[int, Meta(ge=0)] | None = None
    recipient_age_s: Annotated[int, Meta(ge=0)] | None = None
    sender_available: Annotated[int, Meta(ge=0)] | None = None
    topup_age_s: Annotated[int, Meta(ge=0)] | None = None
    same_owner: bool | None = None
    promo_amount: Annotated[int, Meta(ge=0)] | None = None
    young_amount: Annotated[int, Meta(ge=0)] | None = None
    sender_domain: Domain | None = None
    recipient_domain: Domain | None = None
    revoked_amount: Annotated[int, Meta(ge=0)] | None = None
    payload_hash: (
        Annotated[str, Meta(pattern=HASH, description="what the ledger binds the answer to; told back")] | None
    ) = None
    look: (
        Annotated[int, Meta(ge=1, le=32_767, description="2 and more: a fresh look; it takes no budget again")] | None
    ) = None


class Judged(Struct, omit_defaults=True):
    """A decision as the asking ledger sees it. score: 0..1, high = more suspicious; null while no model judges.

    `refused`: a limit was in the way, and the gift took no budget. `silent`: nobody could judge it, and nothing but
    that holds it; ask for another look later. `payload_hash` is the question's own.
    """

    id: str
    gift: str
    verdict: Literal["approve", "hold", "block"]
    reasons: list[str]
    at: str
    generation: int
    model: str | None
    score: Annotated[float, Meta(ge=0, le=1)] | None
    retry_after_s: int | None = None
    refused: bool = False
    silent: bool = False
    payload_hash: str | None = None


class Answers(Struct):
    """What /v1/score/batch answers: one result for each gift, in order; what is wrong with one is its own `error`."""

    results: list[Any]
    contract: int = 0


class Outcome(Struct, forbid_unknown_fields=True):
    """What became of a gift that was judged."""

    gift: Party
    outcome: Literal["settled", "cancelled", "returned", "reversed", "failed"]
    at: datetime


class Label(Struct, forbid_unknown_fields=True):
    """What became known of a gift: a case's ruling, a charge-back, a customer's report. `source` says which."""

    gift: Annotated[str, Meta(pattern=LABELLED, description="the id that the gift was judged under")]
    fraud: bool
    source: Annotated[str, Meta(pattern=SOURCE, description="where it is known from, such as chargeback")]


class Labelled(Struct):
    """A label as it stands; `news` where it was not known before this."""

    gift: str
    fraud: bool
    label_at: str
    source: str
    news: bool


def body_schema(shape: Any) -> dict[str, Any]:
    """The request body of a route that parses it itself, for the OpenAPI page."""
    (schema,), parts = msgspec.json.schema_components([shape], ref_template="#/components/schemas/{name}")
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": inline(schema, parts)}}}}


def inline(schema: Any, parts: dict[str, Any]) -> Any:
    """A schema with its references written out."""
    if isinstance(schema, dict):
        if "$ref" in schema:
            return inline(parts[schema["$ref"].rsplit("/", 1)[-1]], parts)
        return {name: inline(part, parts) for name, part in schema.items()}
    return [inline(part, parts) for part in schema] if isinstance(schema, list) else schema
