"""The offline commands: `lockgate simulate`. Law: what cannot be done is said before any work begins."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from training.errors import TrainingError

if TYPE_CHECKING:
    import polars as pl

AsJson = Annotated[bool, typer.Option("--json", help="As JSON, for programs.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Show no progress.")]
Step = Callable[[str, float], None]
ENDINGS = (".parquet", ".csv")
# A constant of training.simulate too, which is not imported to show the help.
START = "2026-01-05T00:00:00Z"

app = typer.Typer(help="What is learned offline.", no_args_is_help=True, add_completion=False)


@app.callback()
def offline() -> None:
    """What is learned offline."""


@app.command()
def simulate(
    out: Annotated[Path, typer.Option(help="The history to write, .parquet or .csv; it replaces what is there.")],
    orgs: Annotated[int, typer.Option(help="Customers, at least 50; guests, students and thieves come on top.")] = 2000,
    days: Annotated[int, typer.Option(help="Days of history, at least 7.")] = 90,
    seed: Annotated[int, typer.Option(help="The same seed gives the same platform.")] = 1,
    start: Annotated[str, typer.Option(help="The first day, RFC 3339.")] = START,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Write a synthetic platform as a history file: honest gifts, named frauds and their look-alikes.

    For demos, tests and a first model; never proof of a model's quality. The columns typology and truth are for judging
    only: a feature must not read them.
    """
    try:
        wanted(out)
        from training.simulate import simulate as platform

        with progress(quiet or as_json) as step:
            began = time.monotonic()
            rows = platform(orgs, days, seed, moment(start), step)
            step(f"writing {out}", 0.97)
            write(rows, out)
        shape = summary(rows) | {"orgs": orgs, "days": days, "seed": seed, "path": str(out)}
    except (TrainingError, OSError) as error:
        typer.echo(f"lockgate simulate: {error}", err=True)
        raise typer.Exit(1) from None
    report({**shape, "seconds": round(time.monotonic() - began, 2)}, as_json, told(shape))


def wanted(out: Path) -> None:
    """Refuse, before any work, a path that no history can be written to."""
    if out.suffix.lower() not in ENDINGS:
        raise TrainingError(f"{out} ends in {out.suffix!r}: a history ends in {' or '.join(ENDINGS)}")
    if out.is_dir():
        raise TrainingError(f"{out} is a folder: name a file in it, such as {out / 'history.parquet'}")
    if not out.parent.is_dir():
        raise TrainingError(f"{out.parent} is no folder: make it first (mkdir -p {out.parent}), or name another path")
    if not os.access(out.parent, os.W_OK) or (out.exists() and not os.access(out, os.W_OK)):
        raise TrainingError(f"{out} cannot be written by this user: change its permissions, or name another path")


def moment(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise TrainingError(f"start is {text!r}: give a day or a time such as {START}") from None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def write(rows: pl.DataFrame, out: Path) -> None:
    """Beside its place first, so that a run cut short leaves no half of a history."""
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        if out.suffix.lower() == ".csv":
            rows.write_csv(part, datetime_format="%Y-%m-%dT%H:%M:%S%.6fZ")
        else:
            rows.write_parquet(part)
        part.replace(out)
    except OSError as error:
        raise TrainingError(f"{out} cannot be written: {error}; free the disk or name another path") from error
    finally:
        part.unlink(missing_ok=True)


def summary(rows: pl.DataFrame) -> dict[str, Any]:
    """What a history holds: frauds are those in truth, known frauds those that a label ever names."""
    counts = rows.group_by("typology", "truth").len().sort(["truth", "len", "typology"], descending=[True, True, False])
    return {
        "rows": rows.height,
        "frauds": int(rows["truth"].sum()),
        "known_frauds": int(rows["fraud"].sum()),
        "from": rows["at"][0].isoformat() if rows.height else None,
        "to": rows["at"][-1].isoformat() if rows.height else None,
        "by_typology": {name: {"gifts": gifts, "fraud": truth} for name, truth, gifts in counts.iter_rows()},
    }


def told(shape: dict[str, Any]) -> str:
    share = shape["frauds"] / max(shape["rows"], 1)
    lines = [f"{shape['path']}: {shape['rows']:,} gifts in {shape['days']} days, {shape['orgs']:,} customers"]
    lines.append(f"{shape['frauds']:,} frauds ({share:.2%}), {shape['known_frauds']:,} gifts ever labelled fraud")
    lines += [
        f"  {name:24} {one['gifts']:>10,}  {'fraud' if one['fraud'] else 'honest'}"
        for name, one in shape["by_typology"].items()
    ]
    return "\n".join(lines)


@contextmanager
def progress(quiet: bool) -> Iterator[Step]:
    """On standard error: a bar on a terminal, nothing elsewhere."""
    if quiet or not sys.stderr.isatty():
        yield lambda stage, share: None
        return
    from rich import progress as bars
    from rich.console import Console

    columns = (bars.TextColumn("{task.description}"), bars.BarColumn(), bars.TaskProgressColumn())
    with bars.Progress(*columns, bars.TimeElapsedColumn(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=1.0)
        yield lambda stage, share: bar.update(task, description=stage, completed=share)


def report(shape: dict[str, Any], as_json: bool, text: str) -> None:
    typer.echo(json.dumps(shape, indent=2) if as_json else text)
