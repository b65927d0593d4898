"""What the ledger tells the log: one function for each kind of event (law 12). Pure.

An event's subject is the thing that changed, its actor who changed it: the org itself, the platform's key or a person
by name, a provider of identities, or the system. Bodies are flat; amounts are micro-credits, times RFC 3339 in UTC. A
transfer's events name both parties, so that whoever reads them needs no look-up. Whoever changes something appends its
events in the same transaction, as its last act.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from detector.contract import SYSTEM, Told
from ledger.views import stamp

if TYPE_CHECKING:
    from datetime import datetime

    from ledger.decide import Outcome
    from ledger.plan import Step


class Created(Struct, gc=False):
    """The body of transfer.created: pending, held or blocked, or screening while a scorer has yet to answer."""

    amount: int
    recipient: str
    sender: str
    status: str


def created(outcome: Outcome) -> Told:
    """A gift that passed the gate opened a transfer."""
    one, status = outcome.request, outcome.status
    assert status is not None, "only a judged gift opens a transfer"
    return Told("transfer.created", one.id, one.sender, Created(one.amount, one.recipient, one.sender, status))


def reserved(name: str, sender: str, recipient: str, amount: int, status: str) -> Told:
    """A gift whose credits are reserved, and about which a scorer on machines of its own is asked next."""
    return Told("transfer.created", name, sender, Created(amount, recipient, sender, status))


def screened(transfer: Any, status: str) -> Told:
    """transfer.screened: what a gift is once the scorer answered, or did not."""
    return of_transfer("transfer.screened", transfer, SYSTEM, {"status": status})


def stepped(steps: Iterable[Step], transfers: Iterable[Any], actor: str) -> list[Told]:
    """transfer.settled, with the amount that settled; transfer.held, .returned and .cancelled, with the reason."""
    rows = {one["id"]: one for one in transfers}
    return [
        of_transfer(f"transfer.{step.status}", rows[step.id], actor, {"amount": step.settled_amount})
        if step.settled_amount is not None
        else of_transfer(f"transfer.{step.status}", rows[step.id], actor, {"reason": step.reason})
        for step in steps
    ]


def released(transfer: Any, actor: str) -> Told:
    """A held transfer waits for its second look again."""
    return of_transfer("transfer.released", transfer, actor, {})


def taken_back(reversal: Any, transfer: Any, actor: str) -> Told:
    """transfer.reversed: what of a settled gift came back; `asked` may be more than `amount`, `repaid` is in it."""
    body = {name: reversal[name] for name in ("asked", "amount", "repaid", "reason")}
    return of_transfer("transfer.reversed", transfer, actor, {**body, "reversal": reversal["id"]})


def of_transfer(kind: str, transfer: Any, actor: str, more: Mapping[str, Any]) -> Told:
    parties = {name: transfer[name] for name in ("sender", "recipient", "amount")}
    return Told(kind, transfer["id"], actor, {**parties, **more})


def issued(grants: Iterable[Sequence[Any]], actor: str) -> list[Told]:
    """grant.issued, for rows of funding.grant_row."""
    return [
        Told("grant.issued", name, actor, {
            "org": org, "amount": amount, "origin": origin, "expires_at": stamp(expires_at),
        })
        for name, org, origin, _, expires_at, _, _, _, amount in grants
    ]  # fmt: skip


def revoked(record: Any, actor: str) -> Told:
    """grant.revoked: what of a purchase was taken back, what is owed for it, and what is forgone."""
    told = {name: record[name] for name in ("whole", "amount", "taken", "receivable", "forgone", "reason")}
    return Told(
        "grant.revoked", record["grant_id"], actor, {"org": record["org_id"], "revocation": record["id"], **told}
    )


def expired(grants: Iterable[Any]) -> list[Told]:
    """grant.expired: what was left of grants when their time had come, and is written off."""
    return [
        Told("grant.expired", one["id"], SYSTEM, {
            "org": one["org_id"], "amount": one["available"], "expired_at": stamp(one["expires_at"]),
        })
        for one in grants
    ]  # fmt: skip


def consumed(org: str, amount: int, name: str, left: int, actor: str) -> Told:
    """credits.consumed, of an org; `name` is the consumption's own."""
    return Told("credits.consumed", org, actor, {"amount": amount, "consumption": name, "available": left})


def org_created(org: Any, actor: str) -> Told:
    return Told("org.created", org["id"], actor, {name: org[name] for name in ("tier", "identity", "domain")})


def org_frozen(org: str, frozen: bool, actor: str) -> Told:
    return Told("org.frozen" if frozen else "org.unfrozen", org, actor, {})


def org_identity(org: str, level: str, since: datetime | None, actor: str) -> Told:
    """How far an org is verified from now on, and since when its check says so."""
    return Told("org.identity", org, actor, {"level": level, "since": stamp(since)})


def key_told(kind: str, digest: bytes, key: Any, actor: str) -> Told:
    """key.created and key.revoked. The subject tells keys apart and opens nothing: it is cut from the key's hash."""
    return Told(kind, f"key_{digest.hex()[:16]}", actor, {name: key[name] for name in ("name", "role", "org_id")})
