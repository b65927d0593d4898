"""What a slow challenger costs the gifts: one load without a break, a challenger that comes and goes every few seconds.

Law: a round holds a lap with and a lap without one, the one that goes first changing from round to round, so that a
machine that slows meets both alike; every request that was due in a lap counts (bench/pooled.py). Gifts are due at an
even pace far below what the gate can take: a saturated gate's p99 is its queue's. What the challenger uses of the
processor is told beside it, since that is all that it could take from the gifts.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import psutil

from bench import ground, model, pooled
from bench.gate import Bench, Plan, Say, send, set_up
from bench.load import Told
from bench.pooled import Waits
from bench.report import faults
from bench.servers import BenchError, cpu_s
from detector.champions import CHALLENGER
from detector.shadow import LOCK_KEY
from lockgate.postgres import throwaway
from lockgate.shadow import beside

SLEEP_S = 5.0
GOAL = 1.05  # times the p99 without a challenger
PACE = 0.25  # of the rate that the gate reaches when it is asked for all it can
FIND_S = 2.0  # for which it is asked
# The gate and the process beside it notice a changed role within this; what is due meanwhile is of neither lap.
NOTICE_S = 0.6
TAIL_S = 5.0  # for which the load outlasts the laps, since it starts before they do
SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
# A checkpoint lasts longer than a lap and would fall on one of a round and not on the other.
SAID = 20  # laps between two lines of progress
NO_CHECKPOINT = ("alter system set checkpoint_timeout = '1h'", "alter system set max_wal_size = '32GB'")
WHO = (
    "select pid from pg_locks where locktype = 'advisory' and granted and (classid::bigint << 32 | objid::bigint) = $1"
)


@dataclass(frozen=True, slots=True)
class Lap:
    """From when to when (the monotonic clock, ns), and the seconds of processor that shadowing used meanwhile."""

    shadowed: bool
    start_ns: int
    end_ns: int
    used_s: dict[str, float]

    @property
    def span(self) -> tuple[int, int]:
        return self.start_ns, self.end_ns


def measure(plan: Plan, directory: Path | None, say: Say) -> dict[str, Any]:
    """Set up, run the laps under one load, report; `faults` is empty if what was measured was right."""
    plan = replace(plan, phases=("single",))
    with throwaway("lockgate-bench") as dsn:
        artifact = model.parcel(directory)
        with set_up(replace(plan, pace=None), dsn, say) as bench:
            for statement in (*NO_CHECKPOINT, "select pg_reload_conf()"):
                asyncio.run(ground.on(dsn, lambda conn, sql=statement: conn.execute(sql)))
            sha256 = model.serve(bench.gate, artifact)
            with beside(bench.gate, [sys.executable, "-m", "bench.sleeping", str(SLEEP_S)]):
                reached = bench.lap("single", FIND_S, FIND_S).rate
                pace = plan.pace or max(1.0, round(PACE * reached, 1))
                bench.plan = replace(plan, pace=pace)
                say(f"warmed up; gifts are due at {pace:,.0f}/s")
                laps, told = under_load(bench, artifact, say)
            seen = asyncio.run(ground.on(bench.gate, lambda conn: shadowed(conn, sha256)))
        books = ground.books(bench.gate)
        ground.make_forgettable(dsn)
    return report(laps, told, seen, bench, books)


def under_load(bench: Bench, artifact: bytes, say: Say) -> tuple[list[Lap], Told]:
    """All laps, and what the requests were told."""
    plan = bench.plan
    whole_s = 2 * plan.rounds * slot_s(plan) + TAIL_S
    load = bench.load_of("single", bench.ports["application"], plan.warm_s, whole_s)
    load = msgspec.structs.replace(load, each=True)
    with ThreadPoolExecutor() as aside:
        before = created(bench)
        sending = aside.submit(send, load)
        while created(bench) == before and not sending.done():
            time.sleep(0.05)
        time.sleep(plan.warm_s)
        laps = list(rounds(bench, artifact, say))
        told = sending.result()
    bench.statuses.setdefault("single", Counter()).update(told.answers)
    return laps, told


def created(bench: Bench) -> int:
    """How many gifts were created so far."""
    count = "select count(*) from ledger.transfers"
    return int(asyncio.run(ground.on(bench.gate, lambda conn: conn.fetchval(count))))


def slot_s(plan: Plan) -> float:
    return plan.seconds + NOTICE_S


def rounds(bench: Bench, artifact: bytes, say: Say) -> Iterator[Lap]:
    """Lap after lap, each ending when it was to end, so that the load need not be told."""
    plan, began = bench.plan, time.monotonic()
    turns = [turn for number in range(plan.rounds) for turn in ((False, True) if number % 2 == 0 else (True, False))]
    for number, turn in enumerate(turns):
        model.give(bench.gate, CHALLENGER, artifact if turn else None)
        time.sleep(NOTICE_S)
        before, start_ns = used(bench.gate), time.monotonic_ns()
        time.sleep(max(0.0, began + (number + 1) * slot_s(plan) - time.monotonic()))
        end_ns, after = time.monotonic_ns(), used(bench.gate)
        yield Lap(turn, start_ns, end_ns, {name: after[name] - before[name] for name in after})
        if number % 2 and (number + 1) % SAID == 0:
            say(f"{(number + 1) // 2} of {plan.rounds} rounds")


def used(dsn: str) -> dict[str, float]:
    """Seconds of processor so far: of the process that shadows, and of PostgreSQL's for it."""
    mine = [one for one in psutil.Process().children() if "bench.sleeping" in " ".join(one.cmdline())]
    theirs = asyncio.run(ground.on(dsn, lambda conn: conn.fetch(WHO, LOCK_KEY)))
    with suppress(psutil.NoSuchProcess):
        return {
            "shadow": sum(cpu_s(one) for one in mine),
            "postgres": sum(cpu_s(psutil.Process(row["pid"])) for row in theirs),
        }
    return {"shadow": 0.0, "postgres": 0.0}


