"""`python -m training.ready`: compiles the kernels for this processor, so that no first history waits for it.

Law: every history finds them, since each kernel has one form, whatever columns a history has.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl

from training.features import features

START = datetime(2026, 1, 5, tzinfo=UTC)


def whole() -> pl.DataFrame:
    """A few gifts that say all that a history can say."""
    gifts = range(4)
    return pl.DataFrame(
        {
            "id": [f"g{number}" for number in gifts],
            "at": [START + timedelta(hours=number) for number in gifts],
            "sender": ["a", "b", "a", "c"],
            "recipient": ["b", "c", "b", "a"],
            "amount": [1_000_000 * (number + 1) for number in gifts],
            "fraud": [False, True, False, None],
            "label_at": [START + timedelta(hours=number, minutes=1) for number in gifts],
            "verdict": ["approve", "hold", None, "approve"],
            "sender_age_s": [60, None, 60, 600],
            "promo_amount": [0, 1, None, 2],
            "ip": ["x", None, "x", "y"],
            "device": ["x", None, "x", "y"],
            "fingerprint": ["x", None, "x", "y"],
        }
    )


if __name__ == "__main__":
    features(whole())
