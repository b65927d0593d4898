"""The ledger's SQL: each statement is a file in sql/, and this module gives it a name and a shape."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from detector.contract import Table, micros, moment

__all__ = ["ANSWERS", "ENTRIES", "QUESTIONS", "SQL", "TRANSFERS", "columns", "micros", "moment"]

SQL = {path.stem: path.read_text() for path in (Path(__file__).parent / "sql").glob("*.sql")}

ANSWERS = Table("ledger.answers", org_id="text", key="text", body_hash="bytea", status="int2", body="bytea")
TRANSFERS = Table(
    "ledger.transfers",
    id="text", sender="text", recipient="text", amount="int8", note="text", payload_hash="bytea", status="text",
    created_at="timestamptz", settle_at="timestamptz", lock_left_s="int4", hold_until="timestamptz", decision_id="text",
    ip="text", device="text", sender_available="int8", ended_at="timestamptz", reason="text",
)  # fmt: skip
ENTRIES = Table(
    "ledger.entries",
    posting_id="text", line="int2", kind="text", at="timestamptz", org_id="text", grant_id="text", account="text",
    amount="int8",
)  # fmt: skip
QUESTIONS = Table(
    "ledger.questions",
    transfer_id="text", org_id="text", key="text", body_hash="bytea", asked="text", open="bool",
    lease_until="timestamptz",
)  # fmt: skip


def columns(rows: Iterable[Sequence[Any]], width: int) -> list[list[Any]]:
    """Rows as the column arrays that a set-based statement takes; `width` empty ones where there is no row."""
    return [list(column) for column in zip(*rows, strict=True)] or [[] for _ in range(width)]
