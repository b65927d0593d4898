"""Whether a challenger may be trusted with the gate: calibrated, not poisoned, quick, and no nulls excuse a gift."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from training.judged import families, held, segments
from training.ruling import FEW, Finding, Pair

EXPECTED = (0.5, 2.0)  # observed frauds over expected ones
FALSE_HOLDS = 3.0  # good gifts held, over the share that was asked for
SLOWER = 2.0  # a challenger may take so many times what the champion takes
# One gift and 64, in µs: beyond the second whatever the champion takes, and up to the first too. The first is the
# budget that a score has at the gate, so that trees may follow a model that scores in no time.
WITHIN_US = {"one": (120.0, 1_000.0), "batch": (1_280.0, 8_000.0)}
TURNED = 0.9  # share of held gifts that a family of nulls may let through
CANARIES, GROUP_CANARIES = 0.3, 0.6  # share of the champion's catches that may pass, of all and of a segment

Speeds = Mapping[str, tuple[float, float]]


def finite(pair: Pair) -> Iterator[Finding]:
    wrong = int((~((pair.ours >= 0) & (pair.ours <= 1))).sum())
    yield Finding("finite", not wrong, wrong, 0, "scores that are no number of 0..1", "train it again")


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


def quick(speeds: Mapping[str, Speeds]) -> Iterator[Finding]:
    """Fast enough for the gate, absolutely and against the champion in the same run."""
    ours, theirs = speeds["challenger"], speeds.get("champion")
    for what, (easy, most) in WITHIN_US.items():
        median, bound, said = ours[what][0], most, "µs, median"
        if theirs:
            bound = min(most, max(easy, SLOWER * theirs[what][0]))
            said = f"µs, median, where the champion takes {theirs[what][0]:.0f}"
        yield Finding(f"latency, {what}", median <= bound, median, bound, said, "fewer or shallower trees")


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
