"""What keeps a gift between two orgs from settling whatever its verdict: how they stand. Pure.

Law: the identity that the policy asks for the amount counts once more at the settling moment; lapsed or lost holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from detector.contract import Asks, IdentityTerms


class Stop(NamedTuple):
    """Why a gift is held in spite of an approval: a reason for its case, and words for whoever would release it."""

    reason: str
    words: str


def against(transfer: Any, orgs: Mapping[str, Any], identity: IdentityTerms, now: datetime) -> str | None:
    """The first reason for which the ledger holds a transfer although the detector approves of it."""
    found = stops(orgs[transfer["sender"]], orgs[transfer["recipient"]], identity.asked(transfer["amount"]), now)
    stop = next(found, None)
    return stop.reason if stop else None


def stops(sender: Any, recipient: Any, asks: Asks, now: datetime) -> Iterator[Stop]:
    """What holds a gift of `sender` to `recipient`, rows of ledger.orgs, that asks so much of the sender's identity."""
    for org in (sender, recipient):
        if org["frozen"]:
            yield Stop("party_frozen", f"org {org['id']} is frozen")
        if org["compromised_at"] is not None:
            yield Stop("party_compromised", f"org {org['id']} is reported as compromised")
    if not asks.met(sender["identity"], sender["identity_at"], now):
        stands = stands_at(sender["identity"], sender["identity_at"])
        yield Stop("identity_required", f"org {sender['id']} {stands} and the gift needs {asks.words}")


def stands_at(level: str, since: datetime | None) -> str:
    """How far an org is verified, in words.

    >>> stands_at("none", None)
    'has no verified identity'
    >>> stands_at("basic", datetime(2026, 11, 1))
    'is verified as basic since 2026-11-01 00:00'
    """
    if level == "none":
        return "has no verified identity"
    return f"is verified as {level}" + (f" since {since:%Y-%m-%d %H:%M}" if since else "")
