"""`lockgate evaluate`. Law: what cannot be judged is said before any work begins."""

from __future__ import annotations

import math
import time
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

import typer

from training.cli import Engine, Histories, rows_of
from training.terminal import CACHE, AsJson, Cache, Quiet, mended, moment, progress, report

COLUMNS = {"average_precision": "AP", "roc_auc": "AUC", "precision_at_0.5%": "P@.5%"}
GROUPS = {
    "all": "all gifts",
    "senders_not_known": "senders never known",
    "senders_remaining": "senders that remain",
}


class Unlabelled(StrEnum):
    NEVER = "never"
    LATE = "late"


def evaluate(
    ctx: typer.Context,
    history: Histories = None,
    folds: Annotated[int, typer.Option(min=1, help="How many weeks are judged, one after the other.")] = 4,
    days: Annotated[int, typer.Option(min=1, help="Days of a fold.")] = 7,
    end: Annotated[
        str | None, typer.Option("--to", help="When the last fold ends; by default, with the last gift's day.")
    ] = None,
    unlabelled: Annotated[
        Unlabelled | None,
        typer.Option(
            help="A start without labels: 'never' has none at all, 'late' counts them in features once known."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed and gifts give the same figures.")] = 0,
    false_holds: Annotated[float, typer.Option(help="Share of good gifts that may be held.")] = 0.005,
    good_blocked: Annotated[float, typer.Option(help="Highest share of good gifts that may be blocked.")] = 0.0005,
    where: Engine = "local",
    cache: Cache = CACHE,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Say how well models would have judged past weeks, each learned as of its week's start, and write none.

    Truths are the history's labels, whenever they came to be known. "Senders that remain" leaves out those known as
    compromised by the rule of the Fraud Detection Handbook, "never known" those with any fraud known by then.
    """
    began = time.monotonic()
    with mended("evaluate"), progress(quiet or as_json) as step:
        last = moment(end, "--to") if end else None
        from training.engine import engine
        from training.folds import Labels
        from training.jobs import folded
        from training.lesson import Wish

        rows = rows_of(ctx, history, step)
        # As of when is each fold's own to say.
        wish = Wish(as_of=datetime.now(UTC), seed=seed, false_hold_rate=false_holds, good_blocked=good_blocked)
        labels = Labels(unlabelled.value) if unlabelled else Labels.KNOWN
        with engine(where):
            shape = folded(rows, folds, days, last, labels, wish, cache, step)
    shape = plain({**shape, "seconds": round(time.monotonic() - began, 2)})
    report(shape, as_json, told(shape))


def plain(shape: Any) -> Any:
    """NaN as null, since JSON has none."""
    if isinstance(shape, dict):
        return {name: plain(value) for name, value in shape.items()}
    if isinstance(shape, list):
        return [plain(value) for value in shape]
    return None if isinstance(shape, float) and math.isnan(shape) else shape


def told(shape: dict[str, Any]) -> str:
    """A line a fold, then the means with their intervals."""
    lines = [
        shape["protocol"],
        f"{'fold from':12}{'gifts':>9}{'frauds':>8}{'AP':>8}{'AUC':>8}{'P@.5%':>8}{'P@100':>8}"
        f"{'held':>9}{'blocked':>9}  model",
    ]
    for fold in shape["folds"]:
        left, every = fold["senders_remaining"], fold["all"]
        ranked = "".join(f"{number(left[name]['value']):>8}" for name in COLUMNS)
        at_senders = number(fold["precision_at_100_senders_a_day"]["value"])
        stopped = "".join(f"{percent(every[name]['value']):>9}" for name in ("good_held", "good_blocked"))
        counts = f"{left['gifts']:>9,}{left['frauds']:>8,}"
        lines.append(f"{fold['from'][:10]:12}{counts}{ranked}{at_senders:>8}{stopped}  {fold['model']}")
    lines.append("gifts, frauds and rankings are of the senders that remain; held and blocked, of all good gifts")
    mean = shape["mean"]
    for group, said in GROUPS.items():
        figures = ", ".join(f"{short} {ranged(mean[group][name])}" for name, short in COLUMNS.items())
        lines.append(f"mean, {said}: {figures}")
    most = number(mean["precision_at_100_senders_a_day_at_most"])
    lines.append(f"mean precision at 100 senders a day: {ranged(mean['precision_at_100_senders_a_day'])} of {most}")
    held, worst = mean["all"]["good_held"]["value"], mean["worst_good_held"]
    lines.append(f"mean good gifts held or blocked: {percent(held)}, in the worst fold {percent(worst)}")
    return "\n".join(lines)


def number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.3%}"


def ranged(figure: dict[str, float | None]) -> str:
    return f"{number(figure['value'])} [{number(figure['low'])}, {number(figure['high'])}]"
