"""`lockgate drift`: recent gifts beside those a model learned from. Law: exit 0 no alarm, 3 an alarm, 1 a fault."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from training.errors import TrainingError
from training.terminal import CACHE, AsJson, Cache, Quiet, mended, model_path, moment, progress, report

if TYPE_CHECKING:
    import polars as pl

    from models.model import Model
    from training.drift import Drift

ALARM = 3
CHAMPION = "champion"
SHOWN, DRAWN = 12, 10
BARS = 8  # a terminal of 80 columns has room for so many


def drift(
    ctx: typer.Context,
    model: Annotated[str, typer.Option(help="A model's name, the path of its directory, or champion.")] = CHAMPION,
    days: Annotated[int, typer.Option(min=1, help="How many days before --to are compared.")] = 7,
    start: Annotated[str | None, typer.Option("--from", help="The first moment; or --days before --to.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="The moment before which it ends; by default, now.")] = None,
    history: Annotated[
        list[str] | None, typer.Option(help="Compare a history file's gifts instead of the recorded ones.")
    ] = None,
    figure: Annotated[Path | None, typer.Option(help="Draw the ten largest drifts there, as SVG.")] = None,
    cache: Cache = CACHE,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Compare recent gifts with those that a model learned from: features, nulls, the score, the verdicts.

    Exit status 0: no alarm; 3: an alarm; 1: it could not be told. Of simulated weeks without a change, 0.7 % gave an
    alarm (3 of 406; 95 % interval 0.2 to 2.1 %).
    """
    with mended("drift"), progress(quiet or as_json) as step:
        now = datetime.now(UTC)
        first, last = span_of(start, end, days, now)
        judge = playing(ctx) if model == CHAMPION else named(model)
        step("reading the gifts", 0.2)
        gifts, without = from_history(history, first, last, cache) if history else live(ctx, first, last)
        step("comparing", 0.6)
        found = compared(judge, gifts)
        if figure:
            draw(figure, judge, found)
    shape = told(judge, found, gifts.height, without, (first, last), now)
    if as_json:
        report(shape, True, "")
    else:
        shown(shape, found)
    raise typer.Exit(ALARM if shape["alarms"] else 0)


def span_of(start: str | None, end: str | None, days: int, now: datetime) -> tuple[datetime, datetime]:
    last = moment(end, "--to") if end else now
    first = moment(start, "--from") if start else last - timedelta(days=days)
    if first >= last:
        raise TrainingError(f"from {first.isoformat()} to {last.isoformat()} is no time: let --to be after --from")
    return first, last


def named(name: str) -> Model:
    from detector.feature_table import HASH, NAMES
    from models import artifact

    directory = model_path(name)
    return artifact.read(directory, features=NAMES, feature_table_hash=HASH)


def playing(ctx: typer.Context) -> Model:
    """The champion, as the database keeps it."""
    from detector import champions
    from detector.feature_table import HASH, NAMES
    from models import artifact

    async def find(conn: Any) -> bytes:
        role = await champions.playing(conn, champions.CHAMPION)
        if role is None:
            raise TrainingError("no model is champion: name one with --model, or promote one")
        kept = await champions.parcel(conn, role["sha256"])
        assert kept is not None  # a foreign key holds it
        return kept[1]

    return artifact.read_packed(ctx.obj(find), features=NAMES, feature_table_hash=HASH)


def live(ctx: typer.Context, first: datetime, last: datetime) -> tuple[pl.DataFrame, int]:
    """`at` and the features of the gifts judged in that time, and how many were judged without a model."""
    from training.recorded import features_seen

    gifts, without = ctx.obj(lambda conn: features_seen(conn, first, last))
    if not gifts.height and without:
        raise TrainingError(f"all {without:,} gifts of that time were judged without a model: nothing to compare")
    return gifts, without


def from_history(sources: Sequence[str], first: datetime, last: datetime, cache: Path) -> tuple[pl.DataFrame, int]:
    """`at` and the features of the history's gifts with first ≤ at < last, from all the past that it has."""
    import polars as pl

    from training.jobs import gathered
    from training.vectors import vectors

    rows = gathered(list(sources)).filter(pl.col("at") < last)
    whole = vectors(rows, cache).insert_column(0, rows["at"]) if rows.height else rows
    return whole.filter(pl.col("at") >= first), 0