async def shadowed(conn: Any, sha256: str) -> dict[str, int]:
    """How many gifts the model judged, and how many of them the challenger has scored; it is pending for the rest."""
    judged = await conn.fetchval("select count(*) from detector.decisions where score is not null")
    scored = await conn.fetchval("select count(*) from detector.shadow_scores where sha256 = $1", sha256)
    return {"judged": judged, "shadow_scored": scored, "pending": judged - scored}


def report(laps: list[Lap], told: Told, seen: dict[str, int], bench: Bench, books: dict[str, Any]) -> dict[str, Any]:
    """The ratios, shadowed over alone, each with its interval, and what shadowing used."""
    waits = pooled.cut(np.array(told.due, np.int64), np.array(told.waited, np.int64), [lap.span for lap in laps])
    if not all(len(lap) for lap in waits):
        raise BenchError("in a lap no gift was answered: give longer --seconds, or a quieter machine")
    ways = {way: [one for one, lap in zip(waits, laps, strict=True) if lap.shadowed == way] for way in (False, True)}
    ratios, sure = compared(ways[True], ways[False])
    wrong = faults(bench.statuses, books)
    if not seen["judged"]:
        wrong.append("the model judged no gift")
    return {
        **{name: round(value, 3) for name, value in ratios.items()},
        "interval": {name: one and [round(end, 3) for end in one] for name, one in sure.items()},
        "goals": {name: goal(ratios[name], sure[name]) for name in ("p99_ratio", "typical_p99_ratio")},
        "ms": {name: of_all(ways[way]) for name, way in (("alone", False), ("shadowed", True))},
        "requests": {name: sum(len(one) for one in ways[way]) for name, way in (("alone", False), ("shadowed", True))},
        "mechanism": mechanism(laps),
        "pace": bench.plan.pace,
        "rounds": bench.plan.rounds,
        "seconds": bench.plan.seconds,
        "workers": bench.plan.workers,
        "sleep_s": SLEEP_S,
        "load": [round(one, 1) for one in os.getloadavg()],
        **seen,
        "statuses": {phase: dict(answers) for phase, answers in bench.statuses.items()},
        **books,
        "faults": wrong,
    }


def compared(ours: list[Waits], theirs: list[Waits]) -> tuple[dict[str, float], dict[str, tuple[float, float] | None]]:
    """The figures by name, and the intervals: of all requests, and of a usual round."""
    figures: dict[str, tuple[pooled.Figure, float]] = {
        f"{name}_ratio": (pooled.ratio, share) for name, share in SHARES.items()
    }
    figures["typical_p99_ratio"] = (pooled.typical, SHARES["p99"])
    values = {name: of(ours, theirs, share) for name, (of, share) in figures.items()}
    return values, {name: pooled.interval(ours, theirs, share, of) for name, (of, share) in figures.items()}


def goal(reached: float, sure: tuple[float, float] | None) -> dict[str, Any]:
    """Met where the whole interval is within the goal, missed where none of it is; neither where that is not told."""
    met, missed = sure is not None and sure[1] <= GOAL, sure is not None and sure[0] > GOAL
    return {"goal": GOAL, "reached": round(reached, 3), "met": met, "missed": missed}


def of_all(waits: Sequence[Waits]) -> dict[str, float]:
    """Percentiles of all requests of one way, in milliseconds."""
    every = np.concatenate(waits)
    return {name: round(pooled.percentile(every, share) / 1e6, 2) for name, share in SHARES.items()}


def mechanism(laps: Sequence[Lap]) -> dict[str, Any]:
    """What shadowing used while there was a challenger: milliseconds of processor a second, on average and in the lap
    with the most, and which share of the cores that is."""
    found: dict[str, Any] = {}
    with_one = [lap for lap in laps if lap.shadowed]
    seconds = [(lap.end_ns - lap.start_ns) / 1e9 for lap in with_one]
    for name in ("shadow", "postgres"):
        spent = [lap.used_s[name] for lap in with_one]
        most = max(one / of for one, of in zip(spent, seconds, strict=True))
        found[name] = {"ms_a_second": round(sum(spent) / sum(seconds) * 1e3, 2), "most": round(most * 1e3, 2)}
    whole = sum(sum(lap.used_s.values()) for lap in with_one)
    return found | {"share_of_cores": round(whole / sum(seconds) / (os.cpu_count() or 1), 5)}
