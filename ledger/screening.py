"""The gate with a scorer on machines of its own: reserve and commit, ask with a deadline, record in a second commit.

Law 5: whatever keeps the scorer from answering holds the gift, inside the deadline. Law 7: the sender's answer is made
in the second commit, once, by whoever gets there: the process that opened the gift, or another one after its lease.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import msgspec

from detector.contract import Asked, Decision, Flush, Gift, Judged, Sitting, append
from ledger import answers, events, store
from ledger.decide import Book, Outcome, Weighed, weigh
from ledger.gate import Gate, kept_row, posted
from ledger.plan import Plan, slices_of, write
from ledger.remote import LEASE_S, Remote, question
from ledger.scorer import Hears
from ledger.stops import against
from ledger.transfers import FIRST_STATUS, Answer, Request, Status

BATCH = 100
INTERRUPTED = "scorer_interrupted"
ASKED = msgspec.json.Decoder(Asked)
ENCODE = msgspec.json.Encoder().encode
Heard = Mapping[str, Judged | str]


@dataclass(slots=True)
class Opened:
    """What the first commit writes, and what is asked after it."""

    outcomes: list[Outcome]
    transfers: list[tuple[Any, ...]]
    entries: list[Any]
    questions: list[tuple[Any, ...]]
    asked: list[Asked]


@dataclass(frozen=True, slots=True)
class Screening:
    """The request path of one process. Without a `remote` it only finishes what others left, as held."""

    gate: Gate
    ear: Hears
    remote: Remote | None

    @property
    def pool(self) -> asyncpg.Pool:
        return self.gate.pool

    @property
    def lease_s(self) -> float:
        return self.remote.lease_s if self.remote else LEASE_S

    async def commit(self, requests: Sequence[Request]) -> list[Answer]:
        """Open, ask, finish; one answer for each request, in order. It may be run again after any failure."""
        assert self.remote is not None, "gifts are screened where there is a scorer to ask"
        told, asked = await self.reserve(requests)
        finished = await self.finish(await self.remote.ask(asked)) if asked else {}
        return [one if isinstance(one, Answer) else finished[one] for one in told]

    async def reserve(self, requests: Sequence[Request]) -> tuple[list[Answer | str], list[Asked]]:
        """The first commit: an answer where none needs the scorer, or the id of the gift that it is asked about."""
        async with self.pool.acquire() as conn, conn.transaction():
            book = await self.gate.gather(conn, requests)
            columns = [one.sender for one in requests], [one.key for one in requests]
            rows = await conn.fetch(store.SQL["questions_running"], *columns)
            running = {(row["org_id"], row["key"]): row for row in rows}
            sitting = await self.ear.gather(conn, ())
            opened = Opened([], [], [], [], [])
            told = [self.open(one, book, running, sitting, opened) for one in requests]
            await record(conn, sitting, opened)
        return told, opened.asked

    def open(
        self, request: Request, book: Book, running: dict[Any, Any], sitting: Sitting, opened: Opened
    ) -> Answer | str:
        """Earlier answer → still running → parties → identity → funds → reserve."""
        before = running.get((request.sender, request.key))
        if before is not None and before["transfer_id"] != request.id:
            return answers.still_judged(request, before["body_hash"])
        if before is not None:  # our own first commit, of which we never heard
            opened.asked.append(ASKED.decode(before["asked"]))
            return request.id
        one = weigh(request, book, sitting.identity)
        if isinstance(one, Weighed) and one.refusal:
            reason, answer = one.refusal
            one = Outcome(request, answer, sitting.turn_away(one.gift, reason))
            book.answers[request.sender, request.key] = answers.kept(answer, request.body_hash)
        if isinstance(one, Outcome):
            opened.outcomes.append(one)
            return one.answer
        asked = question(one.gift)
        row = self.question_row(request, asked, sitting.now)
        running[request.sender, request.key] = {"transfer_id": request.id, "body_hash": request.body_hash}
        opened.questions.append(row)
        opened.asked.append(asked)
        opened.transfers.append(transfer_row(one, sitting.now))
        assert one.slices is not None, "a gift without funds is refused"
        opened.entries += posted(request, one.slices, store.moment(sitting.now))
        book.spend(request.sender, one.slices)
        return request.id

    def question_row(self, request: Request, asked: Asked, now: int) -> tuple[Any, ...]:
        lease = store.moment(now) + timedelta(seconds=self.lease_s)
        return request.id, request.sender, request.key, request.body_hash, ENCODE(asked).decode(), True, lease

    async def finish(self, heard: Heard) -> dict[str, Answer]:
        """The second commit: what was heard of gifts, or why nothing was; the answer of each."""
        async with self.pool.acquire() as conn, conn.transaction():
            transfers = await conn.fetch(store.SQL["transfers_lock"], sorted(heard))
            named = sorted({party for one in transfers for party in (one["sender"], one["recipient"])})
            orgs = {org["id"]: org for org in await conn.fetch(store.SQL["lock_orgs"], named)}
            asked = {row["transfer_id"]: row for row in await conn.fetch(store.SQL["questions_of"], sorted(heard))}
            sitting = await self.ear.hears(heard).gather(conn, ())
            sitting.now = max([sitting.now, *(store.micros(one["created_at"]) for one in transfers)])
            open_ = [one for one in transfers if asked[one["id"]]["open"]]
            judged = {
                one["id"]: sitting.decide(gift_of(one, asked[one["id"]]["asked"]))
                for one in open_
                if one["status"] == Status.SCREENING
            }
            await sitting.record(conn)
            screened = [one for one in open_ if one["id"] in judged]
            now = store.moment(sitting.now)
            became = {one["id"]: becomes(one, judged[one["id"]], orgs, sitting, now) for one in screened}
            await self.step(conn, screened, judged, became, now)
            said = {one["id"]: self.answer(one, judged.get(one["id"]), became.get(one["id"])) for one in open_}
            await close(conn, said, asked, heard)
            told = [events.screened(one, became[one["id"]].value) for one in screened]
            await sitting.tell_desk(conn, self.gate.hold_s, (), None, told)
            return said | await earlier(conn, [row for row in asked.values() if not row["open"]])

    async def step(
        self,
        conn: asyncpg.Connection,
        transfers: Sequence[Any],
        judged: Mapping[str, Decision],
        became: Mapping[str, Status],
        at: datetime,
    ) -> None:
        """Approved and held gifts go on; the credits of blocked ones go back."""
        slices = await slices_of(conn, [one["id"] for one in transfers])
        plan = Plan()
        going: list[tuple[str, str]] = []
        for one in transfers:
            if became[one["id"]] is Status.BLOCKED:
                reason = "rate_limited" if judged[one["id"]].refused else "blocked"
                plan.give_back(one, slices[one["id"]], Status.BLOCKED, reason, at)
            else:
                going.append((one["id"], became[one["id"]].value))
        if plan.steps:
            await write(conn, plan, 0)
        if going:
            terms = at, self.gate.lock_s, self.gate.hold_s
            await conn.execute(store.SQL["screened"], *store.columns(going, 2), *terms)

    def answer(self, transfer: Any, decision: Decision | None, status: Status | None) -> Answer:
        """What the sender is told; of a gift that ended while it was screened, how."""
        if decision is None or status is None:
            return answers.stands(transfer, transfer["status"], None)
        if decision.refused:
            return answers.rate_limited(decision)
        until = decision.at + self.gate.lock_s * 1_000_000 if status is Status.PENDING else None
        return answers.stands(transfer, status.value, until)

    async def pick_up(self, *, everything: bool = False, most: int = BATCH) -> int:
        """Finish gifts that somebody left in screening: ask again, or hold them; how many."""
        rows = await self.pool.fetch(store.SQL["questions_left"], self.lease_s, most, everything)
        if not rows:
            return 0
        asked = [ASKED.decode(row["asked"]) for row in rows]
        heard = await self.remote.ask(asked) if self.remote else {one.id: INTERRUPTED for one in asked}
        await self.finish(heard)
        return len(rows)


async def record(conn: asyncpg.Connection, sitting: Sitting, opened: Opened) -> None:
    """Everything of the first commit but the commit."""
    tables = (*sitting.tables, store.ANSWERS, store.TRANSFERS, store.ENTRIES, store.QUESTIONS)
    fresh = [kept_row(one) for one in opened.outcomes if not one.answer.replayed]
    async with Flush(conn, tables) as flush:
        flush.write(*sitting.rows(), fresh, opened.transfers, opened.entries, opened.questions)
    status = Status.SCREENING.value
    told = [
        events.reserved(name, sender, recipient, amount, status)
        for name, sender, recipient, amount, *_ in opened.transfers
    ]
    await append(conn, told)


def transfer_row(one: Weighed, now: int) -> tuple[Any, ...]:
    """The transfer as it begins: its credits are reserved, and no clock runs. The order is store.TRANSFERS'."""
    request, gift = one.request, one.gift
    return (
        request.id, request.sender, request.recipient, request.amount, request.note, gift.payload_hash,
        Status.SCREENING.value, store.moment(now), None, None, None, f"{request.id}.1", request.ip, request.device,
        gift.sender_available, None, None,
    )  # fmt: skip


