"""The features of a history against an oracle that is slow and obviously right; and law 10: nothing sees the future."""

from __future__ import annotations

import random
from dataclasses import fields, replace

import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from detector.expressions import ColumnType, parse
from detector.feature_table import CROWD, HASH, LABELLED, NAMES, TABLE, TYPES, digest
from tests.training.oracle import DAY, HOUR, KEYS, MONTH, SECOND, Gift, Oracle, Value
from training.errors import HistoryRefused
from training.features import features

START = 1_530_000_000 * SECOND
TIME = pl.Datetime("us", "UTC")
EDGES = [0, 0, 1, SECOND, 700_000, 60 * SECOND, HOUR, DAY, 2 * DAY, 3 * DAY, 7 * DAY, 14 * DAY, MONTH, 2 * MONTH]


# Histories


def frame_of(gifts: list[Gift], without: tuple[str, ...] = ()) -> pl.DataFrame:
    names = [field.name for field in fields(Gift)]
    columns = {name: [getattr(gift, name) for gift in gifts] for name in names}
    frame = pl.DataFrame(columns, schema={name: DTYPES.get(name, pl.Int64) for name in names})
    frame = frame.with_columns(pl.col("at", "label_at").cast(TIME), id=pl.int_range(pl.len()).cast(pl.String))
    return frame.drop(without)


DTYPES = dict.fromkeys(("sender", "recipient", "verdict", "ip", "device", "fingerprint", "identity"), pl.String()) | {
    "fraud": pl.Boolean(),
    "same_owner": pl.Boolean(),
}


def edge() -> st.SearchStrategy[int]:
    """A span from the table, to the microsecond, or next to it."""
    return st.builds(lambda span, more: max(span + more, 0), st.sampled_from(EDGES), st.sampled_from([0, 0, 0, 1, -1]))


