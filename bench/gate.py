"""How fast the gate is, as ratios taken in one run: against pgbench and an empty endpoint, on one server.

The phases alternate in rounds, so that a slowing machine or a growing table meets all of them alike.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import psutil

from bench import ground, report, servers
from bench.load import Load, Told
from lockgate.postgres import throwaway

PHASES = ("pgbench", "noop", "typed", "single", "batch", "hot")
ONE = "/v1/billing/credits/transfer"
MANY = f"{ONE}/batch"
PATHS = {"batch": MANY, "typed": "/typed"}
EMPTY = ("noop", "typed")
BATCH = 100
HOT = 1  # of all senders
SHORTEST_S, LONGEST_S = 0.5, 5.0

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure, and for how long. With `within_s`, phases are as long as fits into so many seconds."""

    rounds: int = 7
    seconds: float = LONGEST_S
    warm_s: float = 0.5
    within_s: float | None = None
    workers: int = 1
    phases: tuple[str, ...] = PHASES
    profile: Path | None = None
    orgs: int = 2000
    scale: int = 32  # at least one pgbench branch a client, as its manual asks
    connections: int = 32
    batch_connections: int = 8
    amount: int = 1_000_000
    context: bool = False
    pace: float | None = None  # single requests a second; without, as fast as they are answered


QUICK = Plan(rounds=3, seconds=2.0, warm_s=0.3, within_s=38.0)


@dataclass(frozen=True, slots=True)
class Lap:
    """One phase of one round. `us` is the CPU time, in microseconds, that one answer cost each process."""

    rate: float
    latency: dict[str, float]
    answers: dict[str, int]
    us: dict[str, float]


@dataclass(slots=True)
class Bench:
    """Everything that runs, and what all answers were, the warm-up's too."""

    plan: Plan
    gate: str
    senders: list[tuple[str, str]]
    postgres: psutil.Process
    pgbench: str | None = None
    ports: dict[str, int] = field(default_factory=dict)
    processes: dict[str, psutil.Process] = field(default_factory=dict)
    statuses: dict[str, Counter[str]] = field(default_factory=dict)

    def lap(self, phase: str, warm_s: float, seconds: float) -> Lap:
        """Run one phase once."""
        lap = self.transactions(seconds) if phase == "pgbench" else self.load(phase, warm_s, seconds)
        self.statuses.setdefault(phase, Counter()).update(lap.answers)
        return lap

    def transactions(self, seconds: float) -> Lap:
        assert self.pgbench is not None
        options = ["--protocol=prepared", f"--client={self.plan.connections}", "--jobs=2"]
        before = servers.cpu_s(self.postgres)
        printed = ground.run_pgbench(self.pgbench, *options, f"--time={max(1, round(seconds))}")
        used = servers.cpu_s(self.postgres) - before
        rate, number = ground.tps(printed)
        return Lap(rate, {}, {"committed": number}, {"postgres": used * 1e6 / max(number, 1)})

    def load(self, phase: str, warm_s: float, seconds: float) -> Lap:
        server = "noop" if phase in EMPTY else "application"
        watched = {"server": self.processes[server], "postgres": self.postgres}
        before = {name: servers.cpu_s(process) for name, process in watched.items()}
        told = send(self.load_of(phase, self.ports[server], warm_s, seconds))
        answered = max(sum(told.answers.values()), 1)
        used = {name: servers.cpu_s(process) - before[name] for name, process in watched.items()}
        us = {name: spent_s * 1e6 / answered for name, spent_s in {**used, "load": told.cpu_s}.items()}
        return Lap(told.rate, told.latency, told.answers, us)

    def load_of(self, phase: str, port: int, warm_s: float, seconds: float) -> Load:
        batch = phase == "batch"
        return Load(
            port=port,
            path=PATHS.get(phase, ONE),
            connections=self.plan.batch_connections if batch else self.plan.connections,
            warm_s=warm_s,
            seconds=seconds,
            senders=self.senders[:HOT] if phase == "hot" else self.senders,
            recipients=[org for org, _ in self.senders],
            amount=self.plan.amount,
            gifts=BATCH if batch else 1,
            context=self.plan.context,
            pace=self.plan.pace,
        )


