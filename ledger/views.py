"""How transfers, grants and orgs look from outside. Times are RFC 3339 in UTC; null is what never comes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any


def stamp(at: datetime | None) -> str | None:
    """RFC 3339 in UTC; None for what never comes."""
    if at is None or at.year == 9999:
        return None
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def transfer_view(row: Any) -> dict[str, Any]:
    return {
        **{key: row[key] for key in ("id", "status", "sender", "recipient", "amount", "note")},
        "created_at": stamp(row["created_at"]),
        "settle_at": stamp(row["settle_at"]),
        "ended_at": stamp(row["ended_at"]),
        "settled_amount": row["settled_amount"],
        "reversed_amount": row["reversed_amount"],
    }


def grant_view(row: Any) -> dict[str, Any]:
    keys = (
        "id",
        "origin",
        "amount",
        "available",
        "reserved",
        "priority",
        "giftable",
        "root_id",
        "parent_id",
        "transfer_id",
    )
    times = ("giftable_at", "expires_at", "created_at", "revoked_at")
    return {**{key: row[key] for key in keys}, **{key: stamp(row[key]) for key in times}}


ORG_TIMES = ("identity_at", "created_at", "compromised_at", "cool_until")


def org_view(row: Any) -> dict[str, Any]:
    keys = ("id", "tier", "identity", "frozen", "home_cell", "owner", "domain", "available", "reserved")
    return {**{key: row[key] for key in keys}, **{key: stamp(row[key]) for key in ORG_TIMES}}


def report_view(row: Any) -> dict[str, Any]:
    """A compromise report; `found` is how many gifts it named."""
    keys = ("id", "author", "detail", "gifts", "keys_revoked", "found")
    view = {**{key: row[key] for key in keys}, **{key: stamp(row[key]) for key in ("at", "since")}}
    return {**view, "org": row["org_id"], "case": row["case_id"]}


def revocation_view(row: Any) -> dict[str, Any]:
    return {
        **{key: row[key] for key in ("id", "grant_id", "org_id", "whole", "amount")},
        "revoked": row["taken"],
        **{key: row[key] for key in ("receivable", "forgone", "returned", "reason")},
        "at": stamp(row["at"]),
    }


def receivable_view(row: Any) -> dict[str, Any]:
    return {**{key: row[key] for key in ("id", "org_id", "root_id", "amount", "reason")}, "at": stamp(row["at"])}


def reversal_view(row: Any) -> dict[str, Any]:
    """What of the gift came back, and what was asked for and did not."""
    return {
        **{key: row[key] for key in ("id", "transfer_id", "asked", "amount", "repaid")},
        "not_recovered": row["asked"] - row["amount"],
        "reason": row["reason"],
        "at": stamp(row["at"]),
    }
