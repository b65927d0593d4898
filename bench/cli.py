"""`lockgate bench …`: each command measures one thing, and fails only if it measured wrongly."""

from __future__ import annotations

import json
import pstats
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from bench import report
from bench.gate import QUICK, Plan, measure
from bench.servers import BenchError
from lockgate.postgres import exit_on_sigterm

app = typer.Typer(help="Measure speed on this machine, as ratios taken in one run.", no_args_is_help=True)
FULL = Plan()
FUNCTIONS = 30


class Phase(StrEnum):
    SINGLE = "single"
    BATCH = "batch"
    HOT = "hot"


@app.callback()
def bench() -> None:
    """Measure speed on this machine, as ratios taken in one run."""


@app.command()
def gate(
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as one JSON object.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="End within 50 seconds, less precisely.")] = False,
    rounds: Annotated[int | None, typer.Option(min=1, help="How often every phase is run.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes of the application.")] = 1,
    phase: Annotated[Phase | None, typer.Option(help="Run this phase alone, once, for tuning.")] = None,
    seconds: Annotated[float | None, typer.Option(min=0.1, help="How long each phase is measured.")] = None,
    profile: Annotated[Path | None, typer.Option(help="Write a cProfile here; with --phase.")] = None,
    context: Annotated[bool, typer.Option(help="Gifts name an ip and a device too.")] = False,
    orgs: Annotated[int, typer.Option(min=2, hidden=True)] = FULL.orgs,
    scale: Annotated[int, typer.Option(min=1, hidden=True)] = FULL.scale,
) -> None:
    """The gate against pgbench and an empty endpoint, on one PostgreSQL server that is made for this run."""
    if profile and (phase is None or workers > 1):
        raise typer.BadParameter("--profile needs --phase, and one worker")
    plan = replace(QUICK if quick else FULL, workers=workers, profile=profile, context=context)
    plan = replace(plan, orgs=orgs, scale=scale)
    if phase is not None:
        plan = replace(plan, phases=(phase.value,), rounds=1)
    if rounds is not None:
        plan = replace(plan, rounds=rounds)
    if seconds is not None:
        plan = replace(plan, seconds=seconds, within_s=None)
    told = sure(lambda: measure(plan, progress(time.monotonic())))
    end(told, as_json, lambda: report.show(told, Console()), profile)


@app.command("shadow")
def shadowing(
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as one JSON object.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="One short round, to see that it runs.")] = False,
    rounds: Annotated[int | None, typer.Option(min=1, help="How many pairs of laps.")] = None,
    seconds: Annotated[float | None, typer.Option(min=0.1, help="How long each lap is measured.")] = None,
    pace: Annotated[
        float | None, typer.Option(min=1, help="Gifts a second; else, a quarter of what the gate can take.")
    ] = None,
    model: Annotated[
        Path | None, typer.Option(help="The artifact in both roles; else the shipped or a small one.")
    ] = None,
    orgs: Annotated[int, typer.Option(min=2, hidden=True)] = FULL.orgs,
) -> None:
    """What a challenger that sleeps five seconds a call costs the gifts: latencies with it over without, at a pace."""
    from bench.shadow import measure as pairs

    plan = replace(FULL, rounds=rounds or (1 if quick else 48), seconds=seconds or (1.0 if quick else 3.0), orgs=orgs)
    plan = replace(plan, pace=pace)
    told = sure(lambda: pairs(plan, model, progress(time.monotonic())))
    lines = [
        f"{name}: {told[name]:.3f}" + (f" ({one[0]:.3f} to {one[1]:.3f})" if one else "")
        for name, one in told["interval"].items()
    ]
    used = f"shadowing used {told['mechanism']['share_of_cores']:.2%} of the cores"
    end(told, as_json, lambda: show([*lines, used, load_of(told)]))


