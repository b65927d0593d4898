"""Whether a challenger may serve. Law: pure, and a refusal says its figure, its bound and its cure.

    the champion, the challenger and the gifts that both are judged by  →  one Finding a question  →  may it serve

Every question is asked even after one was answered with no: the operator is to see all that is wrong at once. Without
a champion the questions that compare ask for better than chance.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import numpy as np

from models.forest import Floats
from models.model import Model
from training.errors import Unjudged
from training.evaluate import INTERVAL, average_precision, roc_auc
from training.judged import Judged, alerts, families, held, segments
from training.split import Bools

BUDGET = 0.01  # share of gifts that review can look at
RESAMPLES = 1_000
FEWEST_FRAUDS = 20  # to judge at all
FEW = 8  # fewer frauds than this say nothing of a segment
SEGMENT_DROP = 0.15  # recall that a segment may lose, at the budget
EXPECTED = (0.5, 2.0)  # observed frauds over expected ones
FALSE_HOLDS = 3.0  # good gifts held, over the share that was asked for
SLOWER = 2.0  # a challenger may take so many times what the champion takes
ONE_US, BATCH_US = 1_000.0, 8_000.0  # one gift, and 64, of whatever champion: the gate's own budget is 60 µs a gift
TURNED = 0.9  # share of held gifts that a family of nulls may let through
CREDIBLE = 0.98  # average precision beyond which frauds were not predicted but known
ORDERS = 0.9995  # area under the curve of a feature that gives the answer away
CANARIES, GROUP_CANARIES = 0.3, 0.6  # share of the champion's catches that may pass, of all and of a segment


@dataclass(frozen=True, slots=True)
class Finding:
    """One question's answer. `figure` was to stay within `bound`; `cure` says what to do where it did not."""

    gate: str
    passed: bool
    figure: float
    bound: float
    said: str
    cure: str = ""

    def __str__(self) -> str:
        text = f"{self.gate}: {self.said} ({self.figure:.4g}, bound {self.bound:.4g})"
        return text if self.passed else f"{text}; {self.cure}"


@dataclass(frozen=True, slots=True)
class Ruling:
    """All answers."""

    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        return all(one.passed for one in self.findings)

    @property
    def refusals(self) -> list[Finding]:
        return [one for one in self.findings if not one.passed]

    def shape(self) -> dict[str, Any]:
        return {"passed": self.passed, "findings": [asdict(one) for one in self.findings]}


@dataclass(frozen=True, slots=True)
class Pair:
    """Both models with their scores of the same gifts; `count` gifts are looked at."""

    challenger: Model
    champion: Model | None
    judged: Judged
    ours: Floats
    theirs: Floats | None

    @property
    def count(self) -> int:
        return max(1, round(BUDGET * len(self.ours)))


Speeds = Mapping[str, tuple[float, float]]


def rule(challenger: Model, champion: Model | None, judged: Judged, speeds: Mapping[str, Speeds]) -> Ruling:
    """The ruling, or Unjudged. `speeds`: of "challenger" and perhaps "champion", µs by what was timed; see
    training.speed.
    """
    frauds = int(judged.fraud.sum())
    if frauds < FEWEST_FRAUDS or frauds == len(judged.fraud):
        raise Unjudged(
            f"{frauds} known frauds among {len(judged.fraud):,} gifts from {judged.start.isoformat()} to "
            f"{judged.end.isoformat()} judge no model: give a longer time with {FEWEST_FRAUDS} or more"
        )
    theirs = champion.score(judged.vectors) if champion else None
    pair = Pair(challenger, champion, judged, challenger.score(judged.vectors), theirs)
    questions = (finite(pair), later(pair), leaks(pair), better(pair), by_segment(pair), calibrated(pair))
    asked = (*questions, canaries(pair), quick(speeds), nulls(pair))
    return Ruling(tuple(one for findings in asked for one in findings))


def finite(pair: Pair) -> Iterator[Finding]:
    wrong = int((~((pair.ours >= 0) & (pair.ours <= 1))).sum())
    yield Finding("finite", not wrong, wrong, 0, "scores that are no number of 0..1", "train it again")


# Leaking


def as_of(model: Model) -> datetime:
    """The moment whose knowledge the model was made of."""
    told = model.manifest.parameters.get("as_of")
    moment = datetime.fromisoformat(told) if isinstance(told, str) else model.manifest.window.end
    return max(moment, model.manifest.window.end)


