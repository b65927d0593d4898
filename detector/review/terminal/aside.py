"""A blocking call beside the event loop. Its thread is a daemon, so that a silent service never delays the way out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from threading import Thread
from typing import TypeVar

T = TypeVar("T")


async def aside(ask: Callable[[], T]) -> T:
    """What `ask` gives or raises, once it does."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()

    def tell(result: T | None, error: BaseException | None) -> None:
        if answer.done():
            return
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result, error = None, None
        try:
            result = ask()
        except Exception as fault:  # whatever it is, it belongs to whoever awaits it
            error = fault
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(tell, result, error)

    Thread(target=run, name="lockgate-review", daemon=True).start()
    return await answer
