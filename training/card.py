"""The card: the page by which a risk lead says yes or no. Law: its figures are of gifts that the fit had not seen."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.ensemble import IsolationForest

from models import artifact, manifest
from models.artifact import Content
from models.assembly import assemble
from models.files import MANIFEST
from training import drawing, evaluate
from training.evaluate import Floats
from training.split import Bools

TOP_FEATURES = 20
# Half of the gifts that are explained are those with the highest scores.
EXPLAINED = 120
REFERENCE_ROWS = 20_000
BINS = 10


@dataclass(frozen=True, slots=True)
class Held:
    """The held slice. `fresh`: the sender was not known as compromised when the slice began; `remaining`: it was not
    when the gift's day began, by frauds of the last fortnight and since; `by`: what gave the scores."""

    at_us: NDArray[np.int64]
    sender: pl.Series
    fraud: Bools
    fresh: Bools
    remaining: Bools
    score: Floats
    by: str


def with_card(content: Content, held: Held, vectors: Floats, early: int) -> Content:
    """The content with its card, figures and pictures; `vectors` are of the window, the held ones from `early` on."""
    hold = content.calibration.thresholds.get("hold", 1.0)
    found: dict[str, Any] = {"held_scored_by": held.by, "all": evaluate.figures(held.fraud, held.score)}
    fresh = held.fresh
    found["senders_not_known"] = evaluate.figures(held.fraud[fresh], held.score[fresh])
    found["precision_at_100_senders_a_day"] = _at_senders(held, held.score)
    found["precision_at_100_senders_a_day_at_most"] = _at_senders(held, held.fraud.astype(np.float64))
    found["isolation_forest_average_precision"] = _reference(content, held, vectors, early)
    weeks = evaluate.weekly(held.at_us, held.fraud, held.score, hold)
    shape: dict[str, Any] = {
        "name": content.name,
        "created_at": content.created_at.isoformat(),
        "window": {"from": content.window.start.isoformat(), "to": content.window.end.isoformat()},
        "labels": content.labels,
        "thresholds": content.calibration.thresholds,
        "parameters": content.parameters,
        "held": found,
        "weeks": weeks,
        "calibration": _reliability(held),
        "importance": _importance(content, held, vectors[early:]),
        "libraries": {name: getattr(content.libraries, name) for name in content.libraries.__struct_fields__},
    }
    pictures = _pictures(held, weeks, shape["calibration"])
    shape["pictures"] = list(pictures)
    return replace(
        content,
        card=_page(shape, content.supervised is not None),
        card_json=shape,
        figures=found["all"],
        pictures=pictures,
    )


def _at_senders(held: Held, score: Floats) -> float:
    left = held.remaining
    if not held.fraud.any():
        return float("nan")
    sender = held.sender.filter(pl.Series(left))
    return evaluate.precision_at_senders(held.at_us[left], sender, held.fraud[left], score[left])


def _reference(content: Content, held: Held, vectors: Floats, early: int) -> float:
    """The average precision of a plain IsolationForest, to compare with."""
    chance = np.random.default_rng(content.seeds["fit"])
    chosen = np.sort(chance.permutation(early)[:REFERENCE_ROWS])
    judged = np.linspace(early, len(vectors) - 1, min(REFERENCE_ROWS, len(vectors) - early)).astype(np.intp)
    # Nulls become a value below all others, since a column of nulls alone is refused.
    forest = IsolationForest(random_state=content.seeds["fit"]).fit(np.nan_to_num(vectors[chosen], nan=-1.0))
    scores = -forest.score_samples(np.nan_to_num(vectors[judged], nan=-1.0))
    return evaluate.average_precision(held.fraud[judged - early], scores)


