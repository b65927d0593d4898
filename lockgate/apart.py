"""A ledger whose scorer is on machines of its own: what its process is made of in place of the detector's parts.

In process, what is here is what a ledger alone may have left behind, and late looks, which both ways need.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import asyncpg

from detector.hearing import Ear
from detector.judge import Detector
from ledger.asking import Asking, SecondLooks
from ledger.circuit import Circuit
from ledger.gate import Gate
from ledger.late_look import LateLooks
from ledger.remote import Remote
from ledger.scorer import House
from ledger.screening import Screening
from ledger.settlement import Settlement
from ledger.telling import Telling
from lockgate.config import Settings
from lockgate.group_commit import PASSING

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Apart:
    """`remote` and `second_looks` where a scorer is asked; `house` is the scorer and desk that routes are handed."""

    house: House
    screening: Screening
    late: LateLooks
    remote: Remote | None = None
    second_looks: SecondLooks | None = None

    @classmethod
    def build(cls, pool: asyncpg.Pool, judge: Detector, settings: Settings) -> Apart:
        ear = Ear()
        gate = Gate(pool, ear, settings.lock_s, settings.hold_s)
        if settings.scorer is None:
            return cls(judge, Screening(gate, ear, None), LateLooks(pool, judge))
        circuit = Circuit(settings.scorer_failures, settings.scorer_rest_s)
        remote = Remote(settings.scorer, settings.scorer_key or "", settings.scorer_deadline_s, circuit)
        asking = Asking(pool, remote)
        settled = Settlement(pool, ear, settings.hold_s)
        looks = SecondLooks(settled, asking, ear, settings.scorer_patience_s)
        return cls(ear, Screening(gate, ear, remote), LateLooks(pool, ear, asking, ear), remote, looks)

    async def start(self, judge: Detector) -> None:
        """Before the first request: know what judges, and in process, hold what a ledger alone left in screening.

        The keys of such gifts are not answered for yet, and this process's gate looks only for answers.
        """
        if self.remote:
            return
        async with self.screening.pool.acquire() as conn:
            await judge.refresh(conn)
        while await self.screening.pick_up(everything=True):
            pass

    def loops(self, every_s: float) -> list[Coroutine[Any, Any, None]]:
        acts: list[tuple[str, Callable[[], Awaitable[int]]]] = [
            ("picking up", self.screening.pick_up), ("late looks", self.late.take),
        ]  # fmt: skip
        if self.remote:
            acts.append(("telling the scorer", Telling(self.screening.pool, self.remote).tell))
        return [for_ever(name, act, every_s) for name, act in acts]

    async def forget_news(self) -> int:
        """Where gifts are judged alone none waits, and nobody takes up what becomes known for their sake."""
        told: str = await self.screening.pool.execute("delete from detector.news")
        return int(told.rpartition(" ")[2])

    def close(self) -> None:
        if self.remote:
            self.remote.close()


async def for_ever(name: str, act: Callable[[], Awaitable[int]], every_s: float) -> None:
    """Do it again and again, at once where there was something to do; a fault is logged and tried again."""
    while True:
        try:
            busy = await act()
        except (*PASSING, asyncpg.PostgresError) as error:
            log.warning("%s: %s: %s; trying again", name, type(error).__name__, error)
            busy = 0
        except Exception:
            log.exception("%s failed; trying again", name)
            busy = 0
        if not busy:
            await asyncio.sleep(every_s)


def asked(remote: Remote) -> dict[str, Any]:
    """What /healthz says of a ledger alone. While the scorer is silent this process still works: it holds."""
    told = remote.standing()
    if told["silent"] or told["circuit"] != "closed":
        return {
            "status": "degraded",
            "scorer": told,
            "note": "the scorer is silent: every gift is held until it answers",
        }
    return {"status": "ok", "scorer": told, "note": "judged by the scorer, asked for each gift"}
