"""Work on a case that moves no gift: claim, hand back, assign, escalate, note.

Law: a claim is compare-and-set on the version that was read; whoever comes second is told who was first, until when.
"""

from __future__ import annotations

from typing import Any

import asyncpg
from msgspec import Struct

from detector import log
from detector.case_views import found
from detector.errors import CaseConflict, NotYours
from detector.gift import stamp
from detector.log import SYSTEM, Told
from detector.store import SQL


class Person(Struct, frozen=True):
    """Who works on a case, by the name of the key; a `lead` assigns, and rules on any case."""

    name: str
    lead: bool


async def claim(conn: asyncpg.Connection, case: str, version: int, who: Person, claim_s: int) -> None:
    """Claim a case as it was read. Raises CaseConflict where it is another's, or has changed since."""
    before = await lock(conn, case)
    row = await conn.fetchrow(SQL["case_claim"], case, who.name, version, claim_s, who.lead)
    if row is None:
        raise refused(before, version, who)
    told = []
    if before["claimed_by"] not in (None, who.name):
        told.append(Told("case.claim_lapsed", case, SYSTEM, {"of": before["claimed_by"]}))
    told.append(Told("case.claimed", case, who.name, {"until": stamp(row["claimed_until"])}))
    await log.append(conn, told)


def refused(row: Any, version: int, who: Person) -> CaseConflict:
    """Why a case could not be claimed."""
    case = row["id"]
    if row["claimed_by"] not in (None, who.name) and row["claimed_until"] > row["now"]:
        return CaseConflict(f"{row['claimed_by']} claimed case {case} until {stamp(row['claimed_until'])}")
    if row["version"] != version:
        return moved(row, version)
    return CaseConflict(f"case {case} is assigned to {row['assigned_to']}; a lead can assign it to you")


def moved(row: Any, version: int) -> CaseConflict:
    now = f"it is at version {row['version']} now; read it again"
    return CaseConflict(f"case {row['id']} changed since it was read at version {version}: {now}")


async def lock(conn: asyncpg.Connection, case: str) -> asyncpg.Record:
    """The case, locked; after this a transaction locks the log's head alone. Raises CaseConflict where it ended."""
    row = found(case, await conn.fetchrow(SQL["case_lock"], case))
    if row["ended_at"] is not None:
        raise await ended(conn, row)
    return row


async def ended(conn: asyncpg.Connection, row: Any) -> CaseConflict:
    """Who did what when, so that the case ended."""
    told = f"case {row['id']} ended on {stamp(row['ended_at'])}"
    if row["merged_into"]:
        return CaseConflict(f"{told}: its gifts were gathered into case {row['merged_into']}")
    last = await conn.fetchrow(SQL["case_ended"], row["id"])
    if last is None or last["at"] < row["ended_at"]:
        return CaseConflict(f"{told}: its last gift was cancelled, or its hold ran out")
    by = f"{last['author']} and {last['second']}" if last["second"] else last["author"]
    return CaseConflict(f"{told}: {by} ruled {last['act']} (ruling {last['id']})")


async def hand_back(conn: asyncpg.Connection, case: str, who: Person) -> None:
    """End one's claim; a lead may end anybody's."""
    row = await lock(conn, case)
    holder = row["claimed_by"]
    if holder is None or row["claimed_until"] <= row["now"]:
        raise CaseConflict(f"nobody has claimed case {case}")
    if holder != who.name and not who.lead:
        raise CaseConflict(f"{holder} claimed case {case} until {stamp(row['claimed_until'])}; a lead may hand it back")
    await change(conn, row, claimed_by=None)
    await log.append(conn, [Told("case.handed_back", case, who.name, {"of": holder})])


async def assign(conn: asyncpg.Connection, case: str, to: str, who: Person) -> None:
    """Give a case to somebody; another's claim on it ends."""
    if not who.lead:
        raise NotYours("only a lead assigns cases")
    row = await lock(conn, case)
    await change(conn, row, assigned_to=to, claimed_by=row["claimed_by"] if row["claimed_by"] == to else None)
    await log.append(conn, [Told("case.assigned", case, who.name, {"to": to, "claim_of": row["claimed_by"]})])


async def escalate(conn: asyncpg.Connection, case: str, text: str, who: Person) -> None:
    """Ask the leads to look."""
    row = await lock(conn, case)
    await change(conn, row, escalated=True)
    await log.append(conn, [Told("case.escalated", case, who.name, {"text": text})])


async def change(conn: asyncpg.Connection, row: Any, **to: Any) -> None:
    columns = [to.get(name, row[name]) for name in ("claimed_by", "assigned_to", "escalated")]
    await conn.fetchrow(SQL["case_change"], row["id"], *columns)


async def note(conn: asyncpg.Connection, case: str, text: str, who: Person) -> None:
    """Write a note; also on a case that ended."""
    found(case, await conn.fetchrow(SQL["case_lock"], case))
    kept = await conn.fetchrow(SQL["case_note"], case, who.name, text)
    body = {"note": kept["id"], "text": text, "at": stamp(kept["at"])}
    await log.append(conn, [Told("case.note", case, who.name, body)])
