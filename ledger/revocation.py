"""Taking a purchase back, through any chain of gifts: a chargeback, or a grant that should not have been issued.

What is unspent of the root is taken wherever it went; gifts in the lock that hold a slice of it are returned whole;
what was consumed is owed by the org that bought it. Law 1: the parts explain every unit that was asked for; law 2: no
balance goes below zero. ADR 15 says why each part goes where it does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import asyncpg

from detector.contract import SYSTEM, Left
from ledger import events, store
from ledger.credits import Account, Entry, posting
from ledger.errors import Conflict, Invalid, NotFound
from ledger.funding import write_off
from ledger.plan import Plan, Step, slices_of, write
from ledger.scorer import Desk
from ledger.transfers import Status

# Somebody may open a gift, or move credits to a new org, between our reading and our locks: then once more.
ROUNDS = 50
# A line's number is a smallint, and each grant takes two lines.
MOST_GRANTS_IN_POSTING = 16_000


class Reach(NamedTuple):
    """All that a root reaches, locked: the gifts in the lock with a slice of it, and the moment after the locks."""

    waiting: list[Any]
    now: datetime


class Draw(NamedTuple):
    """What a revocation takes: gifts to return from the lock, and how much of which grant."""

    returning: list[Any]
    parcels: list[tuple[Any, int]]

    @property
    def taken(self) -> int:
        return sum(part for _, part in self.parcels)


class Taken(NamedTuple):
    """What a revocation took: how much, the steps of the gifts that went back, the grants whose time had come."""

    amount: int
    steps: list[Step]
    lapsed: list[Any]


async def revoke(
    conn: asyncpg.Connection, desk: Desk, grant_id: str, amount: int | None = None, reason: str | None = None,
    *, actor: str = SYSTEM,
) -> asyncpg.Record:  # fmt: skip
    """Take back a root grant, whole or `amount` of it, inside the caller's transaction; the record of it.

    A grant that was taken back whole gives the record of that again. Raises NotFound, Invalid for a slice, and Conflict
    for more than what is left.
    """
    root = await root_of(conn, grant_id)
    reach = await seize(conn, grant_id)
    whole = await conn.fetchrow(store.SQL["revocation_whole"], grant_id)
    if whole is not None:
        if amount is None:
            return whole
        raise Conflict(f"grant {grant_id} was taken back whole before, by {whole['id']}")
    spent = await conn.fetchrow(store.SQL["root_spent"], grant_id)
    left = root["amount"] - spent["amount"]
    if amount is not None and amount > left:
        raise Conflict(
            f"{amount} is more than the {left} micro-credits of grant {grant_id} that are not taken back yet"
        )
    record, drawn = await carry_out(conn, root, reach, spent, left if amount is None else amount, reason)
    held = {one["id"] for one in reach.waiting if one["status"] == Status.HELD}
    gone = [Left(one, "returned", reach.now) for one in record["returned"] if one in held]
    told = [*events.expired(drawn.lapsed), *events.stepped(drawn.steps, reach.waiting, actor)]
    await desk.left(conn, gone, [events.revoked(record, actor), *told])
    return record


async def carry_out(
    conn: asyncpg.Connection, root: Any, reach: Reach, spent: Any, want: int, reason: str | None
) -> tuple[asyncpg.Record, Taken]:
    """Take what is there, and say what is owed for the rest."""
    name, whole = f"{root['id']}.v{spent['number'] + 1}", want == root["amount"] - spent["amount"]
    drawn = await take(conn, name, root["id"], reach, want, whole)
    returned = [step.id for step in drawn.steps]
    rest = want - drawn.amount
    owed = min(rest, spent["consumed"] - spent["receivable"]) if root["origin"] == "purchase" else 0
    parts = (want, drawn.amount, owed, rest - owed)
    record: asyncpg.Record = await conn.fetchrow(
        store.SQL["revocation_add"], name, root["id"], root["org_id"], reach.now, whole, *parts, returned, reason
    )
    return record, drawn


async def root_of(conn: asyncpg.Connection, grant_id: str) -> asyncpg.Record:
    root: asyncpg.Record | None = await conn.fetchrow(store.SQL["grant"], grant_id)
    if root is None:
        raise NotFound(f"grant {grant_id!r} does not exist")
    if root["parent_id"] is not None:
        whole, gift = root["root_id"], root["transfer_id"]
        raise Invalid(f"grant {grant_id} is a slice of {whole}: revoke that one, or reverse the gift {gift}")
    return root


async def seize(conn: asyncpg.Connection, root_id: str) -> Reach:
    """Lock what a root reaches, in the order of the house: transfers, then orgs."""
    for _ in range(ROUNDS):
        attempt = conn.transaction()
        await attempt.start()
        names = await waiting_gifts(conn, root_id)
        waiting = await conn.fetch(store.SQL["waiting_lock"], names)
        owners = await conn.fetch(store.SQL["root_owners"], root_id)
        orgs = await conn.fetch(store.SQL["lock_orgs"], [row["org_id"] for row in owners])
        late = set(await waiting_gifts(conn, root_id)).difference(one["id"] for one in waiting)
        waiting += await conn.fetch(store.SQL["waiting_lock_late"], sorted(late)) if late else []
        known = len(waiting) == len(set(await waiting_gifts(conn, root_id)))
        if known and set(await conn.fetch(store.SQL["root_owners"], root_id)) <= set(owners):
            await attempt.commit()
            return Reach(waiting, max(org["now"] for org in orgs))
        await attempt.rollback()
    raise Conflict(f"the credits of grant {root_id} move too fast at present; nothing was changed, try again")


async def waiting_gifts(conn: asyncpg.Connection, root_id: str) -> list[str]:
    return [row["id"] for row in await conn.fetch(store.SQL["root_waiting"], root_id)]


async def take(conn: asyncpg.Connection, name: str, root_id: str, reach: Reach, want: int, whole: bool) -> Taken:
    """Return gifts from the lock as far as needed, write off what had expired, take the rest."""
    grants = await conn.fetch(store.SQL["root_grants"], root_id)
    slices = await slices_of(conn, [one["id"] for one in reach.waiting])
    lapsed = [one for one in grants if one["expires_at"] <= reach.now]
    drawn = draw([one for one in grants if one["expires_at"] > reach.now], reach.waiting, slices, root_id, want)
    plan = Plan()
    for transfer in reach.waiting if whole else drawn.returning:
        plan.give_back(transfer, slices[transfer["id"]], Status.RETURNED, "credits_revoked", reach.now)
    if plan.steps:
        await write(conn, plan, 0)
    lapsed = [one for one in lapsed if one["available"]]
    entries = [entry for one in lapsed for entry in write_off(one)]
    entries += revoked(name, drawn.parcels, reach.now)
    await conn.execute(store.SQL["post"], *store.columns(entries, 8))
    return Taken(drawn.taken, plan.steps, lapsed)


def draw(grants: Sequence[Any], waiting: Sequence[Any], slices: dict[str, list[Any]], root_id: str, want: int) -> Draw:
    """What to take for `want`: what is available from the purchase outwards, then what waits in the lock."""
    parts = {one["id"]: 0 for one in grants}
    rank = {one["id"]: place for place, one in enumerate(grants)}
    for one in grants:
        parts[one["id"]] = part = min(one["available"], want)
        want -= part
    mine = {one["id"]: [piece for piece in slices[one["id"]] if piece["root_id"] == root_id] for one in waiting}
    returning = []
    for one in sorted(waiting, key=lambda gift: (min(rank.get(s["id"], 0) for s in mine[gift["id"]]), gift["id"])):
        if not want or not grants:
            break
        returning.append(one)
        for piece in mine[one["id"]]:
            part = min(piece["part"], want)
            parts[piece["id"]] += part
            want -= part
    return Draw(returning, [(one, parts[one["id"]]) for one in grants if parts[one["id"]]])


def revoked(name: str, parcels: Iterable[tuple[Any, int]], at: datetime) -> list[Entry]:
    """The posting that takes parcels back; several where one has no room for all of them."""
    legs = [
        leg
        for one, part in parcels
        for leg in (
            (one["org_id"], one["id"], Account.AVAILABLE.value, -part),
            (one["org_id"], one["id"], Account.REVOKED.value, part),
        )
    ]
    size = 2 * MOST_GRANTS_IN_POSTING
    return [
        entry
        for start in range(0, len(legs), size)
        for entry in posting("revoke", f"{name}.{start // size}" if start else name, at, legs[start : start + size])
    ]
