"""Whether gifts have changed since a model learned. Law: no rate of false alarms is claimed but the one seen
on worlds without a change that the method was not made on.

Gifts come in bursts, and those of a party or a day resemble each other, so that a plain chi-square alarms on nothing;
chance.py draws days instead. All columns, the score and the verdicts share one rate, by Holm. How large a change is,
PSI and KS say; that it is no chance, the p-value; and that it is no day's, that both stay whichever day is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.feature_table import LABELLED, TABLE
from models.reference import Reference, Spread, spread
from training.chance import holm, lasting, merged, weekend, without_a_day
from training.errors import TrainingError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FALSE_ALARMS = 0.01  # asked for a run, over everything that it compares
SEEN = 3 / 406  # of simulated worlds without a change, none of which the method was made on
LEAST_PSI = 0.05  # a smaller change is not worth a waking, however sure
LEAST_DAYS = 7  # of the reference: fewer do not tell how days vary
# Label columns move for a month with every case that is told, which days do not tell: measured, and never alarmed.
TOLD = frozenset(name for name, row in TABLE.items() if set(LABELLED) & set(row.needs))
VERDICTS = ("approve", "hold", "block")
DAY_US = 86_400_000_000
BARS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True)
class Drift:
    """One column compared. `then` and `now` by bins, nulls last; `p` is this column's alone."""

    name: str
    psi: float
    ks: float
    p: float
    alarm: bool
    nulls_then: float
    nulls_now: float
    then: tuple[float, ...]
    now: tuple[float, ...]

    def shape(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Window:
    """Gifts to compare, by row: microseconds (n,), vectors (n, features) with NaN for null, scores, verdicts."""

    at: Ints
    vectors: Floats
    scores: Floats
    verdicts: Sequence[str]


def reference(names: Sequence[str], window: Window) -> Reference:
    """What later gifts are compared with: spreads of every feature and of the score, and the counts of each day."""
    days, place = days_of(window.at)
    found: Reference = {
        "features": {name: daily(window.vectors[:, nr], place, len(days)) for nr, name in enumerate(names)},
        "score": daily(window.scores, place, len(days)),
        "verdicts": {word: sum(one == word for one in window.verdicts) for word in VERDICTS},
        "rows": len(window.at),
        "days": [day.isoformat() for day in days],
        "verdict_days": verdict_days(window.verdicts, place, len(days)).tolist(),
    }
    return found


def daily(values: Floats, place: Ints, days: int) -> Spread:
    """A spread with the counts of each day."""
    found = spread(values)
    found["days"] = day_counts(values, np.array(found["edges"]), place, days).tolist()
    return found


def days_of(at: Ints) -> tuple[list[date], Ints]:
    """The UTC days from the first gift to the last, and each gift's place among them."""
    number = at // DAY_US
    first = int(number.min())
    days = [date.fromordinal(date(1970, 1, 1).toordinal() + day) for day in range(first, int(number.max()) + 1)]
    return days, number - first


def day_counts(values: Floats, edges: Floats, place: Ints, days: int) -> Ints:
    """How many values lie in each bin on each day (days, bins + 1); nulls are the last bin."""
    bins = len(edges) + 2
    cell = np.where(np.isnan(values), bins - 1, np.searchsorted(edges, values, side="right"))
    return np.bincount(place * bins + cell, minlength=days * bins).reshape(days, bins).astype(np.int64)


def verdict_days(verdicts: Iterable[str], place: Ints, days: int) -> Ints:
    cell = np.array([VERDICTS.index(word) for word in verdicts], dtype=np.int64)
    return np.bincount(place * len(VERDICTS) + cell, minlength=days * len(VERDICTS)).reshape(days, -1).astype(np.int64)


def drifts(known: Reference, names: Sequence[str], window: Window, rate: float = FALSE_ALARMS) -> list[Drift]:
    """Every column of the window beside the reference, alarms first, then the largest PSI.

    `rate` is asked for; SEEN is what came of FALSE_ALARMS. Raises TrainingError where days are too few to tell.
    """
    _refuse(known, window)
    days, place = days_of(window.at)
    then_days, now_days = weekend(map(date.fromisoformat, known["days"])), weekend(days)
    pairs = {
        name: (np.array(one["days"]), day_counts(values, np.array(one["edges"]), place, len(days)))
        for name, one, values in columns(known, names, window)
    }
    mix = np.array(known["verdict_days"]), verdict_days(window.verdicts, place, len(days))
    # the verdicts have no nulls
    pairs["verdicts"] = (np.pad(mix[0], ((0, 0), (0, 1))), np.pad(mix[1], ((0, 0), (0, 1))))
    chances = {name: lasting(*pair, then_days, now_days, rate) for name, pair in pairs.items()}
    surprising = holm({name: p for name, p in chances.items() if name not in TOLD}, rate)
    alarms = {name for name in surprising if large(*pairs[name], now_days)}
    found = [measured(name, *pair, chances[name], name in alarms) for name, pair in pairs.items()]
    return sorted(found, key=lambda one: (not one.alarm, -one.psi))


def columns(known: Reference, names: Sequence[str], window: Window) -> Iterable[tuple[str, Spread, Floats]]:
    yield from ((name, known["features"][name], window.vectors[:, nr]) for nr, name in enumerate(names))
    yield "score", known["score"], window.scores


def _refuse(known: Reference, window: Window) -> None:
    if not len(window.at):
        raise TrainingError("the window has no gift: give a longer --days, or another --from and --to")
    if "days" not in known:
        raise TrainingError("the model's reference has no counts by day: train it again with this version")
    if len(known["days"]) < LEAST_DAYS:
        raise TrainingError(
            f"the model's reference has {len(known['days'])} days: it takes {LEAST_DAYS} to tell how days vary; "
            "train on a longer history"
        )


def large(then: Ints, now: Ints, now_weekend: NDArray[np.bool_]) -> bool:
    """Whether the change is worth a waking, whichever day of the window is left out."""
    windows = [now, *(rest for rest, _ in without_a_day(now, now_weekend))]
    return min(psi(then, one) for one in windows) >= LEAST_PSI


def psi(then: Ints, now: Ints) -> float:
    """The population stability index over the cells that are compared."""
    cells = merged(then.sum(axis=0))
    # Half a gift more in each cell, since an empty one would be infinitely far.
    shares = [(one.sum(axis=0) @ cells + 0.5) / (one.sum() + 0.5 * cells.shape[1]) for one in (then, now)]
    return float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum())


def measured(name: str, then: Ints, now: Ints, p: float, alarm: bool) -> Drift:
    """How large a change is: PSI over the cells that are compared, KS over what is not null."""
    before, after = then.sum(axis=0), now.sum(axis=0)
    steps = [np.cumsum(one[:-1]) / max(1, one[:-1].sum()) for one in (before, after)]
    ks = float(np.abs(steps[0] - steps[1]).max()) if before[:-1].sum() and after[:-1].sum() else 0.0
    shares = [one / one.sum() for one in (before, after)]
    return Drift(
        name,
        psi(then, now),
        ks,
        p,
        alarm,
        float(shares[0][-1]),
        float(shares[1][-1]),
        tuple(shares[0].tolist()),
        tuple(shares[1].tolist()),
    )


def sparkline(shares: Sequence[float]) -> str:
    """Shares as a line of bars, the largest a full one.

    >>> sparkline([0.0, 0.5, 1.0])
    '▁▅█'
    """
    most = max(shares, default=0.0) or 1.0
    return "".join(BARS[round(share / most * (len(BARS) - 1))] for share in shares)
