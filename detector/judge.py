"""The detector in process: what it remembers, and how it locks and loads what a batch of gifts counts on.

Law: nothing remembered is used unless the locked rows prove it fresh; of the policy and of its model too.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence

import asyncpg

from detector import cases, serving, store
from detector.activity import Activity
from detector.contract import Left
from detector.errors import PolicyMoved
from detector.gift import Gift, Parties
from detector.lists import NONE, Lists
from detector.parties import memory
from detector.policy import Policy, read
from detector.serving import Serving
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
        self.salt: bytes | None = None

    async def gather(
        self, conn: asyncpg.Connection, gifts: Iterable[Parties | Gift], *, at: int | None = None, later: bool = False
    ) -> Sitting:
        """Lock every key of the gifts and bring its activity up to date; for `later` looks alone, without learning it.

        `at` (microseconds) stands in for the database's clock where a history is replayed. Raises PolicyMoved,
        after loading it, when another generation was activated: the caller starts its transaction again.
        """
        activity = self.activity
        keys = sorted({key for gift in gifts for key in activity.keys(gift)})
        asked = self.wanted
        versions, clock, generation, model, lists = await store.lock(conn, keys, asked)
        if generation != self.generation:
            await self.adopt(conn, generation)
        if activity is not self.activity:
            # Also where another batch adopted it while this one waited for its locks: what was locked, and what is
            # remembered, would be another policy's.
            raise PolicyMoved(f"generation {generation} judges now")
        serves = await self.served(conn, model) if asked else None
        if activity is not self.activity:
            raise PolicyMoved("another generation judges now")
        sitting = Sitting(activity, self.policy, serves, versions, await self.listed(conn, lists), later=later)
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

    async def listed(self, conn: asyncpg.Connection, version: int) -> Lists:
        """The lists of this version, read when it moved; nobody changes them while the caller's locks are held."""
        if self.lists.version != version:
            self.lists = await store.lists(conn, version)
        return self.lists

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

    async def left(self, conn: asyncpg.Connection, gone: Sequence[Left]) -> None:
        """Held gifts that ended without a ruling, and without a sitting, leave their cases."""
        await cases.move(conn, [], gone)

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
