"""The gate: gathers, decides and records transfers, one batch in one transaction (laws 1, 2, 7, 8).

`Gate.commit` runs one batch once. It may be run again with the same requests after any failure, also when nobody
knows whether the commit happened: the senders' locks come first, and the answers read under them tell.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import asyncpg

from detector.contract import Decision, Flush, Gift, Parties, Sitting, begin
from ledger import answers, store
from ledger.credits import Entry, Grant, Org, Slice, cut, posting
from ledger.scorer import Scorer
from ledger.transfers import FIRST_STATUS, Answer, Request, Status

MOST_GRANTS = 64
ALL_GRANTS = 1_000_000
PROMOTIONAL = frozenset({"promo", "free_tier"})
YOUNG_US = 7 * 86_400_000_000
PIECE = 64
TABLES = (store.ANSWERS, store.TRANSFERS, store.ENTRIES)


@dataclass(slots=True)
class Book:
    """What the gate gathered, and what the batch has spent of it so far."""

    now: int
    lock_s: int
    orgs: dict[str, Org]
    answers: dict[tuple[str, str], Any]
    grants: dict[str, list[Grant]]
    available: dict[str, int] = field(default_factory=dict)

    def spend(self, org_id: str, slices: list[Slice]) -> None:
        """Take slices from the front of an org's grants, which they were cut from in order."""
        for piece in slices:
            piece.grant.available -= piece.amount
            self.available[org_id] -= piece.amount
        used_up = len(slices) if slices[-1].grant.available == 0 else len(slices) - 1
        del self.grants[org_id][:used_up]


@dataclass(slots=True)
class Outcome:
    """What the batch decided about one request: its answer, and what to record for it."""

    request: Request
    answer: Answer
    decision: Decision | None = None
    status: Status | None = None
    slices: list[Slice] = field(default_factory=list)


class Weighed(NamedTuple):
    """A request that is new and between orgs that exist: its gift, what pays for it, and why it may not be sent."""

    request: Request
    gift: Gift
    slices: list[Slice] | None
    refusal: tuple[str, Answer] | None


