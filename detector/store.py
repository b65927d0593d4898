"""The detector's SQL: each statement is a file in sql/, and this module gives it a name and a shape."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import asyncpg
import msgspec

from detector.activity import HORIZON_US, Activity, State, role_of
from detector.gift import WORDS, Decision, Event, Hit, micros, moment

SQL = {path.stem: path.read_text() for path in (Path(__file__).parent / "sql").glob("*.sql")}
HITS = msgspec.json.Decoder(list[Hit])
TO_JSON = msgspec.json.Encoder()


RECORDED = (
    "id", "at", "seq", "look", "sender", "recipient", "amount", "ip", "device", "tier", "verdict", "refused", "hits",
    "vector", "generation", "model", "score", "retry_after_s", "payload_hash",
)  # fmt: skip


async def lock(conn: asyncpg.Connection, keys: Sequence[str]) -> tuple[dict[str, int], int, int | None]:
    """Lock keys in order; their new versions, the clock after the locks (microseconds) and the active generation."""
    row = await conn.fetchrow(SQL["lock"], keys)
    return dict(zip(row["keys"] or (), row["versions"] or (), strict=True)), micros(row["now"]), row["generation"]


async def load(conn: asyncpg.Connection, activity: Activity, stale: Sequence[str], now: int) -> None:
    """Bring the states of locked keys up to date: what is newer than they know, at most the horizon."""
    since = [moment(max(activity.states[key].last_at, now - HORIZON_US)) for key in stale]
    rows = await conn.fetch(SQL["load"], stale, [key[0] for key in stale], [key[2:] for key in stale], since)
    for key, at, _, sender, recipient, amount, ip, device, tier, admitted in rows:
        event = Event(micros(at), sender, recipient, amount, ip, device, tier, admitted)
        activity.tell(key, role_of(key, event), event)


def fresh(key: str, state: State, version: int) -> bool:
    """Nobody else moved the key since we remembered it: the lock itself moved its version by one.

    A party's first lock finds no past. Another key's may: its events were recorded before a policy counted on it.
    """
    return state.version == version - 1 and (version > 1 or key.startswith("o:"))


async def record(conn: asyncpg.Connection, decisions: Sequence[Decision]) -> None:
    """Append decisions, in order. COPY, since a driver checks every element of an array parameter, and slowly."""
    rows = [
        (
            one.id, moment(one.at), seq, one.gift.look, one.gift.sender, one.gift.recipient, one.gift.amount,
            one.gift.ip, one.gift.device, one.gift.tier, WORDS[one.verdict], one.refused, text(one.hits),
            text(one.vector), one.generation, one.model, one.score, one.retry_after_s, one.gift.payload_hash,
        )
        for seq, one in enumerate(decisions)
    ]  # fmt: skip
    if rows:
        await conn.copy_records_to_table("decisions", schema_name="detector", records=rows, columns=RECORDED)


def text(shape: tuple[Any, ...]) -> str:
    return TO_JSON.encode(shape).decode() if shape else "[]"


async def decisions(conn: asyncpg.Connection, ids: Sequence[str]) -> list[asyncpg.Record]:
    """The recorded decisions under these ids, oldest look first."""
    rows: list[asyncpg.Record] = await conn.fetch(SQL["decision"], ids)
    return rows


async def note_outcome(conn: asyncpg.Connection, gift: str, outcome: str, at: datetime) -> bool:
    """Note once what became of a gift. True if it was news."""
    status: str = await conn.execute(SQL["outcome"], f"{gift}.1", gift, outcome, at)
    return status.endswith(" 1")


async def policy_text(conn: asyncpg.Connection, generation: int) -> str | None:
    text: str | None = await conn.fetchval(SQL["policy"], generation)
    return text


async def active(conn: asyncpg.Connection) -> int | None:
    generation: int | None = await conn.fetchval(SQL["generation"])
    return generation


async def add_policy(conn: asyncpg.Connection, policy: str, author: str) -> int:
    """Store a policy as the next generation and make it the one that judges."""
    async with conn.transaction():
        await conn.execute("lock table detector.policies in exclusive mode")
        generation: int = await conn.fetchval(SQL["policy_add"], policy)
        await conn.execute(SQL["activate"], generation, author)
    return generation


async def roll_back(conn: asyncpg.Connection, author: str) -> tuple[int, int] | None:
    """Make the generation before the active one judge again: (left, now active), or None if there is none."""
    async with conn.transaction():
        await conn.execute("lock table detector.activations in exclusive mode")
        left, back = await conn.fetchval(SQL["generation"]), await conn.fetchval(SQL["previous"])
        if back is None:
            return None
        await conn.execute(SQL["activate"], back, author)
    return left, back
