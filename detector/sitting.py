"""One batch being judged: ask the model, decide each gift, record all of it, tell the desk.

A Sitting lives inside the caller's database transaction. It changes remembered states while it decides; until the
caller says that the transaction committed, those states are marked busy, and they are dropped if it did not.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, TypeVar

import asyncpg

from detector import cases, sampling, silence, store
from detector.activity import Activity, State
from detector.breaker import Tally
from detector.contract import Left
from detector.decide import FIRST, NOTHING, decide, degraded, event, turned_away
from detector.flush import Flush
from detector.gift import HOLD, Decision, Gift, Opinion
from detector.identity_terms import ANY_IDENTITY
from detector.lists import NONE, Lists
from detector.log import Told
from detector.looker import Looker
from detector.parties import seen, teach
from detector.policy import Policy
from detector.serving import Serving

log = logging.getLogger(__name__)
G = TypeVar("G")
SECOND = 2  # a gift that is looked at more often was held in between


class Sitting:
    """One batch being judged: its locked states, its moment, its decisions so far."""

    tables = (store.DECISIONS,)

    def __init__(
        self, activity: Activity, policy: Policy | None, serves: Serving | None, versions: dict[str, int],
        lists: Lists = NONE, opening: int | None = None, tally: Tally | None = None, *, later: bool = False,
    ) -> None:  # fmt: skip
        self.kept = activity
        self.activity = activity.passing() if later else activity
        self.lists = lists
        self.opening = opening if policy and policy.breaker else None
        self.tally = tally if policy and policy.breaker else None
        self.policy = policy
        self.identity = policy.identity if policy else ANY_IDENTITY
        self.versions = versions
        self.looker = Looker(self.activity, policy.model, serves) if policy and policy.model and serves else None
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.held: dict[str, State] = {}
        self.decisions: list[Decision] = []
        self.written = 0
        self.stopped: list[tuple[Decision, str]] = []
        self.salt: bytes | None = None
        self.waived: dict[str, dict[str, str]] = {}
        self.late: dict[str, int] = {}
        self.now = 0

    async def refresh(self, conn: asyncpg.Connection, now: int) -> None:
        """Make every locked state fresh, waiting for a batch of this process that has yet to hear of its commit.

        Of what is not remembered, later looks read no more than they need, and nothing is remembered for them.
        """
        states = self.kept.states
        stale: list[str] = []
        unknown: list[str] = []
        for key, version in self.versions.items():
            while (state := states.get(key)) is not None and state.busy is not None:
                await state.busy
            known = state is not None
            if state is None:
                state = self.activity.new(key)
            state.busy, self.held[key], self.activity.states[key] = self.done, state, state
            if not store.fresh(key, state, version):
                (stale if known or self.activity is self.kept else unknown).append(key)
        if stale:
            await store.load(conn, self.activity, stale, now)
        if unknown:
            await store.load(conn, self.activity, unknown, now, later=True)

    def start(self, clock: int, at: int | None) -> None:
        """Fix the moment: time never runs backwards for a party, and no two batches share a moment of one."""
        latest = max((state.last_at for state in self.held.values()), default=0)
        self.now = max(clock, latest + 1) if at is None else max(at, latest)

    def decide(self, gift: Gift, *, at: int | None = None) -> Decision:
        """Judge one gift; a fault of ours is a hold, never an approval and never a lost gift (law 5)."""
        if at is not None and at > self.now:
            self.now = at
        try:
            waived = self.waived.get(gift.id, NOTHING) if self.waived else NOTHING
            late = self.late.get(gift.id) if self.late else None
            said = self.opinion(gift) if self.looker else None
            decision = decide(gift, self.activity, self.policy, self.now, said, waived, self.lists, self.opening, late)
        except Exception:
            log.exception("gift %s could not be judged; held", gift.id)
            decision = degraded(gift, self.now, "fault", self.generation)
        return self.note(decision)

    def waves(self, gifts: Sequence[G]) -> Iterator[Sequence[G]]:
        """Cut gifts (anything that names its parties) into runs in which no party, address or device comes twice.

        What the model sees of a gift depends on the earlier ones of these alone, so the gifts of one wave may be looked
        at together. Without a model, one by one.
        """
        if self.looker is None:
            yield from zip(gifts)  # one by one
            return
        wave: list[Any] = []
        named: set[str] = set()
        for gift in gifts:
            keys = seen(gift)
            if wave and not named.isdisjoint(keys):
                yield wave
                wave, named = [], set()
            wave.append(gift)
            named.update(keys)
        if wave:
            yield wave

    async def recall(self, conn: asyncpg.Connection, gifts: Sequence[Gift], *, late: bool = False) -> None:
        """Read what a second look at these gifts builds on: the features of their first, and what was waived since.

        A `late` look is the first that counts, where nobody could judge before: limits that were never asked are asked.
        """
        if late:
            self.late = await silence.late(conn, [gift.id for gift in gifts])
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
            assert self.activity is self.kept, "a sitting of later looks remembers nothing, and so cannot be taught"
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
        """The ledger holds a gift whatever the verdict: its case says why."""
        self.stopped.append((decision, f"ledger:{reason}"))

    def let_go(self, unchanged: Sequence[Decision]) -> None:
        """Later looks that found what stands already are not recorded: nothing hangs on them."""
        gone = {id(one) for one in unchanged}
        self.decisions = [one for one in self.decisions if id(one) not in gone]

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
        held = self.stopped or any(one.verdict is HOLD for one in self.decisions)
        return bool(held or self.drawn)  # the draw hashes every gift: last

    async def tell_desk(
        self, conn: asyncpg.Connection, hold_s: int | None, left: Sequence[Left] = (), at: datetime | None = None,
        also: Sequence[Told] = (), beside: Sequence[str] = (),
    ) -> None:  # fmt: skip
        """What was held waits in a case from now on, and what left leaves its own; the last locks of a transaction.

        The log hears of it, and of `also`, in one link."""
        come = cases.drafts(self.decisions, self.stopped, hold_s, at)
        drawn, rate = self.drawn, self.sample_rate
        if drawn:
            await store.note_samples(conn, drawn, rate)
            come += [cases.draft(one, cases.SAMPLE, [sampling.REASON], None) for one in drawn]
        await cases.move(conn, come, left, [*also, *(sampling.told(one, rate) for one in drawn)], beside)

    def close(self, *, committed: bool) -> None:
        """The transaction ended: keep the states under their new versions, or forget them."""
        for key, state in self.held.items():
            state.busy = None
            if committed:
                state.version = self.versions[key]
            elif self.kept.states.get(key) is state:
                del self.kept.states[key]
        if committed and self.tally:
            self.tally.add(self.decisions)
        self.kept.trim()
        if not self.done.done():
            self.done.set_result(None)
