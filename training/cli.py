"""`lockgate train`, `score-history`. Law: what cannot be done is said before any work begins."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from training.errors import TrainingError
from training.terminal import CACHE, AsJson, Cache, Quiet, mended, model_path, moment, progress, report, wanted, write

if TYPE_CHECKING:
    import polars as pl

    from detector.cli import Session
    from training.lesson import Step, Wish

Histories = Annotated[
    list[str] | None,
    typer.Option(help="A history file, or a glob in quotes; may be given again. By default, PostgreSQL."),
]
Engine = Annotated[str, typer.Option("--engine", help="Where the work runs: local, dask://HOST:PORT, ray://HOST:PORT.")]


def train(
    ctx: typer.Context,
    history: Histories = None,
    as_of: Annotated[str | None, typer.Option(help="Learn from what was known then, RFC 3339; else, now.")] = None,
    out: Annotated[str | None, typer.Option(help="The model's name, for models/NAME; or a path with a slash.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed and gifts give the same scores.")] = 0,
    false_holds: Annotated[float, typer.Option(help="Share of good gifts that may be held.")] = 0.005,
    good_blocked: Annotated[float, typer.Option(help="Highest share of good gifts that may be blocked.")] = 0.0005,
    cases_a_day: Annotated[float | None, typer.Option(help="How many held gifts analysts can look at a day.")] = None,
    missed_cost: Annotated[
        float | None,
        typer.Option(help="Cost of a credit of fraud let go, by that of a good one delayed; decides what is held."),
    ] = None,
    max_age: Annotated[int, typer.Option(min=1, help="Days for which it may serve; then gifts are held.")] = 90,
    leave_one_out: Annotated[bool, typer.Option(help="Try each typology as if nobody had ever labelled it.")] = False,
    nightly: Annotated[bool, typer.Option(help="From PostgreSQL: a challenger, through gates, to shadow.")] = False,
    promote: Annotated[bool, typer.Option(help="With --nightly: let who has shadowed serve if it passes.")] = False,
    key: Annotated[
        str | None, typer.Option(envvar="LOCKGATE_TRUSTED_KEY", help="Who must have signed it then.")
    ] = None,
    where: Engine = "local",
    cache: Cache = CACHE,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Learn a model from a history, or from PostgreSQL, as of a day, and write it with its card as models/NAME."""
    began = time.monotonic()
    with mended("train"), progress(quiet or as_json or nightly) as step:
        refuse(history, out, nightly, promote)
        from training.lesson import Wish

        now = moment(as_of, "--as-of") if as_of else datetime.now(UTC)
        wish = Wish(
            as_of=now,
            seed=seed,
            false_hold_rate=false_holds,
            good_blocked=good_blocked,
            cases_a_day=cases_a_day,
            missed_cost=missed_cost,
            max_age_s=max_age * 86_400,
        )
        learn = partial(learned, where=where, wish=wish, cache=cache, step=step, leave_one_out=leave_one_out)
        if nightly:
            return by_night(ctx, now, learn, promote, key, as_json)
        directory = model_path(out or "")
        if directory.exists():
            raise TrainingError(f"{directory} is there already: name another model, or remove it")
        shape = learn(rows_of(ctx, history, step), directory)
    seconds = round(time.monotonic() - began, 2)
    report({**shape, "seconds": seconds}, as_json, f"{shape['card']}\n{directory}: made in {seconds} s")


def refuse(history: list[str] | None, out: str | None, nightly: bool, promote: bool) -> None:
    if (nightly and (history or out)) or (promote and not nightly) or not (nightly or out):
        raise TrainingError(
            "give --out NAME; or --nightly, which names its model by the day, takes its history from PostgreSQL, "
            "and alone knows --promote"
        )


def learned(
    rows: pl.DataFrame, directory: Path, where: str, wish: Wish, cache: Path, step: Step, leave_one_out: bool
) -> dict[str, Any]:
    """What `jobs.learn` tells of the model that it wrote, working where it was told to."""
    from training.engine import engine
    from training.jobs import learn

    # The engine is chosen in the thread that uses it: joblib keeps it a thread's own.
    with engine(where):
        return learn(rows, directory, wish, cache, step, leave_one_out)


def by_night(ctx: typer.Context, now: datetime, learn: Any, promote: bool, key: str | None, as_json: bool) -> None:
    """One night, a line on standard error a stage. Exit status 2: the gates refused; 3: another night is at work."""
    from training.nightly import night

    def say(line: str) -> None:
        typer.echo(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} lockgate nightly: {line}", err=True)

    found = session(ctx)(lambda conn: night(conn, now, Path("models"), learn, say, promote, key))
    shape = {"status": found.status, "name": found.name, "sha256": found.sha256, "gates": dict(found.gates)}
    report(shape | {"ruled": found.ruled}, as_json, f"{found.name}: {found.status}")
    raise typer.Exit(found.exit_status)


def rows_of(ctx: typer.Context, history: list[str] | None, step: Step) -> pl.DataFrame:
    """The gifts of the history files, or those that PostgreSQL has where none is given."""
    step("reading the history", 0.02)
    if not history:
        from training.recorded import recorded

        return session(ctx)(recorded)
    from training.jobs import gathered

    return gathered(history)


def session(ctx: typer.Context) -> Session:
    """The way to the database, as the front door hands it in."""
    if ctx.obj is None:
        raise TrainingError("this needs the database: start it as 'lockgate train', or give --history")
    found: Session = ctx.obj
    return found


def score_history(
    history: Annotated[list[str], typer.Argument(help="History files, or globs in quotes; all the past that counts.")],
    model: Annotated[str, typer.Option(help="The model's name, or the path of its directory.")],
    out: Annotated[Path, typer.Option(help="Where the scores go, .parquet or .csv; it replaces what is there.")],
    start: Annotated[str | None, typer.Option("--from", help="The first moment scored; by default, all.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="The moment before which scoring ends.")] = None,
    where: Engine = "local",
    cache: Cache = CACHE,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Score past gifts, each from what was known at its moment: id, score (high = suspicious), verdict, reasons."""
    began = time.monotonic()
    with mended("score-history"), progress(quiet or as_json) as step:
        wanted(out)
        first = moment(start, "--from") if start else datetime.min.replace(tzinfo=UTC)
        last = moment(end, "--to") if end else datetime.max.replace(tzinfo=UTC)
        from training.engine import engine
        from training.jobs import judge

        with engine(where):
            scores = judge(history, model_path(model), first, last, cache, step)
        flat = scores.with_columns(scores["reasons"].list.join(";")) if out.suffix.lower() == ".csv" else scores
        write(flat, out)
    verdicts = dict(scores["verdict"].value_counts(sort=True).iter_rows())
    seconds = round(time.monotonic() - began, 2)
    shape = {"rows": scores.height, "verdicts": verdicts, "path": str(out), "seconds": seconds}
    text = ", ".join(f"{count:,} {verdict}" for verdict, count in verdicts.items()) or "no gift in that time"
    report(shape, as_json, f"{out}: {scores.height:,} gifts in {seconds} s: {text}")
