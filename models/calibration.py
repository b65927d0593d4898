"""How the parts of a model become one score: what `calibration.json` holds. Law: more suspicious parts, higher score.

logit = supervised · (a · margin + b) + unsupervised · u(sum of surprises), with u piecewise linear; score = logistic.
"""

from dataclasses import dataclass

import msgspec
import numpy as np

from models.errors import ArtifactRefused
from models.forest import Floats

SHARES = 200_001


class TailCopy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A second column of `feature`, null below `floor`: lets a histogram booster cut in an extreme tail."""

    feature: str
    floor: float


class Platt(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The margin of the trees as a logit: a · margin + b."""

    a: float
    b: float


class Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A piecewise linear function that never falls, flat beyond its ends: sums of surprises to logits."""

    sums: tuple[float, ...]
    logits: tuple[float, ...]


class Conformal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """p-values: `p_values[k]` holds for a score that is at least k of the `scores`, which rise."""

    scores: tuple[float, ...]
    p_values: tuple[float, ...]


class Calibration(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole of calibration.json. A part that the model does not have has weight 0."""

    supervised: float = 0.0
    unsupervised: float = 0.0
    platt: Platt = Platt(1.0, 0.0)
    line: Line | None = None
    tail_copies: tuple[TailCopy, ...] = ()
    conformal: Conformal | None = None
    thresholds: dict[str, float] = {}


def check(calibration: Calibration, features: tuple[str, ...], has_trees: bool, has_tails: bool) -> None:
    """Refuse a calibration that is not monotone, or not of these parts."""
    one = calibration
    line, conformal = one.line or Line((0.0, 1.0), (0.0, 1.0)), one.conformal or Conformal((), (1.0,))
    faults = {
        "weights must be ≥ 0, and one above": min(weights := (one.supervised, one.unsupervised)) < 0
        or max(weights) <= 0,
        "supervised has a weight, and there is no supervised.tl": one.supervised > 0 and not has_trees,
        "unsupervised has a weight, and there is no tails.json": one.unsupervised > 0 and not has_tails,
        "unsupervised has a weight, and there is no line": one.unsupervised > 0 and one.line is None,
        "platt.a must be above 0": one.platt.a <= 0,
        "line needs as many logits as sums, and two at least": not 2 <= len(line.sums) == len(line.logits),
        "line must rise in sums and never fall in logits": not (rises(line.sums) and rises(line.logits, flat=True)),
        "conformal needs one p-value more than scores": len(conformal.p_values) != len(conformal.scores) + 1,
        f"conformal has more than {SHARES} p-values": len(conformal.p_values) > SHARES,
        "conformal must rise in scores and never rise in p-values": not (
            rises(conformal.scores, flat=True) and rises(conformal.p_values[::-1], flat=True)
        ),
        "p-values lie above 0 and up to 1": not all(0 < p <= 1 for p in conformal.p_values),
        "thresholds lie between 0 and 1": not all(0 <= each <= 1 for each in one.thresholds.values()),
        "a tail copy is of no feature of this model": not {each.feature for each in one.tail_copies} <= set(features),
    }
    if found := [fault for fault, is_so in faults.items() if is_so]:
        raise ArtifactRefused("malformed", f"calibration: {'; '.join(found)}")


def rises(numbers: tuple[float, ...], flat: bool = False) -> bool:
    """Whether each is above the one before, or at least not below when it may be flat."""
    steps = np.diff(numbers)
    return bool(np.all(steps >= 0) if flat else np.all(steps > 0))


@dataclass(frozen=True, slots=True)
class Curve:
    """A line ready to be walked along. Not np.interp, which a compiler may fuse differently on another machine."""

    sums: Floats
    logits: Floats
    slopes: Floats

    def at(self, sums: Floats) -> Floats:
        """The logit of each sum."""
        inside = np.minimum(np.maximum(sums, self.sums[0]), self.sums[-1])
        place = self.sums[1:-1].searchsorted(inside, side="right")
        found: Floats = self.logits.take(place) + (inside - self.sums.take(place)) * self.slopes.take(place)
        return found


def curve(line: Line) -> Curve:
    """The line, its slopes computed once."""
    sums, logits = np.array(line.sums), np.array(line.logits)
    return Curve(sums, logits, np.diff(logits) / np.diff(sums))


@dataclass(frozen=True, slots=True)
class PValues:
    """Conformal p-values, ready to be looked up."""

    scores: Floats
    p_values: Floats

    def of(self, scores: Floats) -> Floats:
        """The p-value of each score."""
        return self.p_values.take(self.scores.searchsorted(scores, side="right"))
