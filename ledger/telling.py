"""What a scorer on machines of its own is told afterwards: what became of gifts, and what rulings taught about them.

It judged them, so it learns from them, and its own desk lets go of what ended here. Told at least once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import msgspec

from detector.contract import Label, Outcome
from ledger import store
from ledger.remote import BATCH, Remote

ENCODE = msgspec.json.Encoder().encode


@dataclass(slots=True)
class Telling:
    """One process's: it goes through the gifts that the scorer judged and has yet to hear the end of, page by page."""

    pool: asyncpg.Pool
    remote: Remote
    after: str = field(default="")

    async def tell(self, most: int = 2 * BATCH) -> int:
        """The next page; of how many gifts the scorer took something. What it does not take is told again."""
        rows = await self.pool.fetch(store.SQL["questions_news"], self.after, most)
        self.after = rows[-1]["transfer_id"] if len(rows) == most else ""
        taught = [row for row in rows if row["fraud"] is not None and not row["labelled"]]
        ended = [row for row in rows if row["ended_at"] is not None]
        done = 0
        for some in pages(taught):
            if await self.remote.tell("/v1/labels", ENCODE([label(row) for row in some])):
                await self.pool.execute(store.SQL["questions_labelled"], names(some))
                done += len(some)
        for some in pages(ended):
            if await self.remote.tell("/v1/outcomes", ENCODE({"outcomes": [outcome(row) for row in some]})):
                await self.pool.execute(store.SQL["questions_ended"], names(some))
                done += len(some)
        return done


def label(row: Any) -> Label:
    return Label(row["transfer_id"], row["fraud"], row["source"])


def outcome(row: Any) -> Outcome:
    """How it ended here. Of a blocked one nothing came, as of one that failed."""
    word = {"blocked": "failed"}.get(row["status"], row["status"])
    return Outcome(row["transfer_id"], word, row["ended_at"])


def pages(rows: Sequence[Any]) -> list[Sequence[Any]]:
    return [rows[start : start + BATCH] for start in range(0, len(rows), BATCH)]


def names(rows: Sequence[Any]) -> list[str]:
    return [row["transfer_id"] for row in rows]
