"""Which approved gifts are drawn for review, pure. Law: by recorded inputs alone, and by nobody's choice.

A gift is drawn where the hash of its id, keyed with a secret salt, falls under the policy's rate. So the draw can be
taken again from the record (law 11), a larger rate draws all that a smaller one did, and whoever chooses ids cannot
choose what is drawn.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache

from detector.decide import FIRST
from detector.gift import APPROVE, Decision
from detector.log import SYSTEM, Told

REASON = "sample:drawn"


def drawn(salt: bytes, gift: str, rate: float) -> bool:
    """Whether a gift is drawn at a rate of 0..1."""
    return share(salt, gift) < rate


def share(salt: bytes, gift: str) -> float:
    """Where a gift falls in 0..1, the same for ever."""
    hashed = keyed(salt).copy()
    hashed.update(gift.encode())
    return int.from_bytes(hashed.digest(), "big") / 2**48


@lru_cache(maxsize=1)  # a process knows one salt, and a copy costs half of a new one
def keyed(salt: bytes) -> hashlib.blake2b:
    return hashlib.blake2b(key=salt, digest_size=6)


def told(one: Decision, rate: float) -> Told:
    """What the log hears of a draw."""
    return Told("sample.drawn", one.gift.id, SYSTEM, {"decision": one.id, "rate": rate})


def samples(decisions: Sequence[Decision], salt: bytes | None, rate: float) -> list[Decision]:
    """The approved first looks that are drawn."""
    if not rate or salt is None:
        return []
    return [
        one for one in decisions if one.verdict is APPROVE and one.gift.look == FIRST and drawn(salt, one.gift.id, rate)
    ]
