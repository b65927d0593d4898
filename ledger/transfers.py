"""The transfer: the money side of a gift, its statuses and the steps it may take. It ends once (law 3)."""

from __future__ import annotations

import enum
import hashlib
from typing import Final

from msgspec import Struct


class Status(enum.StrEnum):
    SCREENING = "screening"  # the scorer has yet to answer
    PENDING = "pending"
    HELD = "held"
    BLOCKED = "blocked"
    SETTLED = "settled"
    RETURNED = "returned"
    CANCELLED = "cancelled"


# A member read from its class costs some ten times as much.
PENDING, HELD, BLOCKED = Status.PENDING, Status.HELD, Status.BLOCKED

# The one table of steps; ledger.judge_step() keeps the same one in SQL, and a test holds the two together.
STEPS: Final[dict[Status, frozenset[Status]]] = {
    Status.SCREENING: frozenset({Status.PENDING, Status.HELD, Status.BLOCKED, Status.RETURNED, Status.CANCELLED}),
    Status.PENDING: frozenset({Status.SETTLED, Status.HELD, Status.RETURNED, Status.CANCELLED}),
    Status.HELD: frozenset({Status.PENDING, Status.RETURNED, Status.CANCELLED}),
    Status.BLOCKED: frozenset(),
    Status.SETTLED: frozenset(),
    Status.RETURNED: frozenset(),
    Status.CANCELLED: frozenset(),
}
OPEN: Final = frozenset(status for status, steps in STEPS.items() if steps)
FIRST_STATUS: Final = {"approve": Status.PENDING, "hold": Status.HELD, "block": Status.BLOCKED}


class Request(Struct, frozen=True, gc=False):
    """A gift as it was asked for, under its idempotency key. `id` is the id its transfer will have."""

    id: str
    key: str
    sender: str
    recipient: str
    amount: int
    note: str | None
    ip: str | None
    device: str | None
    body_hash: bytes
    at: int | None = None

    @property
    def payload_hash(self) -> bytes:
        """Binds a decision to exactly this gift; ledger.judge_step() computes the same."""
        payload = f"{self.id}\n{self.sender}\n{self.recipient}\n{self.amount}\n{self.note or ''}"
        return hashlib.sha256(payload.encode()).digest()


class Answer(Struct, frozen=True, gc=False):
    """What a request is told: status and bytes, the same for ever under one key (law 7), and passing headers."""

    status: int
    body: bytes
    headers: dict[str, str] = {}
    replayed: bool = False
