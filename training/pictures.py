"""The figures of a card: what its tables say, to be seen at a glance. Law: pure, of the card's own numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from training import evaluate
from training.bars import ranks
from training.drawing import Axis, Series, chart, decades, linear
from training.evaluate import Judged

# Scores lie close to 0 and to 1; by their logit both ends can be seen.
LOGITS = (-10.0, 8.0)
CELLS = 24
LEAST = -4


def pictures(shape: dict[str, Any], judged: Judged) -> dict[str, bytes]:
    """The SVG files of the card by name; precision and recall only where there are frauds."""
    found = {
        "calibration.svg": calibration(shape["calibration"]),
        "scores.svg": scores(judged, shape["thresholds"]),
        "weekly.svg": weeks(shape["weeks"]),
        "importance.svg": ranks("What moves the score, in logits", list(shape["importance"].items())),
    }
    if judged.fraud.any():
        found["precision-recall.svg"] = precision_recall(judged)
    return found


def calibration(parts: list[dict[str, Any]]) -> bytes:
    """What was said against what came true, with intervals; by factors, since most scores are small."""
    said = [(one["mean_score"], one["fraud"]["value"]) for one in parts]
    bars = [(one["fraud"]["low"], one["fraud"]["high"]) for one in parts]
    ideal = [(10.0**LEAST, 10.0**LEAST), (1.0, 1.0)]
    lines = [Series("this model, 95 % intervals", said, bars, dots=True), Series("ideal", ideal, dashed=True)]
    return chart("Calibration", decades("mean score", LEAST), decades("share of frauds", LEAST), lines)


def scores(judged: Judged, thresholds: dict[str, float]) -> bytes:
    """How good gifts and frauds spread over the scores, and where verdicts begin."""
    edges = np.linspace(*LOGITS, CELLS + 1)
    logits = np.clip(np.log(judged.score / np.maximum(1 - judged.score, 1e-12)), *LOGITS)
    lines = []
    for name, part in (("good gifts", ~judged.fraud), ("frauds", judged.fraud)):
        counts = np.histogram(logits[part], edges, weights=judged.weight[part])[0]
        shares = counts / (counts.sum() or 1)
        lines.append(Series(name, list(zip(((edges[1:] + edges[:-1]) / 2).tolist(), shares.tolist(), strict=True))))
    ticks = [(math.log(at / (1 - at)), f"{at:g}") for at in (0.0001, 0.001, 0.01, 0.1, 0.5, 0.9, 0.99)]
    top = max((height for line in lines for _, height in line.points), default=1.0)
    marks = [(math.log(at / (1 - at)), verdict) for verdict, at in thresholds.items() if 0 < at < 1]
    x = Axis("score (high = more suspicious)", *LOGITS, ticks)
    return chart("Scores and verdicts", x, linear("share of them", top, percent=True), lines, marks)


def weeks(found: list[dict[str, Any]]) -> bytes:
    """How steady it is from week to week."""
    names = {"average precision": "average_precision", "recall": "recall", "loss prevented": "loss_prevented"}
    lines = [
        Series(name, [(float(week["week"]), week[key]) for week in found], dots=True) for name, key in names.items()
    ]
    last = max(2, len(found))
    x = Axis("week", 0.5, last + 0.5, [(float(week), str(week)) for week in range(1, last + 1)])
    return chart("By week", x, linear("share", 1.0), lines)


def precision_recall(judged: Judged) -> bytes:
    """One point for each step of recall, so that thinning cannot cut off the high scores."""
    recall, precision = evaluate.curve(judged.fraud, judged.score, judged.weight)
    steps = np.flatnonzero(np.diff(recall, prepend=0.0))
    points = list(zip(recall[steps].tolist(), precision[steps].tolist(), strict=True))
    return chart("Precision and recall", linear("recall", 1.0), linear("precision", 1.0), [Series("", points)])
