"""The detector's nouns: the gift that is judged, and the decision that judges it.

Times are integer microseconds since 1970 (UTC), amounts integer micro-credits. A score is 0..1, high = more
suspicious.
"""

from __future__ import annotations

import enum
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

from msgspec import Struct

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def micros(at: datetime) -> int:
    """Microseconds since 1970."""
    return (at - EPOCH) // MICROSECOND


@lru_cache(maxsize=64)  # a batch shares its moment
def moment(at: int) -> datetime:
    return EPOCH + timedelta(microseconds=at)


def stamp(at: datetime) -> str:
    """A time as the API writes it: RFC 3339, UTC."""
    return at.isoformat(timespec="microseconds").replace("+00:00", "Z")


class Verdict(enum.IntEnum):
    """Ordered by severity, so that `max` of several verdicts is the one that counts."""

    APPROVE = 0
    HOLD = 1
    BLOCK = 2

    @property
    def word(self) -> str:
        return WORDS[self]


APPROVE, HOLD, BLOCK = Verdict  # a member read from its class costs some ten times as much
WORDS = {verdict: verdict.name.lower() for verdict in Verdict}


class Parties(NamedTuple):
    """What must be locked to judge a gift."""

    sender: str
    recipient: str
    ip: str | None
    device: str | None
    tier: str | None
    fingerprint: str | None = None


class Gift(Struct, frozen=True, gc=False):
    """What is judged. A fact that the asking ledger does not know is None, never a guess."""

    id: str
    sender: str
    recipient: str
    amount: int
    payload_hash: bytes
    ip: str | None = None
    device: str | None = None
    tier: str | None = None
    recipient_tier: str | None = None
    identity: str | None = None
    sender_age_s: int | None = None
    recipient_age_s: int | None = None
    sender_available: int | None = None
    topup_age_s: int | None = None
    same_owner: bool | None = None
    look: int = 1
    fingerprint: str | None = None
    promo_amount: int | None = None
    young_amount: int | None = None
    sender_domain: str | None = None
    recipient_domain: str | None = None
    revoked_amount: int | None = None
    ledger_hold: str | None = None  # why its ledger holds it, whatever the detector has against it


class Event(Struct, frozen=True, gc=False):
    """One past attempt as activity remembers it; admitted = neither refused nor blocked."""

    at: int
    sender: str
    recipient: str
    amount: int
    ip: str | None
    device: str | None
    tier: str | None
    admitted: bool
    fingerprint: str | None = None


class Hit(Struct, frozen=True, omit_defaults=True, gc=False):
    """One reason for a verdict. `by` is limit, rule, model, list, ledger (it refused or holds), degraded (law 5), or
    breaker: a hold in place of a block that the other hits say.

    `waived_by` names what made it count no more: the ruling that released the gift in spite of it.
    """

    by: str
    name: str
    verdict: str
    seen: dict[str, Any] = {}
    waived_by: str | None = None

    @property
    def reason(self) -> str:
        return f"{self.by}:{self.name}"


class Budget(Struct, frozen=True, gc=False):
    """What is left of one limit after a gift, for the RateLimit headers. Times in whole seconds."""

    name: str
    quota: int
    window_s: int
    remaining: int
    reset_s: int


class Opinion(Struct, frozen=True, gc=False):
    """What the model has to say of a gift at one moment, and what was read for it.

    `features` are in the order of `model_vector.RECORDED`; `digest` is what later gifts of both parties may know of
    this one (live_graph.Digest), of a first look only; `hit` is None where the model has nothing against the gift.
    """

    at: int
    features: tuple[Any, ...] | None = None
    digest: Any = None
    model: str | None = None
    score: float | None = None
    hit: Hit | None = None


class Decision(Struct, frozen=True, gc=False):
    """The immutable record of one look at one gift.

    `vector` holds the policy's columns in the order of `Policy.vectors.names`; `retry_after_s` is set when a
    limit refused the gift and waiting would help; `features` and `digest` are the model's, as in Opinion; `breaker` is
    the opening of the breaker that it was taken under.
    """

    gift: Gift
    at: int
    verdict: Verdict
    hits: tuple[Hit, ...]
    vector: tuple[Any, ...]
    generation: int
    model: str | None = None
    score: float | None = None
    refused: bool = False
    retry_after_s: int | None = None
    budget: Budget | None = None
    features: tuple[Any, ...] | None = None
    digest: Any = None
    breaker: int | None = None

    @property
    def id(self) -> str:
        return f"{self.gift.id}.{self.gift.look}"

    @property
    def admitted(self) -> bool:
        return self.verdict is not BLOCK

    @property
    def reasons(self) -> list[str]:
        return [hit.reason for hit in self.hits]
