"""A consumer of GET /v1/events that is killed and started again at random ends with every event once."""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path

import pytest

from tests.consumer import Consumer
from tests.faults.test_endpoints_kill import HUNG_S, tell_many
from tests.support import House, Worker, new_key


@pytest.mark.parametrize("rounds", [4, pytest.param(80, marks=pytest.mark.soak)])
async def test_a_polling_consumer_and_the_worker_it_asks_are_killed_and_each_event_is_kept_once(
    house: House, tmp_path: Path, rounds: int
) -> None:
    draw = random.Random(rounds)
    key = (await new_key(house.pool, "platform"))["Authorization"].split()[1]
    consumer, worker = Consumer(tmp_path, key), Worker(house.dsn, tmp_path)
    try:
        worker.await_health()
        for number in range(rounds):
            consumer.start(worker.path)
            await tell_many(house, draw, 40)
            await progress(consumer, len(consumer.events()) + draw.randint(1, 20))
            if number % 3 == 1:
                worker.kill()
                worker = Worker(house.dsn, tmp_path)
            consumer.kill()
            await tell_many(house, draw, 5)
            worker.await_health()
        consumer.start(worker.path)
        rows = await house.pool.fetch("select seq, kind, subject, encode(hash, 'hex') from log.events order by seq")
        await progress(consumer, len(rows))
        assert consumer.events() == [tuple(row) for row in rows]
        assert [row["seq"] for row in rows] == list(range(1, len(rows) + 1))
    finally:
        consumer.kill()
        worker.stop()


async def progress(consumer: Consumer, number: int) -> None:
    """Wait until so many events are kept; two minutes without any more is a fault."""
    before, since = 0, time.monotonic()
    while (kept := len(consumer.events())) < number:
        if kept > before:
            before, since = kept, time.monotonic()
        assert time.monotonic() - since < HUNG_S, (kept, number)
        await asyncio.sleep(0.05)