def compared(model: Model, gifts: pl.DataFrame) -> list[Drift]:
    """Each column of `gifts` (at, then the features) beside the model's reference, as this model scores them."""
    import numpy as np

    from training import drift as pure
    from training.lesson import matrix
    from training.thresholds import verdicts

    if model.reference is None:
        raise TrainingError(f"{model.name} has no reference to compare with: train it again with this version")
    if not gifts.height:
        raise TrainingError("there is no gift in that time: give a longer --days, or another --from and --to")
    vectors = matrix(gifts.select(model.features), np.arange(gifts.height))
    scores = model.score(vectors)
    at = gifts["at"].to_physical().to_numpy()
    window = pure.Window(at, vectors, scores, verdicts(scores, model.thresholds).to_list())
    return pure.drifts(model.reference, model.features, window)


def told(
    model: Model, found: list[Drift], gifts: int, without: int, span: tuple[datetime, datetime], now: datetime
) -> dict[str, Any]:
    from training import drift as pure

    age = (now - model.manifest.created_at).total_seconds()
    return {
        "model": model.name,
        "sha256": model.sha256,
        "from": span[0].isoformat(),
        "to": span[1].isoformat(),
        "gifts": gifts,
        "gifts_without_features": without,
        "rate_asked": pure.FALSE_ALARMS,
        "false_alarms_seen": pure.SEEN,
        "least_psi": pure.LEAST_PSI,
        "alarms": [one.name for one in found if one.alarm],
        "age_s": round(age),
        "max_age_s": model.manifest.max_age_s,
        "stale": model.stale(now),
        "columns": [one.shape() for one in found],
    }


def draw(out: Path, model: Model, found: list[Drift]) -> None:
    """Write the largest drifts, alarms first, each as what was beside what is. Raises TrainingError for a full disk."""
    from training.bars import pairs

    drawn = [
        (f"{'! ' * one.alarm}{one.name}: PSI {one.psi:.2f}, p {one.p:.0e}", one.then, one.now) for one in found[:DRAWN]
    ]
    try:
        out.write_bytes(pairs(f"Gifts beside those that {model.name} learned from", ("then", "now"), drawn))
    except OSError as error:
        raise TrainingError(f"{out} cannot be written: {error}; free the disk or name another path") from error


def shown(shape: dict[str, Any], found: list[Drift]) -> None:
    from rich.console import Console
    from rich.table import Column, Table

    from training.drift import sparkline

    heads = "PSI", "KS", "p", "nulls", "then", "now"
    table = Table("column", *(Column(head, no_wrap=True) for head in heads), box=None, pad_edge=False)
    for one in [each for each in found if each.alarm] or found[:SHOWN]:
        nulls = f"{100 * one.nulls_then:.0f}→{one.nulls_now:.0%}"
        figures = (f"{one.psi:.2f}", f"{one.ks:.2f}", f"{one.p:.0e}")
        name = f"! {one.name}" if one.alarm else f"  {one.name}"
        table.add_row(name, *figures, nulls, sparkline(fewer(one.then)), sparkline(fewer(one.now)))
    days, most = shape["age_s"] / 86_400, shape["max_age_s"] / 86_400
    stale = "too old: train a new one" if shape["stale"] else "in time"
    console = Console()
    console.print(table)
    console.print(f"{shape['gifts']:,} gifts, {shape['gifts_without_features']:,} judged without a model")
    console.print(f"{shape['model']} is {days:.1f} days old of {most:.0f}: {stale}")
    number = len(shape["alarms"])
    console.print(f"{number} of {len(found)} columns drifted" if number else "no drift")


def fewer(shares: Sequence[float]) -> list[float]:
    """Neighbouring shares together, so that BARS are left at most; the nulls, which are last, stay apart."""
    step = -(-(len(shares) - 1) // (BARS - 1))
    return [sum(shares[place : min(place + step, len(shares) - 1)]) for place in range(0, len(shares) - 1, step)] + [
        shares[-1]
    ]
