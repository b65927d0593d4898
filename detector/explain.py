"""Why one decision fell as it did: its causes, the model's part, its turns. Pure: computed from the record alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from detector.case_shapes import Cause, Contribution, Explanation, ModelSaid, Turn
from detector.feature_table import HASH, NAMES, TABLE
from detector.gift import Hit, Verdict, stamp
from detector.limits import Limit
from detector.model_vector import vectors
from detector.policy import Policy
from detector.rebuilt import Rebuilt, again, differences
from detector.serving import Serving
from detector.store import HITS
from detector.turns import turns, unturned
from detector.wording import credits, span

MOST_TOLD = 12  # contributions; what the others add up to is said in the note
REFUSED = {
    "org_frozen": "the sender is frozen",
    "identity_required": "the sender's identity is not verified",
    "recipient_frozen": "the recipient is frozen or may not receive",
    "insufficient_credits": "the sender had not as many credits that may be given",
}
DEGRADED = {
    "no_policy": "no policy was active, and what cannot be judged is held",
    "fault": "the gift could not be judged for a fault of ours, and is held",
    "model_unasked": "the policy names a model that was not asked",
    "model_missing": "the policy names a model and there was none",
    "model_stale": "the model was older than it may be",
    "model_fault": "the model failed on this gift",
    "model_mismatched": "the model was made for another feature table",
    "model_unbounded": "neither the policy nor the model states a threshold",
}


def explanation(
    row: Mapping[str, Any], policy: Policy | None, model: Serving | None, then: Rebuilt | str, **rest: Any
) -> Explanation:
    """The whole; `then` is what the decision is taken again from, or why it cannot be. `rest` was read beside it."""
    found, replayed, note = turned(row, then, rest.pop("known"))
    return Explanation(
        gift=row["id"].rpartition(".")[0],
        decision=row["id"],
        at=stamp(row["at"]),
        verdict=row["verdict"],
        generation=row["generation"],
        causes=[cause(hit, policy) for hit in HITS.decode(row["hits"])],
        model=said(row, policy, model),
        turns=found,
        replayed=replayed,
        replay_note=note,
        **rest,
    )


def turned(row: Mapping[str, Any], then: Rebuilt | str, known: Sequence[Any]) -> tuple[list[Turn], bool | None, str]:
    """The turns of a decision, once it was taken again unchanged and was itself (law 11)."""
    why = then if isinstance(then, str) else ""
    apart = differences(again(then), row) if isinstance(then, Rebuilt) else []
    if apart:
        why = f"taken again from what is on record it differs in its {', '.join(apart)}"
    if why or isinstance(then, str):
        return unturned(row["recipient"], row["amount"], stamp(row["at"]), why), False if apart else None, why
    return turns(then, known), True, "taken again unchanged it is the recorded decision, to the bit"


# --- causes ---


def cause(hit: Hit, policy: Policy | None) -> Cause:
    """One hit in words: the policy's own where it has some."""
    limits: dict[str, Limit] = {one.name: one for one in policy.limits} if policy else {}
    rules = {one.name: one for one in policy.rules} if policy else {}
    description, false_alarms = None, None
    if hit.by == "limit" and hit.name in limits:
        description = f"{ceiling(limits[hit.name])}: {limits[hit.name].description}"
    elif hit.by in ("rule", "degraded") and hit.name in rules:
        description, false_alarms = rules[hit.name].description, rules[hit.name].false_alarms or None
        if hit.by == "degraded":
            nulls = ", ".join(name for name, value in hit.seen.items() if value is None)
            description = (
                f"could not be told, since {nulls or 'a part of it'} was not known, and so holds: {description}"
            )
    elif hit.by == "degraded":
        description = DEGRADED.get(hit.name, f"the model could not be used ({hit.name.removeprefix('model_')})")
    elif hit.by == "ledger":
        description = f"the ledger refused it before it was judged: {REFUSED.get(hit.name, hit.name)}"
    elif hit.by == "model":
        description = f"the score came up to the threshold of {hit.seen.get('threshold', 0):.3g}"
        false_alarms = "gifts that look like frauds: what moved the score is told apart"
    return Cause(hit.by, hit.name, hit.verdict, description, false_alarms, hit.seen)


def ceiling(limit: Limit) -> str:
    """A limit in words."""
    most = f"{limit.quota:,} gifts" if limit.value is None else credits(limit.quota)
    return f"at most {most} per {' and '.join(limit.on)} in any {span(limit.window_s)}"


# --- the model's part ---


def said(row: Mapping[str, Any], policy: Policy | None, serving: Serving | None) -> ModelSaid:
    """What moved the score, by the model that gave it and the features that it was given for."""
    terms = policy.model if policy else None
    if terms is None:
        return ModelSaid(None, None, None, None, [], "the policy names no model: limits and rules judge alone")
    bounds = dict(serving.thresholds(terms)) if serving and serving.model else {}
    stated = (bounds.get(Verdict.HOLD, terms.hold_at), bounds.get(Verdict.BLOCK, terms.block_at))
    if row["score"] is None:
        return ModelSaid(row["model"], None, *stated, [], "no model judged this gift; the causes say why")
    if serving is None or serving.model is None:
        why = serving.detail if serving else "it was not asked for"
        return ModelSaid(row["model"], row["score"], *stated, [], f"what moved the score cannot be told: {why}")
    if row["feature_table"] != HASH or not row["features"]:
        why = "what it read was recorded by another feature table than today's"
        return ModelSaid(row["model"], row["score"], *stated, [], f"what moved the score cannot be told: {why}")
    told, note = contributions(row["features"], serving)
    return ModelSaid(row["model"], row["score"], *stated, told, note)


def contributions(features: str, serving: Serving) -> tuple[list[Contribution], str]:
    """The largest, and what they and the others add up to."""
    assert serving.model is not None
    vector = vectors([msgspec.json.decode(features)])
    found = serving.model.contributions(vector)
    terms = found.terms[0]
    order = np.argsort(-np.abs(terms), kind="stable")
    told = [place for place in order[:MOST_TOLD] if terms[place]]
    rest = float(np.sum(terms) - sum(terms[place] for place in told))
    total = found.base + float(np.sum(terms))
    others = int(np.count_nonzero(terms)) - len(told)
    note = f"log-odds {total:+.2f} = {found.base:+.2f} for any gift, and what each feature adds"
    note += f"; {others} others add {rest:+.2f}" if others else ""
    return [contribution(NAMES[place], float(vector[0, place]), float(terms[place])) for place in told], note


def contribution(name: str, value: float, term: float) -> Contribution:
    about = TABLE[name].description.partition(":")[0]
    moved = "raises" if term > 0 else "lowers"
    words = f"{about}: {shown(name, value)}; {moved} the score"
    return Contribution(name, None if np.isnan(value) else value, term, words)


def shown(name: str, value: float) -> str:
    """A feature's value as people read it."""
    about = TABLE[name].description
    if np.isnan(value):
        return "not known"
    if about.startswith("micro-credits") or "micro-credits" in about.partition(":")[0]:
        return credits(int(value))
    if name.endswith("_s") and "seconds" in about:
        return span(int(value))
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.3g}"
