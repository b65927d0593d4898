"""How the ledger asks. In process, the detector sits inside the gate's own transaction: one commit for both."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from detector.contract import Left, Parties, Sitting


class Scorer(Protocol):
    """Locks what the parties' gifts count on and brings their activity up to date."""

    async def gather(self, conn: Any, gifts: Iterable[Parties], *, at: int | None = None) -> Sitting: ...


class Desk(Protocol):
    """Where held gifts wait for an analyst; it hears of those that ended without one.

    What belongs together `bring_together` makes one case, in place of a sitting's `tell_desk`."""

    async def left(self, conn: Any, gone: Sequence[Left]) -> None: ...
    async def bring_together(self, conn: Any, gifts: Sequence[str]) -> None: ...
    async def note(self, conn: Any, case: str, author: str, text: str) -> None: ...
    async def cases_of(self, conn: Any, gifts: Sequence[str]) -> dict[str, str]: ...
