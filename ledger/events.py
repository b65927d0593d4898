"""What the ledger tells the log: one function for each kind of event (law 12).

An event's subject is the thing that changed, its actor who changed it: the org itself, the platform's key, a person, or
the system. Bodies are flat; amounts are micro-credits. A transfer's events name both parties, so that whoever reads
them needs no look-up. Whoever changes something appends its events in the same transaction, as its last act.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from detector.contract import Told

if TYPE_CHECKING:
    from ledger.decide import Outcome


class Created(Struct, gc=False):
    """The body of transfer.created: pending, held or blocked."""

    amount: int
    recipient: str
    sender: str
    status: str


def created(outcome: Outcome) -> Told:
    """A gift that passed the gate opened a transfer."""
    one, status = outcome.request, outcome.status
    assert status is not None, "only a judged gift opens a transfer"
    return Told("transfer.created", one.id, one.sender, Created(one.amount, one.recipient, one.sender, status.value))
