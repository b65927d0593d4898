"""The detector in process: lock and load what a batch counts on, decide each gift, record all of it.

A Sitting lives inside the caller's database transaction. It changes remembered states while it decides; until the
caller says that the transaction committed, those states are marked busy, and they are dropped if it did not.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

import asyncpg

from detector import store
from detector.activity import Activity, State
from detector.decide import FIRST, decide, degraded, event, turned_away
from detector.errors import PolicyMoved
from detector.gift import Decision, Gift, Parties
from detector.policy import Policy, read

log = logging.getLogger(__name__)


class Detector:
    """What one process remembers: the active policy, and the activity that it needs."""

    def __init__(self) -> None:
        self.policy: Policy | None = None
        self.activity = Activity(())

    async def gather(
        self, conn: asyncpg.Connection, gifts: Iterable[Parties | Gift], *, at: int | None = None
    ) -> Sitting:
        """Lock every key of the gifts and bring its activity up to date.

        `at` (microseconds) stands in for the database's clock where a history is replayed. Raises PolicyMoved,
        after loading it, when another generation was activated: the caller starts its transaction again.
        """
        activity = self.activity
        keys = sorted({key for gift in gifts for key in activity.keys(gift)})
        versions, clock, generation = await store.lock(conn, keys)
        if generation != self.generation:
            await self.adopt(conn, generation)
        if activity is not self.activity:
            # Also where another batch adopted it while this one waited for its locks: what was locked, and what is
            # remembered, would be another policy's.
            raise PolicyMoved(f"generation {generation} judges now")
        sitting = Sitting(activity, self.policy, versions)
        try:
            await sitting.refresh(conn, clock if at is None else at)
            sitting.start(clock, at)
        except BaseException:
            sitting.close(committed=False)
            raise
        return sitting

    @property
    def generation(self) -> int | None:
        return self.policy.generation if self.policy else None

    async def adopt(self, conn: asyncpg.Connection, generation: int | None) -> None:
        """Judge by another generation from now on; activity starts afresh with the shapes it needs."""
        text = await store.policy_text(conn, generation) if generation is not None else None
        if generation == self.generation:
            return
        self.policy = read(text, generation=generation or 0) if text else None
        self.activity = Activity(self.policy.shapes if self.policy else ())


class Sitting:
    """One batch being judged: its locked states, its moment, its decisions so far."""

    def __init__(self, activity: Activity, policy: Policy | None, versions: dict[str, int]) -> None:
        self.activity = activity
        self.policy = policy
        self.versions = versions
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.held: dict[str, State] = {}
        self.decisions: list[Decision] = []
        self.now = 0

    async def refresh(self, conn: asyncpg.Connection, now: int) -> None:
        """Make every locked state fresh, waiting for a batch of this process that has yet to hear of its commit."""
        states, stale = self.activity.states, []
        for key, version in self.versions.items():
            while (state := states.get(key)) is not None and state.busy is not None:
                await state.busy
            if state is None:
                state = states[key] = State()
            state.busy, self.held[key] = self.done, state
            if not store.fresh(key, state, version):
                stale.append(key)
        if stale:
            await store.load(conn, self.activity, stale, now)

    def start(self, clock: int, at: int | None) -> None:
        """Fix the moment: time never runs backwards for a party, and no two batches share a moment of one."""
        latest = max((state.last_at for state in self.held.values()), default=0)
        self.now = max(clock, latest + 1) if at is None else max(at, latest)

    def decide(self, gift: Gift, *, at: int | None = None) -> Decision:
        """Judge one gift; a fault of ours is a hold, never an approval and never a lost gift (law 5)."""
        self.now = max(self.now, at or 0)
        try:
            decision = decide(gift, self.activity, self.policy, self.now)
        except Exception:
            log.exception("gift %s could not be judged; held", gift.id)
            decision = degraded(gift, self.now, "fault", self.generation)
        return self.note(decision)

    def turn_away(self, gift: Gift, reason: str, *, at: int | None = None) -> Decision:
        """Note that the ledger refused a gift before it was judged."""
        self.now = max(self.now, at or 0)
        return self.note(turned_away(gift, self.now, reason, self.generation))

    def note(self, decision: Decision) -> Decision:
        self.decisions.append(decision)
        if decision.gift.look == FIRST:
            self.activity.add(event(decision))
        return decision

    @property
    def generation(self) -> int:
        return self.policy.generation if self.policy else 0

    async def record(self, conn: asyncpg.Connection) -> None:
        await store.record(conn, self.decisions)

    def close(self, *, committed: bool) -> None:
        """The transaction ended: keep the states under their new versions, or forget them."""
        for key, state in self.held.items():
            state.busy = None
            if committed:
                state.version = self.versions[key]
            elif self.activity.states.get(key) is state:
                del self.activity.states[key]
        self.activity.trim()
        if not self.done.done():
            self.done.set_result(None)
