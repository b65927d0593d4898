"""A decision taken again: its gift, policy and model, and the activity of its parties as it was just before.

Law 11: taken again unchanged, it is the recorded decision to the bit (`differences` says where it is not). That is what
makes it believable when it is taken again with one thing changed. Nothing here reads or moves what a gate remembers.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from msgspec.structs import replace

from detector.activity import PREFIX, Activity
from detector.decide import FIRST, decide
from detector.feature_table import HASH, IDENTITIES
from detector.gift import Decision, Event, Gift, Opinion, micros
from detector.lists import NONE, Lists
from detector.live_facts import NAMES as FACTS
from detector.live_party import Party
from detector.model_vector import Recorded, relabelled
from detector.parties import look_at
from detector.policy import Policy
from detector.serving import Serving
from detector.store import HITS, listed

WORDS = {rank: word for word, rank in IDENTITIES.items()}
GIVEN = (
    *("sender", "recipient", "amount", "ip", "device", "tier", "fingerprint", "look"),
    *("sender_domain", "recipient_domain"),
)
KEPT = frozenset(Gift.__struct_fields__) - {"id", "payload_hash", *GIVEN}
WEEK_S = 7 * 86_400


@dataclass(frozen=True, slots=True)
class First:
    """What a later look builds on: the gift as it was first looked at, and what a model saw and knew then."""

    gift: Gift
    at: int
    activity: Activity | None = None
    features: Recorded | None = None


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """All that `decide` asks for. `silent` is what was recorded where no model judged, though the policy names one."""

    gift: Gift
    at: int
    policy: Policy
    activity: Activity
    serving: Serving | None = None
    silent: Opinion | None = None
    first: First | None = None
    waived: Mapping[str, str] = field(default_factory=dict)
    lists: Lists = NONE
    breaker: int | None = None
    late: int | None = None


def again(then: Rebuilt, gift: Gift | None = None, later_s: int = 0) -> Decision:
    """The decision on the gift, or on a changed one, so many seconds later and with all else as it was."""
    changed = then.gift if gift is None else gift
    if changed.look != FIRST and changed.amount != then.gift.amount:
        with Shifted(then, changed.amount - then.gift.amount):
            return taken(then, changed, later_s)
    return taken(then, changed, later_s)


def taken(then: Rebuilt, gift: Gift, later_s: int) -> Decision:
    aged, at = older(gift, later_s), then.at + later_s * 1_000_000
    said = opinion(then, aged, at)
    return decide(aged, then.activity, then.policy, at, said, then.waived, then.lists, then.breaker, then.late)


def opinion(then: Rebuilt, gift: Gift, at: int) -> Opinion | None:
    """The model's, by the features that the changed gift would have had."""
    if then.policy.model is None:
        return None
    if then.silent or then.serving is None:
        return replace(then.silent, at=at) if then.silent else None
    features, digest = read(gift, then.activity, at, then.at)
    if gift.look != FIRST:
        features, digest = relabelled(first_features(then.first, gift), features), None
    return next(then.serving.opinions(then.policy.model, [(at, features, digest)], at))


def first_features(first: First | None, gift: Gift) -> Recorded:
    """What the model saw at the first look; read again where the amount is another."""
    assert first and first.activity and first.features, f"the first look at {gift.id} was not rebuilt"
    if gift.amount == first.gift.amount:
        return first.features
    changed = of_amount(first.gift, gift.amount)
    return look_at(changed, first.activity, first.at)[0]


def of_amount(gift: Gift, amount: int) -> Gift:
    """The gift with another amount. A smaller one is still paid from promotions and young purchases as far as they go,
    a larger one from nothing else."""
    parts = {name: getattr(gift, name) for name in ("promo_amount", "young_amount", "revoked_amount")}
    return replace(gift, amount=amount, **{name: min(part, amount) for name, part in parts.items() if part is not None})


def read(gift: Gift, activity: Activity, at: int, then: int) -> tuple[Recorded, Any]:
    """Look at a gift. A look at a later moment forgets what only earlier ones can see, so it gets copies."""
    if at == then:
        return look_at(gift, activity, at)
    keys = ["o:" + gift.sender, "o:" + gift.recipient]
    kept = {key: activity.states[key].memory for key in keys}
    try:
        for key, memory in kept.items():
            activity.states[key].memory = spare(memory)
        return look_at(gift, activity, at)
    finally:
        for key, memory in kept.items():
            activity.states[key].memory = memory


def spare(memory: Any) -> Any:
    """A copy of a party whose short lists may forget; its tracks are shared, since a look only reads them."""
    found = copy.copy(memory)
    if isinstance(found, Party):
        found.habit = found.habit.spare()
        found.funders, found.recipients = copy.copy(found.funders), copy.copy(found.recipients)
    return found


