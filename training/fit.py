"""The recipe: history → split → features → model as artifact content. Law: nothing after `as_of` is looked at.

With enough known frauds it is a booster, calibrated on the held slice by a twin that has not seen that slice. Without,
it is surprises, calibrated on the gap's gifts, frauds and all, which errs on the calm side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import joblib
import numpy as np
import polars as pl

from models.artifact import Content
from models.calibration import Calibration, Conformal, curve
from models.logistic import logistic
from models.manifest import Window as Learned
from models.reference import Reference
from models.tails import Tail
from models.tails import tails as laid
from training import boosting, export, surprises, thresholds
from training.card import with_card
from training.drift import Window, reference
from training.errors import TrainingError
from training.evaluate import Judged
from training.held import WEEK_US, Held, held_of
from training.lesson import Lesson, Step, Wish, lesson_of, matrix
from training.split import Floats, Rows, Split, known

CHECK_ROWS = 64
# Labels come once it serves that were not there to calibrate on, and raise what is held: so much of the rate is asked
# of gifts without any.
UNLABELLED = 0.85


def fit(
    rows: pl.DataFrame,
    features: pl.DataFrame,
    wish: Wish,
    feature_table_hash: str,
    step: Step = lambda stage, share: None,
    unseen: Sequence[dict[str, Any]] = (),
) -> Content:
    """A model of the history `rows`, by time, whose features are the rows of `features`, as of `wish.as_of`.

    `unseen` goes on the card: what training.unseen found.
    """
    content, held, lesson = learned(rows, features, wish, feature_table_hash, step)
    step("writing the card", 0.9)
    content = replace(content, reference=_reference(content, lesson, held.judged.score))
    return with_card(content, held, lesson.vectors, lesson.early, wish.terms, unseen)


def learned(
    rows: pl.DataFrame, features: pl.DataFrame, wish: Wish, feature_table_hash: str, step: Step
) -> tuple[Content, Held, Lesson]:
    """As `fit`, without card and reference; what its scores of the held slice came to; what was learned from."""
    step("choosing rows", 0.3)
    lesson = lesson_of(rows, features, wish)
    enough = lesson.fraud.sum() >= wish.enough and lesson.fraud[: lesson.early].any()
    if enough:
        content, held = _supervised(lesson, wish, feature_table_hash, step)
    else:
        gap = matrix(features, lesson.spans.gap.rows(rows["at"]))
        content, held = _unsupervised(lesson, gap, wish, feature_table_hash, step)
    return content, held, lesson


def _supervised(lesson: Lesson, wish: Wish, feature_table_hash: str, step: Step) -> tuple[Content, Held]:
    """The twin learns from the early span and is calibrated on the held one; what serves learns from both."""
    vectors, fraud, early, weight = lesson.vectors, lesson.fraud, lesson.early, lesson.weight
    step("fitting the twin that calibrates and the model that serves", 0.35)
    twin, booster = joblib.Parallel()(joblib.delayed(fitted)(lesson, wish, upto) for upto in (early, len(fraud)))
    margins = twin.margins(vectors[early:])
    platt = boosting.platt(margins, fraud[early:], weight[early:])
    scores = logistic(margins * platt.a + platt.b)
    held = _held(lesson, wish.as_of, scores, "a twin that learned only from what came before")
    conformal, weeks = _calm(held)
    calibration = Calibration(
        supervised=1.0,
        platt=platt,
        tail_copies=booster.tail_copies(lesson.names),
        conformal=conformal,
        thresholds=thresholds.chosen(conformal, held.judged, held.days, wish.terms, weeks),
    )
    sample = boosting.with_copies(vectors[_spread(vectors)], booster.copied, booster.floors)
    content = _content(lesson, wish, feature_table_hash, calibration)
    content = replace(content, supervised=export.checkpoint(booster.estimator, sample))
    return content, held


def fitted(lesson: Lesson, wish: Wish, upto: int) -> boosting.Booster:
    """A booster that learned from the first rows of the lesson, `upto` of them."""
    vectors, fraud, weight = lesson.vectors[:upto], lesson.fraud[:upto], lesson.weight[:upto]
    share = boosting.share_of(lesson.fraud, weight=lesson.weight)
    return boosting.boost(vectors, fraud, wish.seed, share=share, iterations=wish.iterations, weight=weight)


def _calm(held: Held) -> tuple[Conformal, tuple[Conformal, ...]]:
    """The p-values by the good gifts of the slice, and by those of each of its weeks."""
    judged, week = held.judged, (held.at_us - held.at_us.min(initial=0)) // WEEK_US
    calm = [judged.take(~judged.fraud), *(judged.take(~judged.fraud & (week == each)) for each in np.unique(week))]
    found, *weeks = (thresholds.conformal(each.score, each.weight) for each in calm)
    return found, tuple(weeks)


def _unsupervised(lesson: Lesson, gap: Floats, wish: Wish, feature_table_hash: str, step: Step) -> tuple[Content, Held]:
    """Surprises by the training span, calibrated on the gap; where that is too empty, on the training span."""
    step("how far out each feature is", 0.5)
    tails = surprises.tails(lesson.vectors, lesson.names)
    if not tails:
        raise TrainingError("none of the features says anything about these gifts: give a longer history")
    # A p-value of the rate asked for needs some scores beyond it.
    enough, spans = len(gap) * wish.false_hold_rate >= 5, lesson.spans
    calm, span = (gap, spans.gap) if enough else (lesson.vectors, spans.train)
    tails += surprises.known(lesson.names, _hold_sum(tails, lesson.names, calm, wish))
    table = laid(tails, lesson.names)
    sums = table.sums(calm)
    line = surprises.line(max(1.0, _hold_sum(tails, lesson.names, calm, wish)))
    scores, ones = logistic(curve(line).at(sums)), np.ones(len(sums))
    conformal = thresholds.conformal(scores)
    judged = Judged(np.zeros(len(sums), dtype=np.bool_), scores, ones.astype(np.int64), ones)
    # What only surprises is held, and never blocked unseen; and no label says what a miss costs.
    terms = replace(wish.terms, missed_cost=None, false_holds=UNLABELLED * wish.false_hold_rate)
    hold = thresholds.chosen(conformal, judged, span.days, terms, ())
    calibration = Calibration(unsupervised=1.0, line=line, conformal=conformal, thresholds=hold)
    scores = logistic(curve(line).at(table.sums(lesson.vectors[lesson.early :])))
    content = replace(_content(lesson, wish, feature_table_hash, calibration), tails=tails)
    return content, _held(lesson, wish.as_of, scores, "the model itself, which no label taught")


def _hold_sum(tails: tuple[Tail, ...], names: tuple[str, ...], calm: Floats, wish: Wish) -> float:
    """The sum of surprises beyond which the rate asked for lies; a threshold, a score seen, lies above it."""
    return float(np.quantile(laid(tails, names).sums(calm), 1 - UNLABELLED * wish.false_hold_rate))


def _held(lesson: Lesson, as_of: datetime, scores: Floats, by: str) -> Held:
    early = lesson.early
    return held_of(lesson.rows, lesson.spans.held, as_of, lesson.fraud[early:], scores, lesson.weight[early:], by)


def _reference(content: Content, lesson: Lesson, scores: Floats) -> Reference:
    """What drift is measured from: the held slice, the newest gifts whose scores are those of the unseen."""
    at = lesson.rows["at"].to_physical().to_numpy()[lesson.held]
    verdicts = thresholds.verdicts(scores, content.calibration.thresholds).to_list()
    return reference(lesson.names, Window(at, lesson.vectors[lesson.early :], scores, verdicts))


def _content(lesson: Lesson, wish: Wish, feature_table_hash: str, calibration: Calibration) -> Content:
    bad = int(lesson.fraud.sum())
    cleared = int(known(lesson.rows, wish.as_of)[lesson.train].sum()) - bad
    return Content(
        name=wish.name,
        created_at=wish.created_at or wish.as_of,
        features=lesson.names,
        feature_table_hash=feature_table_hash,
        window=Learned(lesson.spans.train.start, lesson.spans.train.end),
        labels={"fraud": bad, "good": cleared, "presumed_good": len(lesson.train) - bad - cleared},
        seeds={"fit": wish.seed},
        libraries=export.libraries(),
        max_age_s=wish.max_age_s,
        calibration=calibration,
        check=lesson.vectors[_spread(lesson.vectors)],
        card="",
        card_json={},
        # Only the simulator tells the truth of its gifts.
        parameters=_parameters(lesson.spans, wish) | {"simulated": "truth" in lesson.rows.columns},
    )


def _spread(vectors: Floats) -> Rows:
    """Rows over the whole window, for checks."""
    return np.linspace(0, len(vectors) - 1, CHECK_ROWS).astype(np.intp)


def _parameters(spans: Split, wish: Wish) -> dict[str, Any]:
    return {
        "as_of": wish.as_of.isoformat(),
        "false_hold_rate": wish.false_hold_rate,
        "good_blocked": wish.good_blocked,
        "cases_a_day": wish.cases_a_day,
        "missed_cost": wish.missed_cost,
        "enough_frauds": wish.enough,
        "iterations": wish.iterations,
        "threads": boosting.THREADS,
        "held_from": spans.held.start.isoformat(),
        "gap_from": spans.gap.start.isoformat(),
    }
