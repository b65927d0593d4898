"""The application's own loops: they end with it, whatever they take their end for."""

from __future__ import annotations

import asyncio

from lockgate.loops import ended


async def test_a_loop_that_takes_its_end_for_a_passing_fault_ends_all_the_same() -> None:
    async def stubborn() -> None:
        try:
            await asyncio.sleep(3_600)
        except asyncio.CancelledError:
            await asyncio.sleep(3_600)

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    await ended([task])
    assert task.cancelled()