def older(gift: Gift, later_s: int) -> Gift:
    """The gift so many seconds later: its parties are older, and so is what it was paid from."""
    if not later_s:
        return gift
    ages = {name: getattr(gift, name) for name in ("sender_age_s", "recipient_age_s", "topup_age_s")}
    ages = {name: age + later_s for name, age in ages.items() if age is not None}
    young = {"young_amount": 0} if gift.young_amount and ages.get("topup_age_s", 0) >= WEEK_S else {}
    return replace(gift, **ages, **young)


class Shifted:
    """A later look sees its own gift in activity: while this lasts, with another amount.

    No window begins between events of one moment, so all sums from the gift's moment on may move alike.
    """

    def __init__(self, then: Rebuilt, by: int) -> None:
        assert then.first is not None, "only a later look sees its own gift"
        self.tracks = own_tracks(then.activity, then.first.gift)
        self.at, self.by = then.first.at, by

    def __enter__(self) -> None:
        self.move(self.by)

    def __exit__(self, *_: object) -> None:
        self.move(-self.by)

    def move(self, by: int) -> None:
        for track in self.tracks:
            for place, moment in enumerate(track.times):
                if moment >= self.at:
                    track.sums[place + 1] += by


def own_tracks(activity: Activity, gift: Gift) -> list[Any]:
    """The tracks that a gift's own event is in, as `Activity.tell` chose them."""
    owners = [("sender", gift.sender), ("recipient", gift.recipient)]
    owners += [(role, getattr(gift, role)) for role in activity.extra if getattr(gift, role) is not None]
    event = Event(0, gift.sender, gift.recipient, gift.amount, gift.ip, gift.device, gift.tier, True, gift.fingerprint)
    found = []
    for role, owner in owners:
        state = activity.states.get(PREFIX[role] + owner)
        for slot, facets, *_ in activity.roles.get(role, ()):
            track = state.tracks.get((slot, facets(event)) if facets else slot) if state else None
            found += [] if track is None else [track]
    return found


# --- what is on record ---


def gift_of(row: Mapping[str, Any], policy: Policy | None, look: int | None = None) -> Gift:
    """The gift of a recorded decision with every fact that its rules or its model read; the others are unknown."""
    facts = dict.fromkeys(KEPT)
    if row["features"] and row["feature_table"] == HASH:
        facts |= stated(dict(zip(FACTS, msgspec.json.decode(row["features"]), strict=False)))
    if policy:
        vector = dict(zip(policy.vectors.names, msgspec.json.decode(row["vector"]), strict=False))
        facts |= {name: vector[name] for name in KEPT & vector.keys()}
    given = {name: row[name] for name in GIVEN}
    name = row["id"].rpartition(".")[0]
    return Gift(id=name, payload_hash=row["payload_hash"], **{**given, **facts, "look": look or row["look"]})


def stated(features: Mapping[str, Any]) -> dict[str, Any]:
    """The facts of a gift from the model's features, where an identity is a rank and a truth a number."""
    facts = {name: features[name] for name in KEPT & features.keys()}
    same = facts["same_owner"]
    return facts | {"identity": WORDS.get(facts["identity"]), "same_owner": None if same is None else bool(same)}


def silence(row: Mapping[str, Any], policy: Policy) -> Opinion | None:
    """What kept the policy's model from judging, as it was recorded; None where it judged."""
    if policy.model is None or row["score"] is not None:
        return None
    rules = {rule.name for rule in policy.rules}
    said = [hit for hit in HITS.decode(row["hits"]) if hit.by == "degraded" and hit.name not in rules]
    kept = msgspec.json.decode(row["features"]) if row["features"] else None
    return Opinion(micros(row["at"]), kept and tuple(kept), model=row["model"], hit=said[0] if said else None)


def differences(decision: Decision, row: Mapping[str, Any]) -> list[str]:
    """Where a decision taken again is not the recorded one; none if law 11 holds."""
    parts: Sequence[tuple[str, Any, Any]] = (
        ("verdict", decision.verdict.word, row["verdict"]),
        ("vector", listed(decision.vector), row["vector"]),
        ("score", decision.score, row["score"]),
        ("hits", listed(decision.hits), row["hits"]),
        ("refused", decision.refused, row["refused"]),
        ("retry_after_s", decision.retry_after_s, row["retry_after_s"]),
        ("features", listed(decision.features or ()), row["features"] or "[]"),
    )
    return [name for name, mine, recorded in parts if mine != recorded]
