"""How the ledger asks. In process, the detector sits inside the gate's own transaction: one commit for both.

On machines of its own it is asked between two commits (ledger.remote), and what was heard sits in the second one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from detector.contract import Judged, Left, Locking, Mark, Parties, Sitting, Told


class Scorer(Protocol):
    """Locks what the parties' gifts count on and brings their activity up to date; for `later` looks alone, no more of
    it than they need, and nothing of it is remembered. What `locking_with` gives before their senders' tiers are known,
    if anything, the caller may lock by a statement of its own; `locked` is that and what the statement told."""

    def locking_with(self, gifts: Iterable[Parties]) -> Locking | None: ...

    async def gather(
        self, conn: Any, gifts: Iterable[Parties], *, at: int | None = None, later: bool = False,
        locked: tuple[Locking, Any] | None = None,
    ) -> Sitting: ...  # fmt: skip


class Desk(Protocol):
    """Where held gifts wait for an analyst; it hears of those that ended without one, and the log of `also`.

    What belongs together `bring_together` makes one case, in place of a sitting's `tell_desk`."""

    async def left(self, conn: Any, gone: Sequence[Left], also: Sequence[Told] = ()) -> None: ...
    async def bring_together(self, conn: Any, gifts: Sequence[str]) -> None: ...
    async def note(self, conn: Any, case: str, author: str, text: str) -> None: ...
    async def cases_of(self, conn: Any, gifts: Sequence[str]) -> dict[str, str]: ...
    async def unjudged(self, conn: Any, after: Mark | None, most: int) -> list[Mark]: ...


class House(Scorer, Desk, Protocol):
    """A scorer with the desk of the same database."""


class Hears(House, Protocol):
    """A scorer whose verdicts another one gave: by gift what was heard, or as a text why nothing was."""

    def hears(self, heard: Mapping[str, Judged | str]) -> House: ...
