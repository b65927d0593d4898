"""Transfers beside what the log told of them (law 12): what was edited, slipped in or taken out behind it is named.

A transfer that is older than the log's telling has no transfer.created. How many of these there were is an event of its
own (0007_told.sql): a transfer without one is taken for old only if it began before that, and their number and worth
must be what it says. What became of an old one since then is told and compared like any other's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import asyncpg
import msgspec

from detector.contract import Finding
from ledger import store
from ledger.views import stamp

BATCH = 2_000
TABLE = "ledger.transfers"
CREATED, SCREENED, REVERSED = "transfer.created", "transfer.screened", "transfer.reversed"
# Where a step's kind is not the status it leads to.
LEADS_TO = {"released": "pending"}
GIVES_REASON = frozenset({"held", "returned", "cancelled"})


@dataclass(slots=True)
class Old:
    """Transfers from before the log told of them: as the log counted them, and as they are."""

    seq: int | None = None
    upto: str = ""
    transfers: int = 0
    amount: int = 0
    found: int = 0
    worth: int = 0

    def takes(self, row: Any) -> bool:
        """Whether a transfer that no event tells of began before any did."""
        if self.seq is None or stamp(row["created_at"]) > self.upto:  # type: ignore[operator]
            return False
        self.found, self.worth = self.found + 1, self.worth + row["amount"]
        return True

    def findings(self) -> Iterator[Finding]:
        if (self.found, self.worth) != (self.transfers, self.amount):
            detail = (
                f"of those from before {self.upto} there are {self.found} worth {self.worth}; event {self.seq} counted "
                f"{self.transfers} worth {self.amount}"
            )
            yield Finding("disagrees", TABLE, self.seq, "ledger.upgraded", None, detail)


async def disagreements(conn: asyncpg.Connection) -> list[Finding]:
    """Every transfer that is not as the log tells, in the caller's snapshot."""
    row = await conn.fetchrow(store.SQL["told_upgrade"])
    old = Old() if row is None else Old(row["seq"], **of(row["body"], ("upto", "transfers", "amount")))
    found: list[Finding] = []
    cursor = await conn.cursor(store.SQL["told_transfers"])
    while rows := await cursor.fetch(BATCH):
        for one in rows:
            found += beside(one, old)
    return [*found, *old.findings()]


def beside(row: Any, old: Old) -> list[Finding]:
    """What differs between a transfer and its events, either of which may be missing."""
    seqs, kinds = row["seqs"] or (), row["kinds"] or ()
    events = [(seq, kind, of(text)) for seq, kind, text in zip(seqs, kinds, row["bodies"] or (), strict=True)]
    if row["status"] is None:
        return [finding(row, events[0], "the log tells of it, and it is not there")]
    began = [one for one in events if one[1] == CREATED]
    if not began and not old.takes(row):
        return [finding(row, None, "no event tells of it: it was added behind the log, or renamed")]
    differ = [name for one in began[:1] for name in ("sender", "recipient", "amount") if one[2].get(name) != row[name]]
    steps = [one for one in events if one[1] != REVERSED]
    if steps:
        differ += astray(row, steps[-1])
    if began and row["version"] != len(steps):
        differ.append(f"version {row['version']} after {len(steps)} steps")
    taken = {body.get("reversal"): body.get("amount") for _, kind, body in events if kind == REVERSED}
    if taken != dict(zip(row["reversals"] or (), row["amounts"] or (), strict=True)):
        differ.append("reversals")
    last = events[-1] if events else None
    return [finding(row, last, f"it says otherwise than its events: {', '.join(differ)}")] if differ else []


def astray(row: Any, step: tuple[int, str, dict[str, Any]]) -> Iterator[str]:
    """In what a transfer stands elsewhere than its last step left it."""
    _, kind, body = step
    word = kind.removeprefix("transfer.")
    status = body.get("status") if kind in (CREATED, SCREENED) else LEADS_TO.get(word, word)
    if row["status"] != status:
        yield f"status {row['status']}, not {status}"
    if row["settled_amount"] != (body.get("amount") if word == "settled" else None):
        yield "settled_amount"
    if word in GIVES_REASON and row["reason"] != body.get("reason"):
        yield "reason"


def finding(row: Any, event: tuple[int, str, Any] | None, detail: str) -> Finding:
    seq, kind = event[:2] if event else (None, None)
    return Finding("disagrees", TABLE, seq, kind, row["id"], detail)


def of(text: str, names: tuple[str, ...] = ()) -> dict[str, Any]:
    """What an event says, or these parts of it; nothing where it can no longer be read, which the chain tells."""
    try:
        body = msgspec.json.decode(text or "", type=dict[str, Any])
    except msgspec.DecodeError:
        return {}
    return {name: body[name] for name in names if name in body} if names else body