@st.composite
def histories(draw: st.DrawFn) -> list[Gift]:
    orgs = [f"o{number}" for number in range(draw(st.integers(2, 7)))]
    steps = st.one_of(st.sampled_from([0, 1, SECOND, HOUR // 2]), edge())
    amounts = st.sampled_from([1, 2, 3, 7, 20, 99, 100, 250, 5_000_000, 10**15 + 7, 2**62])
    micro, ages = (
        st.sampled_from([None, 0, 5, 10**9, 2**62]),
        st.sampled_from([None, 0, 7, 2_591_999, 2_592_000, 10**9]),
    )
    said = st.fixed_dictionaries(
        {
            "verdict": st.sampled_from([None, "approve", "approve", "hold", "block"]),
            **{key: st.sampled_from([None, "x", "x", "y"]) for key in KEYS},
            "identity": st.sampled_from([None, "none", "basic", "full"]),
            "same_owner": st.sampled_from([None, True, False]),
            **dict.fromkeys(("sender_age_s", "recipient_age_s", "topup_age_s"), ages),
            **dict.fromkeys(("sender_available", "promo_amount", "young_amount"), micro),
        }
    )
    labels = st.one_of(st.none(), st.tuples(st.booleans(), st.one_of(st.none(), edge(), st.just(-DAY))))
    gifts: list[Gift] = []
    at = START
    for _ in range(draw(st.integers(0, 30))):
        at += draw(steps)
        sender, recipient = draw(st.permutations(orgs))[:2]
        gift = Gift(at, sender, recipient, draw(amounts), **draw(said))
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
        told = Gift(at, f"o{sender}", f"o{recipient}", amount, draw.random() < 0.3, label_at, draw.randrange(99))
        verdict = draw.choice(["approve"] * 7 + ["hold", "block", None])
        age = draw.choice([None, 5, 86_400, 10**8])
        ip, device = draw.choice(["x"] * 9 + [None]), draw.choice(["u", "v", None])
        made.append(replace(told, verdict=verdict, ip=ip, device=device, sender_age_s=age, promo_amount=age and amount))
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
    assert sum(gift.taught and gift.ip == "x" for gift in gifts) > CROWD
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
    assert len(of_labels) == 62 and all(bare[name].is_null().all() for name in of_labels)
    clean = {name: name.replace("clean", "habit") for name in NAMES if "clean" in name and "median_ratio" not in name}
    assert all(bare[name].equals(bare[twin]) for name, twin in clean.items())


def test_a_balance_is_read_under_both_of_its_names() -> None:
    rows = frame_of(crowded(5, 6, 60, HOUR))
    assert features(rows).equals(features(rows.rename({"sender_available": "sender_balance"})))
    bare = features(rows.drop("sender_available"))
    assert bare["sender_available"].is_null().all() and bare["drained"].is_null().all()


def test_what_a_history_does_not_say_is_null_and_no_other_column_changes() -> None:
    """Without a column, every row that needs it is null; without verdicts, every gift teaches."""
    gifts = [replace(gift, verdict=None) for gift in crowded(5, 6, 90, HOUR)]
    whole = features(frame_of(gifts))
    for missing in ("verdict", *KEYS, "sender_age_s", "promo_amount", "identity", "same_owner", "topup_age_s"):
        bare = features(frame_of(gifts, without=(missing,)))
        without = [name for name, row in TABLE.items() if missing in row.needs]
        assert without and all(bare[name].is_null().all() for name in without)
        assert bare.drop(without).equals(whole.drop(without))


def test_a_fact_is_read_however_it_was_written_or_is_unknown() -> None:
    rows = frame_of([Gift(START + at, "a", "b", 5, sender_age_s=7, identity="full", ip="1") for at in range(3)])
    odd = rows.with_columns(
        sender_age_s=pl.Series(["7", "x", None]),
        identity=pl.Series(["full", "FULL", None]),
        same_owner=pl.Series(["true", "0", "perhaps"]),
        ip=pl.Series([1, 1, None]),
        device=pl.Series([[1], [1], [2]]),
    )
    found = features(odd)
    assert found["sender_age_s"].to_list() == [7, None, None] and found["identity"].to_list() == [2, None, None]
    assert found["same_owner"].to_list() == [1, 0, None] and found["ip_count_24h"].to_list() == [0, 1, None]
    assert found["device_count_24h"].is_null().all() and found["recipient_young_funders"].to_list() == [0, None, None]


def test_a_verdict_of_another_language_is_refused() -> None:
    with pytest.raises(HistoryRefused, match="verdict is 'passed': write approve, hold, block"):
        features(frame_of([Gift(START, "a", "b", 1, verdict="passed")]))


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


@settings(deadline=None, max_examples=60)
@given(histories(), st.data())
def test_what_was_not_approved_changes_attempts_alone(gifts: list[Gift], data: st.DataObject) -> None:
    told = [j for j, gift in enumerate(gifts) if not gift.taught and gift.fraud is None]
    assume(told)
    left_out = data.draw(st.sampled_from(told))
    others = [*gifts[:left_out], *gifts[left_out + 1 :]]
    attempts = [name for name, row in TABLE.items() if "verdict" in row.needs]
    whole = features(frame_of(gifts)).with_row_index().filter(pl.col("index") != left_out).drop("index", *attempts)
    assert whole.equals(features(frame_of(others)).drop(attempts))


# The table


@pytest.mark.parametrize("name", NAMES)
def test_a_row_says_what_it_catches_and_whom_it_wrongs(name: str) -> None:
    one = TABLE[name]
    assert len(one.description) > 20 and one.false_alarms and one.direction in ("high", "low", "none")
    assert (one.expression is not None) == (one.kind == "derived")
    assert (one.source is not None and one.window_s is not None) == (one.kind == "aggregate")


def test_names_are_unique_and_in_order() -> None:
    assert len(set(NAMES)) == len(NAMES) == 211
    assert [row.name for row in TABLE.values()] == list(NAMES)
    kinds = ["fact", "aggregate", "derived"]
    ranks = [kinds.index(row.kind) for row in TABLE.values()]
    assert ranks == sorted(ranks)


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
    last = rows[-1]
    assert last.expression
    for changed in (
        replace(last, expression=last.expression.replace("2)", "3)")),
        replace(last, name="emptied"),
        replace(last, needs=()),
    ):
        assert digest([*rows[:-1], changed]) != HASH
    assert digest(reversed(rows)) != HASH


def test_a_kernel_is_compiled_once_whatever_a_history_says() -> None:
    from numba.core.dispatcher import Dispatcher

    from training import kernels, kernels_graph, kernels_habit, kernels_labels
    from training.ready import whole

    for columns in ([], list(LABELLED), ["verdict", "sender_age_s", "promo_amount", *KEYS]):
        features(whole().drop(columns))
    parts = (kernels, kernels_graph, kernels_habit, kernels_labels)
    known = {name: one for part in parts for name, one in vars(part).items() if isinstance(one, Dispatcher)}
    assert {name: len(one.signatures) for name, one in known.items() if len(one.signatures) > 1} == {}
    assert {"windows", "graph", "habits", "labelled", "streaks"} <= {
        name for name, one in known.items() if one.signatures
    }
