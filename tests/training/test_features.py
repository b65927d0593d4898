"""The features of a history against an oracle that is slow and obviously right; and law 10: nothing sees the future."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import takewhile

import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from detector.expressions import ColumnType, parse
from detector.feature_table import HASH, LABELLED, NAMES, TABLE, TYPES, digest
from training.features import features

SECOND = 1_000_000
HOUR, DAY = 3600 * SECOND, 86_400 * SECOND
MONTH = 30 * DAY
START = 1_530_000_000 * SECOND
TIME = pl.Datetime("us", "UTC")
WINDOWS = {"1h": HOUR, "24h": DAY, "7d": 7 * DAY, "30d": MONTH}
EDGES = [0, 0, 1, SECOND, 700_000, 60 * SECOND, HOUR, DAY, 2 * DAY, 3 * DAY, 7 * DAY, 14 * DAY, MONTH, 2 * MONTH]


@dataclass(frozen=True)
class Gift:
    at: int
    sender: str
    recipient: str
    amount: int
    fraud: bool | None = None
    label_at: int | None = None
    sender_available: int | None = None

    @property
    def known_at(self) -> float:
        """When its label is known; never, without one."""
        return float("inf") if self.fraud is None or self.label_at is None else max(self.label_at, self.at)


Value = int | float | None


class Oracle:
    """Every feature of every gift, straight from the descriptions in the table."""

    def __init__(self, gifts: list[Gift], labelled: bool = True) -> None:
        self.gifts, self.labelled = gifts, labelled
        self.short = cache(self.short_list)
        self.ancestors = cache(self.ancestor_list)
        self.hops = cache(self.longest_chain)
        self.fresh = cache(lambda i: not self.earlier(i, MONTH, self.pair_of(i)))
        self.excess: dict[bool, list[int]] = {False: [], True: []}
        self.vectors = [self.vector(i) for i in range(len(gifts))]

    def pair_of(self, i: int) -> dict[str, str]:
        return {"sender": self.gifts[i].sender, "recipient": self.gifts[i].recipient}

    def earlier(self, i: int, span: int, parties: dict[str, str]) -> list[int]:
        """Earlier gifts of these parties in the window before gift i."""
        floor = self.gifts[i].at - span
        of = [j for j in range(i) if all(getattr(self.gifts[j], role) == org for role, org in parties.items())]
        return [j for j in of if self.gifts[j].at > floor]

    def seconds(self, i: int, js: list[int]) -> int | None:
        return (self.gifts[i].at - self.gifts[js[-1]].at) // SECOND if js else None

    def vector(self, i: int) -> dict[str, Value]:
        gift = self.gifts[i]
        found: dict[str, Value] = {"amount": gift.amount, "sender_available": gift.sender_available}
        for source, role, org, other in (
            ("sender", "sender", gift.sender, "recipient"),
            ("sender_received", "recipient", gift.sender, "sender"),
            ("recipient", "recipient", gift.recipient, "sender"),
            ("recipient_sent", "sender", gift.recipient, "recipient"),
        ):
            found |= self.activity(i, source, {role: org}, other)
            found |= self.labels(i, source, role, org)
        pair = self.earlier(i, MONTH, self.pair_of(i))
        found |= {"pair_count_30d": min(len(pair), 32), "pair_gap_s": self.seconds(i, pair)}
        found |= self.habit(i, "sender_habit", False) | self.habit(i, "sender_clean", self.labelled)
        found |= self.marks(i) | self.graph(i)
        return found | ratios(found)

    def activity(self, i: int, source: str, parties: dict[str, str], other: str) -> Iterator[tuple[str, Value]]:
        for label, span in WINDOWS.items():
            js = self.earlier(i, span, parties)
            yield f"{source}_count_{label}", len(js)
            yield f"{source}_sum_{label}", sum(min(self.gifts[j].amount, 10**15) for j in js)
            yield f"{source}_{other}s_{label}", len({getattr(self.gifts[j], other) for j in js})
        yield f"{source}_gap_s", self.seconds(i, self.earlier(i, MONTH, parties))

    def habit(self, i: int, name: str, labelled: bool) -> dict[str, Value]:
        def usual(j: int) -> bool:
            if labelled and self.gifts[j].known_at <= self.gifts[i].at:
                return self.gifts[j].fraud is False
            return excess[j] < 300

        excess = self.excess[name == "sender_clean"]
        amount = min(self.gifts[i].amount, 10**15)
        latest = self.earlier(i, MONTH, {"sender": self.gifts[i].sender})[-64:]
        held = sorted(min(self.gifts[j].amount, 10**15) for j in latest if usual(j))
        excess.append(min(100 * amount * len(held) // sum(held), 10_000) if len(held) >= 3 else 0)
        return {
            f"{name}_size": len(held),
            f"{name}_sum": sum(held),
            f"{name}_max": held[-1] if held else None,
            f"{name}_median": held[len(held) // 2] if held else None,
            f"{name}_at_least": sum(one >= amount for one in held),
            f"{name}_half": sum(2 * one >= amount for one in held),
            f"{name}_excess": excess[i],
        }

    def marks(self, i: int) -> dict[str, Value]:
        gift, excess = self.gifts[i], self.excess[False]
        found: dict[str, Value] = {}
        for days in (3, 14):
            js = self.earlier(i, days * DAY, {"sender": gift.sender})
            found[f"sender_excess200_{days}d"] = sum(200 <= excess[j] < 300 for j in js)
            found[f"sender_excess300_{days}d"] = sum(excess[j] >= 300 for j in js)
        js = self.earlier(i, 7 * DAY, {"recipient": gift.recipient})
        found["recipient_excess300_7d"] = sum(excess[j] >= 300 for j in js)
        apart = [(gift.at - self.gifts[j].at) % DAY for j in self.earlier(i, MONTH, {"sender": gift.sender})[-64:]]
        return found | {"sender_same_hour": sum(min(one, DAY - one) <= HOUR for one in apart)}

    def labels(self, i: int, source: str, role: str, org: str) -> dict[str, Value]:
        if not self.labelled:
            return {name: None for name, row in TABLE.items() if row.source == source and row.needs}
        now, gifts = self.gifts[i].at, self.gifts
        known = [j for j in range(i) if getattr(gifts[j], role) == org and gifts[j].known_at <= now]
        known.sort(key=lambda j: (gifts[j].known_at, j))
        found: dict[str, Value] = {}
        for label, span in (("7d", 7 * DAY), ("30d", MONTH)):
            recent = [j for j in known if gifts[j].known_at > now - span]
            frauds = [j for j in recent if gifts[j].fraud]
            found |= {f"{source}_labels_{label}": len(recent), f"{source}_frauds_{label}": len(frauds)}
        streak = list(takewhile(lambda j: gifts[j].fraud, reversed(recent)))
        good = [j for j in known if not gifts[j].fraud][-1:]

        def plain(js: list[int]) -> int:
            return sum(0 < self.excess[True][j] < 200 for j in js)

        return found | {
            f"{source}_frauds_plain_30d": plain(frauds),
            f"{source}_streak": len(streak),
            f"{source}_streak_plain": plain(streak[:8]),
            f"{source}_streak_age_s": self.seconds(i, streak),
            f"{source}_good_age_s": self.seconds(i, [j for j in good if gifts[j].at > now - 2 * MONTH]),
            f"{source}_fraud_age_s": self.seconds(i, frauds),
        }

    def short_list(self, i: int, role: str, org: str) -> dict[str, int]:
        """Before gift i: the org's eight latest distinct funders (it in the role of recipient) or recipients, newest
        first, each with its latest gift."""
        other = {"recipient": "sender", "sender": "recipient"}[role]
        latest: dict[str, int] = {}
        for j in reversed(self.earlier(i, MONTH, {role: org})):
            latest.setdefault(getattr(self.gifts[j], other), j)
        return dict(list(latest.items())[:8])

    def funders(self, i: int, org: str) -> dict[str, int]:
        return self.short(i, "recipient", org)

    def recipients(self, i: int, org: str) -> dict[str, int]:
        return self.short(i, "sender", org)

    def ancestor_list(self, i: int) -> dict[str, int]:
        """Who paid gift i's sender, and who paid them, through fresh gifts: sixteen at most, each with its depth."""
        sender = self.gifts[i].sender
        found = dict.fromkeys(self.funders(i, sender), 1)
        for gift in self.funders(i, sender).values():
            if self.fresh(gift):
                for org, depth in self.ancestors(gift).items():
                    if len(found) < 16 and depth < 8 and org != sender:
                        found.setdefault(org, depth + 1)
        return found

    def longest_chain(self, i: int) -> int:
        if not self.fresh(i):
            return 0
        before = self.funders(i, self.gifts[i].sender).values()
        return min(1 + max(map(self.hops, before), default=0), 15)

    def graph(self, i: int) -> dict[str, Value]:
        s, r = self.gifts[i].sender, self.gifts[i].recipient
        s_in, r_in, s_out, r_out = self.funders(i, s), self.funders(i, r), self.recipients(i, s), self.recipients(i, r)
        siblings = twins = coparty = 0
        for org, j in r_in.items():
            if org != s:
                siblings += bool((set(s_in) - {r}) & set(self.funders(j, org)))
                twins += len((set(s_out) - {r}) & set(self.recipients(j, org)))
        for org, j in s_out.items():
            if org != r:
                coparty += len((set(r_in) - {s}) & set(self.funders(j, org)))
        return {
            "common_funders": len(set(s_in) & set(r_in)),
            "common_recipients": len(set(s_out) & set(r_out)),
            "siblings": siblings,
            "twins": twins,
            "coparty": coparty,
            "recipient_fresh_funders": sum(map(self.fresh, r_in.values())),
            "sender_fresh_recipients": sum(map(self.fresh, s_out.values())),
            "sender_fresh_funders": sum(map(self.fresh, s_in.values())),
            "cycle": self.ancestors(i)[r] + 1 if r in self.ancestors(i) else 0,
            "hops": self.hops(i),
        }


