"""The whole decision, top to bottom, pure: limits, features, rules, model, lists. The most severe verdict wins; of a
block an open breaker makes a hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from msgspec import structs

from detector import breaker, lists, rules
from detector.activity import Activity
from detector.gift import APPROVE, BLOCK, HOLD, Decision, Event, Gift, Hit, Opinion, Verdict
from detector.limits import Exceeded, check, over
from detector.lists import NONE, Lists
from detector.policy import Policy

FIRST = 1
NOTHING: Mapping[str, str] = MappingProxyType({})
SEVERITY = {verdict.word: verdict for verdict in Verdict}
SILENT = Opinion(0)
# Where the policy names a model, one that says nothing holds the gift (law 5).
UNASKED = Opinion(0, hit=Hit("degraded", "model_unasked", HOLD.word))
# Verdict, hits, whether a limit refused the gift, and seconds until it would not.
Weighed = tuple[Verdict, tuple[Hit, ...], bool, int | None]
CLEAR: Weighed = (APPROVE, (), False, None)


def decide(
    gift: Gift, activity: Activity, policy: Policy | None, now: int, opinion: Opinion | None = None,
    waived: Mapping[str, str] = NOTHING, listed: Lists = NONE, opening: int | None = None, late: int | None = None,
) -> Decision:  # fmt: skip
    """Judge one gift as of `now` (microseconds): find what is against it, then weigh what of that counts.

    A second look takes no budget again, so it asks no limit; unless nobody took the first: `late` is then the gift's
    moment, and limits are asked as of it. `opinion` is the model's, `opening` the breaker's. `waived` are reasons that
    an analyst saw and released the gift in spite of, each with the ruling.
    """
    if policy is None:
        return degraded(gift, now, "no_policy")
    tracks = activity.tracks(policy.lookups, gift)
    if gift.look == FIRST:
        exceeded, budget = check(policy.ceilings, tracks, gift.amount, now)
    else:
        exceeded, budget = [] if late is None else over(policy.ceilings, tracks, late), None
    vector = policy.vectors.read(gift, tracks, now)
    said = opinion or (UNASKED if policy.model else SILENT)
    found = against(gift, policy, vector, said, listed, now)
    weighed = weigh(gift, now, exceeded, found, waived, listed, opening) if exceeded or found else CLEAR
    verdict, hits, refused, retry_after_s = weighed
    return Decision(
        gift, now, verdict, hits, vector, policy.generation, said.model, said.score, refused, retry_after_s, budget,
        said.features, said.digest, opening,
    )  # fmt: skip


def against(gift: Gift, policy: Policy, vector: Sequence[Any], said: Opinion, listed: Lists, now: int) -> list[Hit]:
    """What speaks against a gift besides the limits: rules, the model, block entries, its own ledger."""
    hits = rules.hits(policy.checks, vector)
    if said.hit:
        hits.append(said.hit)
    if listed.blocked:
        hits += listed.hits(gift, now)
    if gift.ledger_hold:
        hits.append(Hit("ledger", gift.ledger_hold, HOLD.word))
    return hits


def weigh(
    gift: Gift, now: int, exceeded: list[Exceeded], found: list[Hit], waived: Mapping[str, str], listed: Lists,
    opening: int | None,
) -> Weighed:  # fmt: skip
    """Make what was waived not count, nor what an allow entry of the sender's covers; of the rest the most severe wins.
    Under an `opening` of the breaker, what rules and the model would block is held."""
    hits = [waive(hit, waived) for hit in [one.hit() for one in exceeded] + found]
    hits = lists.waive(hits, listed.allowed(gift, now))
    verdict = max((SEVERITY[hit.verdict] for hit in hits if hit.waived_by is None), default=APPROVE)
    if opening is not None and breaker.turns(hits):
        hits, verdict = [*hits, breaker.hit(opening)], HOLD
    blocking = [one for one in exceeded if one.limit.action is BLOCK]
    return verdict, tuple(hits), bool(blocking), longest_wait(blocking)


def waive(hit: Hit, waived: Mapping[str, str]) -> Hit:
    """A hit that holds for a reason that was waived stays on record, with what waived it. A block is never waived,
    unless whoever released the gift saw it as the hold that the breaker had made of it."""
    ruling = waived.get(hit.reason) if waived else None
    if ruling is None or (hit.verdict != HOLD.word and waived.get(breaker.REASON) != ruling):
        return hit
    return structs.replace(hit, waived_by=ruling)


def degraded(gift: Gift, now: int, reason: str, generation: int = 0) -> Decision:
    """Law 5: whatever keeps us from judging holds the gift; what its ledger holds, that holds, too."""
    hits = [Hit("degraded", reason, HOLD.word)]
    if gift.ledger_hold:
        hits.append(Hit("ledger", gift.ledger_hold, HOLD.word))
    return Decision(gift, now, HOLD, tuple(hits), (), generation)


def turned_away(gift: Gift, now: int, reason: str, generation: int) -> Decision:
    """The ledger refused the gift before it was judged: an attempt that burns no budget."""
    hit = Hit("ledger", reason, BLOCK.word)
    return Decision(gift, now, BLOCK, (hit,), (), generation, refused=True)


def event(decision: Decision) -> Event:
    """What activity remembers of a first look."""
    gift = decision.gift
    return Event(
        decision.at,
        gift.sender,
        gift.recipient,
        gift.amount,
        gift.ip,
        gift.device,
        gift.tier,
        decision.admitted,
        gift.fingerprint,
    )


def longest_wait(blocking: list[Exceeded]) -> int | None:
    """Seconds until all of the limits let the gift pass; None if one of them never will."""
    waits = [one.retry_after_s for one in blocking]
    return None if not waits or None in waits else max(wait for wait in waits if wait is not None)