def later(pair: Pair) -> Iterator[Finding]:
    """The judged gifts come after all that either model was told."""
    for role, model in (("challenger", pair.challenger), ("champion", pair.champion)):
        if model is not None:
            overlap_h = (as_of(model) - pair.judged.start).total_seconds() / 3600
            cure = f"judge from {as_of(model).isoformat()} on (--from), or train it as of an earlier day"
            said = f"hours of the judged time that the {role} {model.name} already knew"
            yield Finding("later", overlap_h <= 0, max(0.0, overlap_h), 0, said, cure)


def leaks(pair: Pair) -> Iterator[Finding]:
    """Answers that were given away: by labels from the future, or by a feature that is the label."""
    judged, told = pair.judged, pair.challenger.manifest.labels.get("fraud", 0)
    if judged.known is not None:
        said = f"frauds it learned from, of which {judged.known} were known by its as_of"
        cure = "it saw labels from after its as_of: train it again from the history itself"
        yield Finding("leaking labels", told <= judged.known, told, judged.known, said, cure)
    precision = average_precision(judged.fraud, pair.ours)
    cure = "no honest model is that good: look for a column that is filled in after the fact"
    yield Finding("leaking", precision <= CREDIBLE, precision, CREDIBLE, "average precision", cure)
    found = [(ordering(judged.feature(name), judged.fraud), name) for name in judged.names]
    most, name = max(found)
    cure = f"{name} gives the answer away: mend the history, and train again"
    yield Finding("leaking feature", most <= ORDERS, most, ORDERS, f"how far {name} alone orders the gifts", cure)


def ordering(column: Floats, fraud: Bools) -> float:
    """The area under the curve of one feature in its better direction, nulls below or above all others."""
    there = ~np.isnan(column)
    if not there.any():
        return 0.5
    ends = (column[there].min() - 1.0, column[there].max() + 1.0)
    areas = [roc_auc(fraud, np.where(there, column, end)) for end in (ends if not there.all() else ends[:1])]
    return max(max(area, 1.0 - area) for area in areas)


# Better


def better(pair: Pair) -> Iterator[Finding]:
    """More frauds among the gifts that review can look at, beyond what chance explains."""
    fraud, total = pair.judged.fraud, int(pair.judged.fraud.sum())
    if pair.theirs is None:
        low, _ = paired(fraud, pair.ours, None, pair.count)
        said, cure = f"recall at {BUDGET:.0%} of gifts, low end", "it is no better than chance: give it more labels"
        yield Finding("better than chance", low / total > BUDGET, low / total, BUDGET, said, cure)
        return
    low, high = paired(fraud, pair.ours, pair.theirs, pair.count)
    ours, theirs = (int(fraud[alerts(score, pair.count)].sum()) / total for score in (pair.ours, pair.theirs))
    said = (
        f"recall at {BUDGET:.0%} of gifts {ours:.3f} against {theirs:.3f}, difference "
        f"[{low / total:+.3f}, {high / total:+.3f}], low end"
    )
    cure = "not better beyond chance: leave the champion, train on newer labels, or judge by a longer time"
    yield Finding("better", low > 0, low / total, 0, said, cure)


def paired(fraud: Bools, ours: Floats, theirs: Floats | None, count: int) -> tuple[float, float]:
    """The interval of how many more frauds are found among `count` gifts, both models on the same draws.

    Each gift is drawn 0, 1, 2 … times (Poisson), so that only gifts near the top of either order need drawing.
    """
    chance = np.random.default_rng(0)
    orders = [np.argsort(-score, kind="stable")[: 2 * count + 50] for score in (ours, theirs) if score is not None]
    rows = np.unique(np.concatenate(orders))
    places = [np.searchsorted(rows, order) for order in orders]
    found = np.empty(RESAMPLES)
    for draw in range(RESAMPLES):
        weight = chance.poisson(1.0, len(rows))
        hits = [caught(weight[place], fraud[order], count) for place, order in zip(places, orders, strict=True)]
        found[draw] = hits[0] - (hits[1] if len(hits) > 1 else 0)
    low, high = np.quantile(found, INTERVAL)
    return float(low), float(high)


def caught(weight: np.ndarray, fraud: Bools, count: int) -> int:
    """Frauds among the first `count` of weighted gifts."""
    before = np.cumsum(weight) - weight
    return int(np.minimum(weight, np.maximum(0, count - before))[fraud].sum())


