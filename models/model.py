"""A model that was loaded: vectors in, scores out. Law: a score depends on its vector alone, to the last bit.

Whatever the batch, the machine or its processor, the same vector gets the same score: every step is a comparison, a
look-up, or an IEEE operation in a fixed order.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from models.attribution import Paths, paths_of
from models.calibration import Calibration, Curve, PValues
from models.errors import VectorRefused
from models.forest import Floats, Ints
from models.logistic import logistic
from models.manifest import Manifest
from models.reference import Reference
from models.tails import Tails, total
from models.trees import Trees


@dataclass(frozen=True, slots=True)
class Contributions:
    """In logits: `base` plus the sum of a row's `terms` (n, features) is the logit of its score."""

    base: float
    terms: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A score of 0..1, high = more suspicious. `sha256` is of the manifest, and so of all that the model is."""

    name: str
    sha256: str
    features: tuple[str, ...]
    thresholds: dict[str, float]
    manifest: Manifest
    calibration: Calibration
    trees: Trees | None
    tails: Tails | None
    curve: Curve | None
    conformal: PValues | None
    # The tail copies: which feature each copies, and the value below which the copy is null.
    copied: Ints
    floors: Floats
    # What gifts were like when it was made; None in an artifact that was not told.
    reference: Reference | None = None

    def score(self, vectors: Floats) -> Floats:
        """The score of each vector (n, features), float64, NaN for null. One call a batch."""
        return logistic(self.logits(vectors))

    def logits(self, vectors: Floats) -> Floats:
        """log(score / (1 - score))."""
        self._check(vectors)
        logits = np.zeros(len(vectors))
        if self.trees:
            platt = self.calibration.platt
            logits += (self.trees.margins(self._columns(vectors)) * platt.a + platt.b) * self.calibration.supervised
        if self.tails and self.curve:
            logits += self.curve.at(self.tails.sums(vectors)) * self.calibration.unsupervised
        return logits

    def p_values(self, scores: Floats) -> Floats | None:
        """How likely a good gift scores as high; None where the model was not told."""
        return self.conformal.of(scores) if self.conformal else None

    def contributions(self, vectors: Floats) -> Contributions:
        """What each feature adds to the logit. Off the hot path: some 10 ms a row."""
        self._check(vectors)
        base, terms = 0.0, np.zeros(vectors.shape)
        if self.trees:
            paths, platt, weight = paths_of(self.trees), self.calibration.platt, self.calibration.supervised
            base += (platt.a * (self.trees.base + paths.base()) + platt.b) * weight
            terms += self._of_trees(paths, vectors) * (platt.a * weight)
        if self.tails and self.curve:
            base += float(self.curve.at(np.zeros(1))[0]) * self.calibration.unsupervised
            terms += self._of_tails(self.tails, self.curve, vectors) * self.calibration.unsupervised
        return Contributions(base, terms)

    def stale(self, now: datetime) -> bool:
        """Whether the model is older than it may be."""
        return now - self.manifest.created_at > timedelta(seconds=self.manifest.max_age_s)

    def _check(self, vectors: Floats) -> None:
        if vectors.dtype != np.float64 or vectors.ndim != 2 or vectors.shape[1] != len(self.features):
            raise VectorRefused(
                f"vectors are {vectors.dtype} {vectors.shape}; {self.name} scores float64 (n, {len(self.features)})"
            )

    def _columns(self, vectors: Floats) -> Floats:
        """The columns that the trees were grown on: the features, then the tail copies."""
        if not len(self.copied):
            return vectors
        copies = vectors.take(self.copied, axis=1)
        copies[copies < self.floors] = np.nan
        return np.concatenate([vectors, copies], axis=1)

    def _of_trees(self, paths: Paths, vectors: Floats) -> Floats:
        """In margins. What a tail copy adds is added by the feature that it copies."""
        columns, width = self._columns(vectors), len(self.features)
        found = np.empty((columns.shape[1], len(columns)))
        for number, row in enumerate(columns):
            found[:, number] = paths.contributions(row)
        np.add.at(found, self.copied, found[width:])
        return found[:width].T

    def _of_tails(self, tails: Tails, curve: Curve, vectors: Floats) -> Floats:
        """The curve's rise from nothing to the sum of surprises, shared out in proportion to them."""
        terms = tails.terms(vectors)
        sums = total(terms)
        rise = curve.at(sums) - curve.at(np.zeros(1))
        share = np.divide(rise, sums, out=np.zeros_like(sums), where=sums > 0)
        return tails.by_feature(terms * share[:, None], len(self.features))