def _importance(content: Content, held: Held, vectors: Floats) -> dict[str, float]:
    """The mean size of what each feature adds to the logit, of the most suspicious gifts and of as many others."""
    files = artifact.build(content)
    model = assemble(files, manifest.decode(files[MANIFEST]), "")
    order = np.argsort(-held.score, kind="stable")
    others = np.linspace(0, len(vectors) - 1, EXPLAINED // 2).astype(np.intp)
    chosen = np.unique(np.concatenate([order[: EXPLAINED // 2], others]))
    sizes = np.abs(model.contributions(vectors[chosen]).terms).mean(axis=0)
    top = np.argsort(-sizes, kind="stable")[:TOP_FEATURES]
    return {content.features[column]: float(sizes[column]) for column in top if sizes[column] > 0}


def _reliability(held: Held) -> list[dict[str, float]]:
    """Gifts by score: what was said and what came true, in parts that grow finer towards the top."""
    edges = np.unique(np.quantile(held.score, [0, *(1 - np.geomspace(0.5, 1e-3, BINS - 1))]))
    place = np.searchsorted(edges, held.score, side="right") - 1
    parts = [place == number for number in range(len(edges)) if (place == number).any()]
    return [
        {
            "gifts": int(part.sum()),
            "mean_score": float(held.score[part].mean()),
            "fraud": float(held.fraud[part].mean()),
        }
        for part in parts
    ]


def _pictures(held: Held, weeks: list[dict[str, Any]], reliability: list[dict[str, float]]) -> dict[str, bytes]:
    found = [(each["mean_score"], each["fraud"]) for each in reliability]
    aps = [(float(week["week"]), week["average_precision"]) for week in weeks]
    holds = [(float(week["week"]), week["false_holds"] * 100) for week in weeks]
    last = float(max(2, len(weeks)))
    pictures = {
        "calibration.svg": drawing.chart(
            "Calibration", "mean score", "share of frauds", {"this model": found, "ideal": [(0.0, 0.0), (1.0, 1.0)]}
        ),
        "weekly.svg": drawing.chart(
            "By week", "week", "share", {"average precision": aps, "good gifts held, %": holds}, (last, 1.0)
        ),
    }
    if held.fraud.any():
        recall, precision = evaluate.curve(held.fraud, held.score)
        # one point for each step of recall, so that thinning cannot cut off the high scores
        steps = np.flatnonzero(np.diff(recall, prepend=0.0))
        points = list(zip(recall[steps].tolist(), precision[steps].tolist(), strict=True))
        pictures["precision-recall.svg"] = drawing.chart("Precision and recall", "recall", "precision", {"": points})
    return pictures


def _page(shape: dict[str, Any], supervised: bool) -> str:
    kind = "boosted trees" if supervised else "surprises, without labels"
    window, labels = shape["window"], shape["labels"]
    lines = [
        f"# {shape['name']}",
        "",
        f"Made {shape['created_at']}, as of {shape['parameters']['as_of']}: {kind}.",
        f"Learned from the gifts of {window['from']} to {window['to']}: {labels['fraud']:,} known frauds, "
        f"{labels['good']:,} cleared, {labels['presumed_good']:,} that nobody has called fraud.",
        "",
        "Score: 0 to 1, high = more suspicious.",
        *(f"* {verdict} from {at:.6f}" for verdict, at in shape["thresholds"].items()),
        *(f"* never {word}: too few good gifts to say where" for word in _unsaid(shape["thresholds"], supervised)),
        "",
        f"## On gifts it had not seen, from {shape['parameters']['held_from']}",
        f"Scored by {shape['held']['held_scored_by']}; brackets are 95 % bootstrap intervals.",
        "",
        "| | all senders | senders not known as compromised |",
        "|---|---|---|",
        *_rows(shape["held"]),
        f"| IsolationForest's average precision, to compare | {_number(_ap(shape))} | |",
        "",
        "At 100 senders a day: the highest scores of each day; who is caught, or becomes known by a label of the last "
        "fortnight or since, is left out from the next day on.",
        "",
        *(f"![{name.removesuffix('.svg')}](figures/{name})" for name in shape["pictures"]),
        "",
        "## By week",
        "| week | gifts | frauds | average precision | good gifts held | median score |",
        "|---|---|---|---|---|---|",
        *(
            f"| {week['week']} | {week['gifts']:,} | {week['frauds']:,} | {_number(week['average_precision'])} | "
            f"{week['false_holds']:.2%} | {week['median_score']:.5f} |"
            for week in shape["weeks"]
        ),
        "",
        "## What moves the score",
        "| feature | mean size of what it adds to the logit |",
        "|---|---|",
        *(f"| {name} | {size:.3f} |" for name, size in shape["importance"].items()),
        "",
        "## What it does not promise",
        "* The false-hold rate holds on average while gifts are like those of the window; watch it by week.",
        "* What was never labelled was not learned: an unknown kind of fraud may pass.",
        "* Made with " + ", ".join(f"{name} {version}" for name, version in shape["libraries"].items()) + ".",
    ]
    return "\n".join(lines) + "\n"


def _unsaid(thresholds: dict[str, float], supervised: bool) -> list[str]:
    return [verdict for verdict in ("hold", "block") if supervised and verdict not in thresholds]


def _ap(shape: dict[str, Any]) -> float:
    found: float = shape["held"]["isolation_forest_average_precision"]
    return found


def _rows(held: dict[str, Any]) -> list[str]:
    every, fresh = held["all"], held["senders_not_known"]
    found = [f"| gifts, of them frauds | {_counts(every)} | {_counts(fresh)} |"]
    for name in (name for name, figure in every.items() if isinstance(figure, dict)):
        found.append(f"| {name.replace('_', ' ')} | {_interval(every[name])} | {_interval(fresh[name])} |")
    top, most = held["precision_at_100_senders_a_day"], held["precision_at_100_senders_a_day_at_most"]
    return [
        *found,
        f"| precision at 100 senders a day, of the most there can be | | {_number(top)} of {_number(most)} |",
    ]


def _counts(figures: dict[str, Any]) -> str:
    return f"{figures['gifts']:,}, {figures['frauds']:,}"


def _interval(figure: dict[str, float]) -> str:
    return f"{_number(figure['value'])} [{_number(figure['low'])}, {_number(figure['high'])}]"


def _number(number: float) -> str:
    return f"{number:.3f}" if number == number else "–"
