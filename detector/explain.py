"""Why one decision fell as it did: its causes, the model's part, its turns. Pure: computed from the record alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import msgspec
import numpy as np

from detector import breaker
from detector.explain_shapes import Cause, Contribution, Explanation, ModelSaid, Turn
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

Entries = Mapping[Any, Mapping[str, Any]]
NO_ENTRIES: Entries = MappingProxyType({})
MOST_TOLD = 12  # contributions; what the others add up to is said in the note
REFUSED = {
    "org_frozen": "the sender is frozen",
    "identity_required": "the sender's identity is not verified",
    "recipient_frozen": "the recipient is frozen or may not receive",
    "insufficient_credits": "the sender had not as many credits that may be given",
}
MASS_BLOCK = (
    "held in place of the block that the other causes say: a mass of gifts was being blocked, and the breaker was open "
    "(opening {opening}; lockgate breaker shows it)"
)
HELD = {
    "cool_off": "the sender's account was reported as stolen, or its keys were replaced, a short while ago",
    "recipient_compromised": "the recipient's account is reported as stolen",
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
    entries = {entry["id"]: entry for entry in rest.pop("entries")}
    return Explanation(
        gift=row["id"].rpartition(".")[0],
        decision=row["id"],
        at=stamp(row["at"]),
        verdict=row["verdict"],
        generation=row["generation"],
        causes=[cause(hit, policy, entries) for hit in HITS.decode(row["hits"])],
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


def cause(hit: Hit, policy: Policy | None, entries: Entries = NO_ENTRIES) -> Cause:
    """One hit in words: the policy's own where it has some; and what lets it not count, if anything does."""
    description, false_alarms = told(hit, policy, entries)
    if hit.waived_by:
        description = f"{description} (no longer counts: {waiver(hit.waived_by, entries)})"
    return Cause(hit.by, hit.name, hit.verdict, description, false_alarms, hit.seen)


def told(hit: Hit, policy: Policy | None, entries: Entries) -> tuple[str, str | None]:
    """What a hit means, and whom it wrongly points at."""
    limits: dict[str, Limit] = {one.name: one for one in policy.limits} if policy else {}
    rules = {one.name: one for one in policy.rules} if policy else {}
    if hit.by == "limit" and hit.name in limits:
        return f"{ceiling(limits[hit.name])}: {limits[hit.name].description}", None
    if hit.by in ("rule", "degraded") and hit.name in rules:
        rule = rules[hit.name]
        return f"{untold(hit) if hit.by == 'degraded' else ''}{rule.description}", rule.false_alarms or None
    if hit.by == "degraded":
        return DEGRADED.get(hit.name, f"the model could not be used ({hit.name.removeprefix('model_')})"), None
    if hit.by == "ledger" and hit.name in HELD:
        return f"the ledger holds it, whatever the verdict: {HELD[hit.name]}", None
    if hit.by == "ledger":
        return f"the ledger refused it before it was judged: {REFUSED.get(hit.name, hit.name)}", None
    if hit.by == "list":
        return f"on the block list: {entry_words(hit.seen.get('entry'), entries)}", None
    if hit.by == breaker.BY:
        return MASS_BLOCK.format(opening=hit.seen.get("opening")), "good gifts, where a rule or the model went wrong"
    if hit.by == "model":
        at = hit.seen.get("threshold", 0)
        return (
            f"the score came up to the threshold of {at:.3g}",
            "gifts that look like frauds: see what moved the score",
        )
    return hit.reason, None


def untold(hit: Hit) -> str:
    nulls = ", ".join(name for name, value in hit.seen.items() if value is None)
    return f"could not be told, since {nulls or 'a part of it'} was not known, and so holds: "


def waiver(by: str, entries: Entries) -> str:
    """What waived a hit: an entry of the allow list, or a ruling."""
    if by.startswith("list:"):
        return f"on the allow list: {entry_words(int(by.rpartition(':')[2]), entries)}"
    return f"released by ruling {by}"


def entry_words(number: Any, entries: Entries) -> str:
    entry = entries.get(number)
    if entry is None:
        return f"entry {number}"
    since = stamp(entry["added_at"])[:10]
    return f"{entry['kind']} {entry['value']}, by {entry['author']} since {since}: {entry['reason']} (entry {number})"


def entries_named(hits: str) -> list[int]:
    """The list entries that recorded hits name."""
    found = [hit.seen.get("entry") for hit in HITS.decode(hits)]
    waivers = [hit.waived_by for hit in HITS.decode(hits) if hit.waived_by and hit.waived_by.startswith("list:")]
    return [number for number in found if number] + [int(by.rpartition(":")[2]) for by in waivers]


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
