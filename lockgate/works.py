"""What runs in one process, wired to one pool; and how it stands, for /healthz."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg
import msgspec
from fastapi import Response

from detector import breaker, store
from detector.breaker_watch import Watch
from detector.contract import Judged
from detector.gift import stamp
from detector.judge import Detector
from detector.scoring import Question, Scoring
from ledger import answers, settlement, transfers
from ledger.access import Access
from ledger.asking import SecondLooks
from ledger.delivery import Deliverer
from ledger.gate import Gate
from ledger.relook import Relook
from ledger.transfers import Answer
from lockgate.apart import Apart, asked
from lockgate.config import Settings
from lockgate.connections import Kept
from lockgate.group_commit import GroupCommit, Waiter, tell

ALONE = "judges by limits and rules alone: the active generation names no model"
MASS_BLOCK = "a mass of gifts is being blocked: since {since} what rules and the model block is held"
JUDGES = "judges by limits, rules and the model's score"


class Passing:
    """A gift at the gate: its key runs until its waiter is told."""

    __slots__ = ("key", "running", "waiter")

    def __init__(self, waiter: Waiter[Answer], key: tuple[str, str], running: set[tuple[str, str]]) -> None:
        self.waiter = waiter
        self.key = key
        self.running = running

    def done(self) -> bool:
        return False

    def set_result(self, answer: Answer) -> None:
        self.running.discard(self.key)
        tell(self.waiter, answer)

    def set_exception(self, fault: Exception) -> None:
        self.running.discard(self.key)
        tell(self.waiter, None, fault)


@dataclass(slots=True)
class Works:
    """What runs in one process: built once, used by the routes, the settlement loop and the replay alike."""

    pool: asyncpg.Pool
    detector: Detector
    gate: GroupCommit[transfers.Request, Answer]
    scoring: GroupCommit[Question, Judged | None]
    settlement: settlement.Settlement | SecondLooks
    relook: Relook
    deliverer: Deliverer
    access: Access
    breaker: Watch
    running: set[tuple[str, str]]
    apart: Apart

    @classmethod
    def build(cls, pool: asyncpg.Pool, settings: Settings, gates: Kept | None = None) -> Works:
        """Wire everything to a pool; the gate that judges in process to connections of its own, where they are given:
        servers that do nothing else have all that a batch needs in their processor's cache."""
        judge = Detector(settings.trusted_key)
        apart = Apart.build(pool, judge, settings)
        gate = Gate(gates or pool, judge, settings.lock_s, settings.hold_s)
        return cls(
            pool,
            judge,
            GroupCommit(apart.screening.commit if apart.remote else gate.commit),
            GroupCommit(Scoring(pool, judge).commit),
            apart.second_looks or settlement.Settlement(pool, judge, settings.hold_s),
            Relook(pool, apart.house, settings.hold_s),
            Deliverer(pool, settings.webhooks),
            Access(pool),
            Watch(pool, judge.tally),
            set(),
            apart,
        )

    def send(self, request: transfers.Request) -> asyncio.Future[Answer]:
        """Pass the gate; 409 while the same key is still running in this process. A future costs no task."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.pass_gate(request, answer)
        return answer

    def pass_gate(self, request: transfers.Request, waiter: Waiter[Answer]) -> None:
        """As `send`, for who is told without a future; never within this call."""
        key = (request.sender, request.key)
        if key in self.running:
            asyncio.get_running_loop().call_soon(tell, waiter, answers.still_running(request.key))
            return
        self.running.add(key)
        self.gate.put(request, Passing(waiter, key, self.running))

    async def send_all(self, requests: Sequence[transfers.Request]) -> list[Answer]:
        """Pass the gate with requests that came together; one answer each, in order."""
        told: dict[str, Answer] = {}
        fresh: dict[tuple[str, str], transfers.Request] = {}
        for one in requests:
            key = (one.sender, one.key)
            if key in self.running or key in fresh:
                told[one.id] = answers.still_running(one.key)
            else:
                fresh[key] = one
        self.running.update(fresh)
        try:
            given = await self.gate.submit_all(list(fresh.values())) if fresh else []
        finally:
            self.running.difference_update(fresh)
        told.update(zip([one.id for one in fresh.values()], given, strict=True))
        return [told[one.id] for one in requests]

    async def health(self) -> Response:
        remote = self.apart.remote
        try:
            async with self.pool.acquire(timeout=2) as conn:
                await asyncio.wait_for(conn.execute("select 1") if remote else self.detector.refresh(conn), 2)
                opening = None if remote else await asyncio.wait_for(store.opening(conn), 2)
        except (TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            body: dict[str, Any] = {"status": "unavailable", "database": type(error).__name__}
            return Response(msgspec.json.encode(body), 503, media_type="application/json")
        body = asked(remote) if remote else standing(self.detector, opening)
        return Response(msgspec.json.encode(body), media_type="application/json")


def standing(judge: Detector, opening: Any = None) -> dict[str, Any]:
    """By what a process judges, and what keeps it from doing so."""
    body: dict[str, Any] = {"status": "ok", "generation": judge.generation, "model": None, "note": ALONE}
    if judge.generation is None:
        return body | {"status": "degraded", "note": "no active policy: every gift is held"}
    if judge.wanted:
        body |= {"model": judge.serving.name if judge.serving else None, "note": JUDGES}
    if opening and judge.policy and judge.policy.breaker:
        body |= {
            "status": "degraded",
            "reason": breaker.REASON,
            "note": MASS_BLOCK.format(since=stamp(opening["opened_at"])),
        }
    fault = judge.fault()
    if fault:
        body |= {"status": "degraded", "reason": fault[0], "note": f"every gift is held: {fault[1]}"}
    return body
