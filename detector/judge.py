"""The detector in process: lock and load what a batch counts on, ask the model, decide each gift, record all of it.

A Sitting lives inside the caller's database transaction. It changes remembered states while it decides; until the
caller says that the transaction committed, those states are marked busy, and they are dropped if it did not.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, TypeVar

import asyncpg

from detector import cases, sampling, serving, store
from detector.activity import Activity, State
from detector.contract import Left
from detector.decide import FIRST, NOTHING, decide, degraded, event, turned_away
from detector.errors import PolicyMoved
from detector.flush import Flush
from detector.gift import Decision, Gift, Opinion, Parties, Verdict
from detector.lists import NONE, Lists
from detector.looker import Looker
from detector.parties import memory, seen, teach
from detector.policy import Policy, read
from detector.serving import Serving

log = logging.getLogger(__name__)
G = TypeVar("G")
SECOND = 2  # a gift that is looked at more often was held in between
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
        self, conn: asyncpg.Connection, gifts: Iterable[Parties | Gift], *, at: int | None = None
    ) -> Sitting:
        """Lock every key of the gifts and bring its activity up to date.

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
        sitting = Sitting(activity, self.policy, serves, versions, await self.listed(conn, lists))
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


class Sitting:
    """One batch being judged: its locked states, its moment, its decisions so far."""

    tables = (store.DECISIONS,)

    def __init__(
        self, activity: Activity, policy: Policy | None, serves: Serving | None, versions: dict[str, int],
        lists: Lists = NONE,
    ) -> None:  # fmt: skip
        self.activity = activity
        self.lists = lists
        self.policy = policy
        self.versions = versions
        self.looker = Looker(activity, policy.model, serves) if policy and policy.model and serves else None
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.held: dict[str, State] = {}
        self.decisions: list[Decision] = []
        self.written = 0
        self.stopped: list[tuple[Decision, str]] = []
        self.salt: bytes | None = None
        self.waived: dict[str, dict[str, str]] = {}
        self.now = 0

    async def refresh(self, conn: asyncpg.Connection, now: int) -> None:
        """Make every locked state fresh, waiting for a batch of this process that has yet to hear of its commit."""
        states, stale = self.activity.states, []
        for key, version in self.versions.items():
            while (state := states.get(key)) is not None and state.busy is not None:
                await state.busy
            if state is None:
                state = self.activity.new(key)
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
            waived = self.waived.get(gift.id, NOTHING)
            decision = decide(gift, self.activity, self.policy, self.now, self.opinion(gift), waived, self.lists)
        except Exception:
            log.exception("gift %s could not be judged; held", gift.id)
            decision = degraded(gift, self.now, "fault", self.generation)
        return self.note(decision)

    def waves(self, gifts: Sequence[G]) -> Iterator[Sequence[G]]:
        """Cut gifts (anything that names its parties) into runs in which no party, address or device comes twice.

        What the model sees of a gift depends on the earlier ones of these alone, so the gifts of one wave may be looked
        at together. Without a model, one by one.
        """
        wave: list[Any] = []
        named: set[str] = set()
        for gift in gifts:
            keys = seen(gift) if self.looker else ()
            if wave and (self.looker is None or not named.isdisjoint(keys)):
                yield wave
                wave, named = [], set()
            wave.append(gift)
            named.update(keys)
        if wave:
            yield wave

    async def recall(self, conn: asyncpg.Connection, gifts: Sequence[Gift]) -> None:
        """Read what a second look at these gifts builds on: the features of their first, and what was waived since."""
        again = [gift.id for gift in gifts if gift.look > SECOND]
        if again:
            self.waived = await store.waived(conn, again)
        if self.looker:
            await self.looker.recall(conn, gifts)

    def look(self, gifts: Sequence[tuple[Gift, int | None]]) -> None:
        """Ask the model about the gifts of one wave, each with its `at`, in one call; `decide` uses what it says."""
        if self.looker:
            self.looker.look(gifts, self.now)

    def opinion(self, gift: Gift) -> Opinion | None:
        return self.looker.opinion(gift, self.now) if self.looker else None

    def turn_away(self, gift: Gift, reason: str, *, at: int | None = None) -> Decision:
        """Note that the ledger refused a gift before it was judged."""
        self.now = max(self.now, at or 0)
        return self.note(turned_away(gift, self.now, reason, self.generation))

    def note(self, decision: Decision) -> Decision:
        self.decisions.append(decision)
        if decision.gift.look == FIRST:
            self.activity.add(event(decision))
            if self.looker:
                teach(decision, self.activity)
        return decision

    @property
    def generation(self) -> int:
        return self.policy.generation if self.policy else 0

    def rows(self) -> Sequence[list[tuple[Any, ...]]]:
        """For each of `tables`, the rows of what was decided since they were last asked for."""
        since, self.written = self.written, len(self.decisions)
        return ([store.decision_row(one, seq) for seq, one in enumerate(self.decisions[since:], since)],)

    async def record(self, conn: asyncpg.Connection) -> None:
        """Write what was decided, on its own."""
        async with Flush(conn, self.tables) as flush:
            flush.write(*self.rows())

    def stop(self, decision: Decision, reason: str) -> None:
        """The ledger holds a gift although it was approved: its case says why."""
        self.stopped.append((decision, f"ledger:{reason}"))

    @property
    def sample_rate(self) -> float:
        return self.policy.review.sample if self.policy else 0.0

    @property
    def drawn(self) -> list[Decision]:
        """The approved gifts that chance sends to review."""
        return sampling.samples(self.decisions, self.salt, self.sample_rate)

    @property
    def news(self) -> bool:
        """Whether the desk is to be told of any gift: one that was held, or one that was drawn."""
        return bool(self.stopped or self.drawn) or any(one.verdict is Verdict.HOLD for one in self.decisions)

    async def tell_desk(
        self, conn: asyncpg.Connection, hold_s: int | None, left: Sequence[Left] = (), at: datetime | None = None
    ) -> None:
        """What was held waits in a case from now on, and what left leaves its own; the last locks of a transaction."""
        come = cases.drafts(self.decisions, self.stopped, hold_s, at)
        drawn, rate = self.drawn, self.sample_rate
        if drawn:
            await store.note_samples(conn, drawn, rate)
            come += [cases.draft(one, cases.SAMPLE, [sampling.REASON], None) for one in drawn]
        await cases.move(conn, come, left, [sampling.told(one, rate) for one in drawn])

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
