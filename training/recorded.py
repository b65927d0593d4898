"""The history that the service recorded: first looks in order, with what became known of them since.

Law: an export is one snapshot, and means what the gate saw. Read again, it gives the features that were recorded. It
streams: a day at a time is sorted, a batch at a time is held.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import asyncpg
import msgspec
import polars as pl

from detector import store
from detector.feature_table import HASH, NAMES, TABLE
from training.errors import TrainingError
from training.features import DERIVED
from training.history_columns import TIME
from training.lesson import Step

BATCH_ROWS = 50_000
BEGINNING, END = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)
DAY = timedelta(days=1)
CSV_TIME = "%Y-%m-%dT%H:%M:%S%.6fZ"

# Where each recorded feature stands in a decision: every row of the table that is not derived.
RECORDED: tuple[str, ...] = tuple(row.name for row in TABLE.values() if row.kind != "derived")
IDENTITIES = ("none", "basic", "full")  # their ranks are recorded


def _facts() -> dict[str, int]:
    """What a history must say beside its gifts, as far as it is recorded, and where."""
    facts = (row for row in TABLE.values() if row.kind == "fact" and row.name in row.needs)
    return {row.name: RECORDED.index(row.name) for row in facts}


FACTS = _facts()
GIFT: dict[str, Any] = {
    "id": pl.String,
    "at": TIME,
    "sender": pl.String,
    "recipient": pl.String,
    "amount": pl.Int64,
    "verdict": pl.String,
    "fraud": pl.Boolean,
    "label_at": TIME,
    "ip": pl.String,
    "device": pl.String,
    "fingerprint": pl.String,
    "tier": pl.String,
    "outcome": pl.String,
    "sample_rate": pl.Float64,
    "weight": pl.Float64,
}
SCHEMA: dict[str, Any] = GIFT | dict.fromkeys(FACTS, pl.Int64)


@dataclass(frozen=True, slots=True)
class Known:
    """What a history says of its gifts: what was known by `as_of`, or by now; with `by_review`, each with the weight
    that it has where reviewing decided which truths are known."""

    as_of: datetime | None = None
    by_review: bool = False


ALL = Known()


async def batches(
    conn: asyncpg.Connection,
    start: datetime | None = None,
    end: datetime | None = None,
    step: Step = lambda stage, share: None,
    size: int = BATCH_ROWS,
    known: Known = ALL,
) -> AsyncIterator[pl.DataFrame]:
    """Gifts first looked at with start ≤ at < end, by time, in frames of at most `size` rows; one snapshot."""
    places = list(FACTS.values())
    async with conn.transaction(isolation="repeatable_read", readonly=True):
        span = await conn.fetchrow(store.SQL["history_span"], start or BEGINNING, end or END)
        done = 0
        for low, high in days(span["first"], span["last"]):
            cursor = await conn.cursor(store.SQL["history"], low, high, places, HASH, known.as_of, known.by_review)
            while records := await cursor.fetch(size):
                yield framed(records)
                done += len(records)
                step("reading the gifts", done / span["gifts"])


def days(first: datetime | None, last: datetime | None) -> list[tuple[datetime, datetime]]:
    """Spans of a day or less, from first to last and no further, so that no query sorts the whole history."""
    if first is None or last is None:
        return []
    after = last + timedelta(microseconds=1)
    starts = [first + DAY * nr for nr in range((last - first) // DAY + 1)]
    return [(low, min(low + DAY, after)) for low in starts]


def framed(records: Sequence[asyncpg.Record]) -> pl.DataFrame:
    """Records of history.sql as a frame of the history contract."""
    rows = [(*record[:-1], *(record[-1] or (None,) * len(FACTS))) for record in records]
    frame = pl.DataFrame(rows, schema=SCHEMA, orient="row")
    # Features are numbers; a history says these facts as the ledger does.
    if "identity" in FACTS:
        words = dict(enumerate(IDENTITIES))
        frame = frame.with_columns(pl.col("identity").replace_strict(words, default=None, return_dtype=pl.String))
    return frame.with_columns(pl.col("same_owner").cast(pl.Boolean)) if "same_owner" in FACTS else frame


async def recorded(
    conn: asyncpg.Connection, start: datetime | None = None, end: datetime | None = None, known: Known = ALL
) -> pl.DataFrame:
    """The recorded gifts with start ≤ at < end in memory, typed and by time as `History.rows` is."""
    empty = framed([])
    return pl.concat([empty, *[part async for part in batches(conn, start, end, known=known)]])


async def export(
    conn: asyncpg.Connection,
    out: Path,
    start: datetime | None = None,
    end: datetime | None = None,
    step: Step = lambda stage, share: None,
    size: int = BATCH_ROWS,
    known: Known = ALL,
) -> dict[str, Any]:
    """Write the recorded gifts to `out`, all of them or nothing; how many rows, and the first and last moment.

    Parts lie beside `out` until they are joined, so that neither memory nor a broken run is in the way.
    """
    try:
        with TemporaryDirectory(prefix=f".{out.name}.{os.getpid()}.", dir=out.parent) as place:
            beside = Path(place)
            reading = batches(conn, start, end, lambda stage, share: step(stage, share * 0.9), size, known)
            rows, first, last = await parted(reading, beside)
            step(f"writing {out}", 0.95)
            joined(beside, out)
    except OSError as error:
        raise TrainingError(f"{out} cannot be written: {error}; free the disk or name another path") from error
    return {"rows": rows, "from": first and first.isoformat(), "to": last and last.isoformat(), "path": str(out)}


async def parted(frames: AsyncIterator[pl.DataFrame], beside: Path) -> tuple[int, datetime | None, datetime | None]:
    """Write each frame to a part of its own; how many rows there were, and the first and last moment."""
    rows, first, last, number = 0, None, None, 0
    framed([]).write_parquet(beside / part_name(0))  # so that no gift at all is a history too
    async for frame in frames:
        number, rows = number + 1, rows + frame.height
        first, last = first or frame["at"][0], frame["at"][-1]
        frame.write_parquet(beside / part_name(number))
    return rows, first, last


def joined(beside: Path, out: Path) -> None:
    """Make the parts one file there, and put it in the place of `out`."""
    parts, whole = pl.scan_parquet(sorted(beside.glob("*.parquet"))), beside / "whole"
    if out.suffix.lower() == ".csv":
        parts.sink_csv(whole, datetime_format=CSV_TIME)
    else:
        parts.sink_parquet(whole)
    whole.replace(out)


def part_name(number: int) -> str:
    """Parts in order of name are in order of time."""
    return f"{number:06}.parquet"


async def features_seen(conn: asyncpg.Connection, start: datetime, end: datetime) -> tuple[pl.DataFrame, int]:
    """`at` and the columns NAMES as the gate read them of gifts with start ≤ at < end, and how many it read none of."""
    decode, parts, without = msgspec.json.Decoder(list[int | None]).decode, [seen([], [])], 0
    async with conn.transaction(isolation="repeatable_read", readonly=True):
        cursor = await conn.cursor(store.SQL["features_recorded"], start, end, HASH)
        while records := await cursor.fetch(BATCH_ROWS):
            there = [record for record in records if record["features"] is not None]
            without += len(records) - len(there)
            parts.append(seen([one["at"] for one in there], [decode(one["features"]) for one in there]))
    return pl.concat(parts), without


def seen(at: list[datetime], recorded_rows: list[list[int | None]]) -> pl.DataFrame:
    """Recorded features with those that are derived from them."""
    frame = pl.DataFrame(recorded_rows, schema=dict.fromkeys(RECORDED, pl.Int64), orient="row")
    whole = frame.lazy().with_columns(**DERIVED).select(NAMES).collect()
    return whole.insert_column(0, pl.Series("at", at, dtype=TIME))
