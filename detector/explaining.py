"""Explanations when they are asked for: read in one snapshot that writes nothing, then computed beside the event loop.

Law: an explanation never waits for a gate's lock, and shares neither activity nor model with one.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from detector import store
from detector.alike import MOST_CASES, MOST_GIFTS, Stopped, alike
from detector.decide import FIRST
from detector.errors import CaseUnknown, DecisionUnknown, GiftUnknown
from detector.explain import entries_named, explanation
from detector.explain_shapes import Alike, Explanation
from detector.neighbourhood import graph, timeline
from detector.rebuilding import Found, elsewhere, gather, rebuild
from detector.shelf import Shelf


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
            return await asyncio.to_thread(composed, **told)

    async def read(self, conn: asyncpg.Connection, names: list[str], client: str | None) -> dict[str, Any]:
        """Everything that an explanation is made of."""
        rows = await conn.fetch(store.SQL["decision_whole"], names)
        if not rows:
            raise DecisionUnknown(f"no decision {names[0]!r}; ask by gift id, or by gift id and look as in 'gift.2'")
        row = rows[0]
        gift = row["id"].rpartition(".")[0]
        firsts = [row] if row["look"] == FIRST else await conn.fetch(store.SQL["decision_whole"], [f"{gift}.{FIRST}"])
        parties, named = (row["sender"], row["recipient"]), entries_named(row["hits"])
        return {
            "row": row,
            "policy": await self.shelf.policy(conn, row["generation"]),
            "model": await self.shelf.model(conn, row["model"]) if row["model"] else None,
            "found": await gather(conn, self.shelf, row, firsts[0] if firsts else None, client),
            "entries": await conn.fetch(store.SQL["list_entries_of"], named) if named else [],
            "timeline": await timeline(conn, parties, row["at"], gift, client),
            "graph": await graph(conn, parties, row["at"], client),
            "alike": await self.alike(conn, row, gift) if client is None else [],
        }

    async def alike(self, conn: asyncpg.Connection, row: Any, gift: str) -> list[Alike]:
        reasons = frozenset(hit.reason for hit in store.HITS.decode(row["hits"]))
        past = await conn.fetch(store.SQL["ruled"], MOST_CASES, MOST_GIFTS, gift)
        return alike(Stopped(reasons, row["amount"], row["score"]), past)

    async def decision(self, case: str, gift: str | None) -> str:
        """The decision that brought a gift into a case; of its most pressing gift where none is named."""
        row = await self.pool.fetchrow(store.SQL["case_decision"], case, gift)
        if not row["known"]:
            raise CaseUnknown(f"no case {case!r}; GET /v1/cases lists those there are")
        if row["decision"] is None:
            raise GiftUnknown(f"case {case!r} holds no gift {gift!r}; GET /v1/cases/{case} lists those it holds")
        name: str = row["decision"]
        return name


def composed(found: Found | str, **rest: Any) -> Explanation:
    """The explanation of what was read; from here on nothing is waited for."""
    if isinstance(found, str):
        return explanation(then=found, known=[], **rest)
    then = rebuild(found)
    return explanation(then=then, known=elsewhere(found, then), **rest)
