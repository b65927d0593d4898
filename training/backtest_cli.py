"""`lockgate backtest`: what a policy would have done to a history. Law: exit status 0 only where all was judged."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from training.terminal import AsJson, Quiet, mended, moment, progress, report, wanted, write


def backtest(
    history: Annotated[list[str], typer.Argument(help="History files, or globs in quotes; all the past that counts.")],
    policy: Annotated[Path | None, typer.Option(help="The policy, as TOML; by default, the shipped one.")] = None,
    start: Annotated[str | None, typer.Option("--from", help="Tell of gifts from here on; by default, of all.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="The moment before which it ends.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write each gift's id, verdict and reasons there, .parquet or .csv.")
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Say what a policy's limits and rules would have held and blocked, by each, and how much of it was fraud.

    The gate's own decisions, in order of time, without its model. A limit or rule about something that the history does
    not say is left out, and named.
    """
    began = time.monotonic()
    with mended("backtest"), progress(quiet or as_json) as step:
        if out:
            wanted(out)
        from training.jobs import tried

        span = moment(start, "--from") if start else None, moment(end, "--to") if end else None
        shape, verdicts = tried(history, policy, span, step)
        if out:
            listed = verdicts["reasons"].list.join(";") if out.suffix.lower() == ".csv" else verdicts["reasons"]
            write(verdicts.with_columns(listed), out)
    report({**shape, "seconds": round(time.monotonic() - began, 2)}, as_json, told(shape))


def told(shape: dict[str, Any]) -> str:
    """The radius of each verdict, then of each limit and rule."""
    lines = [f"{shape['gifts']:,} gifts from {shape['from']} to {shape['to']}, {shape['known_frauds']:,} known frauds"]
    rows = [*shape["verdicts"].items(), *((one["reason"], one) for one in shape["by"])]
    lines += [f"{'':36} {'gifts':>10} {'a day':>9} {'frauds':>8} {'good':>10} {'unknown':>10}"]
    for name, one in rows:
        known = f"{one['frauds']:>8,} {one['good']:>10,} {one['unlabelled']:>10,}"
        lines.append(f"{name:36} {one['gifts']:>10,} {one['a_day']:>9,} {known}")
    lines += [f"left out: {one['name']}, the history has no {', '.join(one['needs'])}" for one in shape["left_out"]]
    return "\n".join(lines + ([f"model {shape['model']}"] if shape["model"] else []))
