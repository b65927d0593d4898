"""Waiting gifts as they stand now: what is locked and read to look at one again, whoever looks and why."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import asyncpg

from detector.contract import Gift, Parties, Sitting
from ledger import store
from ledger.decide import PROMOTIONAL, YOUNG
from ledger.plan import slices_of


async def gather(conn: asyncpg.Connection, transfers: Sequence[Any]) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """Lock both parties of every locked transfer in id order, then read the slices; each by its id."""
    named = sorted({party for one in transfers for party in (one["sender"], one["recipient"])})
    orgs = {org["id"]: org for org in await conn.fetch(store.SQL["lock_orgs"], named)}
    return orgs, await slices_of(conn, [one["id"] for one in transfers])


def parties(transfers: Iterable[Any], orgs: dict[str, Any]) -> list[Parties]:
    return [
        Parties(one["sender"], one["recipient"], one["ip"], one["device"], orgs[one["sender"]]["tier"])
        for one in transfers
    ]


async def lay_before(
    sitting: Sitting, conn: asyncpg.Connection, transfers: Sequence[Any], slices: dict[str, list[Any]],
    orgs: dict[str, Any], now: datetime, *, late: bool = False,
) -> list[Gift]:  # fmt: skip
    """The gifts as they stand now, which the sitting may decide from here on: it has read what their looks build on."""
    gifts = [gift_of(one, slices[one["id"]], orgs, now) for one in transfers]
    await sitting.recall(conn, gifts, late=late)
    sitting.look([(gift, None) for gift in gifts])
    return gifts


def gift_of(transfer: Any, slices: Sequence[Any], orgs: dict[str, Any], now: datetime) -> Gift:
    """The gift as it stands now; what was true only at its beginning (the sender's balance) is kept from then."""
    sender, recipient = orgs[transfer["sender"]], orgs[transfer["recipient"]]
    tops = [one["rooted_at"] for one in slices if one["origin"] == "purchase"]
    return Gift(
        transfer["id"],
        transfer["sender"],
        transfer["recipient"],
        transfer["amount"],
        transfer["payload_hash"],
        transfer["ip"],
        transfer["device"],
        sender["tier"],
        recipient["tier"],
        sender["identity"],
        seconds(now, sender["created_at"]),
        seconds(now, recipient["created_at"]),
        transfer["sender_available"],
        seconds(now, max(tops)) if tops else None,
        sender["owner"] is not None and sender["owner"] == recipient["owner"],
        look=transfer["version"] + 1,
        promo_amount=sum(one["part"] for one in slices if one["origin"] in PROMOTIONAL),
        young_amount=sum(one["part"] for one in slices if young(one, now)),
        revoked_amount=sum(one["part"] for one in slices if one["in_doubt"]),
        sender_domain=sender["domain"],
        recipient_domain=recipient["domain"],
    )


def young(piece: Any, now: datetime) -> bool:
    """A charge-back may still take it, as at the first look (ledger.decide)."""
    return bool(piece["origin"] == "purchase" and piece["rooted_at"] > now - YOUNG)


def seconds(now: datetime, since: datetime) -> int:
    return max(0, store.micros(now) - store.micros(since)) // 1_000_000
