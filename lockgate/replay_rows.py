"""A history's rows on their way to the gate: which can be played, cut into batches, turned into requests.

Law: a row that cannot be played becomes a bad row, with a reason.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from typing import Any

import polars as pl

from ledger import store
from ledger.credits import MOST, new_id
from ledger.transfers import Request
from training.history import VALUE_CHARS, History

TICK_US = 3_600_000_000
SLICE_ROWS = 10_000
FIRST_US, LAST_US = 0, 221_845_392_000_000_000  # 1970 to 9000: activity starts at 1970
CONTEXT = r"^[\x20-\x7e]{1,128}$"  # as detector.contract.Context
UNPLAYABLE = {
    "unplayable_at": "at is not between the years 1970 and 9000",
    "amount_too_large": f"amount is more than one gift may carry, which is {MOST}",
    "bad_ip": "ip is not 1 to 128 printable ASCII characters",
    "bad_device": "device is not 1 to 128 printable ASCII characters",
}


def playable(found: History) -> History:
    """The history without the rows that the application's own API would refuse; those are bad rows, too."""
    rows = found.rows
    at = pl.col("at").to_physical()
    checks = [
        ("unplayable_at", "at", ~at.is_between(FIRST_US, LAST_US)),
        ("amount_too_large", "amount", pl.col("amount") > MOST),
    ]
    context = [name for name in ("ip", "device") if name in rows.columns]
    rows = rows.with_columns(
        pl.when(pl.col(name).cast(pl.String) != "").then(pl.col(name).cast(pl.String)) for name in context
    )
    checks += [(f"bad_{name}", name, ~pl.col(name).str.contains(CONTEXT)) for name in context]
    reason = pl.coalesce(pl.when(bad).then(pl.lit(code)) for code, _, bad in checks)
    value = pl.coalesce(pl.when(bad).then(pl.col(about).cast(pl.String)) for _, about, bad in checks)
    judged = rows.with_columns(reason.alias(".reason"))
    odd = judged.filter(pl.col(".reason").is_not_null()).select(
        pl.lit(None, pl.Int64).alias("row"),
        "id",
        pl.col(".reason").alias("reason"),
        value.str.slice(0, VALUE_CHARS).alias("value"),
    )
    return History(judged.filter(pl.col(".reason").is_null()).drop(".reason"), pl.concat([found.bad, odd]))


def batches(rows: pl.DataFrame, most: int) -> Iterator[pl.DataFrame]:
    """The rows in order, in batches of at most `most` that each span less than a tick."""
    for part in rows.iter_slices(SLICE_ROWS):
        for start, end in cuts(part["at"].to_physical().to_list(), most, TICK_US):
            yield part.slice(start, end - start)


def cuts(times: Sequence[int], most: int, span: int) -> Iterator[tuple[int, int]]:
    """Where to cut ascending times into runs of at most `most` that each span less than `span`.

    >>> list(cuts([0, 1, 2, 3, 10, 20], 3, 10))
    [(0, 3), (3, 5), (5, 6)]
    """
    start = 0
    for end in range(1, len(times) + 1):
        if end == len(times) or end - start == most or times[end] - times[start] >= span:
            yield start, end
            start = end


def request_of(row: dict[str, Any]) -> Request:
    """A row as the API would hand it to the gate, and the moment that stands in for the clock."""
    at = store.micros(row["at"])
    ip, device = row.get("ip"), row.get("device")
    meaning = f"{row['recipient']}\n{row['amount']}\n{ip}\n{device}"
    body_hash = hashlib.sha256(meaning.encode()).digest()
    name = new_id("tr", at // 1000)
    return Request(
        name,
        key_of(row["id"]),
        row["sender"],
        row["recipient"],
        row["amount"],
        None,
        ip,
        device,
        body_hash,
        at,
    )


def key_of(name: str) -> str:
    """The row's idempotency key: its id where that is fit for a key, else what stands for it."""
    if re.fullmatch(r"[\x21-\x7e]{1,200}", name):
        return f"row:{name}"
    return f"row#{hashlib.sha256(name.encode()).hexdigest()}"
