"""Law 5 for a scorer on machines of its own: whatever it does or fails to do, nothing is approved, the sender is answered,
the decision says why, and the gift is judged once the scorer is back. Real processes, and one between them that misbehaves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from tests.apart import Apart, Sender, apart, reasons, until
from tests.support import House

# How the way misbehaves, and the reason that the decision carries.
WAYS = {
    "hang 60": "scorer_timeout",
    "slow 6": "scorer_timeout",
    "cut": "scorer_garbled",
    "garbage": "scorer_garbled",
    "half": "scorer_garbled",
    "nan": "scorer_garbled",
    "beyond": "scorer_garbled",
    "word": "scorer_garbled",
    "twice": "scorer_garbled",
    "wrong_id": "scorer_mismatched",
    "wrong_hash": "scorer_mismatched",
    "wrong_look": "scorer_mismatched",
    "unbound": "scorer_mismatched",
    "missing": "scorer_missing",
    "version": "scorer_version",
    "500": "scorer_failed",
    "503": "scorer_failed",
    "301": "scorer_failed",
    "401": "scorer_denied",
}


@pytest.fixture
def pair(fresh_databases: Any) -> Iterator[Apart]:
    make, drop = fresh_databases
    dsns = make(), make()
    # The circuit stays out of it: each way is met by itself.
    with apart(*dsns, LOCKGATE_SCORER_FAILURES="1000") as pair:
        yield pair
    for dsn in dsns:
        drop(dsn)


async def test_whatever_the_scorer_does_nothing_passes_and_everything_is_judged_after_it(pair: Apart) -> None:
    async with pair.house() as house, pair.ledger().client() as door:
        sender = await Sender.new(house)
        held = {}
        for way, reason in WAYS.items():
            pair.way(way)
            told = await asyncio.wait_for(sender.send(door), 30)
            assert (told.status_code, told.json()["status"]) == (201, "held"), (way, told.text)
            held[told.json()["id"]] = way
            assert await reasons(house, f"{told.json()['id']}.1") == ["hold", f"degraded:{reason}"], way
        assert await count(house, "detector.decisions where verdict = 'approve'") == 0
        pair.way("pass")
        pending = "ledger.transfers where status = 'pending'"
        await until(lambda: all_of(house, pending, len(held)))
        assert await count(house, "detector.case_gifts where standing = 'waiting'") == 0
        # At their hour the scorer is silent again, for a little while: they wait, and are not held for an analyst.
        pair.way("500")
        await house.pass_time(25 * 3600)
        asked = "ledger.questions where look > 1"
        await until(lambda: all_of(house, asked, len(held)))
        assert await count(house, pending) == len(held)
        pair.way("pass")
        await until(lambda: all_of(house, "ledger.transfers where status = 'settled'", len(held)))
        await house.reconcile()


async def all_of(house: House, what: str, number: int) -> bool:
    return await count(house, what) == number


async def count(house: House, what: str) -> int:
    number: int = await house.pool.fetchval(f"select count(*) from {what}")
    return number