def measure(plan: Plan, say: Say) -> dict[str, Any]:
    """Set up, run every round, and report; the report's `faults` is empty if what was measured was right."""
    began = time.monotonic()
    with throwaway("lockgate-bench") as dsn:
        with set_up(plan, dsn, say) as bench:
            ceiling = ceiling_rps(bench, plan.seconds)
            say(f"load generator: {ceiling:,.0f} requests/s against a server that does nothing")
            plan = warm_up(bench, began, say)
            laps = list(rounds(bench, plan, began, say))
        say("reconciling")
        books = ground.books(bench.gate)
        ground.make_forgettable(dsn)
        say("stopping PostgreSQL")
    head = {
        "load_ceiling_rps": ceiling,
        "rounds": len(laps),
        "seconds": plan.seconds,
        "workers": plan.workers,
    }
    return report.build(head, laps, bench.statuses, books)


@contextmanager
def set_up(plan: Plan, dsn: str, say: Say) -> Iterator[Bench]:
    """The databases that the plan's phases need, filled, and the servers, answering."""
    with ExitStack() as stack:
        aside = stack.enter_context(ThreadPoolExecutor())
        filling = aside.submit(ground.fill_pgbench, dsn, plan.scale) if "pgbench" in plan.phases else None
        gate, senders = ground.make(dsn, plan.orgs)
        bench = Bench(plan, gate, senders, psutil.Process(ground.postmaster(dsn)))
        say(f"{plan.orgs} orgs with a key and credits each")
        started = {"application": servers.application(gate, plan.workers, plan.profile)}
        if not set(EMPTY).isdisjoint(plan.phases):
            started["noop"] = servers.noop(plan.workers)
        for name, starting in started.items():
            port, process = stack.enter_context(starting)
            bench.ports[name], bench.processes[name] = port, psutil.Process(process.pid)
        if filling is not None:
            bench.pgbench = filling.result()
            say(f"pgbench tables of scale {plan.scale}")
        yield bench


def ceiling_rps(bench: Bench, seconds: float) -> float:
    """What the load generator reaches with single gifts where the server costs next to nothing."""
    with servers.constant() as port:
        return send(bench.load_of("single", port, 0.2, min(1.0, seconds))).rate


def warm_up(bench: Bench, began: float, say: Say) -> Plan:
    """Every phase once, unmeasured; then the plan, its phases cut to what the time left allows."""
    plan = bench.plan
    seconds = min(1.0, max(0.3, plan.seconds / 4))
    start = time.monotonic()
    for phase in plan.phases:
        bench.lap(phase, 0.0, seconds)
    now = time.monotonic()
    say("warmed up")
    if plan.within_s is None:
        return plan
    around_s = (now - start) / len(plan.phases) - seconds + plan.warm_s
    each_s = (began + plan.within_s - now) / (plan.rounds * len(plan.phases))
    return replace(plan, seconds=round(min(plan.seconds, max(SHORTEST_S, each_s - around_s)), 2))


def rounds(bench: Bench, plan: Plan, began: float, say: Say) -> Iterator[dict[str, Lap]]:
    """Round after round; fewer than planned where the next one would not end in time."""
    for number in range(1, plan.rounds + 1):
        start = time.monotonic()
        laps = {}
        for phase in plan.phases:
            laps[phase] = lap = bench.lap(phase, plan.warm_s, plan.seconds)
            say(f"round {number}/{plan.rounds}  {phase:<8}{lap.rate:>10,.0f}/s{latency(lap)}")
        yield laps
        now = time.monotonic()
        if plan.within_s is not None and 2 * now - start > began + plan.within_s:
            return


def latency(lap: Lap) -> str:
    return f"   p50 {lap.latency['p50_ms']:.1f} ms, p99 {lap.latency['p99_ms']:.1f} ms" if lap.latency else ""


def send(load: Load) -> Told:
    """Run the load generator, in its own process."""
    command = [sys.executable, "-m", "bench.load"]
    done = subprocess.run(command, input=msgspec.json.encode(load), stdout=subprocess.PIPE, cwd=servers.ROOT)
    if done.returncode:
        raise servers.BenchError(f"the load generator ended with status {done.returncode}")
    return msgspec.json.decode(done.stdout, type=Told)
