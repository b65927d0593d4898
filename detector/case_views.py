"""Cases as the API shows them: the queue, page by page as of one moment, and one case whole."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

import asyncpg
import msgspec
from msgspec import Meta, Struct

from detector.case_shapes import Case, CaseFile, CaseGift, CasePage, Happening, Note, Ruling
from detector.errors import CaseUnknown, Malformed
from detector.gift import stamp
from detector.store import SQL

PLAIN = ("id", "kind", "version", "gifts", "waiting", "amount", "at_risk", "expected_loss", "score", "merged_into")
MANY = ("senders", "recipients", "reasons")
GIFT = ("sender", "recipient", "amount", "ip", "device", "verdict", "reasons", "score", "standing", "ruling")
# A ledger that is not ours tells no deadline; and what is due this minute is not pressing without bound.
UNTOLD_S = 86_400
LEAST_S = 60


class Place(Struct, array_like=True):
    """Where a page ended: the moment that the queue is read as of, and rank and id of its last case."""

    now: datetime
    rank: float
    id: Annotated[str, Meta(pattern=r"^[a-z0-9_]{1,64}$")]


class Wanted(Struct, frozen=True):
    """Which cases to list, in the order of cases.sql's parameters."""

    status: str | None = None
    kind: str | None = None
    sender: str | None = None
    recipient: str | None = None
    rule: str | None = None
    min_amount: int | None = None
    older_than: float | None = None
    claimed_by: str | None = None
    q: str | None = None
    sort: str = "priority"


async def page(conn: asyncpg.Connection, wanted: Wanted, cursor: str | None, limit: int) -> CasePage:
    """One page of the queue. The cursor keeps the moment, so that priorities stand still while pages are turned."""
    place = placed(cursor) if cursor else None
    where = (place.now, place.rank, place.id) if place else (None, None, None)
    rows = await conn.fetch(SQL["cases"], *msgspec.structs.astuple(wanted), *where, limit + 1)
    counts = await conn.fetchrow(SQL["cases_count"])
    last = rows[limit - 1] if len(rows) > limit else None
    now = rows[0]["now"] if rows else await conn.fetchval("select clock_timestamp()")
    return CasePage(
        [case_of(row) for row in rows[:limit]],
        token(Place(last["now"], last["rank"], last["id"])) if last else None,
        stamp(now),
        counts["open"],
        counts["claimed"],
    )


def token(place: Place) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).decode().rstrip("=")


def placed(cursor: str) -> Place:
    try:
        place = msgspec.json.decode(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)), type=Place)
    except (ValueError, msgspec.DecodeError) as error:
        raise Malformed(f"cursor {cursor[:40]!r} is not one of ours; take it from next") from error
    if place.now.tzinfo is None:
        raise Malformed(f"cursor {cursor[:40]!r} is not one of ours; take it from next")
    return place


async def whole(conn: asyncpg.Connection, case: str) -> CaseFile:
    """Everything about one case, in one snapshot. What was said of cases gathered into it is part of it."""
    async with conn.transaction(isolation="repeatable_read", readonly=True):
        row = found(case, await conn.fetchrow(SQL["case"], case))
        family = [one["id"] for one in await conn.fetch(SQL["case_family"], case)]
        gifts = await conn.fetch(SQL["case_gifts"], case)
        rulings = await conn.fetch(SQL["case_rulings"], family)
        notes = await conn.fetch(SQL["case_notes"], family)
        told = await conn.fetch(SQL["case_events"], [*family, *(one["gift_id"] for one in gifts)])
    return CaseFile(
        case_of(row),
        [gift_of(one) for one in gifts],
        [ruling_of(one) for one in rulings],
        [Note(stamp(one["at"]), one["author"], one["text"]) for one in notes],
        [happening(one) for one in told],
    )


def found(case: str, row: asyncpg.Record | None) -> asyncpg.Record:
    if row is None:
        raise CaseUnknown(f"no case {case!r}; GET /v1/cases lists those there are")
    return row


def case_of(row: Any) -> Case:
    now = row["now"]
    claimed = row["claimed_until"] is not None and row["claimed_until"] > now
    status = "ended" if row["ended_at"] else "claimed" if claimed else "open"
    told: dict[str, Any] = {name: row[name] for name in PLAIN} | {name: list(row[name]) for name in MANY}
    return Case(
        **told,
        status=status,  # type: ignore[arg-type]
        opened_at=stamp(row["opened_at"]),
        deadline=maybe(row["deadline"]),
        priority=priority(row["expected_loss"], row["deadline"], now),
        claimed_by=row["claimed_by"] if claimed else None,
        claimed_until=maybe(row["claimed_until"]) if claimed else None,
        assigned_to=row["assigned_to"],
        escalated=row["escalated"],
        proposed=row["proposed"],
        ended_at=maybe(row["ended_at"]),
    )


def priority(expected_loss: int, deadline: datetime | None, now: datetime) -> float:
    """Expected loss in credits for each hour left; cases.sql ranks by the same."""
    left_s = UNTOLD_S if deadline is None else (deadline - now).total_seconds()
    return expected_loss / 1_000_000 / (max(left_s, LEAST_S) / 3600)


def gift_of(row: Any) -> CaseGift:
    return CaseGift(
        id=row["gift_id"],
        decision=row["decision_id"],
        at=stamp(row["at"]),
        deadline=maybe(row["deadline"]),
        **{name: row[name] for name in GIFT},
    )


def ruling_of(row: Any) -> Ruling:
    return Ruling(
        row["id"], row["act"], list(row["gifts"] or ()), row["amount"], row["why"], row["status"], row["author"],
        stamp(row["at"]), row["second"], maybe(row["second_at"]),
    )  # fmt: skip


def happening(row: Any) -> Happening:
    return Happening(row["seq"], stamp(row["at"]), row["kind"], row["actor"], words(msgspec.json.decode(row["body"])))


def words(body: dict[str, Any]) -> str:
    """What an event holds, in one line.

    >>> words({"gifts": ["tr_1", "tr_2"], "until": "12:00"})
    'gifts tr_1, tr_2; until 12:00'
    """
    return "; ".join(f"{name} {listed(value)}" for name, value in body.items() if value not in (None, [], ""))


def listed(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, Sequence) and not isinstance(value, str) else str(value)


def maybe(at: datetime | None) -> str | None:
    return None if at is None else stamp(at)
