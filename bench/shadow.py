"""What a slow challenger costs the gifts: the same load with and without one, in turn, on one gate and one database.

Law: each round holds both, the one that goes first changing from round to round, so that a machine that slows meets
both alike; what counts is the ratio in each round. Gifts are due at an even pace below what the gate can take: a
saturated gate's p99 is its queue's, and wavers with whatever else the machine does.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import accumulate
from math import comb
from pathlib import Path
from statistics import median
from typing import Any

from bench import ground, model
from bench.gate import Bench, Lap, Plan, Say, set_up
from bench.report import faults, spread
from bench.servers import BenchError
from detector.champions import CHALLENGER
from lockgate.postgres import throwaway
from lockgate.shadow import beside

SLEEP_S = 5.0
GOAL = 1.05  # times the p99 without a challenger
PACE = 0.4  # of the rate that the gate reaches when it is asked for all it can
UNSURE = 0.05  # how often an interval may miss the median
FIND_S = 2.0  # for which it is asked
ALONE, SHADOWED = "alone", "shadowed"
# The gate and the process beside it notice a changed role within this; a sleeping challenger only when it wakes.
NOTICE_S = 1.0
Round = dict[str, Lap]


def measure(plan: Plan, directory: Path | None, say: Say) -> dict[str, Any]:
    """Set up, run the rounds, report; `faults` is empty if what was measured was right."""
    plan = replace(plan, phases=("single",))
    with throwaway("lockgate-bench") as dsn:
        artifact = model.parcel(directory)
        with set_up(plan, dsn, say) as bench:
            sha256 = model.serve(bench.gate, artifact)
            with beside(bench.gate, [sys.executable, "-m", "bench.sleeping", str(SLEEP_S)]):
                pace = max(1.0, round(PACE * bench.lap("single", FIND_S, FIND_S).rate, 1))
                bench.plan = replace(plan, pace=pace)
                say(f"warmed up; gifts are due at {pace:,.0f}/s")
                found = list(rounds(bench, plan, artifact, say))
            told = asyncio.run(ground.on(bench.gate, lambda conn: shadowed(conn, sha256)))
        books = ground.books(bench.gate)
        ground.make_forgettable(dsn)
    return report(found, told, bench, books)


def rounds(bench: Bench, plan: Plan, artifact: bytes, say: Say) -> Iterator[Round]:
    for number in range(plan.rounds):
        laps = {}
        for phase in (ALONE, SHADOWED) if number % 2 == 0 else (SHADOWED, ALONE):
            model.give(bench.gate, CHALLENGER, artifact if phase == SHADOWED else None)
            time.sleep(NOTICE_S)
            laps[phase] = lap = bench.lap("single", plan.warm_s, plan.seconds)
            if not lap.latency:
                raise BenchError(
                    f"no gift was answered in {plan.seconds} s: give longer --seconds, or a quieter machine"
                )
            waits = ", ".join(f"{name} {lap.latency[f'{name}_ms']:.1f} ms" for name in ("p50", "p99"))
            say(f"round {number + 1}/{plan.rounds}  {phase:<9}{lap.rate:>8,.0f}/s, {waits}")
        yield laps


async def shadowed(conn: Any, sha256: str) -> dict[str, int]:
    """How many gifts the model judged, and how many of them the challenger has scored; it is pending for the rest."""
    judged = await conn.fetchval("select count(*) from detector.decisions where score is not null")
    scored = await conn.fetchval("select count(*) from detector.shadow_scores where sha256 = $1", sha256)
    return {"judged": judged, "shadow_scored": scored, "pending": judged - scored}


def report(found: list[Round], told: dict[str, int], bench: Bench, books: dict[str, Any]) -> dict[str, Any]:
    """Medians of the rounds' ratios, shadowed over alone, each with its interval, and least and most."""
    ratios = {
        f"{name}_ratio": [one[SHADOWED].latency[f"{name}_ms"] / one[ALONE].latency[f"{name}_ms"] for one in found]
        for name in ("p50", "p95", "p99")
    }
    middle = {name: round(median(values), 3) for name, values in ratios.items()}
    sure = interval(ratios["p99_ratio"])
    wrong = faults(bench.statuses, books)
    if not told["judged"]:
        wrong.append("the model judged no gift")
    return {
        **middle,
        "interval": {name: interval(values) for name, values in ratios.items()},
        "spread": {name: spread(values) for name, values in ratios.items()},
        "goals": {
            "p99_ratio": {
                "goal": GOAL,
                "reached": middle["p99_ratio"],
                "met": sure is not None and sure[1] <= GOAL,
                "missed": sure is not None and sure[0] > GOAL,
            }
        },
        "p99_ms": {phase: spread([one[phase].latency["p99_ms"] for one in found]) for phase in (ALONE, SHADOWED)},
        "gps": {phase: spread([one[phase].rate for one in found]) for phase in (ALONE, SHADOWED)},
        "pace": bench.plan.pace,
        "rounds": len(found),
        "seconds": bench.plan.seconds,
        "workers": bench.plan.workers,
        "sleep_s": SLEEP_S,
        **told,
        "statuses": {phase: dict(answers) for phase, answers in bench.statuses.items()},
        **books,
        "faults": wrong,
    }


def interval(found: Sequence[float]) -> tuple[float, float] | None:
    """Where the median lies but for one time in twenty, whatever the distribution: two of the values, by the binomial.

    Fewer than six values do not say.

    >>> interval(range(1, 11)), interval(range(5))
    ((2, 9), None)
    """
    ordered, number = sorted(found), len(found)
    outside = list(accumulate(comb(number, below) / 2**number for below in range(number)))
    place = sum(2 * one <= UNSURE for one in outside[: number // 2])
    return (round(ordered[place - 1], 3), round(ordered[-place], 3)) if place else None