def ratios(found: dict[str, Value]) -> dict[str, Value]:
    def times(*names: str) -> float | None:
        product = 1.0
        for name in names:
            value = found[name]
            if value is None:
                return None
            product *= float(value)
        return product

    def over(part: float | None, whole: str) -> float | None:
        divisor = found[whole]
        return part / float(divisor) if part is not None and divisor is not None and divisor > 0 else None

    def risk(party: str, label: str) -> float | None:
        frauds, labels = found[f"{party}_frauds_{label}"], found[f"{party}_labels_{label}"]
        return None if frauds is None or labels is None else (float(frauds) + 0.01) / (float(labels) + 2.0)

    day_30 = {party: None if (x := times(f"{party}_count_24h")) is None else x * 30.0 for party in PARTIES}
    return {
        "sender_clean_ratio": over(times("amount", "sender_clean_size"), "sender_clean_sum"),
        "sender_habit_ratio": over(times("amount", "sender_habit_size"), "sender_habit_sum"),
        "sender_clean_median_ratio": over(times("amount"), "sender_clean_median"),
        "sender_clean_max_ratio": over(times("amount"), "sender_clean_max"),
        "sender_habit_max_ratio": over(times("amount"), "sender_habit_max"),
        "recipient_amount_ratio": over(times("amount", "recipient_count_30d"), "recipient_sum_30d"),
        "sender_passthrough_7d": over(times("amount"), "sender_received_sum_7d"),
        **{f"{party}_burst": over(day_30[party], f"{party}_count_30d") for party in PARTIES},
        "sender_spread": over(times("sender_recipients_30d"), "sender_count_30d"),
        "recipient_spread": over(times("recipient_senders_30d"), "recipient_count_30d"),
        **{f"{party}_risk_{label}": risk(party, label) for party in PARTIES for label in ("7d", "30d")},
        "drained": over(times("amount"), "sender_available"),
    }