@app.command()
def history(
    source: Annotated[
        str | None, typer.Argument(metavar="[HISTORY]", help="A history, or a glob in quotes; else, one is simulated.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as one JSON object.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="A small history, to see that it runs.")] = False,
    rounds: Annotated[int | None, typer.Option(min=1, help="How many fresh processes.")] = None,
) -> None:
    """The features of a whole history, gifts a second: a fresh process's first call, and its next ones."""
    from bench import history as over

    size = {"orgs": 200, "days": 20} if quick else {}
    told = sure(lambda: over.measure(source, rounds or (1 if quick else 5), progress(time.monotonic()), **size))
    lines = [
        f"{kind}: {one['median']:,} gifts/s ({one['min']:,} to {one['max']:,})"
        for kind, one in told["gifts_per_s"].items()
    ]
    end(told, as_json, lambda: show([*lines, load_of(told)]))


@app.command("explain")
def explaining(
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as one JSON object.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="A small past, to see that it runs.")] = False,
    model: Annotated[
        Path | None, typer.Option(help="The artifact that judges; else the shipped or a small one.")
    ] = None,
) -> None:
    """What explaining a held gift takes, in milliseconds, beside 10,000 open cases and 200,000 past gifts."""
    from bench import explain

    told = sure(lambda: explain.measure(explain.QUICK if quick else explain.Plan(), model, progress(time.monotonic())))
    lines = [
        f"{name}: median {one['median']} ms, p95 {one['p95']} ms, most {one['most']} ms"
        for name, one in told["ms"].items()
    ]
    end(told, as_json, lambda: show([*lines, load_of(told)]))


@app.command()
def desk(
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as one JSON object.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Few cases, to see that it runs.")] = False,
) -> None:
    """The analysts' queue, the largest case and claims, with ten thousand open cases."""
    from bench.desk import QUICK as FEW
    from bench.desk import Plan as Cases
    from bench.desk import measure as looks

    told = sure(lambda: looks(FEW if quick else Cases(), progress(time.monotonic())))
    end(told, as_json, lambda: show(f"{name}: {one}" for name, one in told.items()))


@app.command("relook")
def looking_again(
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as one JSON object.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Few gifts, to see that it runs.")] = False,
    gifts: Annotated[int | None, typer.Option(min=1, help="How many gifts wait in the lock.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes of the application.")] = 2,
    model: Annotated[
        Path | None, typer.Option(help="The artifact that judges; else the shipped or a small one.")
    ] = None,
    profile: Annotated[Path | None, typer.Option(help="Judge in this process, and write a cProfile here.")] = None,
    orgs: Annotated[int | None, typer.Option(min=2, hidden=True)] = None,
) -> None:
    """News that touches 100,000 waiting gifts: how long until all of them are judged again."""
    from bench import relook

    plan = replace(relook.QUICK if quick else relook.Plan(), workers=workers, profile=profile)
    plan = replace(plan, gifts=gifts or plan.gifts, orgs=orgs or plan.orgs)
    told = sure(lambda: relook.measure(plan, model, progress(time.monotonic())))
    end(told, as_json, lambda: show(f"{name}: {one}" for name, one in told.items()), profile)


def sure(measured: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The report, or exit status 1 with what kept it from being measured."""
    exit_on_sigterm()
    try:
        return measured()
    except BenchError as error:
        fail(str(error))
        raise


def progress(began: float) -> Callable[[str], None]:
    def say(line: str) -> None:
        print(f"{time.monotonic() - began:5.1f} s  {line}", file=sys.stderr, flush=True)

    return say


def end(told: dict[str, Any], as_json: bool, shown: Callable[[], None], profile: Path | None = None) -> None:
    """The report as JSON or as it is shown, the profile if one was taken; and a failure where it cannot be believed."""
    if as_json:
        print(json.dumps(told, indent=2))
    else:
        shown()
    if profile:
        pstats.Stats(str(profile), stream=sys.stderr).sort_stats("tottime").print_stats(FUNCTIONS)
    if told["faults"]:
        fail("; ".join(told["faults"]))


def show(lines: Iterable[str]) -> None:
    print("\n".join(lines))


def load_of(told: dict[str, Any]) -> str:
    return f"load of the machine: {told['load'][0]}"


def fail(why: str) -> None:
    print(f"lockgate bench: {why}", file=sys.stderr)
    raise typer.Exit(1)


if __name__ == "__main__":
    app()
