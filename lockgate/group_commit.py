"""Group commit: requests that wait while a batch is in flight become the next batch. A lone request never waits.

A second batch joins the first in flight only when the backlog is long: until then one large batch costs less than two
small ones, and the database works on it while the next one is being read.

It also mends: a batch that fell to a deadlock, a lost connection or an unclear commit is run again, which is safe
because the gate reads earlier answers under its locks (laws 7, 8). A batch that fails for another reason is run one
request at a time, so that a failing gift never fails its neighbours.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

import asyncpg

from detector.errors import PolicyMoved

log = logging.getLogger(__name__)
In = TypeVar("In")
Out = TypeVar("Out")
Told = TypeVar("Told", contravariant=True)

MOST = 512  # the largest request that a client may send fits
DEPTH = 2
BACKLOG = 16
TRIES = 12
# What another try can mend: lost locks and connections, a server that restarts, a policy that was just activated.
PASSING = (
    PolicyMoved,
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.LockNotAvailableError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    ConnectionError,
    FileNotFoundError,
    TimeoutError,
)


class Unavailable(Exception):
    """The database could not be reached for as long as we tried; nothing is known to be done. Retry the same key."""


class Waiter(Protocol[Told]):
    """Who is told an answer, as a future is; what wants one at once is told without the loop's turn in between."""

    def done(self) -> bool: ...

    def set_result(self, result: Told, /) -> None: ...

    def set_exception(self, exception: Exception, /) -> None: ...


class Together(Generic[Out]):
    """The answers to items that came together, given once every one is there; with the first fault, where one met one.
    One future for all of them: a batch of a hundred costs no hundred futures and callbacks."""

    def __init__(self, items: int, given: asyncio.Future[list[Out]]) -> None:
        self.answers: list[Any] = [None] * items
        self.fault: Exception | None = None
        self.missing = items
        self.given = given

    def told(self) -> None:
        """One more is answered."""
        self.missing -= 1
        if self.missing or self.given.done():
            return
        if self.fault:
            self.given.set_exception(self.fault)
        else:
            self.given.set_result(self.answers)


class Place(Generic[Out]):
    """One item's place among those that came together, told its answer as a future would be."""

    __slots__ = ("place", "together")

    def __init__(self, together: Together[Out], place: int) -> None:
        self.together = together
        self.place = place

    def done(self) -> bool:
        return False

    def set_result(self, answer: Out) -> None:
        self.together.answers[self.place] = answer
        self.together.told()

    def set_exception(self, fault: Exception) -> None:
        self.together.fault = self.together.fault or fault
        self.together.told()


Waiting: TypeAlias = tuple[In, Waiter[Out]]


class GroupCommit(Generic[In, Out]):
    """Turns `commit(batch)` into `submit(item)`, at most `depth` batches at a time and `most` items in each."""

    def __init__(
        self, commit: Callable[[Sequence[In]], Awaitable[list[Out]]], *, depth: int = DEPTH, most: int = MOST
    ) -> None:
        self.commit = commit
        self.depth = depth
        self.most = most
        self.waiting: deque[Waiting[In, Out]] = deque()
        self.flying: set[asyncio.Task[None]] = set()
        self.woken = False

    def submit(self, item: In) -> asyncio.Future[Out]:
        """The answer to one request, once its batch is committed."""
        answer: asyncio.Future[Out] = asyncio.get_running_loop().create_future()
        self.put(item, answer)
        return answer

    def put(self, item: In, waiter: Waiter[Out]) -> None:
        """Have `waiter` told the answer to one request, once its batch is committed."""
        self.waiting.append((item, waiter))
        self.wake()

    def submit_all(self, items: Sequence[In]) -> asyncio.Future[list[Out]]:
        """The answers to requests that came together, in order, once each one's batch is committed."""
        answers: asyncio.Future[list[Out]] = asyncio.get_running_loop().create_future()
        together = Together(len(items), answers)
        self.waiting.extend([(item, Place(together, place)) for place, item in enumerate(items)])
        self.wake()
        return answers

    def wake(self) -> None:
        if not self.woken and self.room():
            self.woken = True
            asyncio.get_running_loop().call_soon(self.depart)

    def room(self) -> bool:
        """Whether another batch may leave now."""
        return not self.flying or (len(self.flying) < self.depth and len(self.waiting) >= BACKLOG)

    def depart(self) -> None:
        """Send off what waits, as far as there is room."""
        self.woken = False
        while self.waiting and self.room():
            batch = [self.waiting.popleft() for _ in range(min(self.most, len(self.waiting)))]
            task = asyncio.get_running_loop().create_task(self.run(batch))
            self.flying.add(task)
            task.add_done_callback(self.landed)

    def landed(self, task: asyncio.Task[None]) -> None:
        self.flying.discard(task)
        if not self.woken:
            self.depart()

    async def run(self, batch: Sequence[Waiting[In, Out]]) -> None:
        """Commit one batch and hand out its answers; on a fault that a retry cannot mend, each request alone."""
        try:
            answers = await self.persist([item for item, _ in batch])
        except Exception as error:
            if len(batch) == 1 or isinstance(error, Unavailable):
                return refuse(batch, error)
            log.exception("a batch of %d failed; running its requests one by one", len(batch))
            for one in batch:
                await self.run([one])
            return
        for (_, waiter), answer in zip(batch, answers, strict=True):
            tell(waiter, answer)

    async def persist(self, items: list[In]) -> list[Out]:
        """Run the batch until it is committed, or the fault is not a passing one."""
        for attempt in range(TRIES):
            try:
                return await self.commit(items)
            except PASSING as error:
                if isinstance(error, ValueError):  # asyncpg's word for an argument that does not fit its column
                    raise
                if isinstance(error, PolicyMoved):
                    log.info("%s", error)
                    continue
                log.warning("batch of %d: try %d: %s: %s", len(items), attempt + 1, type(error).__name__, error)
                await asyncio.sleep(min(1.0, 0.01 * 2**attempt) * random.random())
        raise Unavailable(f"the database did not answer in {TRIES} tries")


def refuse(batch: Sequence[Waiting[In, Out]], error: Exception) -> None:
    for _, waiter in batch:
        tell(waiter, None, error)


def tell(waiter: Waiter[Any], answer: Any, fault: Exception | None = None) -> None:
    """Tell one who waits its answer, or its fault; what it does with it is no neighbour's business."""
    try:
        if waiter.done():
            return
        if fault:
            waiter.set_exception(fault)
        else:
            waiter.set_result(answer)
    except Exception:
        log.exception("an answer was given and not taken")
