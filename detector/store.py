"""The detector's SQL: each statement is a file in sql/, and this module gives it a name and a shape."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import msgspec

from detector.activity import Activity, State, role_of
from detector.feature_table import HASH
from detector.flush import Table
from detector.gift import WORDS, Decision, Event, Gift, Hit, micros, moment
from detector.lists import Entry, Lists
from detector.live_labels import Label
from detector.live_party import Party
from detector.log import Told, append
from detector.parties import DIGEST, Past, recall, recall_label
from detector.track import HORIZON_US

SQL = {path.stem: path.read_text() for path in (Path(__file__).parent / "sql").glob("*.sql")}
HITS = msgspec.json.Decoder(list[Hit])
TO_JSON = msgspec.json.Encoder()
MEMORY_US = 2 * HORIZON_US  # how far back labels count
FOR_EVER = datetime(9999, 1, 1, tzinfo=UTC)

DECISIONS = Table(
    "detector.decisions",
    id="text", at="timestamptz", seq="int4", look="int2", sender="text", recipient="text", amount="int8", ip="text",
    device="text", tier="text", verdict="text", refused="bool", hits="json", vector="json", generation="int4",
    model="text", score="float8", retry_after_s="int4", payload_hash="bytea", features="json", digest="json",
    feature_table="text", fingerprint="text", sender_domain="text", recipient_domain="text", breaker="int8",
)  # fmt: skip


class Locked(NamedTuple):
    """What locking told: the keys' new versions, the clock after the locks (microseconds), the active generation,
    the artifact that answers to the name asked for, and the version of the lists."""

    versions: dict[str, int]
    clock: int
    generation: int | None
    model: str | None
    lists: int


async def lock(conn: asyncpg.Connection, keys: Sequence[str], model: str | None = None) -> Locked:
    """Lock keys, and only then read the rest; `model` is the name that the policy gives."""
    return locked(await conn.fetchrow(SQL["lock"], keys, model))


def locked(row: Any) -> Locked:
    """What the columns of `detector.lock` told."""
    versions = dict(zip(row["keys"], row["versions"], strict=True))
    return Locked(versions, micros(row["clock"]), row["generation"], row["model"], row["lists"])


async def load(
    conn: asyncpg.Connection, activity: Activity, stale: Sequence[str], now: int, until: tuple[int, int] | None = None,
    *, later: bool = False,
) -> None:  # fmt: skip
    """Bring the states of locked keys up to date: what is newer than they know, at most the horizon.

    With `until`, the (moment, place in its batch) of a gift: only what came before that gift. For `later` looks, what
    a model remembers is no more than labels.
    """
    known, learns = [activity.states[key].last_at for key in stale], activity.memory is not None
    taught = learns and not later
    upto = moment(until[0]) if until else FOR_EVER
    since = [max(last_at, now - HORIZON_US) for last_at in known]
    relive(activity, await conn.fetch(SQL["load"], stale, *columns(stale, since), taught, upto), until, taught)
    if learns:
        since = [max(last_at, now - MEMORY_US) for last_at in known]
        wanted = [(key, at) for key, at in zip(stale, since, strict=True) if activity.states[key].memory]
        keys = [key for key, _ in wanted]
        relearn(activity, await conn.fetch(SQL["load_labels"], keys, *columns(keys, [at for _, at in wanted])), until)


def columns(keys: Sequence[str], since: Sequence[int]) -> tuple[list[str], list[str], list[datetime]]:
    """The roles and ids of keys, and the moments from which on they are asked for."""
    return [key[0] for key in keys], [key[2:] for key in keys], [moment(at) for at in since]


def relive(activity: Activity, rows: Sequence[Any], until: tuple[int, int] | None = None, taught: bool = True) -> None:
    """Tell activity of what is on record of its keys, as `load` reads it; if `taught`, a model learns of it too."""
    anybody = Party()
    for row in rows:
        key, at, seq, sender, recipient, amount, ip, device, tier, fingerprint, verdict, name, digest = row
        at_us = micros(at)
        if until and (at_us, seq) >= until:
            continue
        event = Event(at_us, sender, recipient, amount, ip, device, tier, verdict != "block", fingerprint)
        activity.tell(key, role_of(key, event), event)
        mine = activity.states[key].memory if taught else None
        if mine:
            gift = Gift(name, sender, recipient, amount, b"", ip, device, tier)
            past = Past(gift, at_us, seq, verdict == "approve", DIGEST.decode(digest) if digest else None)
            recall(key, mine, anybody, past)


def relearn(activity: Activity, rows: Sequence[Any], until: tuple[int, int] | None = None) -> None:
    """Let what the model remembers of keys learn the labels that became known of their gifts."""
    for key, sender, *told in rows:
        gift, fraud, label_at, at, excess = told
        label, state = Label(gift, fraud, micros(label_at), micros(at), excess), activity.states[key]
        if until and label.label_at > until[0]:
            continue
        assert state.memory is not None
        state.last_at = max(state.last_at, label.label_at)
        recall_label(key, state.memory, label, sender)


def fresh(key: str, state: State, version: int) -> bool:
    """Nobody else moved the key since we remembered it: the lock itself moved its version by one.

    A party's first lock finds no past. Another key's may: its events were recorded before a policy counted on it.
    """
    return state.version == version - 1 and (version > 1 or key.startswith("o:"))


def decision_row(one: Decision, seq: int) -> tuple[Any, ...]:
    """The row of DECISIONS for a decision, `seq` its place in its batch."""
    gift = one.gift
    return (
        one.id, moment(one.at), seq, gift.look, gift.sender, gift.recipient, gift.amount, gift.ip, gift.device,
        gift.tier, WORDS[one.verdict], one.refused, coded(one.hits), coded(one.vector), one.generation, one.model,
        one.score, one.retry_after_s, gift.payload_hash, maybe(one.features), maybe(one.digest),
        HASH if one.features else None, gift.fingerprint, gift.sender_domain, gift.recipient_domain, one.breaker,
    )  # fmt: skip


def coded(shape: tuple[Any, ...]) -> bytes:
    return TO_JSON.encode(shape) if shape else b"[]"


def listed(shape: tuple[Any, ...]) -> str:
    return coded(shape).decode()


def maybe(shape: Any) -> bytes | None:
    return None if shape is None else TO_JSON.encode(shape)


async def lists(conn: asyncpg.Connection, version: int) -> Lists:
    """The lists as they stand, under the locks that told their version."""
    return Lists(version, [Entry.of(*row) for row in await conn.fetch(SQL["lists_standing"])])


async def opening(conn: asyncpg.Connection) -> asyncpg.Record | None:
    """The breaker's opening that lasts, if one does."""
    row: asyncpg.Record | None = await conn.fetchrow(SQL["breaker_standing"])
    return row


