"""Two ways to run, set beside each other by what every request waited. Law: nothing that was measured is left out.

A round holds a lap of each way, one right after the other. The figure is a percentile of all requests of one way over
that of all requests of the other. Requests of a lap wait alike, so what is drawn again for the interval is rounds, both
laps of a round together: what slows a machine for seconds then counts for both, and a stray lap weighs what it is.
Beside it stands what a round usually comes to, which single laps cannot decide.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Waits = NDArray[np.int64]
Span = tuple[int, int]
Figure = Callable[[Sequence[Waits], Sequence[Waits], float], float]

DRAWS = 2_000
INTERVAL = (0.025, 0.975)
FEWEST = 20  # rounds from which on drawing them again says anything


def cut(due: Waits, waited: Waits, laps: Sequence[Span]) -> list[Waits]:
    """What the requests waited that were due in each lap: from its start on, before its end.

    >>> [lap.tolist() for lap in cut(np.array([5, 1, 3]), np.array([50, 10, 30]), [(1, 4), (4, 9)])]
    [[10, 30], [50]]
    """
    order = np.argsort(due, kind="stable")
    due, waited = due[order], waited[order]
    return [waited[slice(*np.searchsorted(due, lap, side="left"))] for lap in laps]


def percentile(waits: Waits, share: float) -> int:
    """The least value that at least `share` of all are not above (nearest rank).

    >>> percentile(np.array([3, 1, 4, 2]), 0.5), percentile(np.array([3, 1, 4, 2]), 0.99)
    (2, 4)
    """
    place = max(0, math.ceil(share * len(waits)) - 1)
    return int(np.partition(waits, place)[place])


def ratio(ours: Sequence[Waits], theirs: Sequence[Waits], share: float) -> float:
    """The percentile of all that ours waited over that of all that theirs did."""
    return percentile(np.concatenate(ours), share) / percentile(np.concatenate(theirs), share)


def typical(ours: Sequence[Waits], theirs: Sequence[Waits], share: float) -> float:
    """The ratio of a round as it usually is: the percentile of its one lap over that of its other, Hodges and Lehmann's
    middle over the rounds. A stall that reaches one request in a hundred makes the pooled p99; here it is one lap's."""
    logs = np.log([percentile(our, share) / percentile(their, share) for our, their in zip(ours, theirs, strict=True)])
    first, second = np.triu_indices(len(logs))
    return float(np.exp(np.median((logs[first] + logs[second]) / 2)))


def interval(
    ours: Sequence[Waits],
    theirs: Sequence[Waits],
    share: float,
    of: Figure = ratio,
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> tuple[float, float] | None:
    """Where the figure lies 19 times in 20, by rounds drawn again; None of fewer rounds than say anything."""
    rounds, chance = len(ours), np.random.default_rng(seed)
    if rounds < FEWEST:
        return None
    found = []
    for _ in range(draws):
        chosen = chance.integers(0, rounds, rounds).tolist()
        found.append(of([ours[one] for one in chosen], [theirs[one] for one in chosen], share))
    low, high = np.quantile(found, INTERVAL)
    return float(low), float(high)
