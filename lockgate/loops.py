"""What a process does by itself, again and again: settle, judge waiting gifts anew, tidy, watch the breaker.

Law: a fault is logged and tried again, and holds up nothing else.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from typing import Any

import asyncpg

from detector import cases
from detector.errors import PolicyMoved
from ledger import funding, settlement
from ledger.news import News
from lockgate.apart import for_ever
from lockgate.config import Settings
from lockgate.group_commit import PASSING
from lockgate.works import Works

log = logging.getLogger(__name__)
MOST_FAILED = 20
WATCH_EVERY_S = 1.0
FORGET_EVERY_S = 60.0
UNSETTLED_S = 0.05  # how soon it is asked again whether all who do not know of news have ended; then twice as late
YOUNG_S = (1, 1, 2, 4, 8, 16, 32)
GROWING = (
    "ledger.orgs", "ledger.grants", "ledger.transfers", "ledger.entries", "ledger.answers", "ledger.questions",
    "ledger.relooks",
    "detector.keys", "detector.decisions", "detector.cases", "detector.case_gifts", "detector.case_keys",
)  # fmt: skip


def loops(works: Works, settings: Settings) -> list[Coroutine[Any, Any, None]]:
    """Those that this process needs, by which half of the house it serves."""
    every_s = settings.settle_every_s
    found = [
        tidy_for_ever(works, every_s), learn_sizes(works), works.access.watch(),
        works.deliverer.deliver_for_ever(settings.webhook_every_s),
    ]  # fmt: skip
    if settings.only != "ledger":
        found.append(watch_for_ever(works, WATCH_EVERY_S))
    if settings.only == "detector":
        found.append(for_ever("forgetting news", works.apart.forget_news, FORGET_EVERY_S))
    if settings.only != "detector":
        found += [settle_for_ever(works, every_s), look_again_for_ever(works, every_s), *works.apart.loops(every_s)]
    return found


async def settle_for_ever(works: Works, every_s: float) -> None:
    """Settle what is due and write off what expired; a fault is logged and tried again, never fatal."""
    while True:
        try:
            busy = await funding.expire_due(works.pool) + await works.settlement.settle_due()
            await watch_between(works, busy)
        except PASSING as error:
            log.warning("settlement: %s: %s; trying again", type(error).__name__, error)
            busy = 0
        except Exception as error:  # whatever it is, the next transfers must not wait for it
            log.warning("settlement: %s: %s; one at a time now", type(error).__name__, error)
            busy = await settle_singly(works)
        if not busy:
            await asyncio.sleep(every_s)


async def settle_singly(works: Works) -> int:
    """A transfer that cannot be settled never holds up its neighbours: pass over it, and say so."""
    done = failed = 0
    while done + failed < settlement.BATCH:
        try:
            if not await works.settlement.settle_due(most=1, skip=failed):
                break
            done += 1
        except PASSING:
            break
        except Exception:
            failed += 1
            log.exception("a due transfer failed and was passed over (%d so far)", failed)
            if failed > MOST_FAILED:
                break
    return done


async def look_again_for_ever(works: Works, every_s: float) -> None:
    """Judge again what news touches; a fault is logged and tried again, and holds up nothing else."""
    news, failed, wait_s = News(works.relook), False, UNSETTLED_S
    while True:
        pause_s = every_s
        try:
            if failed:
                await news.set_aside()
                failed = False
            waits = await news.hear()
            wait_s = min(2 * wait_s, every_s) if waits else UNSETTLED_S
            looked = await news.work()
            await watch_between(works, looked)
            pause_s = 0 if looked else wait_s if waits else every_s
        except PolicyMoved:
            pause_s = 0
        except PASSING as error:
            log.warning("looking again: %s: %s; trying again", type(error).__name__, error)
        except Exception:
            log.exception("gifts could not be judged again; one at a time now")
            failed = True
        await asyncio.sleep(pause_s)


async def tidy_for_ever(works: Works, every_s: float) -> None:
    """Let claims and proposals lapse when their time has passed; a fault is logged and tried again."""
    while True:
        try:
            await cases.tidy(works.pool)
        except (*PASSING, asyncpg.PostgresError) as error:
            log.warning("lapsing claims: %s: %s; trying again", type(error).__name__, error)
        await asyncio.sleep(every_s)


async def watch_for_ever(works: Works, every_s: float) -> None:
    """Open and close the breaker as is due, again and again."""
    while True:
        await asyncio.sleep(every_s)
        await watch(works)


async def watch(works: Works) -> None:
    """Open or close the breaker if that is due; a fault is logged and tried again."""
    try:
        await works.breaker.tick()
    except (*PASSING, asyncpg.PostgresError) as error:
        log.warning("breaker: %s: %s; trying again", type(error).__name__, error)
    except Exception:  # whatever it is, the alarm must not end with it
        log.exception("the breaker could not be watched; trying again")


async def watch_between(works: Works, looked: int) -> None:
    """Between two pieces of later looks, of which a second would bring thousands; elsewhere its scorer watches."""
    if looked and not works.apart.remote:
        await watch(works)


async def learn_sizes(works: Works) -> None:
    """Have PostgreSQL look at the growing tables a few times in a young process.

    A plan is kept until a table's statistics change; one made while the tables were empty would read them whole
    once they are not, and autovacuum looks only every minute. Later growth is autovacuum's.
    """
    for wait_s in YOUNG_S:
        await asyncio.sleep(wait_s)
        try:
            await works.pool.execute(f"analyze {', '.join(GROWING)}")
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            log.warning("analyze: %s: %s", type(error).__name__, error)


async def ended(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancel tasks until they are over: what a cancelled one still tidies up may fail, and its loop takes that failure
    for a passing one and goes on."""
    while running := [one for one in tasks if not one.done()]:
        for one in running:
            one.cancel()
        await asyncio.wait(running, timeout=1)
    await asyncio.gather(*tasks, return_exceptions=True)
