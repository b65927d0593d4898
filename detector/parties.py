"""What the model remembers of orgs, kept in the states that their locks prove fresh: the one place that calls the live
executor.

Law: a profile learns from approved first looks alone; what was held, blocked or refused must not teach what is usual.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from detector.activity import Activity
from detector.gift import Decision, Gift, Verdict
from detector.live import Party, learn, look, remember
from detector.live_graph import Digest
from detector.live_labels import Label
from detector.model_vector import Recorded, recorded

DIGEST = msgspec.json.Decoder(Digest)


class Past(NamedTuple):
    """A first look on record: its gift, its moment and place in its batch, and what it left for later gifts."""

    gift: Gift
    at: int
    seq: int
    approved: bool
    digest: Digest | None


def memory(key: str) -> Party | None:
    """What a model remembers of a new key: something of orgs alone."""
    return Party() if key.startswith("o:") else None


def look_at(gift: Gift, activity: Activity, at: int) -> tuple[Recorded, Digest]:
    """The features of a gift at its moment, and the digest that it is to be recorded with. Both parties are locked."""
    columns, digest = look(gift, party(activity, gift.sender), party(activity, gift.recipient), at)
    return recorded(gift, columns), digest


def teach(decision: Decision, activity: Activity) -> None:
    """Let the parties of a first look, just taken, know of it."""
    gift, approved = decision.gift, decision.verdict is Verdict.APPROVE
    sender, recipient = party(activity, gift.sender), party(activity, gift.recipient)
    tell(gift, decision.at, sender, recipient, decision.digest, approved=approved)


def recall(org: str, mine: Party, other: Party, past: Past) -> None:
    """Let one org know of a first look that is on record; `other` stands in for the other party, and may be anybody.

    A gift that was judged without a model left no digest: it gets what this org alone can tell of it, which is its
    excess where the org sent it, and no more of the graph than one of its sides.
    """
    gift, digest, sent = past.gift, past.digest, past.gift.sender == org
    if digest is None and past.approved:
        digest = look(gift, *((mine, Party()) if sent else (Party(), mine)), past.at)[1]
    tell(gift, past.at, *((mine, other) if sent else (other, mine)), digest, approved=past.approved)


def tell(gift: Gift, at: int, sender: Party, recipient: Party, digest: Digest | None, *, approved: bool) -> None:
    if approved and digest is not None:
        remember(gift, at, sender, recipient, digest)


def learn_label(org: str, mine: Party, label: Label, sender: str) -> None:
    """Let one org know what became known of a gift that it sent or was sent."""
    learn(label, mine if sender == org else None, None if sender == org else mine)


def party(activity: Activity, org: str) -> Party:
    found = activity.states["o:" + org].party
    assert found is not None, f"the state of {org} has no party"
    return found
