"""Who is linked to whom, seen from the two parties of a gift alone.

Law: nothing is read but the two parties' short lists and the digests that their events carry. A digest is taken when
its gift is judged and never changes, so what lies further back is what was true then. Everything in it has a cap.
"""

from __future__ import annotations

from msgspec import Struct

from detector.feature_table import DEPTH, FAR, HOPS, NEAR

Columns = tuple[int, ...]


class Digest(Struct, frozen=True, gc=False, array_like=True):
    """What an event says about the moment it was judged. `fresh`: first gift of its pair in 30 days."""

    excess: int = 0
    clean_excess: int = 0
    hops: int = 0  # longest chain of fresh gifts that ends in this one
    fresh: bool = False
    funders: tuple[str, ...] = ()  # who paid the sender
    recipients: tuple[str, ...] = ()  # whom the sender paid
    recipient_funders: tuple[str, ...] = ()  # who paid the recipient
    ancestors: tuple[str, ...] = ()  # whose credits may be in this gift, nearest first
    depths: tuple[int, ...] = ()  # steps back to each of them
    young: bool = False  # was the sender
    promo: int = 0  # micro-credits of promotions and free tiers in this gift


class Near:
    """The latest distinct counterparts of one org in one role, newest first, each with its latest event."""

    __slots__ = ("digests", "fresh", "hops", "ids", "times", "young")

    def __init__(self) -> None:
        self.fresh = 0  # how many of the latest events are fresh
        self.hops = 0  # the most hops of one
        self.young = 0  # how many of the latest events had a young sender
        self.ids: tuple[str, ...] = ()
        self.times: tuple[int, ...] = ()
        self.digests: tuple[Digest, ...] = ()

    def add(self, who: str, at: int, digest: Digest) -> None:
        ids = self.ids
        spot = ids.index(who) if who in ids else min(len(ids), NEAR - 1)
        self.ids = (who, *ids[:spot], *ids[spot + 1 :])
        self.times = (at, *self.times[:spot], *self.times[spot + 1 :])
        self.digests = (digest, *self.digests[:spot], *self.digests[spot + 1 :])
        self.sum_up()

    def forget(self, until: int) -> None:
        size = len(self.ids)
        while size and self.times[size - 1] <= until:
            size -= 1
        if size < len(self.ids):
            self.ids, self.times, self.digests = self.ids[:size], self.times[:size], self.digests[:size]
            self.sum_up()

    def sum_up(self) -> None:
        self.fresh = sum([digest.fresh for digest in self.digests])
        self.young = sum([digest.young for digest in self.digests])
        self.hops = max([digest.hops for digest in self.digests], default=0)


class Sight(Struct, frozen=True, gc=False):
    """The four short lists that a gift sees."""

    funders: Near
    recipients: Near
    recipient_funders: Near
    recipient_recipients: Near


def graph(sender: str, recipient: str, seen: Sight, own: Digest) -> tuple[Columns, Digest]:
    """The graph's columns of a gift, and its `own` digest completed by what is seen of the links."""
    ancestors = back_walk(sender, seen.funders)
    hops = min(seen.funders.hops + 1, HOPS) if own.fresh else 0
    cycle = ancestors.get(recipient, -1) + 1
    digest = Digest(
        own.excess,
        own.clean_excess,
        hops,
        own.fresh,
        seen.funders.ids,
        seen.recipients.ids,
        seen.recipient_funders.ids,
        tuple(ancestors),
        tuple(ancestors.values()),
        own.young,
        own.promo,
    )
    return (*shared(sender, recipient, seen), *freshness(seen), cycle, hops), digest


def shared(sender: str, recipient: str, seen: Sight) -> Columns:
    """common_funders, common_recipients, siblings, twins, coparty: counterparts that both sides have."""
    funders, recipients = set(seen.funders.ids), set(seen.recipients.ids)
    payers = set(seen.recipient_funders.ids)
    common_funders = len(funders & payers)
    common_recipients = len(recipients.intersection(seen.recipient_recipients.ids))
    funders.discard(recipient)
    recipients.discard(recipient)
    payers.discard(sender)
    siblings = twins = coparty = 0
    if payers and (funders or recipients):
        for who, event in zip(seen.recipient_funders.ids, seen.recipient_funders.digests, strict=True):
            if who != sender:
                siblings += not funders.isdisjoint(event.funders)
                twins += len(recipients.intersection(event.recipients))
    if payers and recipients:
        for who, event in zip(seen.recipients.ids, seen.recipients.digests, strict=True):
            if who != recipient:
                coparty += len(payers.intersection(event.recipient_funders))
    return common_funders, common_recipients, siblings, twins, coparty


def freshness(seen: Sight) -> Columns:
    """recipient_fresh_funders, sender_fresh_recipients, sender_fresh_funders: links that were new when last used."""
    return seen.recipient_funders.fresh, seen.recipients.fresh, seen.funders.fresh


def back_walk(sender: str, funders: Near) -> dict[str, int]:
    """Ancestors of what the sender gives and how far back each is; from the funders on only along fresh gifts."""
    found = dict.fromkeys(funders.ids, 1)
    for event in funders.digests:
        if not event.fresh:
            continue
        for who, depth in zip(event.ancestors, event.depths, strict=True):
            if len(found) == FAR or depth >= DEPTH:
                break
            if who != sender and who not in found:
                found[who] = depth + 1
    return found
