"""What is done to the lists. Law: a change is alone between decisions, and the same commit tells the log of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import asyncpg

from detector import log
from detector.case_shapes import Listed, ListEntry, ListName
from detector.errors import EntryConflict, EntryUnknown, Malformed
from detector.gift import stamp
from detector.lists import plain
from detector.log import Told
from detector.store import SQL


async def add(conn: asyncpg.Connection, name: ListName, listed: Listed, author: str) -> ListEntry:
    """Put an entry on a list. Raises EntryConflict where the same stands already."""
    value = plain(listed.kind, listed.value)
    if not value:
        raise Malformed(f"value {listed.value!r} names no {listed.kind}")
    async with conn.transaction():
        await conn.execute(SQL["lists_alone"])
        until = expiry(listed.expires_at, await conn.fetchval("select clock_timestamp()"))
        same = await conn.fetchrow(SQL["list_same"], name, listed.kind, value)
        if same:
            raise EntryConflict(
                f"{listed.kind} {value!r} is on the {name} list already: entry {same['id']}, by {same['author']} on "
                f"{stamp(same['added_at'])} ({same['reason']}); take it off first to change it"
            )
        row = await conn.fetchrow(SQL["list_add"], name, listed.kind, value, listed.reason, author, until)
        await log.append(conn, [Told("list.added", str(row["id"]), author, body(row))])
    return view(row)


async def remove(conn: asyncpg.Connection, entry: int, author: str) -> ListEntry:
    """Take an entry off its list. Raises EntryConflict where somebody did before."""
    async with conn.transaction():
        await conn.execute(SQL["lists_alone"])
        row = await conn.fetchrow(SQL["list_remove"], entry, author)
        if row is None:
            known = await conn.fetchrow(SQL["list_entry"], entry)
            if known is None:
                raise EntryUnknown(f"there is no list entry {entry}; GET /v1/lists shows all")
            raise EntryConflict(
                f"entry {entry} was taken off by {known['removed_by']} on {stamp(known['removed_at'])} already"
            )
        await log.append(conn, [Told("list.removed", str(entry), author, removal(row))])
    return view(row)


def expiry(text: str | None, now: datetime) -> datetime | None:
    """When an entry ends. Raises Malformed unless that is a moment to come, with its time zone."""
    if text is None:
        return None
    try:
        until = datetime.fromisoformat(text)
    except ValueError:
        raise Malformed(f"expires_at {text!r} is no time; write it as 2027-01-01T00:00:00Z") from None
    if until.tzinfo is None:
        raise Malformed(f"expires_at {text!r} needs a time zone, such as 2027-01-01T00:00:00Z")
    if until <= now:
        raise Malformed(f"expires_at {text!r} is over: it is {stamp(now)}")
    return until.astimezone(UTC)


def body(row: Any) -> dict[str, Any]:
    """What the log is told of a new entry."""
    told = {name: row[name] for name in ("list", "kind", "value", "reason")}
    return {**told, "added_at": stamp(row["added_at"]), "expires_at": row["expires_at"] and stamp(row["expires_at"])}


def removal(row: Any) -> dict[str, Any]:
    return {**{name: row[name] for name in ("list", "kind", "value")}, "removed_at": stamp(row["removed_at"])}


def view(row: Any) -> ListEntry:
    times = {name: row[name] and stamp(row[name]) for name in ("added_at", "expires_at", "removed_at")}
    return ListEntry(**{**row, **times})
