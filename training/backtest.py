"""What a policy's limits and rules would have done to a history. Law: the gate's own decisions, each from what came
before it; labels only count afterwards what was stopped, and decide nothing.

Each gift is decided by `detector.decide`, in order of time, on activity that holds the decisions before it: a gift
that a limit refuses burns no budget, as at the gate. Second looks and the model are not asked, and there is no breaker:
what is told is what the policy blocks by itself. A rule about a fact that the history does not have could only hold
every gift: it is left out, and named.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from detector.activity import Activity
from detector.decide import decide, event
from detector.feature_table import IDENTITIES
from detector.features import FEATURES
from detector.gift import Gift, Verdict
from detector.limits import Limit
from detector.policy import Policy
from detector.rules import Rule
from training import context
from training.errors import TrainingError
from training.lesson import Step

GIVEN = {"amount", "sender", "recipient", "look"}  # what every gift has
FACTS = tuple(name for name in Gift.__struct_fields__ if name not in {*GIVEN, "id", "payload_hash"})
EVERY = 2_000  # gifts between two words of progress
OUTCOME: dict[str, Any] = {"verdict": pl.String, "reasons": pl.List(pl.String)}


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A limit or rule that this history cannot tell, and the columns that it would take."""

    name: str
    needs: tuple[str, ...]


def outcomes(rows: pl.DataFrame, policy: Policy, step: Step) -> tuple[pl.DataFrame, list[LeftOut]]:
    """The verdict and the reasons of each row, which come by time, and what was left out of the policy."""
    told = context.read(rows)
    fit, left_out = fitting(policy, {name for name in told.columns if told[name].null_count() < told.height})
    activity, found = Activity(fit.shapes), []
    for number, (at, gift) in enumerate(gifts(told)):
        if number % EVERY == 0:
            step("judging", 0.1 + 0.85 * number / told.height)
        for key in activity.keys(gift):
            if key not in activity.states:
                activity.new(key)
        decision = decide(gift, activity, fit, at)
        activity.add(event(decision))
        found.append((decision.verdict.word, [hit.reason for hit in decision.hits]))
    return pl.DataFrame(found, schema=OUTCOME, orient="row"), left_out


def fitting(policy: Policy, columns: set[str]) -> tuple[Policy, list[LeftOut]]:
    """The limits and rules that these columns can tell; the rest."""
    both: tuple[Limit | Rule, ...] = (*policy.limits, *policy.rules)
    needs = {one.name: tuple(sorted(needed(one) - columns)) for one in both}
    left_out = [LeftOut(name, missing) for name, missing in needs.items() if missing]
    limits = tuple(one for one in policy.limits if not needs[one.name])
    rules = tuple(one for one in policy.rules if not needs[one.name])
    if not limits and not rules:
        raise TrainingError(
            f"policy {policy.name!r} has no limit or rule that this history can tell: "
            + "; ".join(f"{one.name} needs {', '.join(one.needs)}" for one in left_out)
        )
    return replace(policy, limits=limits, rules=rules, model=None), left_out


def needed(one: Limit | Rule) -> set[str]:
    """The columns of a history without which it is null or says nothing."""
    if isinstance(one, Limit):
        return {one.source.owner, *one.source.facets} - GIVEN
    sources = {name: FEATURES[name].source for name in one.when.columns}
    names = {
        part for name, source in sources.items() for part in ((source.owner, *source.facets) if source else (name,))
    }
    return names - GIVEN


def gifts(rows: pl.DataFrame) -> Iterator[tuple[int, Gift]]:
    """Each row's moment and gift, by time."""
    ranks = {rank: word for word, rank in IDENTITIES.items()}
    names = [name for name in FACTS if name in rows.columns]
    columns = [rows["at"].to_physical(), rows["id"], rows["sender"], rows["recipient"], rows["amount"]]
    for at, name, sender, recipient, amount, *facts in zip(*columns, *(rows[name] for name in names), strict=True):
        said = dict(zip(names, facts, strict=True))
        if "identity" in said:
            said["identity"] = ranks.get(said["identity"])
        if said.get("same_owner") is not None:
            said["same_owner"] = bool(said["same_owner"])
        yield at, Gift(name, sender, recipient, amount, b"", **said)


def summary(rows: pl.DataFrame, outcome: pl.DataFrame, policy: Policy, left_out: list[LeftOut]) -> dict[str, Any]:
    """What would have been held and blocked, as a whole and by each limit and rule."""
    labelled = rows["fraud"] if "fraud" in rows.columns else pl.repeat(None, rows.height, dtype=pl.Boolean, eager=True)
    judged = outcome.with_columns(amount=rows["amount"], fraud=labelled)
    days = max(1.0, (rows["at"][-1] - rows["at"][0]).total_seconds() / 86_400)
    return {
        "policy": policy.name,
        "gifts": rows.height,
        "from": rows["at"][0].isoformat(),
        "to": rows["at"][-1].isoformat(),
        "verdicts": {verdict.word: radius(judged.filter(verdict=verdict.word), days) for verdict in Verdict},
        "by": by_reason(judged, days),
        "known_frauds": int(labelled.fill_null(False).sum()),
        "left_out": [{"name": one.name, "needs": list(one.needs)} for one in left_out],
        "model": f"{policy.model.name}, not asked" if policy.model else None,
    }


def radius(judged: pl.DataFrame, days: float) -> dict[str, Any]:
    """How much a verdict or a reason reaches: gifts and credits, a day, and what is known of them."""
    frauds = int(judged["fraud"].fill_null(False).sum())
    good = int((~judged["fraud"]).fill_null(False).sum())
    return {
        "gifts": judged.height,
        "a_day": round(judged.height / days, 2),
        "amount": int(judged["amount"].cast(pl.Int128).sum()),
        "frauds": frauds,
        "fraud_amount": int(judged.filter(pl.col("fraud").fill_null(False))["amount"].cast(pl.Int128).sum()),
        "good": good,
        "unlabelled": judged.height - frauds - good,
    }


def by_reason(judged: pl.DataFrame, days: float) -> list[dict[str, Any]]:
    """Each limit and rule that fired, those that reach furthest first; `alone`: gifts that nothing else stopped."""
    found = []
    for reason in judged["reasons"].explode(empty_as_null=False).drop_nulls().unique().sort():
        hit = judged.filter(pl.col("reasons").list.contains(reason))
        alone = hit.filter(pl.col("reasons").list.len() == 1).height
        found.append({"reason": reason, **radius(hit, days), "alone": alone})
    return sorted(found, key=lambda one: -one["gifts"])
