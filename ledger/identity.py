"""Verified identity, as providers tell it by signed webhooks. Law: each event counts once, and in the order of its own
time; what a check verified is taken back by that check alone.

Told is what an event means to us; `follows` and `standing` decide, pure, what becomes of it and of the org.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Literal, NamedTuple

import asyncpg
import msgspec

from detector.contract import LEVELS, append
from ledger import events, store
from ledger.credits import new_id
from ledger.errors import Invalid
from ledger.funding import lock_org
from ledger.signatures import Scheme

Outcome = Literal["applied", "older", "ignored", "replayed"]
PLATFORM: Final = "platform"
# Stripe Identity: a document is looked at with its bearer's face, a number is only compared with registers.
STRIPE_LEVELS: Final = {"document": "full", "id_number": "basic"}
STRIPE_LOST: Final = frozenset({"requires_input", "canceled", "redacted"})
PERSONA_LOST: Final = frozenset({"inquiry.declined", "inquiry.failed", "inquiry.expired", "inquiry.redacted"})


class Told(NamedTuple):
    """What an event says: that a check verified an org, or (level none) that what it verified counts no more.

    `subject` is the provider's name for the check: a session, an inquiry. `at` is when the provider says it ended.
    """

    provider: str
    event: str
    org: str
    subject: str
    level: str
    at: datetime


def read(scheme: Scheme, body: bytes) -> Told | None:
    """What a webhook's body says of an org's identity; None where it is about something else.

    Raises Invalid naming what is missing.
    """
    try:
        shape = msgspec.json.decode(body)
        return READERS[scheme](shape)
    except msgspec.DecodeError as error:
        raise Invalid(f"the body is not JSON: {error}") from error
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise Invalid(
            f"the body is not a {scheme} event as it is documented: {type(error).__name__} {error}"
        ) from error


def read_standard(shape: Any) -> Told | None:
    """`{"id", "type": "identity.verified" | "identity.lost", "timestamp", "data": {"org", "level", "check"}}`."""
    if shape["type"] not in ("identity.verified", "identity.lost"):
        return None
    given = shape["data"]
    level = given["level"] if shape["type"] == "identity.verified" else "none"
    if level not in LEVELS:
        raise ValueError(f"level {level!r} is none of {', '.join(LEVELS)}")
    at = datetime.fromisoformat(shape["timestamp"])
    if at.tzinfo is None:
        raise ValueError(f"timestamp {shape['timestamp']!r} needs a time zone, such as 2027-01-01T00:00:00Z")
    return told("standard", shape["id"], given["org"], given["check"], level, at)


def read_stripe(shape: Any) -> Told | None:
    """An `identity.verification_session.*` event; the org is its `client_reference_id`, or `metadata.org`."""
    kind, _, what = shape["type"].rpartition(".")
    if kind != "identity.verification_session" or what not in {"verified", *STRIPE_LOST}:
        return None
    session = shape["data"]["object"]
    org = session.get("client_reference_id") or session["metadata"]["org"]
    level = STRIPE_LEVELS[session["type"]] if what == "verified" else "none"
    at = datetime.fromtimestamp(shape["created"], UTC)
    return told("stripe", shape["id"], org, session["id"], level, at)


def read_persona(shape: Any) -> Told | None:
    """An `inquiry.*` event; the org is the inquiry's `reference-id`. Completed is not yet approved."""
    event = shape["data"]["attributes"]
    if event["name"] != "inquiry.approved" and event["name"] not in PERSONA_LOST:
        return None
    inquiry = event["payload"]["data"]
    level = "full" if event["name"] == "inquiry.approved" else "none"
    at = datetime.fromisoformat(event["created-at"])
    return told("persona", shape["data"]["id"], inquiry["attributes"]["reference-id"], inquiry["id"], level, at)


def told(provider: Scheme, event: Any, org: Any, subject: Any, level: str, at: datetime) -> Told:
    for name, value in {"event id": event, "org": org, "check id": subject}.items():
        if not isinstance(value, str) or not 0 < len(value) <= 255 or "\0" in value:
            raise ValueError(f"{name} is {str(value)[:40]!r}, not a text of 1 to 255 characters")
    return Told(provider, event, org, subject, level, at)


READERS: Final[dict[Scheme, Callable[[Any], Told | None]]] = {
    "standard": read_standard,
    "stripe": read_stripe,
    "persona": read_persona,
}


class Standing(NamedTuple):
    """How far an org is verified, and since when (None where it is not)."""

    level: str
    since: datetime | None


UNVERIFIED: Final = Standing("none", None)


def standing(counted: Iterable[Told]) -> Standing:
    """What all that counted comes to, oldest first: the strongest check that still counts, and its time.

    The platform's own word replaces all that was said before it.
    """
    checks: dict[str, Standing] = {}
    for one in counted:
        if one.provider == PLATFORM:
            checks.clear()
        checks[f"{one.provider}/{one.subject}"] = UNVERIFIED if one.level == "none" else Standing(one.level, one.at)
    return max(checks.values(), key=lambda check: LEVELS.index(check.level), default=UNVERIFIED)


def follows(news: Told, before: Sequence[Told]) -> Outcome:
    """What becomes of an event, given what counted before, oldest first.

    A check that ends badly takes back what it verified itself: one that verified nothing is ignored.
    """
    mine = [one for one in before if (one.provider, one.subject) == (news.provider, news.subject)]
    if mine and mine[-1].at > news.at:
        return "older"
    counts = news.level != "none" or news.provider == PLATFORM or (mine and mine[-1].level != "none")
    return "applied" if counts else "ignored"


async def note(conn: asyncpg.Connection, news: Told, *, actor: str | None = None) -> Outcome:
    """Let an event count, once, last in a transaction. Raises NotFound for an org that does not exist (yet).

    The log hears of it as of its provider, or of the `actor` that the platform's word is by."""
    org = await lock_org(conn, news.org)
    if await conn.fetchval(store.SQL["identity_known"], news.provider, news.event):
        return "replayed"
    before = [Told(*row) for row in await conn.fetch(store.SQL["identity_told"], news.org)]
    if not before and org["identity"] != "none":  # what an org was founded with is the platform's word
        before = [platform(news.org, org["identity"], org["identity_at"])]
        await conn.execute(store.SQL["identity_note"], *before[0], "applied")
    news = news._replace(at=min(news.at, org["now"]))
    outcome = follows(news, before)
    await conn.execute(store.SQL["identity_note"], *news, outcome)
    if outcome == "applied":
        stands = standing([*before, news])
        await conn.execute(store.SQL["org_identity"], news.org, *stands)
        await append(conn, [events.org_identity(news.org, *stands, actor or news.provider)])
    return outcome


def platform(org: str, level: str, at: datetime) -> Told:
    """The platform's own word on an org."""
    return Told(PLATFORM, new_id("ie"), org, PLATFORM, level, at)
