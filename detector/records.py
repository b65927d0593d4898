"""The records beside what the log told of them.

Law 12: a label, list entry, note, ruling, drawn gift or opening of the breaker that says something else than its event,
or of which no event tells, is found and named.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from typing import Any

import asyncpg
import msgspec

from detector.finding import Finding
from detector.gift import stamp
from detector.store import SQL

BATCH = 5_000
DECODE = msgspec.json.Decoder(dict[str, Any]).decode
# For each table: the statement that sets it beside its events, and what an event's body calls the columns it repeats.
PAIRED: dict[str, tuple[str, dict[str, str]]] = {
    "detector.labels": ("told_labels", {"fraud": "fraud", "source": "source", "label_at": "label_at"}),
    "detector.list_entries": (
        "told_entries",
        {name: name for name in ("list", "value", "reason", "added_at", "expires_at")} | {"listed": "kind"},
    ),
    "detector.list_entries, taken off": (
        "told_removals",
        {name: name for name in ("list", "value", "removed_at")} | {"listed": "kind"},
    ),
    "detector.samples": ("told_samples", {"decision": "decision", "rate": "rate"}),
    "detector.breaker_openings": (
        "told_openings",
        {name: name for name in ("generation", "looks", "judged", "blocked", "opened_at")},
    ),
    "detector.breaker_openings, ended": ("told_closings", {"closed_why": "why", "closed_at": "closed_at"}),
}
NOTES, RULINGS = "detector.case_notes", "detector.rulings"


async def disagreements(conn: asyncpg.Connection) -> list[Finding]:
    """Every record that its event does not tell of as it stands."""
    found = []
    for table, (statement, names) in PAIRED.items():
        async for row in rows(conn, statement):
            expected = {told: plain(row[name]) for name, told in names.items()}
            found += compared(table, row["id"], row["author"], expected, row if row["seq"] is not None else None)
    told = [row async for row in rows(conn, "told_casework")]
    notes = [row async for row in rows(conn, "told_notes")]
    rulings = [row async for row in rows(conn, "told_rulings")]
    return [*found, *of_notes(notes, told), *of_rulings(rulings, told)]


async def rows(conn: asyncpg.Connection, statement: str) -> AsyncIterator[asyncpg.Record]:
    cursor = await conn.cursor(SQL[statement])
    while some := await cursor.fetch(BATCH):
        for row in some:
            yield row


def of_notes(notes: list[Any], told: list[Any]) -> Iterator[Finding]:
    """Each note beside its event."""
    events = by_name(told, "note", ("case.note",))
    for row in notes:
        expected = {"text": row["text"], "at": stamp(row["at"])}
        yield from compared(NOTES, row["id"], row["author"], expected, events.pop(row["id"], None), row["case_id"])
    yield from lost(NOTES, events)


def of_rulings(rulings: list[Any], told: list[Any]) -> Iterator[Finding]:
    """Each ruling beside the event that made it, and the one that answered it."""
    made = by_name(told, "ruling", ("ruling.proposed", "ruling.done"))
    answers = by_name(told, "ruling", ("ruling.confirmed", "ruling.refused", "ruling.lapsed"))
    for row in rulings:
        words = {name: row[name] for name in ("act", "amount", "why", "orgs")}
        expected = {**words, "gifts": sorted(row["gifts"] or ()), "at": stamp(row["at"])}
        event, answer = made.pop(row["id"], None), answers.pop(row["id"], None)
        yield from compared(RULINGS, row["id"], row["author"], expected, event, row["case_id"])
        alone = event is not None and event["kind"] == "ruling.done"
        if alone or row["status"] == "proposed":
            standing = "done" if alone else "proposed"
            if row["status"] != standing or row["second"] is not None or answer is not None:
                detail = f"the log left it {standing}; here it is {row['status']}"
                yield disagrees(RULINGS, row["id"], answer or event, detail)
            continue
        kind = {"done": "ruling.confirmed"}.get(row["status"], f"ruling.{row['status']}")
        if answer is None or answer["kind"] != kind:
            detail = f"it is {row['status']} here, and the log tells of {answer['kind'] if answer else 'no answer'}"
            yield disagrees(RULINGS, row["id"], answer, detail)
        elif kind != "ruling.lapsed":
            said = {"at": stamp(row["second_at"])} | ({"why": row["second_why"]} if kind == "ruling.refused" else {})
            yield from compared(RULINGS, row["id"], row["second"], said, answer, row["case_id"])
    yield from lost(RULINGS, {**answers, **made})


def by_name(told: list[Any], key: str, kinds: tuple[str, ...]) -> dict[Any, Any]:
    """The events of these kinds by what their body names. One that cannot be read names nothing; the chain tells."""
    return {body_of(row).get(key): row for row in told if row["kind"] in kinds and body_of(row).get(key) is not None}


def compared(
    table: str, id: Any, author: str | None, expected: dict[str, Any], event: Any, subject: str | None = None
) -> list[Finding]:
    """What differs between a record and its event, either of which may be missing."""
    if id is None:
        return [disagrees(table, event["subject"], event, "the log tells of it, and it is not there")]
    if event is None:
        return [disagrees(table, id, None, "no event tells of it: it was added behind the log, or renamed")]
    body = body_of(event)
    differ = [name for name, value in expected.items() if ordered(name, body.get(name)) != value]
    differ += ["author"] * (event["actor"] != author) + ["case"] * (subject is not None and event["subject"] != subject)
    if not differ:
        return []
    return [disagrees(table, id, event, f"it says otherwise than event {event['seq']}: {', '.join(differ)}")]


def lost(table: str, events: dict[Any, Any]) -> list[Finding]:
    gone = "the log tells of it, and it is not there"
    return [disagrees(table, name, event, gone) for name, event in events.items()]


def disagrees(table: str, id: Any, event: Any, detail: str) -> Finding:
    seq, kind = (event["seq"], event["kind"]) if event is not None else (None, None)
    return Finding("disagrees", table, seq, kind, str(id), detail)


def body_of(event: Any) -> dict[str, Any]:
    """What an event says; nothing where it can no longer be read."""
    try:
        return DECODE(event["body"] or "")
    except msgspec.DecodeError:
        return {}


def plain(value: Any) -> Any:
    return stamp(value) if isinstance(value, datetime) else value


def ordered(name: str, value: Any) -> Any:
    """Gifts were told in the order of the case."""
    return sorted(map(str, value)) if name == "gifts" and isinstance(value, list) else value
