"""The breaker, pure: while a mass of gifts is being blocked, what rules and the model would block is held.

Law: it never lets a gift through. Under an open breaker a decision is the one that it would have been, or a hold in
place of a block. What a limit refuses and what a block entry names stay so: both say which gift they mean.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from detector.gift import Decision, Hit, Verdict

BY, NAME = "breaker", "mass_block"
REASON = f"{BY}:{NAME}"
# Whose blocks come by the mass where one of them goes wrong; `degraded` is a model too old, with when_old = "block".
TURNABLE = frozenset({"rule", "model", "degraded"})
BLOCK, HOLD = Verdict.BLOCK.word, Verdict.HOLD.word


@dataclass(frozen=True, slots=True)
class BreakerTerms:
    """It opens when more than `share` of at least `at_least` looks within `window_s` were blocks of rules or the model,
    and closes once that was not so for `cool_s`."""

    share: float = 0.2
    at_least: int = 50
    window_s: int = 600
    cool_s: int = 1_800


# --- one decision ---


def blocked(hits: Iterable[Hit]) -> bool:
    """Whether rules or the model say block, be it that an open breaker made a hold of it."""
    return any(hit.verdict == BLOCK and hit.by in TURNABLE and hit.waived_by is None for hit in hits)


def turns(hits: Iterable[Hit]) -> bool:
    """Whether an open breaker makes a hold of these: rules or the model block, and nothing else does."""
    blocking = [hit.by for hit in hits if hit.verdict == BLOCK and hit.waived_by is None]
    return bool(blocking) and TURNABLE.issuperset(blocking)


def hit(opening: int) -> Hit:
    return Hit(BY, NAME, HOLD, {"opening": opening})


# --- all of them ---


class Count(NamedTuple):
    """Looks within the window that judged a gift (no refusals), and those at which rules or the model blocked it."""

    judged: int = 0
    blocked: int = 0

    @property
    def share(self) -> float:
        return self.blocked / self.judged if self.judged else 0.0

    def over(self, terms: BreakerTerms) -> bool:
        return self.judged >= terms.at_least and self.blocked > terms.share * self.judged


class Tally:
    """What this process judged and committed since it last told; first looks apart from later ones, since those are of
    gifts that passed the first and would hide a mass of blocks among many approvals."""

    def __init__(self) -> None:
        self.first, self.later = [0, 0], [0, 0]

    def add(self, decisions: Sequence[Decision]) -> None:
        for one in decisions:
            if not one.refused:
                counts = self.first if one.gift.look == 1 else self.later
                counts[0] += 1
                if one.hits and blocked(one.hits):
                    counts[1] += 1

    def take(self) -> tuple[Count, Count]:
        taken = Count(*self.first), Count(*self.later)
        self.first, self.later = [0, 0], [0, 0]
        return taken

    def put_back(self, taken: tuple[Count, Count]) -> None:
        """What could not be told is told with the next."""
        for counts, back in zip((self.first, self.later), taken, strict=True):
            counts[0] += back.judged
            counts[1] += back.blocked


class State(NamedTuple):
    """How the breaker stands: the opening that lasts, if one does, and when too many were last seen being blocked.
    Times in microseconds, the database's."""

    now: int
    opening: int | None
    over_at: int | None
    first: Count = Count()
    later: Count = Count()


class Act(enum.Enum):
    """What is to be done about it: nothing, open, note that too many are still being blocked, or close, and why."""

    STAY = ""
    OPEN = "opened"
    NOTE = "still over"
    CALM = "calm"
    NO_TERMS = "no_terms"


def due(terms: BreakerTerms | None, state: State) -> Act:
    """What follows from how it stands."""
    if terms is None:
        return Act.STAY if state.opening is None else Act.NO_TERMS
    over = state.first.over(terms) or state.later.over(terms)
    if state.opening is None:
        return Act.OPEN if over else Act.STAY
    if over:
        return Act.NOTE
    return Act.CALM if state.now - (state.over_at or 0) >= terms.cool_s * 1_000_000 else Act.STAY
