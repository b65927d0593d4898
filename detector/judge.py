"""The detector in process: what it remembers, and how it locks and loads what a batch of gifts counts on.

Law: nothing remembered is used unless the locked rows prove it fresh; of the policy and of its model too.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from typing import Any

import asyncpg

from detector import case_work, cases, serving, silence, store
from detector.activity import Activity
from detector.breaker import Tally
from detector.case_work import Person
from detector.contract import Left, Locking
from detector.errors import PolicyMoved
from detector.gift import Gift, Parties
from detector.lists import NONE, Lists
from detector.log import Told
from detector.parties import memory
from detector.policy import Policy, read
from detector.serving import Serving
from detector.silence import Mark
from detector.sitting import Sitting

log = logging.getLogger(__name__)
MOST_MODELS = 2  # the one that serves, and the one before: a batch may still be waiting that read its name


class Detector:
    """What one process remembers: the active policy, its model, and the activity that they need.

    With a `trusted_key`, only artifacts that it signed serve.
    """

    def __init__(self, trusted_key: str | None = None) -> None:
        self.policy: Policy | None = None
        self.activity = Activity(())
        self.trusted_key = trusted_key
        self.serving: Serving | None = None
        self.loaded: dict[str, Serving] = {}
        self.loading = asyncio.Lock()
        self.lists = NONE
        self.opening: int | None = None
        self.tally = Tally()
        self.salt: bytes | None = None

    def locking(self, gifts: Iterable[Parties | Gift]) -> Locking:
        """Every key of the gifts, and what else is to be told with their locks."""
        keys = sorted({key for gift in gifts for key in self.activity.keys(gift)})
        return Locking(keys, self.wanted, self.activity)

    def locking_with(self, gifts: Iterable[Parties]) -> Locking | None:
        """What may be locked for gifts in the statement that reads their orgs; None where limits count on tiers, which
        nobody knows before it."""
        return None if "tier" in self.activity.extra else self.locking(gifts)

    async def gather(
        self, conn: asyncpg.Connection, gifts: Iterable[Parties | Gift], *, at: int | None = None, later: bool = False,
        locked: tuple[Locking, Any] | None = None,
    ) -> Sitting:  # fmt: skip
        """Lock every key of the gifts and bring its activity up to date; for `later` looks alone, without learning it.

        `at` (microseconds) stands in for the database's clock where a history is replayed; `locked` is what
        `locking_with` gave and the row of the statement that locked it. Raises PolicyMoved, after loading it, when
        another generation was activated: the caller starts its transaction again.
        """
        (keys, asked, activity), row = locked or (self.locking(gifts), None)
        told = await store.lock(conn, keys, asked) if row is None else store.locked(row)
        versions, clock, generation, model, lists = told
        if generation != self.generation:
            await self.adopt(conn, generation)
        if activity is not self.activity:
            # Also where another batch adopted it while this one waited for its locks: what was locked, and what is
            # remembered, would be another policy's.
            raise PolicyMoved(f"generation {generation} judges now")
        serves = await self.served(conn, model) if asked else None
        if activity is not self.activity:
            raise PolicyMoved("another generation judges now")
        lists_and_opening = await self.standing(conn, lists)
        sitting = Sitting(activity, self.policy, serves, versions, *lists_and_opening, self.tally, later=later)
        sitting.salt = await self.salted(conn)
        try:
            await sitting.refresh(conn, clock if at is None else at)
            sitting.start(clock, at)
        except BaseException:
            sitting.close(committed=False)
            raise
        return sitting

    async def salted(self, conn: asyncpg.Connection) -> bytes | None:
        """What draws are keyed with, where the policy draws; read once."""
        if self.salt is None and self.policy and self.policy.review.sample:
            self.salt = await store.sample_salt(conn)
        return self.salt

    async def standing(self, conn: asyncpg.Connection, version: int) -> tuple[Lists, int | None]:
        """The lists of this version and the breaker's opening, read when it moved; nobody changes the lists while the
        caller's locks are held, and of the breaker a batch records what it saw."""
        if self.lists.version != version:
            found, opening = await store.lists(conn, version), await store.opening(conn)
            self.lists, self.opening = found, opening["id"] if opening else None
        return self.lists, self.opening

    @property
    def generation(self) -> int | None:
        return self.policy.generation if self.policy else None

    @property
    def wanted(self) -> str | None:
        """The model that the policy asks for: 'champion', an artifact's name or its hash."""
        return self.policy.model.name if self.policy and self.policy.model else None

    async def served(self, conn: asyncpg.Connection, sha256: str | None) -> Serving:
        """The model of this hash, loaded once; where none answers to the policy's name, or it is refused, why."""
        if self.serving is None or self.serving.sha256 != sha256:
            self.serving = serving.unnamed(self.wanted or "") if sha256 is None else await self.load(conn, sha256)
            told = self.serving
            if told.model:
                log.info("%s serves now", told.name)
            else:
                log.error("no model serves, gifts are held: %s: %s", told.reason, told.detail)
        return self.serving

    async def load(self, conn: asyncpg.Connection, sha256: str) -> Serving:
        async with self.loading:
            found = self.loaded.pop(sha256, None) or await serving.load(conn, sha256, self.trusted_key)
            self.loaded[sha256] = found
            for older in list(self.loaded)[:-MOST_MODELS]:
                del self.loaded[older]
        return found

    async def refresh(self, conn: asyncpg.Connection) -> None:
        """Know the generation and the model that judge now, before a gift asks for them."""
        await self.adopt(conn, await store.active(conn))
        if self.wanted:
            await self.served(conn, await store.model_named(conn, self.wanted))

    async def left(self, conn: asyncpg.Connection, gone: Sequence[Left], also: Sequence[Told] = ()) -> None:
        """Held gifts that ended without a ruling, and without a sitting, leave their cases; the log hears of it, and of
        `also`."""
        await cases.move(conn, [], gone, also)

    async def bring_together(self, conn: asyncpg.Connection, gifts: Sequence[str]) -> None:
        """The cases in which held gifts wait become one, but those that somebody works on."""
        await cases.move(conn, [], [], beside=gifts)

    async def cases_of(self, conn: asyncpg.Connection, gifts: Sequence[str]) -> dict[str, str]:
        """The case in which each of these gifts waits."""
        return await cases.of(conn, gifts)

    async def unjudged(self, conn: asyncpg.Connection | asyncpg.Pool, after: Mark | None, most: int) -> list[Mark]:
        """Held gifts that nobody judged, and that nobody has in hand; oldest first, from `after` on."""
        return await silence.unjudged(conn, after, most)

    async def note(self, conn: asyncpg.Connection, case: str, author: str, text: str) -> None:
        """Write a note on a case; the caller's transaction has locked it, or locks nothing else any more."""
        await case_work.note(conn, case, text, Person(author, lead=False))

    def fault(self) -> tuple[str, str] | None:
        """Why every gift is held for want of a model, as a reason and its detail; None where that is not so."""
        if self.policy is None or self.policy.model is None:
            return None
        found = self.serving or serving.unnamed(self.policy.model.name)
        return found.fault(self.policy.model, serving.utc())

    async def adopt(self, conn: asyncpg.Connection, generation: int | None) -> None:
        """Judge by another generation from now on; activity starts afresh with the shapes it needs."""
        text = await store.policy_text(conn, generation) if generation is not None else None
        if generation == self.generation:
            return
        self.policy = read(text, generation=generation or 0) if text else None
        self.activity = Activity(self.policy.shapes if self.policy else (), memory if self.wanted else None)
