"""The facts of the feature table, live: what a gift says of itself, and what follows from its amount alone."""

from __future__ import annotations

from typing import Protocol

from detector.feature_table import IDENTITIES, LARGEST, TABLE, YOUNG_S

NAMES: tuple[str, ...] = tuple(row.name for row in TABLE.values() if row.kind == "fact")
MARKS = (10, 20, 25, 50)  # tenths of a power of ten


class Said(Protocol):
    """A gift with its facts; what the ledger does not know is None."""

    @property
    def amount(self) -> int: ...
    @property
    def sender_available(self) -> int | None: ...
    @property
    def sender_age_s(self) -> int | None: ...
    @property
    def recipient_age_s(self) -> int | None: ...
    @property
    def identity(self) -> str | None: ...
    @property
    def topup_age_s(self) -> int | None: ...
    @property
    def same_owner(self) -> bool | None: ...
    @property
    def promo_amount(self) -> int | None: ...
    @property
    def young_amount(self) -> int | None: ...


def facts(gift: Said) -> tuple[int | None, ...]:
    """The values of NAMES: an identity by its rank, a truth as 1 or 0."""
    return (
        gift.amount,
        *spelled(gift.amount),
        gift.sender_available,
        gift.sender_age_s,
        gift.recipient_age_s,
        IDENTITIES.get(gift.identity) if gift.identity is not None else None,
        gift.topup_age_s,
        None if gift.same_owner is None else int(gift.same_owner),
        gift.promo_amount,
        gift.young_amount,
    )


def spelled(amount: int) -> tuple[int, int]:
    """Decimal digits without trailing zeros; thousandths by which the amount stays under the next round one."""
    amount = min(amount, LARGEST)
    text = str(amount)
    power: int = 10 ** (len(text) - 1)
    above = 10 * power
    for tenths in MARKS:
        mark, rest = divmod(power * tenths, 10)
        if mark >= amount and not rest:
            above = mark
            break
    return len(text.rstrip("0")), (above - amount) * 1000 // above


def young(gift: Said) -> bool:
    return gift.sender_age_s is not None and gift.sender_age_s < YOUNG_S


def promo(gift: Said) -> int:
    """Promotional micro-credits as a sum may count them: none where that is unknown."""
    return min(max(gift.promo_amount or 0, 0), LARGEST)
