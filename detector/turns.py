"""What would have changed a verdict: the smallest change of amount, time or counterpart, each with all else as it was.

Law: nothing is said that was not decided. A change is told only where the decision, taken again with it, falls
otherwise; where none is told, none was found among those tried, and the words say which they were. Searches are
bounded: a grid of where verdicts are likely to turn, then halves of the stretch before the first, to the last unit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from msgspec.structs import replace

from detector.decide import FIRST, SEVERITY
from detector.explain_shapes import Turn
from detector.expressions import ColumnType, Node
from detector.feature_table import LARGEST
from detector.features import FEATURES
from detector.gift import Decision, Gift, Hit, Verdict, moment, stamp
from detector.limits import check
from detector.nearest import Found, aim, better, nearer, nearest
from detector.rebuilt import Rebuilt, again, of_amount
from detector.track import HORIZON_US, WINDOWS_S
from detector.wording import credits, span

HORIZON_S = HORIZON_US // 1_000_000
STEPS = (64, 16, 4)  # the grid is finest near the gift: a 64th, a 16th, a quarter away, then halves and doubles
MOST_LITERALS = 40
AGES = ("sender_age_s", "recipient_age_s", "topup_age_s")  # facts that time alone changes
STRANGER = "?"  # no org is called so
PAST = {Verdict.APPROVE: "approved", Verdict.HOLD: "held", Verdict.BLOCK: "blocked"}


def turns(then: Rebuilt, known: Sequence[Gift]) -> list[Turn]:
    """One turn of each kind; `known` is the gift as it would be to counterparts that the sender knows."""
    decision = again(then)
    own = decision.verdict
    return [of_amounts(then, decision), of_time(then, decision), of_counterpart(then, own, known)]


def unturned(recipient: str, amount: int, at: str, why: str) -> list[Turn]:
    """The turns of a decision that cannot be taken again."""
    words = f"not to be told: {why}"
    return [
        Turn("amount", str(amount), None, None, words),
        Turn("time", at, None, None, words),
        Turn("counterpart", recipient, None, None, words),
    ]


# --- amount ---


def of_amounts(then: Rebuilt, decision: Decision) -> Turn:
    """The nearest amount, smaller or larger, that turns the verdict."""
    gift, own, was = then.gift, decision.verdict, str(decision.gift.amount)
    steady = fixed(then, decision, lambda name: name != "amount", counts=True)
    least = min(severest(steady), own)  # a block, under an open breaker, is a hold
    if own and least is own:
        return Turn("amount", was, None, None, f"no other amount turns it: {named_all(steady)} would stop any")

    def judge(amount: int) -> Verdict:
        return again(then, of_amount(gift, amount)).verdict

    most = max(gift.amount, min(gift.sender_available or LARGEST, LARGEST))
    grid = amounts(then, most)
    down = nearest(judge, own, gift.amount, [one for one in grid if one < gift.amount][::-1], least)
    up = nearest(judge, own, gift.amount, [one for one in grid if one > gift.amount], least)
    found = nearer(own, down, up, gift.amount)
    if found is None:
        reach = f"from 0.000001 to {credits(most)}"
        words = f"no other amount {reach} was found that turns it: {len(grid)} were tried"
        return Turn("amount", was, None, None, words)
    side = "less" if found.value < gift.amount else "more"
    words = f"at {credits(found.value)} ({credits(abs(found.value - gift.amount))} {side}) it would be {past(found)}"
    return Turn("amount", was, str(found.value), found.verdict.word, words)


def amounts(then: Rebuilt, most: int) -> list[int]:
    """Where an amount may turn a verdict: what limits have left, what rules name, and a grid around the gift's own."""
    own = then.gift.amount
    marks = {value + by for value in (*left(then), *named(then)) for by in (-1, 0, 1)}
    marks |= {own + sign * (own // part) for part in STEPS for sign in (-1, 1)}
    marks |= {own >> bits for bits in range(1, own.bit_length())} | {1}
    bits, double = 1, own * 2
    while double < most:
        marks.add(double)
        bits, double = bits + 1, double * 2
    return sorted(one for one in {*marks, most} if 1 <= one <= most and one != own)


def left(then: Rebuilt) -> Iterator[int]:
    """What the gift might have been to fit each limit on value."""
    if then.gift.look != FIRST:
        return
    tracks = then.activity.tracks(then.policy.lookups, then.gift)
    for limit, position in then.policy.ceilings:
        track = tracks[position]
        if limit.value is not None and track is not None:
            yield limit.value - track.total(then.at, limit.window)


def named(then: Rebuilt) -> list[int]:
    """The whole numbers that rules on the amount name."""
    rules = [rule for rule in then.policy.rules if "amount" in rule.when.columns]
    return sorted({value for rule in rules for value in literals(rule.when.tree)})[:MOST_LITERALS]


def literals(node: Node) -> Iterator[int]:
    if node.kind == "literal" and node.type in (ColumnType.INT, ColumnType.FLOAT) and node.value >= 1:
        yield int(node.value)
    for part in node.parts:
        yield from literals(part)


# --- time ---


def of_time(then: Rebuilt, decision: Decision) -> Turn:
    """How much later the verdict would have been another one, had nothing else happened meanwhile."""
    own, was = decision.verdict, stamp(moment(then.at))
    steady = fixed(then, decision, lambda name: FEATURES[name].source is None and name not in AGES, counts=False)
    least = min(severest(steady), own)
    if own and least is own:
        return Turn("time", was, None, None, f"waiting does not turn it: {named_all(steady)} would stop it at any time")

    def judge(later_s: int) -> Verdict:
        return again(then, later_s=later_s).verdict

    grid = moments(then)
    found = nearest(judge, own, 0, grid, least)
    if found is None:
        words = f"waiting does not turn it, if nothing else happens: {len(grid)} moments of 30 days were tried"
        return Turn("time", was, None, None, words)
    words = f"{span(found.value)} later, had nothing else happened, it would be {past(found)}"
    return Turn("time", was, stamp(moment(then.at + found.value * 1_000_000)), found.verdict.word, words)


def moments(then: Rebuilt) -> list[int]:
    """Seconds after which a verdict may turn: when limits say so, when windows are over, and doubling spans."""
    exact = {*WINDOWS_S.values(), *waits(then), *(limit.window_s for limit in then.policy.limits)}
    grid = {one + by for one in exact for by in (-1, 0, 1)} | {2**power for power in range(22)}
    return sorted(one for one in grid if 0 < one <= HORIZON_S + 1)


def waits(then: Rebuilt) -> Iterator[int]:
    """How long each limit that the gift exceeds would have it wait."""
    if then.gift.look == FIRST:
        tracks = then.activity.tracks(then.policy.lookups, then.gift)
        for one in check(then.policy.ceilings, tracks, then.gift.amount, then.at)[0]:
            yield one.retry_after_s or 0


# --- counterpart ---


def of_counterpart(then: Rebuilt, own: Verdict, known: Sequence[Gift]) -> Turn:
    """Whether the verdict hangs on who receives: an org the sender gave to before, or one that nobody ever gave to."""
    gift = then.gift
    if gift.look != FIRST:
        words = "asked of first looks alone: by its second one a gift is part of what its recipient was sent"
        return Turn("counterpart", gift.recipient, None, None, words)
    tried = [(other, f"to {other.recipient}, whom the sender gave to before,") for other in known]
    tried.append((stranger(then), "to an org that nobody ever gave to, and otherwise like this one,"))
    verdicts = [(again(then, other).verdict, other.recipient, words) for other, words in tried]
    turned = [one for one in verdicts if better(own, one[0])]
    if not turned:
        words = (
            f"no other recipient was found that turns it: {len(known)} the sender gave to and one unknown were tried"
        )
        return Turn("counterpart", gift.recipient, None, None, words)
    verdict, recipient, words = min(turned, key=lambda one: aim(own, one[0]))
    to = "unknown" if recipient == STRANGER else recipient
    return Turn("counterpart", gift.recipient, to, verdict.word, f"{words} it would be {PAST[verdict]}")


def stranger(then: Rebuilt) -> Gift:
    then.activity.new("o:" + STRANGER)
    own = None if then.gift.same_owner is None else False
    return replace(then.gift, recipient=STRANGER, recipient_domain=None, same_owner=own)


# --- what no search can turn ---


def fixed(then: Rebuilt, decision: Decision, steady: Callable[[str], bool], *, counts: bool) -> list[Hit]:
    """The hits of rules that read nothing but what is steady, so that they fire whatever else changes; with `counts`,
    also those of limits on the number of gifts and of block entries. A later look's activity holds the gift itself."""
    if then.gift.look != FIRST:
        return []
    rules = {rule.name for rule in then.policy.rules if all(steady(name) for name in rule.when.columns)}
    limits = {limit.name for limit in then.policy.limits if limit.value is None}
    names = {"rule": rules, "degraded": rules, "limit": limits if counts else set()}
    return [
        hit
        for hit in decision.hits
        if hit.waived_by is None and (hit.name in names.get(hit.by, ()) or (counts and hit.by == "list"))
    ]


def severest(hits: Sequence[Hit]) -> Verdict:
    return max((SEVERITY[hit.verdict] for hit in hits), default=Verdict.APPROVE)


def named_all(hits: Sequence[Hit]) -> str:
    worst = severest(hits).word
    return ", ".join(hit.reason for hit in hits if hit.verdict == worst)


def past(found: Found) -> str:
    return PAST[found.verdict]
