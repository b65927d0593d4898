"""The gate: gathers, decides and records transfers, one batch in one transaction (laws 1, 2, 7, 8).

`Gate.commit` runs one batch once. It may be run again with the same requests after any failure, also when nobody
knows whether the commit happened: the senders' locks come first, and the answers read under them tell.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain
from typing import Any, Protocol

import asyncpg

from detector.contract import Flush, Locking, Parties, Sitting, appending, begin
from ledger import store
from ledger.credits import Grant, Org, Slice
from ledger.decide import Book, Outcome, decide
from ledger.events import created
from ledger.scorer import Scorer
from ledger.transfers import BLOCKED, HELD, PENDING, Answer, Request

MOST_GRANTS = 64
ALL_GRANTS = 1_000_000
PIECE = 64
EntryRow = tuple[str, int, str, datetime, str, str, str, int]  # a credits.Entry, made at a third of its cost
TABLES = (store.ANSWERS, store.TRANSFERS, store.ENTRIES)


class Lender(Protocol):
    """Who lends connections: a pool, or what does so at once."""

    def acquire(self) -> AbstractAsyncContextManager[asyncpg.Connection]: ...


@dataclass(frozen=True, slots=True)
class Gate:
    """The request path of one process. `lock_s` is how long a gift waits, `hold_s` how long a hold may."""

    pool: Lender
    scorer: Scorer
    lock_s: int
    hold_s: int

    async def commit(self, requests: Sequence[Request]) -> list[Answer]:
        """Gather → decide → record one batch; one answer for each request, in order."""
        async with self.pool.acquire() as conn:
            sitting: Sitting | None = None
            committed = False
            begin(conn)
            try:
                locking = self.scorer.locking_with([Parties(*named(one), None) for one in requests])
                book = await self.gather(conn, requests, locking)
                fresh = [request for request in requests if (request.sender, request.key) not in book.answers]
                judged = parties(fresh, book.orgs)
                sitting = await self.scorer.gather(conn, judged, at=requests[0].at, locked=book.locked)
                outcomes = await self.decide_and_record(conn, requests, book, sitting)
                committed = True
                return [outcome.answer for outcome in outcomes]
            finally:
                if sitting:
                    sitting.close(committed=committed)
                if not committed and not conn.is_closed():
                    await conn.execute("rollback")

    async def gather(
        self, conn: asyncpg.Connection, requests: Sequence[Request], locking: Locking | None = None
    ) -> Book:
        """Lock the senders, then read orgs, earlier answers and the grants that a gift may spend; lock for a scorer."""
        book = await self.read(conn, requests, MOST_GRANTS, locking)
        wanted: dict[str, int] = {}
        for request in requests:
            wanted[request.sender] = wanted.get(request.sender, 0) + request.amount
        short = [
            org_id
            for org_id, grants in book.grants.items()
            if len(grants) == MOST_GRANTS and sum(grant.available for grant in grants) < wanted[org_id]
        ]
        return replace(await self.read(conn, requests, ALL_GRANTS), locked=book.locked) if short else book

    async def read(
        self, conn: asyncpg.Connection, requests: Sequence[Request], most: int, locking: Locking | None = None
    ) -> Book:
        senders = list({request.sender for request in requests})
        everyone = list({*senders, *(request.recipient for request in requests)})
        at = requests[0].at
        asked = (
            senders,
            everyone,
            [request.sender for request in requests],
            [request.key for request in requests],
            self.lock_s,
            most,
            None if at is None else store.moment(at),
        )
        if locking is None:
            row = await conn.fetchrow(store.SQL["gather"], *asked)
        else:
            row = await conn.fetchrow(store.SQL["gather_and_lock"], *asked, locking.keys, locking.model)
        orgs = {org.id: org for org in map(Org._make, rows(row[1:11]))}
        grants: dict[str, list[Grant]] = {sender: [] for sender in senders}
        for owner, *parcel in rows(row[11:16]):
            grants[owner].append(Grant(*parcel))
        return Book(
            now=store.micros(row["now"]),
            lock_s=self.lock_s,
            orgs=orgs,
            answers={(answer["org_id"], answer["key"]): answer for answer in row["answers"]},
            grants=grants,
            available={sender: orgs[sender].available for sender in senders if sender in orgs},
            locked=None if locking is None else (locking, row),
        )

    async def decide_and_record(
        self, conn: asyncpg.Connection, requests: Sequence[Request], book: Book, sitting: Sitting
    ) -> list[Outcome]:
        """Decide and record, piece by piece: while one is decided, PostgreSQL records those before it. Then commit."""
        pieces = cut_up(requests)
        tables = (*sitting.tables, *TABLES)
        outcomes: list[Outcome] = []
        async with Flush(conn, tables, pieces=len(pieces) - 1) as ahead:
            for piece in pieces[:-1]:
                decided = decide(piece, book, sitting)
                ahead.write(*sitting.rows(), *self.rows(decided))
                outcomes += decided
                await asyncio.sleep(0)
            last = decide(pieces[-1], book, sitting)
            remaining = *sitting.rows(), *self.rows(last)
        outcomes += last
        told = [created(one) for one in outcomes if one.status]
        # The log's head is locked by the last statement before the commit, in the query that holds both.
        end = () if sitting.news else (appending(told), "commit") if told else ("commit",)
        async with Flush(conn, tables, end=end) as flush:
            flush.write(*remaining)
        if not end:
            await sitting.tell_desk(conn, self.hold_s, also=told)
            await conn.execute("commit")
        return outcomes

    def rows(self, outcomes: list[Outcome]) -> Sequence[list[Any]]:
        """What to record of outcomes, for each of TABLES. The entries' trigger posts the balances."""
        opened = [one for one in outcomes if one.status]
        return (
            [kept_row(one) for one in outcomes if not one.answer.replayed],
            [self.transfer_row(one) for one in opened],
            list(chain.from_iterable(map(reserve, opened))),
        )

    def transfer_row(self, outcome: Outcome) -> tuple[Any, ...]:
        """The transfer that an outcome opens: pending runs, held stands still, blocked has ended."""
        request, decision, status = outcome.request, outcome.decision, outcome.status
        assert decision is not None and status is not None, "only a judged gift opens a transfer"
        pending, held, blocked = status is PENDING, status is HELD, status is BLOCKED
        at, later = store.moment(decision.at), self.lock_s if pending else self.hold_s
        until = store.moment(decision.at + later * 1_000_000)
        return (
            request.id,
            request.sender,
            request.recipient,
            request.amount,
            request.note,
            decision.gift.payload_hash,
            status,
            at,
            until if pending else None,
            self.lock_s if held else None,
            until if held else None,
            decision.id,
            request.ip,
            request.device,
            decision.gift.sender_available,
            at if blocked else None,
            "blocked" if blocked else None,
        )


