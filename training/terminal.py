"""What the commands of this package share: options, progress, faults, reports, and files that are written whole."""

from __future__ import annotations

import json
import os
import sys
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
Cache = Annotated[Path, typer.Option(help="Where computed features are kept; remove it at will.")]
Step = Callable[[str, float], None]
ENDINGS = (".parquet", ".csv")
# A constant of training.simulate too, which is not imported to show the help.
START = "2026-01-05T00:00:00Z"
CACHE = Path(".lockgate/cache")


@contextmanager
def mended(command: str) -> Iterator[None]:
    """A fault that the operator can mend is one line on standard error and exit status 1."""
    from models.errors import ModelError

    try:
        yield
    except (TrainingError, ModelError, OSError) as error:
        typer.echo(f"lockgate {command}: {error}", err=True)
        raise typer.Exit(1) from None


def model_path(name: str) -> Path:
    """models/NAME under the current directory, unless the name is a path."""
    return Path(name) if "/" in name else Path("models") / name


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


def moment(text: str, option: str = "start") -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise TrainingError(f"{option} is {text!r}: give a day or a time such as {START}") from None
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
