"""How many gifts a second the whole feature table takes over a history: in a fresh process and warm.

Law: every first call is the first of a process of its own, and what it computes is compared with what the next
process computes, to the bit.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from bench.servers import ROOT, BenchError

Say = Callable[[str], None]
GOAL = 200_000  # gifts a second on two cores, in the first call
WARM = 3  # calls after the first
ORGS, DAYS, SEED = 20_000, 120, 7
KINDS = ("compiling", "first", "warm")


def measure(source: str | None, rounds: int, say: Say, *, orgs: int = ORGS, days: int = DAYS) -> dict[str, Any]:
    """`rounds` fresh processes, one after the other, each with a first call and warm ones; before them one that finds
    nothing compiled. `faults` is empty if all of them computed the same."""
    with given(source, orgs, days, say) as history, tempfile.TemporaryDirectory() as place:
        cold = run(history, 0, {"NUMBA_CACHE_DIR": place})
        say(f"{cold['gifts']:,} gifts; with nothing compiled {rate(cold['calls'][0], cold['gifts'])}")
        run(history, 0, {})  # whoever installed has compiled; otherwise this does
        laps = []
        for number in range(rounds):
            laps.append(run(history, WARM, {}))
            first, *warm = (rate(one, laps[-1]["gifts"]) for one in laps[-1]["calls"])
            say(f"round {number + 1}/{rounds}  first {first}, warm {', '.join(warm)}")
    return report(cold, laps)


@contextmanager
def given(source: str | None, orgs: int, days: int, say: Say) -> Iterator[str]:
    """The history that is named, or one that is simulated for the run."""
    if source:
        yield source
        return
    from training.simulate import simulate

    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / "history.parquet"
        say(f"simulating {orgs:,} orgs for {days} days")
        simulate(orgs, days, SEED).write_parquet(out)
        yield str(out)


def run(history: str, warm: int, environ: dict[str, str]) -> dict[str, Any]:
    """What one fresh process saw. Raises BenchError where it failed."""
    command = [sys.executable, "-m", "bench.history", history, str(warm)]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | environ, capture_output=True, text=True)
    if done.returncode:
        raise BenchError(f"the features of {history} were not computed: {done.stderr.strip()[-500:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def report(cold: dict[str, Any], laps: list[dict[str, Any]]) -> dict[str, Any]:
    """Gifts a second by the clock, median and ends over the rounds, and processor time of a million gifts."""
    gifts = cold["gifts"]
    calls = {
        "compiling": [cold["calls"][0]],
        "first": [lap["calls"][0] for lap in laps],
        "warm": [one for lap in laps for one in lap["calls"][1:]],
    }
    rates = {kind: [gifts / one["wall_s"] for one in calls[kind]] for kind in KINDS}
    digests = {lap["digest"] for lap in (cold, *laps)}
    reached = median(rates["first"])
    return {
        "gifts": gifts,
        "features": cold["features"],
        "gifts_per_s": {kind: _spread(rates[kind]) for kind in KINDS},
        "cpu_s_per_million": {
            kind: round(median(one["cpu_s"] for one in calls[kind]) / gifts * 1e6, 2) for kind in KINDS
        },
        "import_s": round(median(lap["import_s"] for lap in laps), 2),
        "read_s": round(median(lap["read_s"] for lap in laps), 2),
        "rounds": len(laps),
        "cores": os.cpu_count(),
        "load": [round(one, 1) for one in os.getloadavg()],
        "goals": {"first": {"goal": GOAL, "reached": round(reached), "met": reached >= GOAL}},
        "faults": [] if len(digests) == 1 else [f"{len(digests)} different tables of features for one history"],
    }


def _spread(found: list[float]) -> dict[str, int]:
    return {"min": round(min(found)), "median": round(median(found)), "max": round(max(found))}


def rate(call: dict[str, float], gifts: int) -> str:
    return f"{gifts / call['wall_s']:,.0f}/s ({call['cpu_s']:.2f} s of processor)"


def alone(history: str, warm: int) -> dict[str, Any]:
    """In this process: import, read, and call the first time and so many times more; time of each."""
    began = time.perf_counter()
    from training.features import features
    from training.jobs import gathered
    from training.vectors import digest

    imported = time.perf_counter()
    rows = gathered([history])
    read = time.perf_counter()
    calls = []
    for _ in range(1 + warm):
        wall, cpu = time.perf_counter(), time.process_time()
        found = features(rows)
        calls.append({"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu})
    return {
        "gifts": rows.height,
        "features": found.width,
        "import_s": imported - began,
        "read_s": read - imported,
        "calls": calls,
        "digest": digest(found),
    }


if __name__ == "__main__":
    print(json.dumps(alone(sys.argv[1], int(sys.argv[2]))))
