"""How the ledger asks. In process, the detector sits inside the gate's own transaction: one commit for both."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from detector.contract import Left, Parties, Sitting


class Scorer(Protocol):
    """Locks what the parties' gifts count on and brings their activity up to date; for `later` looks alone, no more of
    it than they need, and nothing of it is remembered."""

    async def gather(
        self, conn: Any, gifts: Iterable[Parties], *, at: int | None = None, later: bool = False
    ) -> Sitting: ...


class Desk(Protocol):
    """Where held gifts wait for an analyst; it hears of those that ended without one."""

    async def left(self, conn: Any, gone: Sequence[Left]) -> None: ...