def gift_of(transfer: Any, asked: str) -> Gift:
    """The gift as it was asked about, bound to the transfer as it stands."""
    told = ASKED.decode(asked)
    names = [name for name in told.__struct_fields__ if name not in ("payload_hash", "look")]
    return Gift(payload_hash=transfer["payload_hash"], **{name: getattr(told, name) for name in names})


async def close(conn: asyncpg.Connection, said: Mapping[str, Answer], asked: Mapping[str, Any], heard: Heard) -> None:
    """Keep the answers under their keys, for ever."""
    rows = [(asked[name], answer) for name, answer in said.items()]
    kept = [(row["org_id"], row["key"], row["body_hash"], one.status, one.body) for row, one in rows]
    await conn.execute(store.SQL["answers_add"], *store.columns(kept, 5))
    closed = [(name, isinstance(heard[name], Judged)) for name in said]
    await conn.execute(store.SQL["questions_close"], *store.columns(closed, 2))


async def earlier(conn: asyncpg.Connection, rows: Iterable[Any]) -> dict[str, Answer]:
    """The answers of gifts that somebody else finished first."""
    names = {(row["org_id"], row["key"]): row["transfer_id"] for row in rows}
    if not names:
        return {}
    found = await conn.fetch(store.SQL["answers_of"], *store.columns(names, 2))
    return {names[row["org_id"], row["key"]]: Answer(row["status"], row["body"]) for row in found}


def becomes(transfer: Any, decision: Decision, orgs: Mapping[str, Any], sitting: Sitting, now: datetime) -> Status:
    """What a gift is once it was screened. How its parties stand by now, which no scorer knows, may hold it."""
    status = FIRST_STATUS[decision.verdict.word]
    stop = against(transfer, orgs, sitting.identity, now) if status is Status.PENDING else None
    cool_until = orgs[transfer["sender"]]["cool_until"]
    if status is Status.PENDING and stop is None and cool_until is not None and cool_until > now:
        stop = "cool_off"
    if stop is None:
        return status
    sitting.stop(decision, stop)
    return Status.HELD
