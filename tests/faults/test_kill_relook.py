"""kill -9 amid a sweep: what was judged again stays so, once; what was not is judged by whoever lives."""

from __future__ import annotations

import asyncio
import time

from tests.support import CREDIT, House, Worker, gather, rule, workers

GIFTS = 600


async def left(house: House) -> int:
    found: int = await house.pool.fetchval("select count(*) from ledger.relooks")
    return found


async def until(house: House, worker: Worker, fewest: int, most: int) -> int:
    """Wait until so many pieces are left to this worker."""
    deadline = time.monotonic() + 120
    while not fewest <= (pieces := await left(house)) <= most:
        assert worker.process.poll() is None and time.monotonic() < deadline, worker.log.read_text()
        await asyncio.sleep(0.002)
    return pieces


async def test_a_worker_killed_amid_a_sweep_leaves_the_rest_to_others(house: House) -> None:
    hub = await house.org(amount=1_000 * CREDIT)
    recipients = [await house.org() for _ in range(20)]
    gifts = await gather(house.sent(hub, recipients[n % 20], CREDIT) for n in range(GIFTS))
    await house.catch_up()
    with workers(house.dsn, 1, LOCKGATE_SETTLE_EVERY_S="0.05") as (first,):
        await house.activate(rule("all", "amount > 0"))
        await until(house, first, 2, GIFTS // 100)
        await until(house, first, 1, GIFTS // 100 - 1)
        first.kill()
    assert await left(house) > 0, "the sweep was over before the kill"
    with workers(house.dsn, 1, LOCKGATE_SETTLE_EVERY_S="0.05") as (second,):
        await until(house, second, 0, 0)
    rows = await house.pool.fetch("select status, version from ledger.transfers where id = any($1)", gifts)
    assert {(row["status"], row["version"]) for row in rows} == {("held", 2)}
    assert await house.pool.fetchval("select count(*) from detector.decisions where look > 1") == GIFTS
    waiting = await house.pool.fetchval("select count(*) from detector.case_gifts where left_at is null")
    assert waiting == GIFTS
    await house.reconcile()
