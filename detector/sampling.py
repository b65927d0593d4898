"""Which approved gifts are drawn for review, pure. Law: by recorded inputs alone, and by nobody's choice.

A gift is drawn where the hash of its id, keyed with a secret salt, falls under the policy's rate. So the draw can be
taken again from the record (law 11), a larger rate draws all that a smaller one did, and whoever chooses ids cannot
choose what is drawn.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from detector.decide import FIRST
from detector.gift import Decision, Verdict
from detector.log import SYSTEM, Told

REASON = "sample:drawn"


def drawn(salt: bytes, gift: str, rate: float) -> bool:
    """Whether a gift is drawn at a rate of 0..1."""
    return share(salt, gift) < rate


def share(salt: bytes, gift: str) -> float:
    """Where a gift falls in 0..1, the same for ever."""
    hashed = hashlib.blake2b(gift.encode(), key=salt, digest_size=6).digest()
    return int.from_bytes(hashed, "big") / 2**48


def told(one: Decision, rate: float) -> Told:
    """What the log hears of a draw."""
    return Told("sample.drawn", one.gift.id, SYSTEM, {"decision": one.id, "rate": rate})


def samples(decisions: Sequence[Decision], salt: bytes | None, rate: float) -> list[Decision]:
    """The approved first looks that are drawn."""
    if not rate or salt is None:
        return []
    return [
        one
        for one in decisions
        if one.verdict is Verdict.APPROVE and one.gift.look == FIRST and drawn(salt, one.gift.id, rate)
    ]
