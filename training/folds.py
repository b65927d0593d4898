"""Folds: weeks of a history, each judged by a model that was learned when the week began. Law: as it would have been.

    … labels known by then → model │ start ──── the fold's gifts, each scored at its moment ──── end │ truths

A model learns as of its fold's start; a gift's features count a label only from its `label_at` on. The truth by which
a fold is judged is what the history says of its gifts, whenever that came to be known; an unlabelled gift is good.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from enum import StrEnum
from itertools import chain
from typing import Any

import numpy as np
import polars as pl

from detector.feature_table import LABELLED
from models import artifact
from training import evaluate
from training.card import at_senders, mean_of
from training.errors import TrainingError
from training.evaluate import Judged, Measure
from training.fit import learned
from training.held import Held, held_of, measures
from training.lesson import Step, Wish, matrix
from training.split import Floats, Span, split, weights

Figures = dict[str, Any]
PART = 50_000


class Labels(StrEnum):
    """What labels do: teach and count in features once known; count in features only; nothing at all."""

    KNOWN = "known"
    LATE = "late"
    NEVER = "never"


SAID = {
    Labels.KNOWN: "Learned as of the fold's start from labels known by then; features count labels from label_at on.",
    Labels.LATE: "Learned without any label; features of the judged gifts count labels from their label_at on.",
    Labels.NEVER: "No label anywhere: none to learn from, none in a feature. Truths only judge.",
}


@dataclass(frozen=True, slots=True)
class Tables:
    """The rows and features that a model learns from, and the features that it judges by, of the same gifts."""

    rows: pl.DataFrame
    learned: pl.DataFrame
    judged: pl.DataFrame


@dataclass(frozen=True, slots=True)
class Fold:
    """One fold's outcome; `measures` are those of its own thresholds."""

    span: Span
    kind: str
    frauds: int
    thresholds: dict[str, float]
    held: Held
    measures: dict[str, Measure]


def spans(last: datetime, count: int, days: int, end: datetime | None) -> list[Span]:
    """So many folds of so many days one after the other, the last of which ends at `end`; by default when the day of
    the last gift is over (UTC)."""
    end = end or datetime.combine(last.astimezone(UTC).date() + timedelta(days=1), time(), UTC)
    starts = [end - timedelta(days=days) * number for number in range(count, 0, -1)]
    return [Span(start, start + timedelta(days=days)) for start in starts]


def refuse(rows: pl.DataFrame, folds: Sequence[Span]) -> None:
    """What cannot be judged, before any work."""
    if missing := set(LABELLED) - set(rows.columns):
        raise TrainingError(f"the history has no column {' or '.join(sorted(missing))}: nothing says what was fraud")
    try:
        split(rows["at"][0], folds[0].start)
    except TrainingError as error:
        raise TrainingError(f"the first fold begins too early for a model: {error}; or give fewer --folds") from error
    for span in folds:
        if not len(span.rows(rows["at"])):
            raise TrainingError(f"no gift from {span.start.isoformat()} to {span.end.isoformat()}: give another --to")


def judge(rows: pl.DataFrame, tables: Tables, span: Span, wish: Wish, table_hash: str, step: Step) -> Fold:
    """Learn as of the span's start, score its gifts, set the truths beside them. `rows` have all labels."""
    past = (rows["at"] < span.start).to_numpy()
    wish = replace(wish, as_of=span.start, name="fold", created_at=span.start)
    content, _, _ = learned(tables.rows.filter(past), tables.learned.filter(past), wish, table_hash, step)
    files = artifact.build(content)
    model = artifact.opened(files, content.features, table_hash)
    numbers = span.rows(rows["at"])
    parts = [numbers[start : start + PART] for start in range(0, len(numbers), PART)]
    scores: Floats = np.concatenate([model.score(matrix(tables.judged, part)) for part in parts])
    truth = rows["fraud"].fill_null(False).to_numpy()[numbers]
    at = model.thresholds
    return Fold(
        span=span,
        kind="boosted trees" if content.supervised is not None else "surprises, without labels",
        frauds=content.labels["fraud"],
        thresholds=at,
        held=held_of(rows, span, span.end, truth, scores, weights(rows)[numbers], "a model as of the fold's start"),
        measures=measures(at.get("hold"), at.get("block")),
    )


def report(folds: Sequence[Fold], labels: Labels) -> Figures:
    """The figures of each fold and their means over folds, each with its 95 % interval."""
    groups = {
        "all": lambda held: np.ones(len(held.fresh), dtype=np.bool_),
        "senders_not_known": lambda held: held.fresh,
        "senders_remaining": lambda held: held.remaining,
    }
    drawn = {
        name: [_drawn(fold, fold.held.judged.take(chosen(fold.held)), number) for number, fold in enumerate(folds)]
        for name, chosen in groups.items()
    }
    days = [at_senders(fold.held, fold.held.judged.score) for fold in folds]
    most = [at_senders(fold.held, fold.held.judged.fraud.astype(np.float64)) for fold in folds]
    told = [
        _head(fold) | {name: parts[number][0] for name, parts in drawn.items()} | _senders(days[number], most[number])
        for number, fold in enumerate(folds)
    ]
    held = [one["all"]["good_held"]["value"] for one in told]
    return {
        "labels": labels.value,
        "protocol": SAID[labels],
        "folds": told,
        "mean": {
            **{name: _means(parts) for name, parts in drawn.items()},
            **_senders([*chain(*days)], [*chain(*most)]),
            "worst_good_held": max((one for one in held if not math.isnan(one)), default=math.nan),
        },
    }


def _drawn(fold: Fold, judged: Judged, seed: int) -> tuple[Figures, list[dict[str, float]]]:
    """The figures of gifts of a fold, and each draw behind their intervals."""
    asked = evaluate.RANKING | fold.measures
    draws = evaluate.draws(asked, judged, seed=seed)
    values = {name: measure(judged) if len(judged.score) else math.nan for name, measure in asked.items()}
    found: Figures = {"gifts": len(judged.score), "frauds": int(judged.fraud.sum())}
    return found | {name: _with_ends(values[name], [one[name] for one in draws]) for name in asked}, draws


def _with_ends(value: float, draws: list[float]) -> dict[str, float]:
    low, high = evaluate.interval(draws)
    return {"value": value, "low": low, "high": high}


def _means(parts: list[tuple[Figures, list[dict[str, float]]]]) -> Figures:
    """Means over the folds that have a figure; an interval is of the means of draws, one of each fold."""
    names = [name for name, one in parts[0][0].items() if isinstance(one, dict)]
    found: Figures = {}
    for name in names:
        values = [figures[name]["value"] for figures, _ in parts]
        # A fold without a gift of the group has no draw.
        rows = zip(*(draws for _, draws in parts if draws), strict=True)
        draws = [_mean([one[name] for one in row]) for row in rows]
        found[name] = _with_ends(_mean(values), draws)
    return found


def _mean(values: list[float]) -> float:
    there = [value for value in values if not math.isnan(value)]
    return sum(there) / len(there) if there else math.nan


def _head(fold: Fold) -> Figures:
    return {
        "from": fold.span.start.isoformat(),
        "to": fold.span.end.isoformat(),
        "model": fold.kind,
        "known_frauds": fold.frauds,
        "thresholds": fold.thresholds,
    }


def _senders(days: list[float], most: list[float]) -> Figures:
    """Precision at 100 senders a day over these days, and what a perfect order would come to."""
    return {
        "precision_at_100_senders_a_day": mean_of(np.array(days)),
        "precision_at_100_senders_a_day_at_most": mean_of(np.array(most))["value"],
    }
