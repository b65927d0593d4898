"""Looks after the first, asked of a scorer on machines of its own: at a gift's hour, and late where nobody judged it.

Nothing is locked while the scorer is asked; a lease keeps other processes from asking the same. Each asking is another
look, so that no answer of an earlier one is taken for today's; but the first look is asked until it was taken, always
with the same facts, since it alone asks the limits.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import msgspec

from detector.contract import Asked, Judged
from ledger import store
from ledger.plan import slices_of
from ledger.remote import Remote, question
from ledger.scorer import Hears
from ledger.settlement import BATCH, Settlement
from ledger.waiting import gift_of

log = logging.getLogger(__name__)
# An answer settles within this time, or is asked for again.
FRESH_S = 10.0
ASKED = msgspec.json.Decoder(Asked)
ENCODE = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Asking:
    """What is asked about transfers that were opened before."""

    pool: asyncpg.Pool
    remote: Remote

    @property
    def resting(self) -> bool:
        """Whether the scorer is left alone at present, since it did not answer lately."""
        return self.remote.circuit.state(asyncio.get_running_loop().time()) == "open"

    async def ask(self, transfers: Sequence[str]) -> dict[str, Judged | str]:
        """What is heard of those that nobody else asks about now."""
        asked = await self.questions(transfers)
        heard = await self.remote.ask(asked)
        told = [name for name, one in heard.items() if isinstance(one, Judged)]
        if told:
            await self.pool.execute(store.SQL["questions_told"], told)
        return heard

    async def questions(self, transfers: Sequence[str]) -> list[Asked]:
        async with self.pool.acquire() as conn:
            taken = await conn.fetch(store.SQL["questions_ask"], transfers, self.remote.lease_s)
            mine = {row["transfer_id"]: row for row in taken}
            rows = await conn.fetch(store.SQL["transfers_read"], list(mine))
            parties = sorted({party for one in rows for party in (one["sender"], one["recipient"])})
            orgs = {org["id"]: org for org in await conn.fetch(store.SQL["orgs_read"], parties)}
            slices = await slices_of(conn, list(mine))
            asked = [question_of(one, mine[one["id"]], slices[one["id"]], orgs) for one in rows]
            first = [(one.id, ENCODE(one).decode()) for one in asked if one.look is None]
            if first:
                await conn.execute(store.SQL["questions_facts"], *store.columns(first, 2))
            return asked


def question_of(transfer: Any, row: Any, slices: Sequence[Any], orgs: Mapping[str, Any]) -> Asked:
    """The facts as they stand now; of a first look that was asked before, as they stood then."""
    if row["asked"] is not None:
        return ASKED.decode(row["asked"])
    now = orgs[transfer["sender"]]["now"]
    return question(gift_of(transfer, slices, dict(orgs), now), row["look"])


@dataclass(frozen=True, slots=True)
class SecondLooks:
    """Settlement where the scorer is asked first, and the settling transaction records what it said just now.

    While it is silent a due gift waits in the lock, where its credits are safe, for `patience_s`; then it is held.
    """

    settlement: Settlement
    asking: Asking
    ear: Hears
    patience_s: float

    async def settle_due(self, at: datetime | None = None, *, most: int = BATCH, skip: int = 0) -> int:
        """As Settlement's; how many it took. What the scorer was silent about is left as it is."""
        expired = await self.settlement.settle_due(at, most=most, skip=skip, ready=())
        if expired:
            return expired
        due = await self.due(at, most)
        heard = await self.asking.ask(list(due)) if due else {}
        ready = {name: one for name, one in heard.items() if decides(one, due[name])}
        if not ready:
            return 0
        now = replace(self.settlement, scorer=self.ear.hears(ready))
        async with asyncio.timeout(FRESH_S):
            try:
                return await now.settle_due(at, ready=list(ready))
            except (asyncpg.PostgresConnectionError, asyncpg.InterfaceError, OSError):
                raise
            except Exception as error:  # whatever it is, its neighbours must not wait for it
                log.warning("settlement: %s: %s; one at a time now", type(error).__name__, error)
                return await singly(now, at, list(ready))

    async def due(self, at: datetime | None, most: int) -> dict[str, bool]:
        """The due gifts to ask about, and whether patience with the scorer has ended for each."""
        patience, until = timedelta(seconds=self.patience_s), at
        if self.asking.resting:  # then only to hold what has waited too long
            until = (at or await self.asking.pool.fetchval("select clock_timestamp()")) - patience
        rows = await self.asking.pool.fetch(store.SQL["due_pending"], until, most)
        return {row["id"]: row["settle_at"] + patience <= (at or row["now"]) for row in rows}


async def singly(now: Settlement, at: datetime | None, ready: Sequence[str]) -> int:
    """Pass over what cannot be settled, and say so; it is asked about again after its lease."""
    done = 0
    for name in ready:
        try:
            done += await now.settle_due(at, ready=[name])
        except Exception:
            log.exception("transfer %s is due and failed; it was passed over", name)
    return done


def decides(heard: Judged | str, patience_ended: bool) -> bool:
    """Whether a gift's hour ends by this. A first look that approves does not: it may be the record of an old one."""
    if not speaks(heard):
        return patience_ended
    assert isinstance(heard, Judged), "only who judged speaks"
    return heard.verdict != "approve" or not heard.id.endswith(".1")


def speaks(heard: Judged | str) -> bool:
    """Whether somebody judged: neither the way to the scorer nor the scorer's own model was silent."""
    return isinstance(heard, Judged) and not heard.silent