PARTIES = ("sender", "recipient")


# Histories


def frame_of(gifts: list[Gift], without: tuple[str, ...] = ()) -> pl.DataFrame:
    names = ("at", "sender", "recipient", "amount", "fraud", "label_at", "sender_available")
    dtypes = [pl.Int64, pl.String, pl.String, pl.Int64, pl.Boolean, pl.Int64, pl.Int64]
    columns = {name: [getattr(gift, name) for gift in gifts] for name in names}
    frame = pl.DataFrame(columns, schema=dict(zip(names, dtypes, strict=True)))
    frame = frame.with_columns(pl.col("at", "label_at").cast(TIME), id=pl.int_range(pl.len()).cast(pl.String))
    return frame.drop(without)


def edge() -> st.SearchStrategy[int]:
    """A span from the table, to the microsecond, or next to it."""
    return st.builds(lambda span, more: max(span + more, 0), st.sampled_from(EDGES), st.sampled_from([0, 0, 0, 1, -1]))


@st.composite
def histories(draw: st.DrawFn) -> list[Gift]:
    orgs = [f"o{number}" for number in range(draw(st.integers(2, 7)))]
    steps = st.one_of(st.sampled_from([0, 1, SECOND, HOUR // 2]), edge())
    amounts = st.sampled_from([1, 2, 3, 7, 20, 100, 250, 5_000_000, 10**15 + 7, 2**62])
    labels = st.one_of(st.none(), st.tuples(st.booleans(), st.one_of(st.none(), edge(), st.just(-DAY))))
    gifts: list[Gift] = []
    at = START
    for _ in range(draw(st.integers(0, 30))):
        at += draw(steps)
        sender, recipient = draw(st.permutations(orgs))[:2]
        gift = Gift(at, sender, recipient, draw(amounts), sender_available=draw(st.sampled_from([None, 0, 5, 10**9])))
        if label := draw(labels):
            gift = replace(gift, fraud=label[0], label_at=None if label[1] is None else at + label[1])
        gifts.append(gift)
    return gifts


def crowded(seed: int, orgs: int, gifts: int, step: int) -> list[Gift]:
    """A long history, so that every cap is met: of habits, pairs, short lists, ancestors and chains."""
    draw = random.Random(seed)
    made: list[Gift] = []
    at = START
    for _ in range(gifts):
        at += draw.choice([0, 1, step, step, 3 * step])
        sender, recipient = draw.sample(range(orgs), 2)
        if draw.random() < 0.3:
            sender, recipient = 0, 1
        label_at = None if draw.random() < 0.2 else at + draw.choice([0, step, 40 * step])
        amount = draw.choice([5, 10, 10, 11, 25, 60, 10_000])
        made.append(Gift(at, f"o{sender}", f"o{recipient}", amount, draw.random() < 0.3, label_at, draw.randrange(99)))
    return made


def assert_equal(frame: pl.DataFrame, vectors: list[dict[str, Value]]) -> None:
    assert tuple(frame.columns) == NAMES
    for number, (mine, right) in enumerate(zip(frame.iter_rows(named=True), vectors, strict=True)):
        wrong = {name: (mine[name], right[name]) for name in NAMES if mine[name] != right[name]}
        assert not wrong, f"gift {number}: (features, oracle) {wrong}"


# The oracle


@settings(deadline=None, max_examples=120)
@given(histories(), st.booleans())
def test_the_features_are_those_of_the_oracle(gifts: list[Gift], labelled: bool) -> None:
    assert_equal(features(frame_of(gifts), labels=labelled), Oracle(gifts, labelled).vectors)


@pytest.mark.parametrize(("orgs", "step"), [(3, 20 * SECOND), (14, HOUR), (40, 5 * HOUR)])
def test_the_caps_are_those_of_the_oracle(orgs: int, step: int) -> None:
    gifts = crowded(orgs, orgs, 260, step)
    assert_equal(features(frame_of(gifts)), Oracle(gifts).vectors)


def test_a_chain_of_fresh_gifts_is_told_up_to_its_cap() -> None:
    gifts = [Gift(START + n, f"o{n}", f"o{n + 1}", 5) for n in range(20)] + [Gift(START + 20, "o20", "o13", 5)]
    found = features(frame_of(gifts))
    assert_equal(found, Oracle(gifts).vectors)
    assert found["hops"].max() == 15 and found["cycle"][-1] == 8


# What a history does not have


def test_without_labels_every_label_feature_is_null_and_no_other_changes() -> None:
    gifts = crowded(5, 6, 60, HOUR)
    bare = features(frame_of([replace(gift, fraud=None, label_at=None) for gift in gifts], without=LABELLED))
    assert bare.equals(features(frame_of(gifts), labels=False))
    assert bare.equals(features(frame_of(gifts, without=("label_at",))))
    of_labels = [name for name, row in TABLE.items() if set(row.needs) & set(LABELLED)]
    assert len(of_labels) == 44 and all(bare[name].is_null().all() for name in of_labels)
    clean = {name: name.replace("clean", "habit") for name in NAMES if "clean" in name and "median_ratio" not in name}
    assert all(bare[name].equals(bare[twin]) for name, twin in clean.items())


def test_a_balance_is_read_under_both_of_its_names() -> None:
    rows = frame_of(crowded(5, 6, 60, HOUR))
    assert features(rows).equals(features(rows.rename({"sender_available": "sender_balance"})))
    bare = features(rows.drop("sender_available"))
    assert bare["sender_available"].is_null().all() and bare["drained"].is_null().all()


def test_an_empty_history_gives_an_empty_frame() -> None:
    assert features(frame_of([])).shape == (0, len(NAMES))


def test_rows_out_of_order_are_refused() -> None:
    with pytest.raises(ValueError, match="not in order of time"):
        features(frame_of([Gift(START, "a", "b", 1), Gift(START - 1, "a", "b", 1)]))


# Law 10: no decision can see the future


@settings(deadline=None, max_examples=60)
@given(histories(), st.data())
def test_cutting_off_the_future_changes_no_vector(gifts: list[Gift], data: st.DataObject) -> None:
    keep = data.draw(st.integers(0, len(gifts)))
    assert features(frame_of(gifts)).head(keep).equals(features(frame_of(gifts[:keep])))


@settings(deadline=None, max_examples=60)
@given(histories(), st.data())
def test_a_label_changes_nothing_before_it_was_known(gifts: list[Gift], data: st.DataObject) -> None:
    told = [j for j, gift in enumerate(gifts) if gift.label_at is not None]
    assume(told)
    changed = data.draw(st.sampled_from(told))
    gift = gifts[changed]
    other = [*gifts[:changed], replace(gift, fraud=not gift.fraud), *gifts[changed + 1 :]]
    before = [j for j in range(len(gifts)) if gifts[j].at < gift.known_at or j <= changed]
    assert features(frame_of(gifts))[before].equals(features(frame_of(other))[before])


# The table


@pytest.mark.parametrize("name", NAMES)
def test_a_row_says_what_it_catches_and_whom_it_wrongs(name: str) -> None:
    one = TABLE[name]
    assert len(one.description) > 20 and one.false_alarms and one.direction in ("high", "low", "none")
    assert (one.expression is not None) == (one.kind == "derived")
    assert (one.source is not None and one.window_s is not None) == (one.kind == "aggregate")


def test_names_are_unique_and_in_order() -> None:
    assert len(set(NAMES)) == len(NAMES) == 142
    assert [row.name for row in TABLE.values()] == list(NAMES)


def test_derived_rows_are_numbers_and_need_what_their_operands_need() -> None:
    for row in TABLE.values():
        if row.expression:
            read = parse(row.expression, TYPES)
            assert read.type is row.type is ColumnType.FLOAT
            assert set(row.needs) == {need for name in read.columns for need in TABLE[name].needs}


def test_both_executors_of_a_derived_row_agree() -> None:
    found = features(frame_of(crowded(5, 6, 80, HOUR)))
    index = {name: position for position, name in enumerate(NAMES)}
    for row in TABLE.values():
        if row.expression:
            live = parse(row.expression, TYPES).compile(index)
            assert [live(vector) for vector in found.iter_rows()] == found[row.name].to_list()


def test_the_hash_is_that_of_what_a_vector_depends_on() -> None:
    rows = list(TABLE.values())
    assert digest(rows) == HASH and len(HASH) == 64
    assert digest([replace(row, description="", false_alarms="", direction="none") for row in rows]) == HASH
    drained = rows[-1]
    assert drained.expression
    for changed in (
        replace(drained, expression=drained.expression.replace("> 0", "> 1")),
        replace(drained, name="emptied"),
        replace(drained, needs=()),
    ):
        assert digest([*rows[:-1], changed]) != HASH
    assert digest(reversed(rows)) != HASH
