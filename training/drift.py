"""Whether gifts have changed since a model learned. Law: no rate of false alarms is claimed but the one seen
on worlds without a change that the method was not made on.

Gifts come in bursts, and those of a party or a day resemble each other, so that a plain chi-square alarms on nothing.
Here days are what is drawn: how much a column's cells vary from day to day in the reference says how far a window
may lie from it by chance (Rao and Scott's correction, with the days' own autocorrelation on top). Weekends and workdays
are strata: the reference is weighed as the window mixes them. All columns, the score and the verdicts share one rate,
by Holm. How large a change is, PSI and KS say; that it is no chance, the p-value.

1 % of runs is asked for, and more is seen, since rare cells come in bursts that two weeks of days do not tell: of 600
simulated worlds of 500 orgs without a change, a week beside a fortnight, 18 alarmed: 3.0 % (95 % interval 1.8 to 4.7).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import fdtrc  # type: ignore[import-untyped]

from detector.feature_table import LABELLED, TABLE
from models.reference import Reference, Spread, spread
from training.errors import TrainingError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FALSE_ALARMS = 0.01  # asked for a run, over everything that it compares
SEEN = 0.03  # of runs without a change: 18 of 600 simulated worlds
LEAST_PSI = 0.05  # a smaller change is not worth a waking, however sure
LEAST_DAYS = 7  # of the reference: fewer do not tell how days vary
LEAST_SHARE = 0.05  # of the reference's gifts in a cell that is compared
STICKY = 0.9  # the highest autocorrelation of days that is believed
# Label columns move for a month with every case that is told, which days do not tell: measured, and never alarmed.
TOLD = frozenset(name for name, row in TABLE.items() if set(LABELLED) & set(row.needs))
VERDICTS = ("approve", "hold", "block")
DAY_US = 86_400_000_000
SATURDAY = 5
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
    chances = {name: chance(then, now, then_days, now_days) for name, (then, now) in pairs.items()}
    surprising = holm({name: p for name, p in chances.items() if name not in TOLD}, rate)
    found = [measured(name, *pair, chances[name], name in surprising) for name, pair in pairs.items()]
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


def weekend(days: Iterable[date]) -> NDArray[np.bool_]:
    return np.array([day.weekday() >= SATURDAY for day in days], dtype=np.bool_)


def measured(name: str, then: Ints, now: Ints, p: float, surprising: bool) -> Drift:
    """How large a change is: PSI over the cells that are compared, KS over what is not null."""
    before, after = then.sum(axis=0), now.sum(axis=0)
    cells = merged(before)
    # Half a gift more in each cell, since an empty one would be infinitely far.
    smooth_before, smooth_after = ((one @ cells + 0.5) / (one.sum() + 0.5 * cells.shape[1]) for one in (before, after))
    psi = float(((smooth_after - smooth_before) * np.log(smooth_after / smooth_before)).sum())
    steps = [np.cumsum(one[:-1]) / max(1, one[:-1].sum()) for one in (before, after)]
    ks = float(np.abs(steps[0] - steps[1]).max()) if before[:-1].sum() and after[:-1].sum() else 0.0
    shares = [one / one.sum() for one in (before, after)]
    return Drift(
        name,
        psi,
        ks,
        p,
        surprising and psi >= LEAST_PSI,
        float(shares[0][-1]),
        float(shares[1][-1]),
        tuple(shares[0].tolist()),
        tuple(shares[1].tolist()),
    )


def holm(chances: Mapping[str, float], rate: float) -> set[str]:
    """The names whose p-values stand out at this rate over all of them together."""
    found: set[str] = set()
    for place, name in enumerate(sorted(chances, key=lambda one: chances[one])):
        if chances[name] * (len(chances) - place) > rate:
            break
        found.add(name)
    return found


# Chance


def chance(then: Ints, now: Ints, then_weekend: NDArray[np.bool_], now_weekend: NDArray[np.bool_]) -> float:
    """The p-value that days like `then` (days, bins) give a window as far off as `now`, nulls as the last bin."""
    cells = merged(then.sum(axis=0))
    before, after = then @ cells, now @ cells
    expected, strayed, strata = strays(before, after, then_weekend, now_weekend)
    floor = np.maximum(expected, LEAST_SHARE)
    distance = float(((after.sum(axis=0) / after.sum() - expected) ** 2 / floor).sum())
    usual, shape = by_chance(strayed / np.sqrt(floor), expected, floor, before, after, strata)
    return float(fdtrc(shape, max(1, len(before) - strata), distance / usual)) if usual > 0 else float(distance == 0)


def merged(totals: Ints) -> Floats:
    """Neighbouring bins joined until each cell has its least share (bins, cells); nulls stay apart.

    Rare cells belong to few parties, which stay for weeks: their days tell too little of how they vary.
    """
    number, held, place = 0, 0.0, []
    for count in totals[:-1].tolist():
        if held >= LEAST_SHARE * totals.sum():
            number, held = number + 1, 0.0
        place.append(number)
        held += count
    found: Floats = np.eye(number + 2)[[*place, number + 1]]
    return found


def strays(
    before: Floats, after: Floats, then_weekend: NDArray[np.bool_], now_weekend: NDArray[np.bool_]
) -> tuple[Floats, Floats, int]:
    """The shares to expect as the window mixes its days, how each reference day strayed (in gifts), and the strata."""
    expected, strayed, strata = np.zeros(before.shape[1]), np.empty_like(before), 0
    both = {bool(one) for one in now_weekend} <= {bool(one) for one in then_weekend}
    for is_weekend in (False, True) if both else (None,):
        mine = np.ones(len(before), np.bool_) if is_weekend is None else then_weekend == is_weekend
        theirs = np.ones(len(after), np.bool_) if is_weekend is None else now_weekend == is_weekend
        if not mine.any():
            continue
        shares = before[mine].sum(axis=0) / max(1.0, before[mine].sum())
        expected += shares * (after[theirs].sum() / after.sum())
        strayed[mine] = before[mine] - before[mine].sum(axis=1, keepdims=True) * shares
        strata += 1
    return expected, strayed, strata


def by_chance(
    strayed: Floats, expected: Floats, floor: Floats, before: Floats, after: Floats, strata: int
) -> tuple[float, float]:
    """The mean distance of a window by chance, and its degrees of freedom, from how the reference's days strayed."""
    days, window_days = len(before), len(after)
    spread_of_days = strayed.T @ strayed / max(1, days - strata)
    trace = float(np.trace(spread_of_days))
    # What independent gifts would give; days can only add to it.
    single = float((expected * (1 - expected) / floor).sum())
    a_day, a_window_day = before.sum() / days, after.sum() / window_days
    excess = max(0.0, trace / (a_day * single) - 1) if single > 0 else 0.0
    sticky = autocorrelation(strayed)
    usual = single * (
        (1 + excess) * longer(sticky, days) / before.sum()
        + (1 + excess * a_window_day / a_day) * longer(sticky, window_days) / after.sum()
    )
    return usual, max(1.0, trace**2 / float((spread_of_days**2).sum())) if trace > 0 else 1.0


def autocorrelation(strayed: Floats) -> float:
    """Of one day with the next, corrected for the bias of a short run."""
    power = float((strayed**2).sum())
    found = float((strayed[1:] * strayed[:-1]).sum()) / power if power > 0 else 0.0
    return min(STICKY, max(0.0, found + (1 + 3 * found) / len(strayed)))


def longer(sticky: float, days: int) -> float:
    """By how much the variance of a mean over so many days grows if each is like the one before."""
    lags = np.arange(1, days)
    return float(1 + 2 * ((1 - lags / days) * sticky**lags).sum())


def sparkline(shares: Sequence[float]) -> str:
    """Shares as a line of bars, the largest a full one.

    >>> sparkline([0.0, 0.5, 1.0])
    '▁▅█'
    """
    most = max(shares, default=0.0) or 1.0
    return "".join(BARS[round(share / most * (len(BARS) - 1))] for share in shares)
