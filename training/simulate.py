"""A synthetic platform as a history: honest gifts, named frauds and their look-alikes, with labels as in life.

Law: pure. The same arguments give the same frame to the byte; nothing here reads a clock.
It is for demos, tests and the default model, and proves nothing about the quality of one. The columns `typology` and
`truth` are for judging only; a feature that reads them reads the answer.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from training import simulate_honest as honest
from training.errors import TrainingError
from training.simulate_labels import NEVER, labels
from training.simulate_orgs import IDENTITIES, TIERS, Ints, Table, World, customers
from training.simulate_purses import Books, kept
from training.simulate_scene import crews
from training.simulate_typologies import NAMES, TRUTH, told

START = datetime(2026, 1, 5, tzinfo=UTC)
LEAST_ORGS, MOST_ORGS = 50, 200_000
LEAST_DAYS, MOST_DAYS = 7, 3_650
FRAUD_SHARE = 0.0092  # of the gifts drafted; some frauds find an empty purse
TIME = pl.Datetime("us", "UTC")
SECOND = 1_000_000

Step = Callable[[str, float], None]


def simulate(
    orgs: int, days: int, seed: int, start: datetime = START, step: Step = lambda stage, share: None
) -> pl.DataFrame:
    """One row a gift, by time. `orgs` customers; guests, students and thieves come on top of them.

    `step` is told the stage of the work and the share of it that is done.
    """
    _refuse(orgs, days, seed, start)
    begin = (start - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    end = begin + timedelta(days=days) // timedelta(microseconds=1)
    # One stream of chance a stage: what is added to one stage leaves the draws of the others alone.
    chance = [np.random.default_rng([seed, stage]) for stage in range(8)]
    step("founding the platform", 0.02)
    world = customers(chance[0], orgs, begin, end)
    step("everyday gifts", 0.05)
    gatherings = honest.gatherings(chance[1], world, begin, end)
    everyday = np.concatenate([gatherings, honest.habits(chance[2], world, begin, end)])
    step("frauds and their look-alikes", 0.2)
    known = crews(chance[3], world, begin, end)
    stories, filled = told(chance[4], world, known, everyday["at"], (begin, end), FRAUD_SHARE * len(everyday))
    filled.append(honest.funding(chance[5], world, begin, end))
    drafts = np.concatenate([everyday, stories])
    drafts = drafts[np.argsort(drafts["at"], kind="stable")]
    books = kept(chance[6], world, drafts, np.concatenate(filled), end, lambda share: step("purses", 0.4 + 0.5 * share))
    step("labels", 0.95)
    return _frame(world, drafts, books, labels(chance[7], drafts, TRUTH[drafts["story"]]))


def _refuse(orgs: int, days: int, seed: int, start: datetime) -> None:
    for name, value, least, most in (("orgs", orgs, LEAST_ORGS, MOST_ORGS), ("days", days, LEAST_DAYS, MOST_DAYS)):
        if not least <= value <= most:
            raise TrainingError(f"{name} is {value}: give {least} to {most}, as a platform needs some life to simulate")
    if seed < 0:
        raise TrainingError(f"seed is {seed}: give 0 or more")
    if start.tzinfo is None or not 1980 <= start.year <= 8000:
        raise TrainingError(f"start is {start.isoformat()}: give a time with its zone, in the years 1980 to 8000")


def _frame(world: World, drafts: Table, books: Books, known: tuple[Ints, Ints]) -> pl.DataFrame:
    """The gifts that could be given, in the columns of the history contract."""
    rows = pl.DataFrame(
        {
            "at": drafts["at"],
            "sender": _spelled("org_", drafts["sender"]),
            "recipient": _spelled("org_", drafts["recipient"]),
            "amount": books.amount,
            "fraud": known[0],
            "label_at": known[1],
            **_context(world, drafts, books),
            "typology": pl.Series(NAMES).gather(drafts["story"]),
            "truth": TRUTH[drafts["story"]],
        }
    )
    unknown = [pl.when(pl.col(name) != NEVER).then(name) for name in ("fraud", "label_at", "topup_age_s")]
    given = rows.with_columns(unknown).filter(pl.col("amount") > 0)
    number = pl.int_range(1, pl.len() + 1).cast(pl.String).str.zfill(8)
    times = pl.col("at", "label_at").cast(TIME)
    return given.select(pl.concat_str(pl.lit("g"), number).alias("id"), pl.all()).with_columns(
        times, pl.col("fraud").cast(pl.Boolean)
    )


def _context(world: World, drafts: Table, books: Books) -> dict[str, Any]:
    """The facts and context keys of each gift, under the names of detector.gift.Gift."""
    at = drafts["at"]
    sender, recipient = world.orgs[drafts["sender"]], world.orgs[drafts["recipient"]]
    return {
        "ip": _address(drafts["ip"]),
        "device": _spelled("dev_", drafts["device"]),
        "fingerprint": _spelled("card_", books.card),
        "tier": pl.Series(TIERS).gather(sender["tier"]),
        "recipient_tier": pl.Series(TIERS).gather(recipient["tier"]),
        "identity": pl.Series(IDENTITIES).gather(sender["identity"]),
        "sender_age_s": (at - sender["created"]) // SECOND,
        "recipient_age_s": (at - recipient["created"]) // SECOND,
        "sender_available": books.available,
        "topup_age_s": np.where(books.bought_at >= 0, (at - books.bought_at) // SECOND, NEVER),
        "same_owner": sender["owner"] == recipient["owner"],
        "promo_amount": books.promo,
        "young_amount": books.young,
    }


def _spelled(prefix: str, numbers: Ints) -> pl.Series:
    """Ten hex digits a number, none for -1: multiplied by an odd number, so that order tells nothing of kind."""
    mixed = (numbers.astype(np.uint64) * np.uint64(0x9E3779B97F) + np.uint64(0x5DEECE66D)) % np.uint64(2**40)
    shown, back = np.unique(mixed, return_inverse=True)
    names = pl.Series([f"{prefix}{one:010x}" for one in shown.tolist()], dtype=pl.String).gather(back)
    return names.set(pl.Series(numbers < 0), None)


def _address(numbers: Ints) -> pl.Series:
    """An address of 10.0.0.0/8, which is nobody's on the internet (RFC 1918)."""
    mixed = (numbers * 0x9E3779 + 0x5DEECE) % 2**24
    shown, back = np.unique(mixed, return_inverse=True)
    names = [f"10.{one >> 16}.{one >> 8 & 255}.{one & 255}" for one in shown.tolist()]
    return pl.Series(names, dtype=pl.String).gather(back).set(pl.Series(numbers < 0), None)
