"""A sitting whose verdicts another detector gave: what a ledger records that asks a scorer on machines of its own.

Law 5: a gift of which nothing was heard, or something else than was asked, is held. It locks no key and remembers
nothing: limits and activity are the other detector's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

import asyncpg

from detector import case_terms, case_work, cases, silence
from detector.activity import Activity
from detector.case_work import Person
from detector.contract import Judged, Left
from detector.decide import SEVERITY, degraded
from detector.gift import Decision, Gift, Hit, micros
from detector.identity_terms import IdentityTerms
from detector.log import Told
from detector.silence import Mark
from detector.sitting import Sitting

G = TypeVar("G")
Heard = Mapping[str, Judged | str]


class Hearing:
    """By gift: what was heard of it, or as a text why nothing was. The desk and the records are this database's own."""

    def __init__(self, heard: Heard, now: int, identity: IdentityTerms) -> None:
        self.heard = heard
        self.now = now
        self.identity = identity
        self.sitting = Sitting(Activity(()), None, None, {})
        self.tables = self.sitting.tables

    def waves(self, gifts: Sequence[G]) -> Iterator[Sequence[G]]:
        if gifts:
            yield gifts

    async def recall(self, conn: Any, gifts: Sequence[Gift], *, late: bool = False) -> None:
        """The other detector recalls."""

    def look(self, gifts: Sequence[tuple[Gift, int | None]]) -> None:
        """The other detector looked."""

    def decide(self, gift: Gift, *, at: int | None = None) -> Decision:
        return self.sitting.note(told(gift, self.heard.get(gift.id, "scorer_missing"), self.now))

    def turn_away(self, gift: Gift, reason: str, *, at: int | None = None) -> Decision:
        self.sitting.now = self.now
        return self.sitting.turn_away(gift, reason, at=at)

    @property
    def news(self) -> bool:
        return self.sitting.news

    def rows(self) -> Sequence[list[tuple[Any, ...]]]:
        return self.sitting.rows()

    async def record(self, conn: asyncpg.Connection) -> None:
        await self.sitting.record(conn)

    def let_go(self, unneeded: Sequence[Decision]) -> None:
        self.sitting.let_go(unneeded)

    def stop(self, decision: Decision, reason: str) -> None:
        self.sitting.stop(decision, reason)

    async def tell_desk(
        self, conn: asyncpg.Connection, hold_s: int | None, left: Sequence[Left] = (), at: datetime | None = None,
        also: Sequence[Told] = (), beside: Sequence[str] = (),
    ) -> None:  # fmt: skip
        await self.sitting.tell_desk(conn, hold_s, left, at, also, beside)

    def close(self, *, committed: bool) -> None:
        self.sitting.close(committed=committed)


class Ear:
    """Hands out hearings, where the gate and settlement take a scorer; and the desk of this database."""

    def __init__(self, heard: Heard | None = None) -> None:
        self.heard = heard or {}

    def hears(self, heard: Heard) -> Ear:
        return Ear(heard)

    def locking_with(self, gifts: Any) -> None:
        """Nothing is locked."""

    async def gather(
        self, conn: asyncpg.Connection, gifts: Any, *, at: int | None = None, later: bool = False, locked: Any = None
    ) -> Hearing:
        clock = micros(await conn.fetchval("select clock_timestamp()"))
        return Hearing(self.heard, clock if at is None else at, await case_terms.identity(conn))

    async def left(self, conn: asyncpg.Connection, gone: Sequence[Left], also: Sequence[Told] = ()) -> None:
        await cases.move(conn, [], gone, also)

    async def bring_together(self, conn: asyncpg.Connection, gifts: Sequence[str]) -> None:
        await cases.move(conn, [], [], beside=gifts)

    async def cases_of(self, conn: asyncpg.Connection, gifts: Sequence[str]) -> dict[str, str]:
        return await cases.of(conn, gifts)

    async def note(self, conn: asyncpg.Connection, case: str, author: str, text: str) -> None:
        await case_work.note(conn, case, text, Person(author, lead=False))

    async def unjudged(self, conn: asyncpg.Connection | asyncpg.Pool, after: Mark | None, most: int) -> list[Mark]:
        return await silence.unjudged(conn, after, most)


def told(gift: Gift, heard: Judged | str, now: int) -> Decision:
    """The decision to record: as it was told of exactly this payload, or a hold that says why there is none."""
    if isinstance(heard, str):
        return degraded(gift, now, heard)
    if heard.payload_hash != gift.payload_hash.hex():
        return degraded(gift, now, "scorer_mismatched")
    return Decision(
        gift, now, SEVERITY[heard.verdict], tuple(hits(heard)), (), heard.generation, heard.model, heard.score,
        heard.refused and heard.verdict == "block", heard.retry_after_s,
    )  # fmt: skip


def hits(heard: Judged) -> Iterator[Hit]:
    """Its reasons as hits, with the decision that gave them; silence there is silence here, and saw nothing."""
    for reason in heard.reasons:
        by, _, name = reason.partition(":")
        yield Hit(by, name, heard.verdict, {} if heard.silent else {"decision": heard.id})
