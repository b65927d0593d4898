"""Explanations when they are asked for: read in one snapshot that writes nothing, then computed beside the event loop.

Law: an explanation never waits for a gate's lock, and shares neither activity nor model with one.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from detector import store
from detector.alike import MOST_PAST, alike, reasons_of
from detector.case_shapes import Explanation
from detector.decide import FIRST
from detector.errors import DecisionUnknown
from detector.explain import explanation
from detector.neighbourhood import graph, timeline
from detector.rebuilding import Shelf, known, rebuild
from detector.rebuilt import Rebuilt


@dataclass(slots=True)
class Explainer:
    """Explains decisions, one at a time in a process: each keeps a core busy for a moment."""

    pool: asyncpg.Pool
    trusted_key: str | None = None
    shelf: Shelf = field(init=False)
    turn: asyncio.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        self.shelf = Shelf(self.trusted_key)
        self.turn = asyncio.Semaphore(1)

    async def explain(self, names: list[str], client: str | None = None) -> Explanation:
        """The first of these decisions that is on record. A `client` is shown no gift of another one."""
        async with self.turn:
            async with self.pool.acquire() as conn, conn.transaction(isolation="repeatable_read", readonly=True):
                told = await self.read(conn, names, client)
            return await asyncio.to_thread(explanation, **told)

    async def read(self, conn: asyncpg.Connection, names: list[str], client: str | None) -> dict[str, Any]:
        """Everything that an explanation is made of."""
        rows = await conn.fetch(store.SQL["decision_whole"], names)
        if not rows:
            raise DecisionUnknown(f"no decision {names[0]!r}; ask by gift id, or by gift id and look as in 'gift.2'")
        row = rows[0]
        gift = row["id"].rpartition(".")[0]
        firsts = [row] if row["look"] == FIRST else await conn.fetch(store.SQL["decision_whole"], [f"{gift}.{FIRST}"])
        then = await rebuild(conn, self.shelf, row, firsts[0] if firsts else None)
        parties = row["sender"], row["recipient"]
        return {
            "row": row,
            "policy": await self.shelf.policy(conn, row["generation"]),
            "model": await self.shelf.model(conn, row["model"]) if row["model"] else None,
            "then": then,
            "known": await known(conn, self.shelf, then) if isinstance(then, Rebuilt) and row["look"] == FIRST else [],
            "timeline": await timeline(conn, parties, row["at"], gift, client),
            "graph": await graph(conn, parties, row["at"], client),
            "alike": await self.alike(conn, row, gift) if client is None else [],
        }

    async def alike(self, conn: asyncpg.Connection, row: Any, gift: str) -> list[Any]:
        mine = {"reasons": reasons_of(row["hits"]), "amount": row["amount"], "score": row["score"]}
        return alike(mine, await conn.fetch(store.SQL["ruled"], MOST_PAST, gift))
