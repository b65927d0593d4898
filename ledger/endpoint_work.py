"""What is done to endpoints. Law: every change tells the log in the same commit, and no secret is shown twice.

Each act works inside the caller's transaction, on the locked endpoint; the append is its last statement.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import msgspec

from detector.contract import Told, append
from ledger import endpoints, store
from ledger.courier import Courier
from ledger.credits import new_id
from ledger.endpoints import Delivery, Terms
from ledger.errors import Invalid, NotFound
from ledger.signatures import new_secret, sign
from ledger.targets import addresses, read
from ledger.views import stamp


async def admit(terms: Terms, url: str) -> None:
    """Pass if webhooks may go to a URL as it resolves now; ask before the transaction. Raises TargetRefused."""
    await addresses(read(url, terms.private), terms.private)


async def add(
    conn: asyncpg.Connection, url: str, kinds: Sequence[str], description: str, actor: str
) -> tuple[str, str]:
    """A new endpoint at an admitted URL, which hears of what happens from now on: its id, and its secret."""
    secret, key = new_secret(), new_id("we")
    row = await conn.fetchrow(store.SQL["endpoint_add"], key, url, ordered(kinds), description, secret)
    await append(conn, [Told("endpoint.added", key, actor, about(row))])
    return key, secret


async def change(conn: asyncpg.Connection, key: str, actor: str, *, enabled: bool | None = None, **given: Any) -> None:
    """Change an admitted url, kinds, description or whether it is enabled; what is not given stays.

    Other kinds count for events above the cursor; an endpoint enabled again goes on where it stopped.
    """
    row = await lock(conn, key)
    told = []
    if given:
        wanted = {name: given.get(name, row[name]) for name in ("url", "kinds", "description")}
        wanted["kinds"] = ordered(wanted["kinds"])
        await conn.execute(store.SQL["endpoint_change"], key, *wanted.values())
        told.append(Told("endpoint.changed", key, actor, about(wanted)))
    if enabled is True and row["disabled_at"] is not None:
        await conn.execute(store.SQL["endpoint_enable"], key, row["now"])
        told.append(Told("endpoint.changed", key, actor, {"enabled": True}))
    if enabled is False and row["disabled_at"] is None:
        await conn.execute(store.SQL["endpoint_disable"], key, "platform")
        told.append(Told("endpoint.disabled", key, actor, {"why": "platform"}))
    await append(conn, told)


async def rotate(conn: asyncpg.Connection, key: str, overlap_s: int, actor: str) -> str:
    """A new secret; the one before it signs too for so many seconds, one before that no more."""
    await lock(conn, key)
    secret = new_secret()
    await conn.execute(store.SQL["endpoint_rotate"], key, secret, overlap_s)
    await append(conn, [Told("endpoint.changed", key, actor, {"secret": "rotated", "overlap_s": overlap_s})])
    return secret


async def remove(conn: asyncpg.Connection, key: str, actor: str) -> None:
    """Forget an endpoint with its deliveries; the log keeps that it was."""
    row = await lock(conn, key)
    await conn.execute(store.SQL["endpoint_remove"], key)
    await append(conn, [Told("endpoint.removed", key, actor, about(row))])


async def replay(
    conn: asyncpg.Connection, key: str, actor: str, *, after: int | None = None, since: datetime | None = None
) -> int:
    """Bring every wanted event after a seq, or of a time and later, once more; the seq it begins after.

    Raises Invalid unless exactly one of both is given, within the log.
    """
    if (after is None) == (since is None):
        raise Invalid("give one of after (a seq; 0 is the beginning) and since (a time), and not both")
    await lock(conn, key)
    if since is not None:
        if since.tzinfo is None:
            raise Invalid(f"since {since.isoformat()} needs a time zone, such as 2027-01-01T00:00:00Z")
        after = await conn.fetchval("select ledger.seq_before($1)", since)
    assert after is not None
    head = await conn.fetchval("select coalesce(max(seq), 0) from log.events")
    if after > head:
        raise Invalid(f"after {after} is beyond the log, whose newest event is {head}")
    await conn.execute(store.SQL["endpoint_replay"], key, after)
    await append(conn, [Told("endpoint.changed", key, actor, {"replayed_after": after})])
    return after


async def test(pool: asyncpg.Pool | asyncpg.Connection, terms: Terms, key: str, actor: str) -> Delivery:
    """Post an `endpoint.test` now, enabled or not, and keep how that ended; it counts neither way."""
    row = await find(pool, key)
    at = await pool.fetchval("select clock_timestamp()")
    told = {"type": "endpoint.test", "timestamp": stamp(at), "data": {"endpoint": key, "actor": actor}}
    body = msgspec.json.encode(told)
    keys = endpoints.secrets(row["secret"], row["old_secret"], row["old_until"], at)
    courier = Courier(read(row["url"], private=True), terms.private)
    try:
        reply = await courier.post(sign(keys, new_id("test"), int(time.time()), body), body, terms.timeout_s)
    finally:
        courier.close()
    outcome = endpoints.delivery(None, 1, at, "delivered" if reply.delivered else "failed", reply, None)
    await pool.execute(store.SQL["deliveries_add"], key, *store.columns([outcome], 9))
    return outcome


async def lock(conn: asyncpg.Connection, key: str) -> asyncpg.Record:
    return found(key, await conn.fetchrow(store.SQL["endpoint_lock"], key))


async def find(conn: asyncpg.Connection | asyncpg.Pool, key: str) -> asyncpg.Record:
    return found(key, await conn.fetchrow(store.SQL["endpoint"], key))


def found(key: str, row: asyncpg.Record | None) -> asyncpg.Record:
    if row is None:
        raise NotFound(f"there is no endpoint {key!r}; GET /v1/endpoints lists them")
    return row


def ordered(kinds: Sequence[str]) -> list[str]:
    """The kinds that an endpoint wants, each once. Raises Invalid for one that no event could have."""
    for kind in kinds:
        if not endpoints.KIND.fullmatch(kind):
            raise Invalid(f"kind {kind!r} is none: write transfer.settled, or transfer.* for all of them")
    return sorted(set(kinds))


def about(row: Any) -> dict[str, Any]:
    """What the log is told of an endpoint; its host alone, since a path may hold a secret of the receiver's."""
    return {"host": urlsplit(row["url"]).hostname, "kinds": list(row["kinds"])}


def view(row: Any) -> dict[str, Any]:
    """An endpoint from outside, without its secret."""
    times = ("created_at", "disabled_at", "failing_since", "not_before")
    return {
        **{name: row[name] for name in ("id", "url", "kinds", "description")},
        "enabled": row["disabled_at"] is None,
        **{name: row[name] for name in ("disabled_why", "upto")},
        "behind": row["head"] - row["upto"],
        **{name: row[name] for name in ("waiting", "failing")},
        "next_at": stamp(row["due_at"]),
        "old_secret_until": stamp(row["old_until"]),
        **{name: stamp(row[name]) for name in times},
    }


def delivery_view(row: Any) -> dict[str, Any]:
    """One delivery from outside; its seq is null for a test."""
    names = ("seq", "attempt", "outcome", "status", "error", "latency_ms", "excerpt")
    told = {name: row[name] for name in names}
    return {**told, "at": stamp(row["at"]), "next_at": stamp(row["next_at"])}
