"""Taking a settled gift back, whole or in part, as often as is asked for: together at most what settled (law 3).

First what is unspent of the grants that the gift made: it returns to the grants it was cut from. Then, unless told
otherwise, what else the recipient could gift: the sender gets slices of that, with their own roots, expiry and nature
(law 9). What neither gives is not recovered, and said so; no balance goes below zero (law 2).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import asyncpg

from detector.contract import SYSTEM, append
from ledger import events, store
from ledger.credits import Account, Entry, posting
from ledger.errors import Conflict, NotFound
from ledger.plan import Minted, mint
from ledger.transfers import Status

Part = tuple[Any, int]


async def reverse(
    conn: asyncpg.Connection, transfer_id: str, amount: int | None, reason: str, *, only_gift: bool = False,
    actor: str = SYSTEM,
) -> asyncpg.Record:  # fmt: skip
    """Reverse a settled gift inside the caller's transaction; the record of it, also where nothing was recovered.

    `amount` None is all that is left; `only_gift` leaves the recipient's other credits alone. Raises NotFound, and
    Conflict for a gift that did not settle or for more than is left of it.
    """
    transfer = await conn.fetchrow(store.SQL["transfer_whole_lock"], transfer_id)
    if transfer is None:
        raise NotFound(f"transfer {transfer_id!r} does not exist")
    earlier = await conn.fetch(store.SQL["reversals"], transfer_id)
    asked = due(transfer, sum(one["amount"] for one in earlier), amount)
    orgs = await conn.fetch(store.SQL["lock_orgs"], [transfer["sender"], transfer["recipient"]])
    now = max(org["now"] for org in orgs)
    slices = await conn.fetch(store.SQL["gift_slices"], transfer_id, now)
    back = portion(slices, asked)
    missing = asked - total(back)
    others = [] if only_gift or not missing else await others_of(conn, transfer["recipient"], slices, now)
    repaid = portion(others, missing)
    name = f"{transfer_id}.r{len(earlier) + 1}"
    await post(conn, name, transfer, back, repaid, now)
    recovered = total(back) + total(repaid)
    record: asyncpg.Record = await conn.fetchrow(
        store.SQL["reversal_add"], name, transfer_id, now, asked, recovered, total(repaid), reason
    )
    await append(conn, [events.taken_back(record, transfer, actor)])
    return record


def due(transfer: Any, before: int, amount: int | None) -> int:
    """How much is to be taken back. Raises Conflict where that cannot be."""
    name, settled = transfer["id"], transfer["settled_amount"]
    if transfer["status"] != Status.SETTLED:
        raise Conflict(f"transfer {name} is {transfer['status']}; only a settled gift is reversed")
    left: int = settled - before
    if not left:
        raise Conflict(f"transfer {name} is reversed already, all {settled} micro-credits of it")
    if amount is not None and amount > left:
        raise Conflict(f"{amount} is more than the {left} micro-credits of transfer {name} that are not reversed yet")
    return left if amount is None else amount


async def others_of(conn: asyncpg.Connection, org_id: str, slices: Sequence[Any], now: datetime) -> list[Any]:
    """What a recipient could gift, but for the gift's own slices."""
    own = {one["id"] for one in slices}
    return [one for one in await conn.fetch(store.SQL["giftable"], org_id, now) if one["id"] not in own]


def portion(grants: Sequence[Any], amount: int) -> list[Part]:
    """Parts of grants, in their order, worth `amount` or as much as there is."""
    parts = []
    for one in grants:
        part = min(one["available"], amount)
        if part:
            parts.append((one, part))
            amount -= part
    return parts


def total(parts: Sequence[Part]) -> int:
    return sum(part for _, part in parts)


async def post(
    conn: asyncpg.Connection, name: str, transfer: Any, back: list[Part], repaid: list[Part], at: datetime
) -> None:
    """The postings of one reversal: what goes back to where it was cut from, and what is repaid in other credits."""
    minted = [repay(one, part, transfer, at) for one, part in repaid]
    await conn.execute(store.SQL["mint"], *store.columns(minted, 13))
    given = [(one["org_id"], one["id"], one["parent_org"], one["parent_id"], part) for one, part in back]
    paid = [(transfer["recipient"], one.parent_id, one.org_id, one.id, one.amount) for one in minted]
    entries = moves("reverse", name, at, given) + moves("repay", name, at, paid)
    await conn.execute(store.SQL["post"], *store.columns(entries, 8))


def repay(grant: Any, part: int, transfer: Any, at: datetime) -> Minted:
    """The sender's slice of another grant of the recipient's."""
    slice_ = mint({**dict(grant), "part": part}, transfer, at)
    return slice_._replace(org_id=transfer["sender"])


def moves(kind: str, name: str, at: datetime, parts: Sequence[tuple[str, str, str, str, int]]) -> list[Entry]:
    """The posting that moves parts, each (from org, from grant, to org, to grant, amount)."""
    legs = [
        leg
        for source, source_grant, target, target_grant, part in parts
        for leg in (
            (source, source_grant, Account.AVAILABLE.value, -part),
            (target, target_grant, Account.AVAILABLE.value, part),
        )
    ]
    return posting(kind, name, at, legs)
