"""The whole decision, top to bottom, pure: limits, features, rules, model, lists. The most severe verdict wins; of a
block an open breaker makes a hold."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from msgspec import structs

from detector import breaker, lists, rules
from detector.activity import Activity
from detector.gift import APPROVE, Decision, Event, Gift, Hit, Opinion, Verdict
from detector.limits import Exceeded, check, over
from detector.lists import NONE, Lists
from detector.policy import Policy

FIRST = 1
NOTHING: Mapping[str, str] = MappingProxyType({})
SEVERITY = {verdict.word: verdict for verdict in Verdict}
SILENT = Opinion(0)
UNASKED = Opinion(0, hit=Hit("degraded", "model_unasked", Verdict.HOLD.word))


def decide(
    gift: Gift,
    activity: Activity,
    policy: Policy | None,
    now: int,
    opinion: Opinion | None = None,
    waived: Mapping[str, str] = NOTHING,
    listed: Lists = NONE,
    opening: int | None = None,
    late: int | None = None,
) -> Decision:
    """Judge one gift as of `now` (microseconds). A second look takes no budget again, so it asks no limit; unless
    nobody took the first: `late` is then the gift's moment, and limits are asked as of it.

    `opinion` is the model's; where the policy names a model and there is none, the gift is held (law 5). `waived` are
    reasons that an analyst saw and released the gift in spite of, each with the ruling: they hold it no more.
    An allow entry of `listed` makes holds of rules and of the model not count; a block entry blocks. Under an `opening`
    of the breaker what rules and the model would block is held.
    """
    if policy is None:
        return degraded(gift, now, "no_policy")
    tracks = activity.tracks(policy.lookups, gift)
    if gift.look == FIRST:
        exceeded, budget = check(policy.ceilings, tracks, gift.amount, now)
    else:
        exceeded, budget = [] if late is None else over(policy.ceilings, tracks, late), None
    vector = policy.vectors.read(gift, tracks, now)
    hits = rules.hits(policy.checks, vector)
    said = opinion or (UNASKED if policy.model else SILENT)
    if said.hit:
        hits.append(said.hit)
    if listed.blocked:
        hits += listed.hits(gift, now)
    if gift.ledger_hold:
        hits.append(Hit("ledger", gift.ledger_hold, Verdict.HOLD.word))
    if not exceeded and not hits:
        return Decision(
            gift,
            now,
            APPROVE,
            (),
            vector,
            policy.generation,
            said.model,
            said.score,
            False,  # not refused, and so with nothing to wait for
            None,
            budget,
            said.features,
            said.digest,
            opening,
        )
    hits = [waive(hit, waived) for hit in [one.hit() for one in exceeded] + hits]
    hits = lists.waive(hits, listed.allowed(gift, now))
    blocking = [one for one in exceeded if one.limit.action is Verdict.BLOCK]
    verdict = max((SEVERITY[hit.verdict] for hit in hits if hit.waived_by is None), default=Verdict.APPROVE)
    if opening is not None and breaker.turns(hits):
        hits, verdict = [*hits, breaker.hit(opening)], Verdict.HOLD
    return Decision(
        gift=gift,
        at=now,
        verdict=verdict,
        hits=tuple(hits),
        vector=vector,
        generation=policy.generation,
        model=said.model,
        score=said.score,
        refused=bool(blocking),
        retry_after_s=longest_wait(blocking),
        budget=budget,
        features=said.features,
        digest=said.digest,
        breaker=opening,
    )


def waive(hit: Hit, waived: Mapping[str, str]) -> Hit:
    """A hit that holds for a reason that was waived stays on record, with what waived it. A block is never waived,
    unless whoever released the gift saw it as the hold that the breaker had made of it."""
    ruling = waived.get(hit.reason) if waived else None
    if ruling is None or (hit.verdict != Verdict.HOLD.word and waived.get(breaker.REASON) != ruling):
        return hit
    return structs.replace(hit, waived_by=ruling)


def degraded(gift: Gift, now: int, reason: str, generation: int = 0) -> Decision:
    """Law 5: whatever keeps us from judging holds the gift; what its ledger holds, that holds, too."""
    hits = [Hit("degraded", reason, Verdict.HOLD.word)]
    if gift.ledger_hold:
        hits.append(Hit("ledger", gift.ledger_hold, Verdict.HOLD.word))
    return Decision(gift, now, Verdict.HOLD, tuple(hits), (), generation)


def turned_away(gift: Gift, now: int, reason: str, generation: int) -> Decision:
    """The ledger refused the gift before it was judged: an attempt that burns no budget."""
    hit = Hit("ledger", reason, Verdict.BLOCK.word)
    return Decision(gift, now, Verdict.BLOCK, (hit,), (), generation, refused=True)


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
