"""Reads what a recorded decision can be taken again from. Law: what came before its gift, and nothing after.

A decision that cannot be taken again is no fault: `gather` then says in words why, and explanations do
without. Reading and rebuilding are apart, since only the first needs the database, and the second keeps a core busy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import asyncpg
import msgspec
from msgspec import structs

from detector import store
from detector.activity import Activity
from detector.decide import FIRST
from detector.feature_table import HASH
from detector.gift import Gift, Opinion, micros, moment
from detector.lists import EVERYBODY, NONE, Entry, Lists, sought
from detector.parties import look_at, memory
from detector.policy import Policy
from detector.rebuilt import First, Rebuilt, gift_of, silence
from detector.serving import Serving
from detector.shelf import Shelf
from detector.track import HORIZON_US

# Going over 10,000 events takes about half a second; a party with more is a hub, which no one gift turns.
MOST_EVENTS = 10_000
MOST_OF_KNOWN = 500  # gifts of such a one: more would take longer than they tell
MOST_KNOWN = 3  # counterparts of the sender that are tried in place of the recipient
MOST_SENT = 200  # gifts of the sender that they are looked for in


@dataclass(frozen=True, slots=True)
class Past:
    """What is on record of some keys before a moment, by its events and labels."""

    keys: list[str]
    until: tuple[int, int]
    events: list[Any]
    labels: list[Any]

    def relived(self, activity: Activity) -> Activity:
        for key in self.keys:
            activity.new(key)
        store.relive(activity, self.events, self.until)
        if activity.memory:
            store.relearn(activity, self.labels, self.until)
        return activity


@dataclass(frozen=True, slots=True)
class Found:
    """What was read of a decision: its row and its gift's first one, each with its policy and past, and its model.

    `others` are earlier gifts of the sender, by which its other counterparts are known.
    """

    row: Mapping[str, Any]
    policy: Policy
    past: Past
    serving: Serving | None
    silent: Opinion | None
    first: Mapping[str, Any] | None = None
    first_policy: Policy | None = None
    first_past: Past | None = None
    others: Sequence[tuple[Mapping[str, Any], Policy | None]] = ()
    waived: Mapping[str, str] = field(default_factory=dict)
    lists: Lists = NONE


# --- reading ---


async def gather(
    conn: asyncpg.Connection, shelf: Shelf, row: Mapping[str, Any], first: Any, client: str | None = None
) -> Found | str:
    """What a decision is taken again from, or why it cannot be; `first` is the row of its gift's first look.

    A `client` is not told of counterparts that only another client's gifts went to.
    """
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
    gift, until = gift_of(row, policy), (micros(row["at"]), row["seq"])
    others = await known(conn, shelf, gift, until[0], client) if gift.look == FIRST else []
    keys = Activity(policy.shapes, memory if policy.model else None).keys(gift)
    past = await before(conn, [*keys, *("o:" + other["recipient"] for other, _ in others)], until, policy)
    if isinstance(past, str):
        return past
    lists = await listed(conn, [gift, *(gift_of(other, None) for other, _ in others)], row["at"])
    found = Found(row, policy, past, judged, silent, others=others, lists=lists)
    return found if gift.look == FIRST else await with_first(conn, shelf, found, first)


async def with_first(conn: asyncpg.Connection, shelf: Shelf, found: Found, first: Any) -> Found | str:
    """A later look builds on the first."""
    if first is None:
        return "the first look at its gift is not on record"
    policy, past = await shelf.policy(conn, first["generation"]), None
    if found.serving:
        keys = Activity((), memory).keys(gift_of(first, policy, FIRST))
        read = await before(conn, keys, (micros(first["at"]), first["seq"]), found.policy)
        if isinstance(read, str):
            return read
        past = read
    gift = first["id"].rpartition(".")[0]
    rulings = await conn.fetch(store.SQL["waived_then"], gift, found.row["at"])
    waived = {reason: row["ruling"] for row in rulings for reason in row["reasons"]}
    return replace(found, first=first, first_policy=policy, first_past=past, waived=waived)


async def listed(conn: asyncpg.Connection, gifts: Sequence[Gift], at: datetime) -> Lists:
    """The entries that were there for any of these gifts at a moment."""
    facts = [(kind, getattr(gift, fact)) for gift in gifts for kind, fact in EVERYBODY]
    asked = {(kind, name) for kind, fact in facts if fact is not None for name in sought(kind, fact)}
    rows = await conn.fetch(store.SQL["lists_then"], [one[0] for one in asked], [one[1] for one in asked], at)
    return Lists(0, [Entry.of(*row) for row in rows])


def unfit(row: Mapping[str, Any], policy: Policy | None) -> str:
    """Why a decision was none that `decide` took; empty where it was one."""
    said = store.HITS.decode(row["hits"])
    if policy is None:
        return "no policy judged it"
    if row["refused"] and any(hit.by == "ledger" for hit in said):
        return "the ledger refused it before it was judged"
    names = {rule.name for rule in policy.rules}
    if any(hit.by == "degraded" and hit.name == "fault" and "fault" not in names for hit in said):
        return "a fault kept it from being judged; the log of that moment has more"
    return ""


async def before(conn: asyncpg.Connection, keys: Sequence[str], until: tuple[int, int], policy: Policy) -> Past | str:
    """What came before a moment, or what keeps it from being gone over."""
    gifts = sum((await busy(conn, keys, until[0], MOST_EVENTS + 1)).values())
    if gifts > MOST_EVENTS:
        return f"its parties, address and device had over {MOST_EVENTS:,} gifts in 30 days: too many to go over"
    taught, upto = policy.model is not None, moment(until[0])
    asked = store.columns(keys, [until[0] - HORIZON_US] * len(keys))
    events = await conn.fetch(store.SQL["load"], keys, *asked, taught, upto)
    remembered = [key for key in keys if taught and memory(key)]
    asked = store.columns(remembered, [until[0] - store.MEMORY_US] * len(remembered))
    labels = await conn.fetch(store.SQL["load_labels"], remembered, *asked) if remembered else []
    return Past(list(keys), until, events, labels)


async def busy(conn: asyncpg.Connection, keys: Sequence[str], at: int, most: int) -> dict[str, int]:
    """How many gifts each key saw in the 30 days before a moment, counted up to `most`."""
    roles, names, since = store.columns(keys, [at - HORIZON_US] * len(keys))
    rows = await conn.fetch(store.SQL["busy"], roles, names, since[0], moment(at), most) if keys else []
    return {row["key"]: row["gifts"] for row in rows}


async def known(
    conn: asyncpg.Connection, shelf: Shelf, gift: Gift, at: int, client: str | None
) -> list[tuple[Mapping[str, Any], Policy | None]]:
    """The sender's latest gift to each of its latest counterparts, but those that are hubs."""
    asked = gift.sender, moment(at - HORIZON_US), moment(at), MOST_SENT, MOST_KNOWN, gift.recipient, client
    rows = await conn.fetch(store.SQL["counterparts"], *asked)
    crowd = await busy(conn, ["o:" + row["recipient"] for row in rows], at, MOST_OF_KNOWN + 1)
    near = [row for row in rows if crowd["o:" + row["recipient"]] <= MOST_OF_KNOWN]
    return [(row, await shelf.policy(conn, row["generation"])) for row in near]


