"""Reads what a recorded decision can be taken again from. Law: what came before its gift, and nothing after.

A decision that cannot be taken again is no fault: `rebuild` then says in words why, and explanations do without.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import msgspec

from detector import serving, store
from detector.activity import HORIZON_US, Activity
from detector.decide import FIRST
from detector.feature_table import HASH
from detector.gift import Gift, micros, moment
from detector.parties import look_at, memory
from detector.policy import Policy, read
from detector.rebuilt import First, Rebuilt, gift_of, silence
from detector.serving import Serving

# Reading and teaching 20,000 events takes about a second; a party with more is a hub whose windows no one gift turns.
MOST_EVENTS = 20_000
MOST_KNOWN = 3  # counterparts of the sender that are tried in place of the recipient
MOST_SENT = 200  # gifts of the sender that they are looked for in
MOST_KEPT = 2  # models; explanations load their own, so that they share nothing with a gate
MOST_POLICIES = 16


@dataclass(slots=True)
class Shelf:
    """The policies and models that explanations read last, each checked when it was read."""

    trusted_key: str | None = None
    policies: dict[int, Policy] = field(default_factory=dict)
    models: dict[str, Serving] = field(default_factory=dict)
    loading: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def policy(self, conn: asyncpg.Connection, generation: int) -> Policy | None:
        if generation not in self.policies:
            text = await store.policy_text(conn, generation)
            if text is None:
                return None
            self.policies[generation] = read(text, generation=generation)
            for older in list(self.policies)[:-MOST_POLICIES]:
                del self.policies[older]
        return self.policies[generation]

    async def model(self, conn: asyncpg.Connection, name: str) -> Serving:
        """The artifact that a decision names, as `name@beginning of its hash`."""
        async with self.loading:
            found = self.models.pop(name, None) or await self.load(conn, name)
            self.models[name] = found
            for older in list(self.models)[:-MOST_KEPT]:
                del self.models[older]
        return found

    async def load(self, conn: asyncpg.Connection, name: str) -> Serving:
        hashes = [row["sha256"] for row in await conn.fetch(store.SQL["model_like"], name.rpartition("@")[2])]
        if len(hashes) != 1:
            return Serving(None, None, "missing", f"{len(hashes)} artifacts are kept that may be {name}")
        return await serving.load(conn, hashes[0], self.trusted_key)


async def rebuild(conn: asyncpg.Connection, shelf: Shelf, row: Mapping[str, Any], first: Any) -> Rebuilt | str:
    """What a decision is taken again from, or why it cannot be; `first` is the row of its gift's first look."""
    policy = await shelf.policy(conn, row["generation"])
    unjudged = unfit(row, policy)
    if policy is None or unjudged:
        return unjudged
    silent, judged = silence(row, policy), None
    if policy.model and row["score"] is not None:
        judged = await shelf.model(conn, row["model"])
        if judged.model is None:
            return f"its model {row['model']} is not to be had any more: {judged.detail}"
    elif policy.model and (silent is None or silent.hit is None):
        return "what kept its model from judging was not recorded"
    gift, at = gift_of(row, policy), micros(row["at"])
    activity = Activity(policy.shapes, memory if policy.model else None)
    crowd = await fill(conn, activity, activity.keys(gift), (at, row["seq"]))
    if crowd:
        return crowd
    earlier = await first_of(conn, shelf, gift, row, first, judged) if gift.look != FIRST else None
    return earlier if isinstance(earlier, str) else Rebuilt(gift, at, policy, activity, judged, silent, earlier)


def unfit(row: Mapping[str, Any], policy: Policy | None) -> str:
    """Why a decision was none that `decide` took; empty where it was one."""
    said = store.HITS.decode(row["hits"])
    if policy is None:
        return "no policy judged it"
    if any(hit.by == "ledger" for hit in said):
        return "the ledger refused it before it was judged"
    names = {rule.name for rule in policy.rules}
    if any(hit.by == "degraded" and hit.name == "fault" and "fault" not in names for hit in said):
        return "a fault kept it from being judged; the log of that moment has more"
    return ""


async def fill(conn: asyncpg.Connection, activity: Activity, keys: Sequence[str], until: tuple[int, int]) -> str:
    """Bring what came before a moment into activity; what keeps it from that, if anything does."""
    roles, names = [key[0] for key in keys], [key[2:] for key in keys]
    since, upto = moment(until[0] - HORIZON_US), moment(until[0])
    gifts = await conn.fetchval(store.SQL["busy"], roles, names, since, upto, MOST_EVENTS + 1)
    if gifts > MOST_EVENTS:
        return (
            f"its parties, address and device had over {MOST_EVENTS:,} gifts in the 30 days before: too many to go over"
        )
    for key in keys:
        activity.new(key)
    await store.load(conn, activity, keys, until[0], until)
    return ""


async def first_of(
    conn: asyncpg.Connection, shelf: Shelf, gift: Gift, row: Mapping[str, Any], first: Any, judged: Serving | None
) -> First | str:
    """What a later look builds on. Its model goes by the first look's features, or by what they would have been."""
    if first is None:
        return "the first look at its gift is not on record"
    at = micros(first["at"])
    kept = first["features"] if first["feature_table"] == HASH else None
    before = gift_of(first, await shelf.policy(conn, first["generation"]), FIRST)
    if judged is None:
        return First(before, at)
    then = Activity((), memory)
    crowd = await fill(conn, then, then.keys(before), (at, first["seq"]))
    if crowd:
        return crowd
    if kept:
        return First(before, at, then, tuple(msgspec.json.decode(kept)))
    # No model judged then: the later look read the features with the facts that it knew itself.
    return First(msgspec.structs.replace(gift, tier=before.tier), at, then, look_at(gift, then, at)[0])


async def known(conn: asyncpg.Connection, shelf: Shelf, then: Rebuilt) -> list[Gift]:
    """The gift as it would be to each of the sender's latest counterparts, whose activity is read, too."""
    since = moment(then.at - HORIZON_US)
    rows = await conn.fetch(
        store.SQL["counterparts"], then.gift.sender, since, moment(then.at), MOST_SENT, MOST_KNOWN, then.gift.recipient
    )
    found = []
    for row in rows:
        key = "o:" + row["recipient"]
        if not await fill(conn, then.activity, [key], (then.at, 0)):
            found.append(to_other(then, row, await shelf.policy(conn, row["generation"])))
    return found


def to_other(then: Rebuilt, row: Mapping[str, Any], policy: Policy | None) -> Gift:
    """The gift to the recipient of an earlier one, which tells what is known of it: as much older as it is by now."""
    there = gift_of(row, policy, FIRST)
    older_s = (then.at - micros(row["at"])) // 1_000_000
    age_s = None if there.recipient_age_s is None else there.recipient_age_s + older_s
    facts = {"recipient_age_s": age_s, "same_owner": there.same_owner, "recipient_tier": there.recipient_tier}
    told = {name: fact for name, fact in facts.items() if fact is not None}
    return msgspec.structs.replace(then.gift, recipient=there.recipient, **told)
