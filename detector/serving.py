"""The model that serves, or why none does. Law 5: whatever keeps a model from judging holds the gift, with its reason.

An artifact is loaded from the database, so that every worker on every machine loads the same bytes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg

from detector import champions
from detector.feature_table import HASH, NAMES
from detector.gift import Hit, Opinion, Verdict, moment
from detector.live_graph import Digest
from detector.model_vector import Recorded, vectors
from detector.policy import ModelTerms
from models.artifact import read_packed
from models.errors import ArtifactRefused
from models.model import Model

log = logging.getLogger(__name__)
# The reasons that gifts are held by, where they differ from the artifact's own word.
REASONS = {"features": "mismatched", "feature_table": "mismatched"}
# A gift's look: its moment, its features, its digest (None at a second look).
Look = tuple[int, Recorded, Digest | None]


@dataclass(frozen=True, slots=True)
class Serving:
    """One artifact as loaded; without a model, `reason` and `detail` say why there is none."""

    sha256: str | None
    model: Model | None = None
    reason: str = ""
    detail: str = ""

    @property
    def name(self) -> str | None:
        """As decisions name it: the artifact's name and the beginning of its hash."""
        return f"{self.model.name}@{self.model.sha256[:12]}" if self.model else None

    def fault(self, terms: ModelTerms, now: datetime) -> tuple[str, str] | None:
        """Why the model may not judge under these terms: the reason and its detail. None where it may."""
        model = self.model
        if model is None:
            return f"model_{self.reason}", self.detail
        age_s = model.manifest.max_age_s if terms.max_age_s is None else terms.max_age_s
        if now - model.manifest.created_at > timedelta(seconds=age_s):
            made = f"{model.manifest.created_at:%Y-%m-%d %H:%M}"
            return "model_stale", f"{self.name} is of {made} UTC and may be {age_s // 86_400} days old: promote a newer"
        if not self.thresholds(terms):
            return "model_unbounded", f"{self.name} states no threshold: give hold_at or block_at in [model]"
        return None

    def thresholds(self, terms: ModelTerms) -> list[tuple[Verdict, float]]:
        """The verdicts that a score may give, the most severe first."""
        own = self.model.thresholds if self.model else {}
        stated = ((Verdict.BLOCK, terms.block_at, own.get("block")), (Verdict.HOLD, terms.hold_at, own.get("hold")))
        found = [(verdict, artifact if policy is None else policy) for verdict, policy, artifact in stated]
        return [(verdict, at) for verdict, at in found if at is not None]

    def opinions(self, terms: ModelTerms, looks: Sequence[Look], now: int) -> Iterator[Opinion]:
        """What the model says of each look, in order: one call for all of them."""
        fault = self.fault(terms, moment(now))
        if fault:
            verdict = terms.when_old if fault[0] == "model_stale" else Verdict.HOLD
            for at, features, digest in looks:
                yield Opinion(at, features, digest, hit=Hit("degraded", fault[0], verdict.word))
            return
        thresholds = self.thresholds(terms)
        for (at, features, digest), score in zip(looks, self.scores(looks), strict=True):
            if score is None:
                yield Opinion(at, features, digest, self.name, hit=degraded("model_fault"))
            else:
                yield Opinion(at, features, digest, self.name, score, self.hit(score, thresholds))

    def hit(self, score: float, thresholds: list[tuple[Verdict, float]]) -> Hit | None:
        assert self.model is not None
        for verdict, threshold in thresholds:
            if score >= threshold:
                return Hit("model", self.model.name, verdict.word, {"score": score, "threshold": threshold})
        return None

    def scores(self, looks: Sequence[Look]) -> list[float | None]:
        """A score each; None where it is no number of 0..1, or where the model failed."""
        assert self.model is not None
        try:
            found = self.model.score(vectors([features for _, features, _ in looks])).tolist()
        except Exception:
            log.exception("%s could not score %d gifts; held", self.name, len(looks))
            return [None] * len(looks)
        return [score if 0 <= score <= 1 else None for score in found]


def degraded(reason: str) -> Hit:
    return Hit("degraded", reason, Verdict.HOLD.word)


async def load(conn: asyncpg.Connection, sha256: str, trusted_key: str | None) -> Serving:
    """The artifact of this hash, off the event loop; what does not hold is refused with its reason."""
    row = await champions.parcel(conn, sha256)
    if row is None:
        return Serving(sha256, None, "missing", f"no artifact {sha256[:12]}… is kept: add it again")
    name, parcel = row
    options: dict[str, Any] = {"features": NAMES, "feature_table_hash": HASH, "trusted_key": trusted_key}
    try:
        model = await asyncio.to_thread(read_packed, parcel, **options)
    except ArtifactRefused as error:
        return Serving(sha256, None, REASONS.get(error.reason, error.reason), f"{name}: {error.detail}")
    except Exception as error:  # whatever a parcel does to its reader, gifts are held and not lost
        log.exception("artifact %s (%s) could not be read", name, sha256)
        return Serving(sha256, None, "fault", f"{name}: {type(error).__name__}: {error}")
    if model.sha256 != sha256:
        return Serving(sha256, None, "altered", f"{name} is kept under another hash than its own {model.sha256[:12]}…")
    return Serving(sha256, model)


def unnamed(wanted: str) -> Serving:
    """Nothing answers to the policy's name."""
    cure = "promote an artifact" if wanted == champions.CHAMPION else "add it, or name another"
    return Serving(None, None, "missing", f"the policy asks for the model {wanted!r} and there is none: {cure}")


def utc(now: int | None = None) -> datetime:
    return datetime.now(UTC) if now is None else moment(now)