def by_segment(pair: Pair) -> Iterator[Finding]:
    """No segment pays for the whole: recall in it, at the same budget of the whole."""
    if pair.theirs is None:
        return
    fraud = pair.judged.fraud
    ours, theirs = alerts(pair.ours, pair.count), alerts(pair.theirs, pair.count)
    for name, rows in segments(pair.judged):
        bad = rows & fraud
        if (total := int(bad.sum())) < FEW:
            continue
        change = ours[bad].astype(float) - theirs[bad]
        slack = 1.96 * float(change.std()) / total**0.5
        drop, sure = -float(change.mean()), -float(change.mean()) - slack > 0
        said = f"recall lost among {name}, {total} frauds"
        cure = "more labels of that kind, or leave the champion"
        yield Finding("segment", not (drop > SEGMENT_DROP and sure), max(0.0, drop), SEGMENT_DROP, said, cure)


# Calibrated


def calibrated(pair: Pair) -> Iterator[Finding]:
    """As many frauds as the scores say, and as few good gifts held as were asked for."""
    fraud, model = pair.judged.fraud, pair.challenger
    cure = "train it again on newer gifts, or judge by a time whose labels are in"
    if model.calibration.supervised > 0:
        expected, observed = float(pair.ours.sum()), int(fraud.sum())
        spread = 1.96 * observed**0.5
        low, high = ((observed + side) / max(expected, 1e-9) for side in (-spread, spread))
        said = f"{observed} frauds where {expected:.1f} were expected: ratio in [{low:.2f}, {high:.2f}], low end"
        yield Finding("calibration, too calm", low <= EXPECTED[1], low, EXPECTED[1], said, cure)
        said = said.removesuffix("low end") + "high end"
        yield Finding("calibration, too shrill", high >= EXPECTED[0], high, EXPECTED[0], said, cure)
    asked = model.manifest.parameters.get("false_hold_rate")
    if isinstance(asked, float):
        good = pair.ours[~fraud]
        share = float(held(model, good).mean())
        low = share - 1.96 * (share * (1 - share) / len(good)) ** 0.5
        said = f"good gifts held {share:.3%} where {asked:.3%} were asked for, times, low end"
        yield Finding("false holds", low <= FALSE_HOLDS * asked, low / asked, FALSE_HOLDS, said, cure)


# Poisoned


def canaries(pair: Pair) -> Iterator[Finding]:
    """Frauds that the champion stops are not waved through: what a backdoor or flipped labels would teach."""
    if pair.champion is None or pair.theirs is None:
        return
    known = pair.judged.fraud & held(pair.champion, pair.theirs)
    passes = ~held(pair.challenger, pair.ours)
    groups = [("all", np.ones(len(known), dtype=np.bool_)), *segments(pair.judged)]
    for name, rows in groups:
        bound = CANARIES if name == "all" else GROUP_CANARIES
        if (count := int((known & rows).sum())) >= FEW:
            share = float(passes[known & rows].mean())
            said = f"share let through of {count} frauds that the champion stops, {name}"
            cure = "its labels may be poisoned: look at who gave them since the champion's as_of, and train without"
            yield Finding("poisoned", share <= bound, share, bound, said, cure)


# Quick


def quick(speeds: Mapping[str, Speeds]) -> Iterator[Finding]:
    """Fast enough for the gate, absolutely and against the champion in the same run."""
    ours, theirs = speeds["challenger"], speeds.get("champion")
    cure = "fewer or shallower trees"
    for what, bound in (("one", ONE_US), ("batch", BATCH_US)):
        median = ours[what][0]
        yield Finding(f"latency, {what}", median <= bound, median, bound, "µs, median", cure)
        if theirs:
            ratio = median / theirs[what][0]
            said = "times what the champion takes"
            yield Finding(f"latency, {what}, ratio", ratio <= SLOWER, ratio, SLOWER, said, cure)


# Nulls


def nulls(pair: Pair) -> Iterator[Finding]:
    """What is not known excuses nobody: neither all features missing, nor those of one family."""
    judged, model = pair.judged, pair.challenger
    good = pair.ours[~judged.fraud]
    blank = float(model.score(np.full((1, len(judged.names)), np.nan))[0])
    least = float(np.quantile(good, 0.01))
    cure = "train on histories in which these columns are sometimes missing"
    ok = bool(np.isfinite(blank) and blank >= least)
    yield Finding("nulls, all", ok, blank, least, "score of a gift of which nothing is known", cure)
    high = judged.vectors[held(model, pair.ours)]
    if len(high) < FEW:
        return
    for family, columns in families(judged.names).items():
        without = high.copy()
        without[:, columns] = np.nan
        scores = model.score(without)
        turned = float((~held(model, scores)).mean()) if np.isfinite(scores).all() else 1.0
        said = f"share of {len(high)} held gifts approved once {family} features are missing"
        yield Finding(f"nulls, {family}", turned <= TURNED, turned, TURNED, said, cure)
