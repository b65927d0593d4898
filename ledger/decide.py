"""What the ledger decides about a batch: earlier answer → parties → identity → funds → the detector's verdict. Pure.

Requests are decided in order of arrival, each on what those before it left of the Book (laws 2, 7).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from msgspec import Struct

from detector.contract import Decision, Gift, IdentityTerms, Locking, Sitting
from ledger import answers, store
from ledger.credits import Grant, Org, Slice, cut
from ledger.transfers import BLOCKED, FIRST_STATUS, Answer, Request, Status

PROMOTIONAL = frozenset({"promo", "free_tier"})
YOUNG = timedelta(days=7)


@dataclass(slots=True)
class Book:
    """What the gate gathered, and what the batch has spent of it so far; `locked` is what it locked for the scorer."""

    now: int
    lock_s: int
    orgs: dict[str, Org]
    answers: dict[tuple[str, str], Any]
    grants: dict[str, list[Grant]]
    available: dict[str, int] = field(default_factory=dict)
    locked: tuple[Locking, Any] | None = None

    def spend(self, org_id: str, slices: list[Slice]) -> None:
        """Take slices from the front of an org's grants, which they were cut from in order."""
        for grant, amount in slices:
            grant.available -= amount
            self.available[org_id] -= amount
        used_up = len(slices) if slices[-1][0].available == 0 else len(slices) - 1
        del self.grants[org_id][:used_up]


class Outcome(Struct, frozen=True, gc=False):
    """What the batch decided about one request: its answer, and what to record for it."""

    request: Request
    answer: Answer
    decision: Decision | None = None
    status: Status | None = None
    slices: Sequence[Slice] = ()


class Weighed(Struct, frozen=True, gc=False):
    """A request that is new and between orgs that exist: its gift, what pays for it, and why it may not be sent."""

    request: Request
    gift: Gift
    slices: list[Slice] | None
    refusal: tuple[str, Answer] | None


def decide(piece: Sequence[Request], book: Book, sitting: Sitting) -> list[Outcome]:
    return [one for wave in sitting.waves(piece) for one in decide_wave(wave, book, sitting)]


def decide_wave(wave: Sequence[Request], book: Book, sitting: Sitting) -> list[Outcome]:
    """One wave, in order of arrival: earlier answer → parties → identity → funds → detector. The model looks once."""
    if len(wave) == 1:  # then the model looks when it is asked
        one = weigh(wave[0], book, sitting.identity)
        return [judge(one, book, sitting) if isinstance(one, Weighed) else one]
    weighed = [weigh(request, book, sitting.identity) for request in wave]
    sitting.look([(one.gift, one.request.at) for one in weighed if isinstance(one, Weighed) and not one.refusal])
    return [judge(one, book, sitting) if isinstance(one, Weighed) else one for one in weighed]


def weigh(request: Request, book: Book, identity: IdentityTerms) -> Weighed | Outcome:
    """What the ledger itself has to say of one request: its answer, or the gift that it makes."""
    earlier = book.answers.get((request.sender, request.key))
    if earlier is not None:
        return Outcome(request, answers.earlier(request, earlier))
    sender, recipient = book.orgs.get(request.sender), book.orgs.get(request.recipient)
    if sender is None or recipient is None:
        answer = unknown(request, sender)
        book.answers[request.sender, request.key] = answers.kept(answer, request.body_hash)
        return Outcome(request, answer)
    slices = cut(book.grants[request.sender], request.amount)
    now = store.moment(book.now if request.at is None else request.at)
    gift = gift_of(request, sender, recipient, book.available[request.sender], slices or (), now)
    asks = identity.asked(request.amount)
    return Weighed(request, gift, slices, answers.refusal(request, sender, recipient, slices, asks, now))


def unknown(request: Request, sender: Org | None) -> Answer:
    """There is nobody to judge where a party does not exist."""
    if sender is None:
        return answers.problem(403, "unknown_sender", f"org {request.sender!r} does not exist")
    detail = f"recipient {request.recipient!r} does not exist; check the org id"
    return answers.problem(422, "unknown_recipient", detail)


def judge(one: Weighed, book: Book, sitting: Sitting) -> Outcome:
    """Refuse what may not be sent, ask the detector about the rest, and reserve what it admits."""
    outcome = ask(one, book, sitting)
    book.answers[one.request.sender, one.request.key] = answers.kept(outcome.answer, one.request.body_hash)
    return outcome


def ask(one: Weighed, book: Book, sitting: Sitting) -> Outcome:
    request, slices = one.request, one.slices
    if one.refusal:
        reason, answer = one.refusal
        return Outcome(request, answer, sitting.turn_away(one.gift, reason, at=request.at))
    decision = sitting.decide(one.gift, at=request.at)
    if decision.refused:
        return Outcome(request, answers.rate_limited(decision), decision)
    status = FIRST_STATUS[decision.verdict.word]
    if status is BLOCKED or slices is None:
        return Outcome(request, answers.created(request, status, decision, book.lock_s), decision, status)
    book.spend(request.sender, slices)
    return Outcome(request, answers.created(request, status, decision, book.lock_s), decision, status, slices)


def gift_of(
    request: Request, sender: Org, recipient: Org, available: int, slices: Sequence[Slice], now: datetime
) -> Gift:
    """The facts of a gift as the ledger knows them at its moment."""
    topped, promo, young = origins(slices, now)
    owner = sender.owner
    return Gift(
        request.id,
        request.sender,
        request.recipient,
        request.amount,
        request.payload_hash,
        request.ip,
        request.device,
        sender.tier,
        recipient.tier,
        sender.identity,
        age_s(sender.created_at, now),
        age_s(recipient.created_at, now),
        available,
        None if topped is None else age_s(topped, now),
        owner is not None and owner == recipient.owner,
        promo_amount=promo,
        young_amount=young,
        sender_domain=sender.domain,
        recipient_domain=recipient.domain,
        ledger_hold=hold(sender, recipient),
    )


def origins(slices: Sequence[Slice], now: datetime) -> tuple[datetime | None, int, int]:
    """What pays for a gift: its latest purchase, how much is promotional, and how much was bought so lately that a
    charge-back may still take it."""
    topped: datetime | None = None
    promo = young = 0
    for grant, amount in slices:
        if grant.origin == "purchase":
            rooted = grant.rooted_at
            if topped is None or rooted > topped:
                topped = rooted
            if rooted > now - YOUNG:
                young += amount
        elif grant.origin in PROMOTIONAL:
            promo += amount
    return topped, promo, young


def hold(sender: Org, recipient: Org) -> str | None:
    """Why the ledger holds a gift: a compromised org may not send, but what it is sent may be honest."""
    if sender.caution == "cool_off":
        return "cool_off"
    return "recipient_compromised" if recipient.caution == "compromised" else None


def age_s(since: datetime, now: datetime) -> int:
    """Whole seconds since a moment, 0 before it."""
    span = now - since
    return 0 if span.days < 0 else span.days * 86_400 + span.seconds
