"""How the ledger asks. In process, the detector sits inside the gate's own transaction: one commit for both."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from detector.contract import Parties, Sitting


class Scorer(Protocol):
    """Locks what the parties' gifts count on and brings their activity up to date."""

    async def gather(self, conn: Any, gifts: Iterable[Parties], *, at: int | None = None) -> Sitting: ...
