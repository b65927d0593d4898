"""What judging again costs: news touches every gift in the lock, and the application works through them.

Law: the gifts passed the real gate, with an address and a device each, judged by the default policy and a model; the
news is a policy activation, which touches all of them; afterwards none is left to be judged.
"""

from __future__ import annotations

import asyncio
import cProfile
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import psutil

from bench import ground, model
from bench.servers import BenchError, application, cpu_s
from detector import store
from detector.errors import PolicyMoved
from detector.judge import Detector
from ledger.credits import new_id
from ledger.gate import Gate
from ledger.news import News, standing
from ledger.relook import Relook
from ledger.transfers import Request
from lockgate.connections import pool
from lockgate.postgres import throwaway

Say = Callable[[str], None]
GOAL_S = 60.0
DAY_S, HOLD_S = 86_400, 259_200
BATCH, SENDERS_AT_ONCE = 250, 2


@dataclass(frozen=True, slots=True)
class Plan:
    """So many gifts wait between so many orgs, and so many processes judge them again; with `profile`, this one."""

    gifts: int = 100_000
    orgs: int = 20_000
    workers: int = 2
    profile: Path | None = None


QUICK = Plan(gifts=600, orgs=100)


def measure(plan: Plan, directory: Path | None, say: Say) -> dict[str, Any]:
    """Fill the lock, tell, wait until all is judged again; `faults` is empty if it was."""
    with throwaway("lockgate-bench") as dsn:
        own, senders = ground.make(dsn, plan.orgs)
        model.serve(own, model.parcel(directory))
        asyncio.run(ground.on(own, let_all_wait))
        began = time.perf_counter()
        waiting = asyncio.run(fill(own, plan, [org for org, _ in senders]))
        say(f"{waiting:,} gifts wait, sent in {time.perf_counter() - began:.0f} s")
        ground.make_forgettable(dsn)
        server = psutil.Process(ground.postmaster(dsn))
        used = cpu_s(server)
        took, own_cpu = here(own, plan) if plan.profile else apart(own, plan)
        left = asyncio.run(ground.on(own, standing))
        told = asyncio.run(ground.on(own, after))
        report = {
            "gifts": waiting,
            "workers": 1 if plan.profile else plan.workers,
            "seconds": round(took, 2),
            "gifts_per_s": round(waiting / took),
            "cpu_us_per_gift": {
                "application": round(own_cpu / waiting * 1e6),
                "postgresql": round((cpu_s(server) - used) / waiting * 1e6),
            },
            "after": told,
            "goal_s": GOAL_S,
            "met": took <= GOAL_S,
            "load": [round(one, 1) for one in psutil.getloadavg()],
        }
    return report | {"faults": [] if (left.news, left.gifts) == (0, 0) else [f"{left} is left to be judged"]}


async def let_all_wait(conn: asyncpg.Connection) -> None:
    """The model judges, and its scores hold nobody: what is measured is a lock full of approved gifts."""
    text = await store.policy_text(conn, await store.active(conn) or 0)
    await store.add_policy(conn, str(text).replace("[model]\n", "[model]\nhold_at = 1.0\nblock_at = 1.0\n"), "bench")


async def fill(dsn: str, plan: Plan, orgs: list[str]) -> int:
    """Through the gate, batch by batch; how many wait approved."""
    draw = random.Random(7)
    async with await pool(dsn, size=SENDERS_AT_ONCE) as connections:
        gate = Gate(connections, Detector(), DAY_S, HOLD_S)
        starts = range(0, plan.gifts, BATCH)
        batches = [[request(draw, orgs) for _ in range(min(BATCH, plan.gifts - start))] for start in starts]
        for one in batches:
            await again(lambda one=one: gate.commit(one))  # type: ignore[misc]
        await connections.execute("analyze")
        # The news of the set-up is over.
        await connections.execute("delete from detector.news")
        found: int = await connections.fetchval("select count(*) from ledger.transfers where status = 'pending'")
        return found


def request(draw: random.Random, orgs: list[str]) -> Request:
    sender, recipient = draw.sample(orgs, 2)
    name, place = new_id("tr"), int(sender[4:])
    amount = draw.randint(1, 200) * 1_000_000
    return Request(name, name, sender, recipient, amount, None, f"10.{place // 256}.{place % 256}.1", sender, b"")


def apart(dsn: str, plan: Plan) -> tuple[float, float]:
    """In real application processes: seconds from the news until nothing is left, and their CPU's."""
    with application(dsn, plan.workers) as (_, process):
        family = psutil.Process(process.pid)
        used = cpu_s(family)
        took = asyncio.run(ground.on(dsn, tell_and_wait))
        return took, cpu_s(family) - used


def here(dsn: str, plan: Plan) -> tuple[float, float]:
    """In this process, under the profiler."""
    profiler = cProfile.Profile()

    async def work() -> None:
        async with await pool(dsn, size=2) as connections:
            news = News(Relook(connections, Detector(), HOLD_S))
            while await news.hear():
                await asyncio.sleep(0.01)
            profiler.enable()
            while await again(news.work):
                pass
            profiler.disable()

    asyncio.run(ground.on(dsn, tell))
    began, used = time.perf_counter(), time.process_time()
    asyncio.run(work())
    took = time.perf_counter() - began, time.process_time() - used
    profiler.dump_stats(str(plan.profile))
    return took


async def again(act: Callable[[], Any]) -> Any:
    while True:
        try:
            return await act()
        except PolicyMoved:
            continue


async def tell(conn: asyncpg.Connection) -> None:
    """The generation that judges is activated once more."""
    await conn.execute(store.SQL["activate"], await store.active(conn), "bench")


async def tell_and_wait(conn: asyncpg.Connection) -> float:
    began = time.perf_counter()
    await tell(conn)
    while any((await standing(conn))[:3:2]):
        if time.perf_counter() - began > 40 * GOAL_S:
            raise BenchError("the application does not come to an end with the news")
        await asyncio.sleep(0.1)
    return time.perf_counter() - began


async def after(conn: asyncpg.Connection) -> dict[str, int]:
    rows = await conn.fetch("select status, count(*) from ledger.transfers group by status order by status")
    return {row["status"]: row["count"] for row in rows}
