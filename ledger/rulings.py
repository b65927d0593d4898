"""What a ruling does to credits: a held transfer waits for its second look again, or goes back; an org is frozen.

Law: transfers are locked first, then orgs, as everywhere; a ruling and the settler meet on the transfer's row, and one
of them finds it taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import asyncpg

from detector.contract import Act, IdentityTerms, Stood, Told
from ledger import events, store
from ledger.errors import Conflict
from ledger.plan import Plan, slices_of, write
from ledger.stops import stops
from ledger.transfers import OPEN, Status

REASONS: dict[Act, str] = {"block": "ruled_block", "return": "ruled_return"}


class Rulings:
    """The ledger's side of the desk. Gifts of other ledgers have no transfer here: there is nothing to carry out."""

    async def lock(
        self, conn: asyncpg.Connection, gifts: Sequence[str], orgs: Sequence[str], identity: IdentityTerms
    ) -> dict[str, Stood]:
        """Lock the transfers of gifts, their parties and some orgs more; how each transfer stands."""
        transfers = await conn.fetch(store.SQL["transfers_lock"], sorted(gifts))
        named = sorted({*orgs, *(party for one in transfers for party in (one["sender"], one["recipient"]))})
        rows = {row["id"]: row for row in await conn.fetch(store.SQL["lock_orgs"], named)}
        found = {}
        for one in transfers:
            sender, recipient = rows[one["sender"]], rows[one["recipient"]]
            against = stops(sender, recipient, identity.asked(one["amount"]), sender["now"])
            found[one["id"]] = Stood(one["status"], [stop.words for stop in against])
        return found

    async def carry_out(
        self, conn: asyncpg.Connection, act: Act, gifts: Sequence[str], at: datetime, who: str
    ) -> list[Told]:
        """Do what was ruled to the locked transfers that are still open; what the log is to hear of it."""
        transfers = await conn.fetch(store.SQL["transfers_lock"], sorted(gifts))
        if act == "release":
            held = [one for one in transfers if one["status"] == Status.HELD]
            released = await conn.fetch(store.SQL["release"], [one["id"] for one in held], at)
            if len(released) != len(held):
                raise Conflict(f"{len(held) - len(released)} transfers changed meanwhile; read the case again")
            return [events.released(one, who) for one in held]
        still = [one for one in transfers if one["status"] in OPEN]
        slices = await slices_of(conn, [one["id"] for one in still])
        plan = Plan()
        for one in still:
            plan.give_back(one, slices[one["id"]], Status.RETURNED, REASONS[act], at)
        await write(conn, plan, 0)
        return events.stepped(plan.steps, still, who)

    async def freeze(self, conn: asyncpg.Connection, orgs: Sequence[str]) -> list[str]:
        """Freeze locked orgs; those that there are."""
        return [row["id"] for row in await conn.fetch(store.SQL["orgs_freeze"], sorted(orgs))]
