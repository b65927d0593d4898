"""Whether a challenger may serve. Law: pure, and a refusal says its figure, its bound and its cure.

    the champion, the challenger and the gifts that both are judged by  →  one Finding a question  →  may it serve

Every question is asked even after one was answered with no: the operator is to see all that is wrong at once. Without
a champion the questions that compare ask for better than chance.
"""

from __future__ import annotations

from collections.abc import Mapping

from models.model import Model
from training.better import better, by_segment
from training.errors import Unjudged
from training.judged import Judged
from training.leaking import later, leaks
from training.ruling import Pair, Ruling
from training.sound import Speeds, calibrated, canaries, finite, nulls, quick

FEWEST_FRAUDS = 20  # to judge at all


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
