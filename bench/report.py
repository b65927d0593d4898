"""What the laps of a gate benchmark come to: medians, ratios beside their goals, and what was wrong."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Column, Table

RATES = {
    "pgbench": ("pgbench_tps", "pgbench TPC-B"),
    "noop": ("noop_rps", "empty endpoint"),
    "typed": ("typed_rps", "… that reads the gift"),
    "single": ("single_gps", "single gifts"),
    "batch": ("batch_gps", "gifts in batches"),
    "hot": ("hot_gps", "one hot sender"),
}
# Phase, against phase.
RATIOS = {
    "single_vs_pgbench": ("single", "pgbench"),
    "batch_vs_pgbench": ("batch", "pgbench"),
    "single_vs_noop": ("single", "noop"),
    "single_vs_typed": ("single", "typed"),
    "hot_vs_single": ("hot", "single"),
}
# The first step's goals: each ratio at least so much.
GOALS = {"single_vs_pgbench": 0.7, "batch_vs_pgbench": 4.0, "single_vs_noop": 0.5, "hot_vs_single": 0.8}
Told = dict[str, Any]
Statuses = Mapping[str, Mapping[str, int]]
GOOD = {"pgbench": "committed", "noop": "200", "typed": "200"}
CREATED = "201"


def build(head: Told, laps: Sequence[Mapping[str, Any]], statuses: Statuses, books: Told) -> Told:
    """The whole report; ratios are taken round by round, and the median of them counts."""
    phases = [phase for phase in RATES if phase in laps[0]]
    rates = {phase: [lap[phase].rate for lap in laps] for phase in phases}
    ratios = {
        name: [one / other for one, other in zip(rates[over], rates[under], strict=True) if other]
        for name, (over, under) in RATIOS.items()
        if over in rates and under in rates
    }
    reached = {name: median(found) for name, found in ratios.items() if found}
    shown = next((phase for phase in ("single", "hot", "batch") if phase in phases), None)
    return {
        **{RATES[phase][0]: round(median(rates[phase]), 1) for phase in phases},
        **{name: round(value, 3) for name, value in reached.items()},
        **(middle(lap[shown].latency for lap in laps) if shown else {}),
        **{name: round(value, 1) if isinstance(value, float) else value for name, value in head.items()},
        "goals": {
            name: {"goal": goal, "reached": round(reached[name], 3), "met": reached[name] >= goal}
            for name, goal in GOALS.items()
            if name in reached
        },
        "spread": {name: spread(found) for name, found in [*rates.items(), *ratios.items()] if found},
        "us_each": {phase: middle(lap[phase].us for lap in laps) for phase in phases},
        "latency_ms": {phase: middle(lap[phase].latency for lap in laps) for phase in phases if phase != "pgbench"},
        "statuses": {phase: dict(sorted(told.items())) for phase, told in statuses.items()},
        **books,
        "faults": faults(statuses, books),
    }


def middle(found: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """The median of each figure over the rounds that have it."""
    laps = [lap for lap in found if lap]
    return {name: round(median(lap[name] for lap in laps), 3) for name in (laps[0] if laps else ())}


def spread(found: Sequence[float]) -> dict[str, float]:
    return {"min": round(min(found), 3), "median": round(median(found), 3), "max": round(max(found), 3)}


def faults(statuses: Statuses, books: Told) -> list[str]:
    """Why not to believe the figures: a wrong answer, a refusal, or books that hold something else."""
    found = [
        f"{phase}: {number} answered {status}"
        for phase, told in statuses.items()
        for status, number in told.items()
        if status != GOOD.get(phase, CREATED)
    ]
    created = sum(told.get(CREATED, 0) for told in statuses.values())
    recorded = sum(books["transfers"].values())
    if created != recorded:
        found.append(f"{created} gifts were answered 201, but {recorded} transfers are recorded")
    if blocked := books["transfers"].get("blocked"):
        found.append(f"{blocked} gifts were blocked; the policy was to refuse nobody")
    if not books["reconciled"]:
        found.append("the books do not balance")
    return found


def show(told: Told, console: Console) -> None:
    """The report as tables."""
    console.print(figures(told))
    if any(name in told for name in RATIOS):
        console.print(ratios(told))
    transfers = ", ".join(f"{number:,} {status}" for status, number in told["transfers"].items())
    balance = "the books balance" if told["reconciled"] else "the books do not balance"
    console.print(f"rounds: {told['rounds']}, {told['seconds']} s a phase, {told['workers']} worker(s)")
    console.print(f"transfers: {transfers}; {balance}")
    console.print(f"the load generator alone reaches {told['load_ceiling_rps']:,.0f} requests/s")


def figures(told: Told) -> Table:
    table = Table(
        Column("phase", no_wrap=True),
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        title="a second, median over the rounds; right: µs of CPU for each",
    )
    for name in ("rate", "min", "max", "p50 ms", "p99 ms", "server", "postgres", "load"):
        table.add_column(name, justify="right")
    for phase, (_, title) in RATES.items():
        if (rate := told["spread"].get(phase)) is None:
            continue
        waits, us = told["latency_ms"].get(phase, {}), told["us_each"][phase]
        numbers = [f"{rate[key]:,.0f}" for key in ("median", "min", "max")]
        numbers += [f"{waits[key]:.1f}" if key in waits else "" for key in ("p50_ms", "p99_ms")]
        numbers += [f"{us[key]:.0f}" if key in us else "" for key in ("server", "postgres", "load")]
        table.add_row(title, *numbers)
    return table


def ratios(told: Told) -> Table:
    table = Table(Column("ratio", no_wrap=True), box=SIMPLE_HEAD)
    for name in ("goal", "reached", "min", "max"):
        table.add_column(name, justify="right")
    table.add_column("")
    for name in RATIOS:
        if name not in told:
            continue
        one, ends = told["goals"].get(name), told["spread"][name]
        verdict = "" if one is None else "[green]met[/]" if one["met"] else "[red]missed[/]"
        reached = (f"{number:.2f}" for number in (told[name], ends["min"], ends["max"]))
        table.add_row(name, f"{one['goal']:.2f}" if one else "", *reached, verdict)
    return table