async def all_lists(conn: asyncpg.Connection) -> Lists:
    """Every entry there ever was, to be asked as of any moment: what a back-test reads."""
    return Lists(0, [Entry.of(*row) for row in await conn.fetch(SQL["lists_all"])])


async def decisions(conn: asyncpg.Connection, ids: Sequence[str]) -> list[asyncpg.Record]:
    """The recorded decisions under these ids, oldest look first."""
    rows: list[asyncpg.Record] = await conn.fetch(SQL["decision"], ids)
    return rows


async def first_looks(conn: asyncpg.Connection, gifts: Sequence[str]) -> dict[str, asyncpg.Record]:
    """The first look at each gift, as far as there was one: at, seq, features and their feature table."""
    rows = await conn.fetch(SQL["first_looks"], [f"{gift}.1" for gift in gifts])
    return {row["id"][:-2]: row for row in rows}


async def waived(conn: asyncpg.Connection, gifts: Sequence[str]) -> dict[str, dict[str, str]]:
    """The reasons that gifts were released in spite of, each with its ruling."""
    found: dict[str, dict[str, str]] = {}
    for gift, reasons, ruling in await conn.fetch(SQL["waived"], gifts):
        found.setdefault(gift, {}).update(dict.fromkeys(reasons, ruling))
    return found


async def model_named(conn: asyncpg.Connection, name: str) -> str | None:
    """The artifact that answers to a policy's name for it, as `lock` finds it."""
    return (await lock(conn, (), name)).model


async def sample_salt(conn: asyncpg.Connection) -> bytes:
    salt: bytes = await conn.fetchval(SQL["sample_salt"])
    return salt


async def note_samples(conn: asyncpg.Connection, drawn: Sequence[Decision], rate: float) -> None:
    """Keep which gifts were drawn, with the rate that each stands for."""
    columns = [one.gift.id for one in drawn], [one.id for one in drawn], [rate] * len(drawn)
    await conn.execute(SQL["samples_add"], *columns, [moment(one.at) for one in drawn])


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
        await append(conn, [activated(generation, author)])
    return generation


async def roll_back(conn: asyncpg.Connection, author: str) -> tuple[int, int] | None:
    """Make the generation before the active one judge again: (left, now active), or None if there is none."""
    async with conn.transaction():
        await conn.execute("lock table detector.activations in exclusive mode")
        left, back = await conn.fetchval(SQL["generation"]), await conn.fetchval(SQL["previous"])
        if back is None:
            return None
        await conn.execute(SQL["activate"], back, author)
        await append(conn, [activated(back, author, left=left)])
    return left, back


def activated(generation: int, author: str, **more: int) -> Told:
    """The event of an activation; that of a roll-back says which generation was left."""
    return Told("policy.activated", str(generation), author, {"generation": generation, **more})