def cut_up(requests: Sequence[Request]) -> list[Sequence[Request]]:
    """Pieces of about equal length, none longer than PIECE."""
    count = -(-len(requests) // PIECE)
    length = -(-len(requests) // count)
    return [requests[start : start + length] for start in range(0, len(requests), length)]


def rows(columns: Sequence[list[Any] | None]) -> Iterable[tuple[Any, ...]]:
    """The rows of ledger.gather()'s parallel columns, which are null where there is no row."""
    return zip(*(column or () for column in columns), strict=True)


def named(request: Request) -> tuple[str, str, str | None, str | None]:
    return request.sender, request.recipient, request.ip, request.device


def parties(requests: Sequence[Request], orgs: dict[str, Org]) -> list[Parties]:
    """What to lock for the requests that can be judged: those between orgs that exist."""
    return [
        Parties(*named(one), orgs[one.sender].tier) for one in requests if one.sender in orgs and one.recipient in orgs
    ]


def kept_row(outcome: Outcome) -> tuple[Any, ...]:
    request, answer = outcome.request, outcome.answer
    return request.sender, request.key, request.body_hash, answer.status, answer.body


def reserve(outcome: Outcome) -> list[EntryRow]:
    """The posting that moves a gift's slices from available to reserved."""
    if not outcome.slices or outcome.decision is None:
        return []
    return posted(outcome.request, outcome.slices, store.moment(outcome.decision.at))


def posted(request: Request, slices: Sequence[Slice], at: datetime) -> list[EntryRow]:
    """Balanced slice by slice: what leaves available is reserved."""
    name, sender = f"{request.id}/reserve", request.sender
    entries: list[EntryRow] = []
    for grant, amount in slices:
        line, grant_id = len(entries), grant.id
        entries.append((name, line, "reserve", at, sender, grant_id, "available", -amount))
        entries.append((name, line + 1, "reserve", at, sender, grant_id, "reserved", amount))
    return entries
