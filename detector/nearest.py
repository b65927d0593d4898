"""The nearest value that turns a verdict: a grid outward from the gift, then halves of the stretch before the find.

Law: it is bounded, and what it finds was judged; nothing between two values of the grid is spoken of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from detector.gift import Verdict

Judge = Callable[[int], Verdict]


@dataclass(frozen=True, slots=True)
class Found:
    """A value at which the verdict is another one, and that one."""

    value: int
    verdict: Verdict


def better(own: Verdict, other: Verdict) -> bool:
    """Whether a verdict is turned: a stopped gift's by a milder one, an approved one's by any other."""
    return other < own if own else other is not own


def aim(own: Verdict, other: Verdict) -> int:
    """How far a turned verdict is from what one wants to know first: how to be approved, or what would stop it."""
    return int(other) if own else 0


def nearest(
    judge: Judge, own: Verdict, start: int, grid: Sequence[int], least: Verdict = Verdict.APPROVE
) -> Found | None:
    """The value nearest to `start` in the grid's direction with a turned verdict; approval goes before a mere hold.

    None is milder than `least`.
    """
    best: tuple[int, Found] | None = None
    before = start
    for value in grid:
        verdict = judge(value)
        if better(own, verdict) and (best is None or aim(own, verdict) < aim(own, best[1].verdict)):
            best = before, Found(value, verdict)
            if aim(own, verdict) <= int(least):
                break
        before = value
    return section(judge, own, *best) if best else None


def section(judge: Judge, own: Verdict, before: int, found: Found) -> Found:
    """Halve the stretch between a value that does not turn and one that does, until they are neighbours."""
    while abs(found.value - before) > 1:
        middle = (found.value + before) // 2
        verdict = judge(middle)
        if better(own, verdict) and aim(own, verdict) <= aim(own, found.verdict):
            found = Found(middle, verdict)
        else:
            before = middle
    return found


def nearer(own: Verdict, one: Found | None, other: Found | None, start: int) -> Found | None:
    """The better turn of two: approval first, then the smaller change."""
    both: Iterable[Found] = [found for found in (one, other) if found]
    return min(both, key=lambda found: (aim(own, found.verdict), abs(found.value - start)), default=None)
