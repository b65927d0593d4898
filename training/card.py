"""The card: the page by which a risk lead says yes or no. Law: its figures are of gifts that the fit had not seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
from sklearn.ensemble import IsolationForest

from models import artifact, manifest
from models.artifact import Content
from models.assembly import assemble
from models.files import MANIFEST
from training import evaluate, page, thresholds
from training.evaluate import Judged
from training.held import Held, by_kind, measures, reliability, stolen, weekly
from training.pictures import pictures
from training.split import Floats
from training.thresholds import Terms

TOP_FEATURES = 20
# Half of the gifts that are explained are those with the highest scores.
EXPLAINED = 120
REFERENCE_ROWS = 20_000


def with_card(
    content: Content, held: Held, vectors: Floats, early: int, terms: Terms, unseen: Sequence[dict[str, Any]] = ()
) -> Content:
    """The content with its card, figures and pictures; `vectors` are of the window, the held ones from `early` on."""
    at, judged = content.calibration.thresholds, held.judged
    asked = measures(at.get("hold"), at.get("block"))
    shape: dict[str, Any] = {
        "name": content.name,
        "kind": "boosted trees" if content.supervised is not None else "surprises, without labels",
        "created_at": content.created_at.isoformat(),
        "window": {"from": content.window.start.isoformat(), "to": content.window.end.isoformat()},
        "labels": content.labels,
        "thresholds": at,
        "parameters": content.parameters,
        "held": _held(held, asked, terms)
        | {"isolation_forest_average_precision": _plain(content, held, vectors, early)},
        "choices": thresholds.compared(content.calibration.conformal, judged, held.days, terms, at)
        if content.calibration.conformal
        else [],
        "weeks": weekly(held.at_us, judged, asked),
        "typologies": by_kind(held, at.get("hold", at.get("block", np.inf))),
        "unseen_typologies": list(unseen),
        "calibration": reliability(judged),
        "importance": _importance(content, judged.score, vectors[early:]),
        "libraries": {name: getattr(content.libraries, name) for name in content.libraries.__struct_fields__},
    }
    drawn = pictures(shape, judged)
    shape["pictures"] = list(drawn)
    card, figures = page.markdown(shape), shape["held"]["all"]
    return replace(content, card=card, card_json=shape, figures=figures, pictures=drawn)


def _held(held: Held, asked: dict[str, evaluate.Measure], terms: Terms) -> dict[str, Any]:
    """The figures of all gifts and of those of senders not known as compromised, and what was prevented a day."""
    judged, fresh = held.judged, held.fresh
    if terms.cases_a_day is not None:
        asked = asked | {"recall_at_budget": _recall_at(terms.cases_a_day * held.days)}
    every = evaluate.figures(judged, asked)
    of_fresh = evaluate.figures(judged.take(fresh), asked)
    most = at_senders(held, judged.fraud.astype(np.float64))
    lost = float((stolen(judged) * judged.weight).sum())
    return {
        "held_scored_by": held.by,
        "days": held.days,
        "all": every,
        "senders_not_known": of_fresh,
        "precision_at_100_senders_a_day": mean_of(np.array(at_senders(held, judged.score))),
        "precision_at_100_senders_a_day_at_most": mean_of(np.array(most))["value"],
        "fraud_microcredits": round(lost),
        # NaN where there was no fraud to prevent.
        "prevented_microcredits": round(lost * every["loss_prevented"]["value"]) if lost else 0,
    }


def _recall_at(cases: float) -> evaluate.Measure:
    """Recall when so many gifts in all are looked at, those with the highest scores."""

    def recall(judged: Judged) -> float:
        most = min(1.0, cases / (judged.weight.sum() or 1.0))
        return evaluate.at_alerts(judged.fraud, judged.score, most, judged.weight)[1]

    return recall


def at_senders(held: Held, score: Floats) -> list[float]:
    """By day, precision at 100 senders of those that remain; nothing where no fraud is known."""
    left, fraud = held.remaining, held.judged.fraud
    if not fraud.any():
        return []
    sender = held.sender.filter(pl.Series(left))
    return evaluate.precision_by_day(held.at_us[left], sender, fraud[left], score[left])


def mean_of(days: Floats) -> dict[str, float]:
    """The mean over days, its interval by days drawn again; NaN of none."""
    if not len(days):
        return {"value": float("nan"), "low": float("nan"), "high": float("nan")}
    again = np.random.default_rng(0).integers(0, len(days), (1_000, len(days)))
    low, high = np.quantile(days[again].mean(axis=1), evaluate.INTERVAL)
    return {"value": float(days.mean()), "low": float(low), "high": float(high)}


def _plain(content: Content, held: Held, vectors: Floats, early: int) -> float:
    """The average precision of a plain IsolationForest, to compare with."""
    chance = np.random.default_rng(content.seeds["fit"])
    chosen = np.sort(chance.permutation(early)[:REFERENCE_ROWS])
    judged = np.linspace(early, len(vectors) - 1, min(REFERENCE_ROWS, len(vectors) - early)).astype(np.intp)
    # Nulls become a value below all others, since a column of nulls alone is refused.
    forest = IsolationForest(random_state=content.seeds["fit"]).fit(np.nan_to_num(vectors[chosen], nan=-1.0))
    scores = -forest.score_samples(np.nan_to_num(vectors[judged], nan=-1.0))
    part = held.judged.take(judged - early)
    return evaluate.average_precision(part.fraud, scores, part.weight)


def _importance(content: Content, score: Floats, vectors: Floats) -> dict[str, float]:
    """The mean size of what each feature adds to the logit, of the most suspicious gifts and of as many others."""
    files = artifact.build(content)
    model = assemble(files, manifest.decode(files[MANIFEST]), "")
    order = np.argsort(-score, kind="stable")
    others = np.linspace(0, len(vectors) - 1, EXPLAINED // 2).astype(np.intp)
    chosen = np.unique(np.concatenate([order[: EXPLAINED // 2], others]))
    sizes = np.abs(model.contributions(vectors[chosen]).terms).mean(axis=0)
    top = np.argsort(-sizes, kind="stable")[:TOP_FEATURES]
    return {content.features[column]: float(sizes[column]) for column in top if sizes[column] > 0}