@dataclass(frozen=True, slots=True)
class Gate:
    """The request path of one process. `lock_s` is how long a gift waits, `hold_s` how long a hold may."""

    pool: asyncpg.Pool
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
                book = await self.gather(conn, requests)
                fresh = [request for request in requests if (request.sender, request.key) not in book.answers]
                sitting = await self.scorer.gather(conn, parties(fresh, book.orgs), at=requests[0].at)
                outcomes = await self.judge(conn, requests, book, sitting)
                committed = True
                return [outcome.answer for outcome in outcomes]
            finally:
                if sitting:
                    sitting.close(committed=committed)
                if not committed and not conn.is_closed():
                    await conn.execute("rollback")

    async def gather(self, conn: asyncpg.Connection, requests: Sequence[Request]) -> Book:
        """Lock the senders, then read orgs, earlier answers and the grants that a gift may spend."""
        book = await self.read(conn, requests, MOST_GRANTS)
        wanted: dict[str, int] = {}
        for request in requests:
            wanted[request.sender] = wanted.get(request.sender, 0) + request.amount
        short = [
            org_id
            for org_id, grants in book.grants.items()
            if len(grants) == MOST_GRANTS and sum(grant.available for grant in grants) < wanted[org_id]
        ]
        return await self.read(conn, requests, ALL_GRANTS) if short else book

    async def read(self, conn: asyncpg.Connection, requests: Sequence[Request], most: int) -> Book:
        senders = list({request.sender for request in requests})
        everyone = list({*senders, *(request.recipient for request in requests)})
        at = requests[0].at
        row = await conn.fetchrow(
            store.SQL["gather"],
            senders,
            everyone,
            [request.sender for request in requests],
            [request.key for request in requests],
            self.lock_s,
            most,
            None if at is None else store.moment(at),
        )
        orgs = {org.id: org for org in map(Org._make, rows(row[1:8]))}
        grants: dict[str, list[Grant]] = {sender: [] for sender in senders}
        for owner, *parcel in rows(row[8:13]):
            grants[owner].append(Grant(*parcel))
        return Book(
            now=store.micros(row["now"]),
            lock_s=self.lock_s,
            orgs=orgs,
            answers={(answer["org_id"], answer["key"]): answer for answer in row["answers"]},
            grants=grants,
            available={sender: orgs[sender].available for sender in senders if sender in orgs},
        )

    async def judge(
        self, conn: asyncpg.Connection, requests: Sequence[Request], book: Book, sitting: Sitting
    ) -> list[Outcome]:
        """Decide and record, piece by piece: while one is decided, PostgreSQL records those before it. Then commit."""
        pieces = cut_up(requests)
        tables = (*sitting.tables, *TABLES)
        outcomes: list[Outcome] = []
        async with Flush(conn, tables, pieces=len(pieces) - 1) as ahead:
            for piece in pieces[:-1]:
                decided = decide_all(piece, book, sitting)
                ahead.write(*sitting.rows(), *self.rows(decided))
                outcomes += decided
                await asyncio.sleep(0)
            last = decide_all(pieces[-1], book, sitting)
            rows = *sitting.rows(), *self.rows(last)
        async with Flush(conn, tables, end=("commit",)) as flush:
            flush.write(*rows)
        return outcomes + last

    def rows(self, outcomes: list[Outcome]) -> Sequence[list[Any]]:
        """What to record of outcomes, for each of TABLES. The entries' trigger posts the balances."""
        opened = [one for one in outcomes if one.status]
        return (
            [kept_row(one) for one in outcomes if not one.answer.replayed],
            [self.transfer_row(one) for one in opened],
            [entry for one in opened for entry in reserve(one)],
        )

    def transfer_row(self, outcome: Outcome) -> tuple[Any, ...]:
        """The transfer that an outcome opens: pending runs, held stands still, blocked has ended."""
        request, decision, status = outcome.request, outcome.decision, outcome.status
        assert decision is not None and status is not None, "only a judged gift opens a transfer"
        at = store.moment(decision.at)
        held, blocked = status is Status.HELD, status is Status.BLOCKED
        return (
            request.id,
            request.sender,
            request.recipient,
            request.amount,
            request.note,
            decision.gift.payload_hash,
            status.value,
            at,
            at + timedelta(seconds=self.lock_s) if status is Status.PENDING else None,
            self.lock_s if held else None,
            at + timedelta(seconds=self.hold_s) if held else None,
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


def parties(requests: Sequence[Request], orgs: dict[str, Org]) -> list[Parties]:
    """What to lock for the requests that can be judged: those between orgs that exist."""
    return [
        Parties(one.sender, one.recipient, one.ip, one.device, orgs[one.sender].tier)
        for one in requests
        if one.sender in orgs and one.recipient in orgs
    ]


def decide_all(piece: Sequence[Request], book: Book, sitting: Sitting) -> list[Outcome]:
    return [one for wave in sitting.waves(piece) for one in decide(wave, book, sitting)]


def decide(wave: Sequence[Request], book: Book, sitting: Sitting) -> list[Outcome]:
    """One wave, in order of arrival: earlier answer → parties → identity → funds → detector. The model looks once."""
    weighed = [weigh(request, book) for request in wave]
    sitting.look([(one.gift, one.request.at) for one in weighed if isinstance(one, Weighed) and not one.refusal])
    return [judge(one, book, sitting) if isinstance(one, Weighed) else one for one in weighed]


def weigh(request: Request, book: Book) -> Weighed | Outcome:
    """What the ledger itself has to say of one request: its answer, or the gift that it makes."""
    earlier = book.answers.get((request.sender, request.key))
    if earlier is not None:
        return Outcome(request, answers.earlier(request, earlier))
    outcome = refuse_unknown(request, book)
    if outcome:
        book.answers[request.sender, request.key] = answers.kept(outcome.answer, request.body_hash)
        return outcome
    sender, recipient = book.orgs[request.sender], book.orgs[request.recipient]
    slices = cut(book.grants[request.sender], request.amount)
    gift = gift_of(request, book, slices or [])
    return Weighed(request, gift, slices, answers.refusal(request, sender, recipient, slices))


def refuse_unknown(request: Request, book: Book) -> Outcome | None:
    """There is nobody to judge where a party does not exist."""
    if request.sender not in book.orgs:
        return Outcome(request, answers.problem(403, "unknown_sender", f"org {request.sender!r} does not exist"))
    if request.recipient not in book.orgs:
        detail = f"recipient {request.recipient!r} does not exist; check the org id"
        return Outcome(request, answers.problem(422, "unknown_recipient", detail))
    return None


def judge(one: Weighed, book: Book, sitting: Sitting) -> Outcome:
    """Refuse what may not be sent, ask the detector about the rest, and reserve what it admits."""
    outcome = ask(one, book, sitting)
    book.answers[one.request.sender, one.request.key] = answers.kept(outcome.answer, one.request.body_hash)
    return outcome


def ask(one: Weighed, book: Book, sitting: Sitting) -> Outcome:
    request, slices = one.request, one.slices
    if one.refusal:
        reason, answer = one.refusal
        return Outcome(request, answer, sitting.turn_away(one.gift, reason, at=request.at))
    decision = sitting.decide(one.gift, at=request.at)
    if decision.refused:
        return Outcome(request, answers.rate_limited(decision), decision)
    status = FIRST_STATUS[decision.verdict.word]
    if status is Status.BLOCKED or slices is None:
        return Outcome(request, answers.created(request, status, decision, book.lock_s), decision, status)
    book.spend(request.sender, slices)
    return Outcome(request, answers.created(request, status, decision, book.lock_s), decision, status, slices)


def gift_of(request: Request, book: Book, slices: list[Slice]) -> Gift:
    """The facts of a gift as the ledger knows them at its moment."""
    sender, recipient = book.orgs[request.sender], book.orgs[request.recipient]
    now = book.now if request.at is None else request.at
    topped: int | None = None
    promo = young = 0
    for grant, amount in slices:
        if grant.origin == "purchase":
            rooted = store.micros(grant.rooted_at)
            topped = rooted if topped is None else max(topped, rooted)
            if rooted > now - YOUNG_US:  # a charge-back may still take them
                young += amount
        elif grant.origin in PROMOTIONAL:
            promo += amount
    owner = sender.owner
    return Gift(
        request.id,
        request.sender,
        request.recipient,
        request.amount,
        request.payload_hash,
        request.ip,
        request.device,
        sender.tier,
        recipient.tier,
        sender.identity,
        age_s(sender.created_at, now),
        age_s(recipient.created_at, now),
        book.available[request.sender],
        None if topped is None else max(0, now - topped) // 1_000_000,
        owner is not None and owner == recipient.owner,
        promo_amount=promo,
        young_amount=young,
    )


def age_s(since: datetime, now: int) -> int:
    return max(0, now - store.micros(since)) // 1_000_000


def kept_row(outcome: Outcome) -> tuple[Any, ...]:
    request, answer = outcome.request, outcome.answer
    return request.sender, request.key, request.body_hash, answer.status, answer.body


def reserve(outcome: Outcome) -> list[Entry]:
    """The posting that moves a gift's slices from available to reserved."""
    if not outcome.slices or outcome.decision is None:
        return []
    sender = outcome.request.sender
    legs = [
        leg
        for grant, amount in outcome.slices
        for leg in ((sender, grant.id, "available", -amount), (sender, grant.id, "reserved", amount))
    ]
    return posting("reserve", outcome.request.id, store.moment(outcome.decision.at), legs)