# --- rebuilding ---


def rebuild(found: Found) -> Rebuilt:
    """What a decision is taken again from; a look is built on the activity of before, and a later one on the first."""
    policy, at = found.policy, micros(found.row["at"])
    hits = store.HITS.decode(found.row["hits"])
    holds = [hit.name for hit in hits if hit.by == "ledger"]
    gift = structs.replace(gift_of(found.row, policy), ledger_hold=holds[0] if holds else None)
    activity = found.past.relived(Activity(policy.shapes, memory if policy.model else None))
    first = first_of(found, gift) if found.first else None
    # Of later looks only a late one asks limits, as of the gift's own moment; where none was passed it says the same.
    late = first.at if first and any(hit.by == "limit" for hit in hits) else None
    return Rebuilt(
        gift, at, policy, activity, found.serving, found.silent, first, found.waived, found.lists,
        found.row["breaker"], late,
    )  # fmt: skip


def first_of(found: Found, gift: Gift) -> First:
    """What a later look builds on. Its model goes by the first look's features, or by what they would have been."""
    assert found.first is not None
    at, kept = micros(found.first["at"]), found.first["features"]
    own = gift_of(found.first, found.first_policy, FIRST)
    if found.first_past is None:
        return First(own, at)
    then = found.first_past.relived(Activity((), memory))
    if kept and found.first["feature_table"] == HASH:
        return First(own, at, then, tuple(msgspec.json.decode(kept)))
    # No model judged then: the later look read the features with the facts that it knew itself.
    return First(structs.replace(gift, tier=own.tier), at, then, look_at(gift, then, at)[0])


def elsewhere(found: Found, then: Rebuilt) -> list[Gift]:
    """The gift as it would be to the sender's other counterparts."""
    return [to_other(then, row, policy) for row, policy in found.others]


def to_other(then: Rebuilt, row: Mapping[str, Any], policy: Policy | None) -> Gift:
    """The gift to the recipient of an earlier one, which tells what is known of it: as much older as it is by now."""
    there = gift_of(row, policy, FIRST)
    older_s = (then.at - micros(row["at"])) // 1_000_000
    age_s = None if there.recipient_age_s is None else there.recipient_age_s + older_s
    facts = {"recipient_age_s": age_s, "same_owner": there.same_owner, "recipient_tier": there.recipient_tier}
    told: dict[str, Any] = {name: fact for name, fact in facts.items() if fact is not None}
    return structs.replace(then.gift, recipient=there.recipient, recipient_domain=there.recipient_domain, **told)
