"""What orgs mean to do, before their purses say what they can: drafts of gifts, and what fills a purse.

Law: a draft never names an amount that its sender need not own; the purses decide.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from training.simulate_orgs import CREDIT, Floats, Ints, Table

HONEST, ALONE = 0, -1  # the story of a gift that is part of none, and its case
# Amounts end in whole cents, as people type them.
CENT = CREDIT // 100

# share: of what the sender has at that moment, or NaN where the amount is said. funds: the sender would buy what lacks.
DRAFT = np.dtype(
    [(name, "i8") for name in ("at", "sender", "recipient", "amount", "ip", "device", "story", "case")]
    + [("share", "f8"), ("funds", "?")]
)
# card -1: granted, not bought.
FILLING = np.dtype([(name, "i8") for name in ("at", "org", "amount", "card")])


def drafts(at: Ints, sender: Ints | int, recipient: Ints | int, hands: tuple[Ints, Ints], **given: object) -> Table:
    """One draft a moment; `given` are `amount` or `share`, and `funds`."""
    rows = np.zeros(len(at), DRAFT)
    rows["at"], rows["sender"], rows["recipient"] = at, sender, recipient
    rows["ip"], rows["device"] = hands
    rows["share"], rows["case"] = np.nan, ALONE
    for name, column in given.items():
        rows[name] = column
    return rows


def fillings(at: Ints | int, org: Ints | int, amount: Ints | int, card: Ints | int = -1) -> Table:
    rows = np.zeros(np.broadcast(at, org, amount).size, FILLING)
    rows["at"], rows["org"], rows["amount"], rows["card"] = at, org, amount, card
    return rows


def typed(rng: np.random.Generator, credits: Floats, rounds: Floats | float) -> Ints:
    """Credits as people give them, in micro-credits: some round to 1, 2, 2.5 or 5 times a power of ten."""
    credits = np.clip(credits, 0.1, 50_000.0)
    power = 10.0 ** np.floor(np.log10(credits))
    steps = np.array([1.0, 2.0, 2.5, 5.0, 10.0])
    nearest = steps[np.abs(np.log(credits / power)[:, None] - np.log(steps)).argmin(axis=1)] * power
    whole = np.maximum(np.rint(credits), 1.0)
    how = rng.random(len(credits))
    cut = np.where(how < np.asarray(rounds) * 0.7, nearest, np.where(how < 0.8, whole, credits))
    micro: Ints = np.maximum(np.rint(cut * 100).astype(np.int64), 1) * CENT
    return micro


def joined(parts: list[Table], dtype: npt.DTypeLike) -> Table:
    return np.concatenate(parts) if parts else np.zeros(0, dtype)
