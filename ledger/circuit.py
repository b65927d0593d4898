"""The circuit around a scorer on machines of its own, pure: time is an argument, in seconds.

closed  every question is asked; `failures` in a row open it
open    nothing is asked for `rest_s`: each gift is held at once, and the scorer is left to recover
half    one question is let through; its answer closes the circuit, its failure opens it again
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["closed", "open", "half_open"]


@dataclass(slots=True)
class Circuit:
    """One process's own, since a way to the scorer may be broken for one machine alone."""

    failures: int = 5
    rest_s: float = 2.0
    failed: int = 0
    opened_at: float | None = None
    probing: bool = False

    def state(self, now: float) -> State:
        if self.opened_at is None:
            return "closed"
        return "half_open" if self.probing or now >= self.opened_at + self.rest_s else "open"

    def admits(self, now: float) -> bool:
        """Whether a question may be asked now. Whoever may tells how it went, whatever happens."""
        state = self.state(now)
        if state == "half_open":
            admitted, self.probing = not self.probing, True
            return admitted
        return state == "closed"

    def succeeded(self) -> None:
        """The scorer answered. So it lives, whenever it was asked."""
        self.failed, self.opened_at, self.probing = 0, None, False

    def fell_silent(self, now: float) -> None:
        """A question was not answered as it should be, in time."""
        self.failed += 1
        if self.probing or self.failed >= self.failures:
            self.opened_at, self.probing = now, False
