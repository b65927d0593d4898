"""The start without labels: how far out in its tail each feature is. Law: labels neither teach nor hold alone.

The features are chosen for their meaning, high being suspicious; a surprise is −log of the share of training gifts that
are as far out. A gift's size, however measured, surprises once: summed up, two mild surprises would outrank one
that is out of all proportion. What its sender did lately weighs a quarter, since it is the same for the honest gifts of
that sender. Chains and gathered money count where orgs that receive also send; elsewhere they could only be chance.
"""

from __future__ import annotations

import numpy as np

from detector.feature_table import NEAR
from models.calibration import Line
from models.tails import KNOTS, Tail
from training.split import Floats

SIZE = ("amount", "sender_habit_excess")
LATELY = ("sender_excess300_14d", "sender_excess300_3d")
LATELY_WEIGHT = 0.25
# Money that comes in bursts or from many; chains and rings of new acquaintance.
PASSED_ON = (
    "sender_received_senders_30d",
    "sender_received_sum_30d",
    "sender_received_count_7d",
    "siblings",
    "common_funders",
    "twins",
    "coparty",
    "hops",
    "sender_fresh_funders",
    "recipient_fresh_funders",
)
RECEIVED = "sender_received_count_30d"
# Labels that come once it serves are read by fixed odds, not learned ones: where frauds went, more go. Two measures
# share the weight: frauds that only the recipient explains, none good since; and the share of frauds.
KNOWN_STREAK, KNOWN_SHARE, KNOWN_WEIGHT = "recipient_streak_plain", "recipient_risk_7d", 0.5
# As in the feature table's shares: two labels that are not there, of a risk of 0.5 %.
CALM_RISK, UNSEEN_LABELS, KNOWN_KNOTS = 0.005, 2, 128
LEAST_VALUES = 500
# A score of one half is where gifts begin to be held; this many logits go with one natural logarithm of surprise.
LOGITS_A_SURPRISE = 0.25
# Where the line ends: beyond, logits could no longer be told apart.
MOST_LOGITS = 30.0


def tails(vectors: Floats, names: tuple[str, ...]) -> tuple[Tail, ...]:
    """The tails of the oriented features that say anything here."""
    passing = RECEIVED in names and bool((vectors[:, names.index(RECEIVED)] > 0).any())
    wanted = [(name, 1.0, "size") for name in SIZE]
    wanted += [(name, LATELY_WEIGHT, "") for name in LATELY]
    wanted += [(name, 1.0, "") for name in PASSED_ON if passing]
    found = []
    for name, weight, family in wanted:
        if name not in names:
            continue
        values = vectors[:, names.index(name)]
        values = np.sort(values[~np.isnan(values)])
        if len(values) > LEAST_VALUES and values[0] < values[-1]:
            knots, surprises = curve(values)
            found.append(Tail(name, "high", weight, knots, surprises, family))
    return tuple(found)


def known(names: tuple[str, ...], most: float) -> tuple[Tail, ...]:
    """The tails of what becomes known of the recipient, `most` at most together: 0 where no fraud is known.

    With `most` the sum at which gifts begin to be held, labels alone hold none: the gift must surprise by itself, too.
    """
    streaks = np.arange(1.0, NEAR + 1)
    shares = np.geomspace(CALM_RISK, 1.0, KNOWN_KNOTS)
    risks = (streaks + UNSEEN_LABELS * CALM_RISK) / (streaks + UNSEEN_LABELS)
    found = []
    for name, knots, risk in ((KNOWN_STREAK, streaks, risks), (KNOWN_SHARE, shares, shares)):
        surprises = np.clip(np.log(risk / CALM_RISK), 0.0, most)
        found.append(Tail(name, "high", KNOWN_WEIGHT, tuple(knots.tolist()), (0.0, *surprises.tolist())))
    return tuple(tail for tail in found if tail.feature in names)


def curve(values: Floats) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Knots and surprises of sorted values: knots are dense where it is far out."""
    count = len(values)
    shares = np.concatenate([np.geomspace(1 / count, 1, KNOTS // 2), np.linspace(1 / count, 1, KNOTS // 2)])
    places = np.clip(count - np.ceil(shares * count).astype(np.intp), 0, count - 1)
    knots = np.unique(values[places])
    beyond = count - np.searchsorted(values, knots, side="left")
    surprises = -np.log((beyond + 1) / (count + 1))
    return tuple(knots.tolist()), (0.0, *np.maximum(surprises, 0.0).tolist())


def line(hold_sum: float) -> Line:
    """Sums of surprises to logits: one half at `hold_sum`, and straight."""
    reach = MOST_LOGITS / LOGITS_A_SURPRISE
    low = -LOGITS_A_SURPRISE * hold_sum
    return Line((0.0, hold_sum + reach), (low, MOST_LOGITS))
