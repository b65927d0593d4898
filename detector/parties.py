"""What the model remembers of orgs and context keys, kept in the states that their locks prove fresh: the one place
that calls the live executor.

Law: a profile learns from approved first looks alone; what was held, blocked or refused is an attempt, and must not
teach what is usual.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from detector.activity import PREFIX, Activity
from detector.feature_table import CONTEXTS
from detector.gift import Decision, Gift, Verdict
from detector.live import labels, learn, look, remember
from detector.live_context import Context
from detector.live_graph import Digest
from detector.live_labels import Label
from detector.live_party import Memory, Party
from detector.model_vector import Recorded, recorded

DIGEST = msgspec.json.Decoder(Digest)
PREFIXES = {name: PREFIX[name] for name in CONTEXTS}


class Past(NamedTuple):
    """A first look on record: its gift, its moment and place in its batch, and what it left for later gifts."""

    gift: Gift
    at: int
    seq: int
    approved: bool
    digest: Digest | None


def memory(key: str) -> Memory | None:
    """What a model remembers of a new key: something of orgs and contexts, nothing of tiers."""
    if key.startswith("o:"):
        return Party()
    return Context() if key.startswith(tuple(PREFIXES.values())) else None


def seen(gift: Any) -> list[str]:
    """The keys whose memories a look at a gift reads."""
    named = [(prefix, getattr(gift, name, None)) for name, prefix in PREFIXES.items()]
    contexts = [prefix + value for prefix, value in named if value is not None]
    return ["o:" + gift.sender, "o:" + gift.recipient, *contexts]


def look_at(gift: Gift, activity: Activity, at: int) -> tuple[Recorded, Digest]:
    """The features of a gift at its moment, and the digest that it is to be recorded with. Its keys are locked."""
    sender, recipient = party(activity, gift.sender), party(activity, gift.recipient)
    columns, digest = look(gift, sender, recipient, at, contexts=contexts(activity, gift))
    return recorded(gift, columns), digest


def labels_at(gift: Gift, activity: Activity, at: int) -> Recorded:
    """Of the features of a gift those that labels change, in the order of the table. Its keys are locked."""
    sender, recipient = party(activity, gift.sender), party(activity, gift.recipient)
    return labels(sender, recipient, at, contexts=contexts(activity, gift))


def teach(decision: Decision, activity: Activity) -> None:
    """Let the parties and contexts of a first look, just taken, know of it."""
    gift, digest = decision.gift, decision.digest
    sender, recipient = party(activity, gift.sender), party(activity, gift.recipient)
    taught = decision.verdict is Verdict.APPROVE and digest is not None
    remember(gift, decision.at, sender, recipient, digest, contexts=contexts(activity, gift), taught=taught)


def recall(key: str, mine: Memory, other: Party, past: Past) -> None:
    """Let one key know of a first look that is on record; `other` stands in for parties that it is not.

    A gift that was judged without a model left no digest: it gets what this org alone can tell of it, which is its
    excess where the org sent it, and no more of the graph than one of its sides.
    """
    gift, digest = past.gift, past.digest
    if isinstance(mine, Context):
        if past.approved:
            mine.add(past.at, gift.sender, gift.recipient)
        return
    sent = gift.sender == key[2:]
    if digest is None and past.approved:
        digest = look(gift, *((mine, Party()) if sent else (Party(), mine)), past.at)[1]
    remember(gift, past.at, *((mine, other) if sent else (other, mine)), digest, taught=past.approved)


def recall_label(key: str, mine: Memory, label: Label, sender: str) -> None:
    """Let one key know what became known of a gift that it was part of."""
    if isinstance(mine, Context):
        mine.learn(label)
    else:
        learn(label, mine if sender == key[2:] else None, None if sender == key[2:] else mine)


def party(activity: Activity, org: str) -> Party:
    found = activity.states["o:" + org].memory
    assert isinstance(found, Party), f"the state of {org} has no party"
    return found


def contexts(activity: Activity, gift: Gift) -> list[Context | None]:
    """The memories of a gift's context keys, in the order of CONTEXTS; None where it names none."""
    found: list[Context | None] = []
    for name, prefix in PREFIXES.items():
        value = getattr(gift, name)
        kept = None if value is None else activity.states[prefix + value].memory
        found.append(kept if isinstance(kept, Context) else None)
    return found
