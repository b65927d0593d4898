"""Law 10 for the model's primitive columns: live, a gift at a time, they are bit-equal with a whole history's."""

from __future__ import annotations

from heapq import heappop, heappush
from operator import itemgetter
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from detector.feature_table import CONTEXTS, CROWD, FAR, HABIT, LARGEST, NEAR, TABLE
from detector.gift import Gift
from detector.live import HORIZON_US, PRIMITIVES, Label, learn, look, remember
from detector.live_context import Context
from detector.live_facts import NAMES as FACTS
from detector.live_facts import facts
from detector.live_graph import Digest
from detector.live_party import Party
from tests.support import HOUR_US, SECOND_US, examples
from training.features import features

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
DAY_US = 24 * HOUR_US
START = 17_532 * DAY_US  # 2018-01-01
TIME = pl.Datetime("us", "UTC")
SAID = (
    *("sender_available", "sender_age_s", "recipient_age_s", "identity", "topup_age_s", "same_owner"),
    *("promo_amount", "young_amount"),
)
EDGES = [HOUR_US, DAY_US, 3 * DAY_US, 7 * DAY_US, 14 * DAY_US, 30 * DAY_US, 60 * DAY_US]
near_edges = [edge + off for edge in EDGES for off in (-1, 0, 1)]

# --- the two executors over one history ---


class Memory:
    """What a gate remembers: parties and contexts, each kept from the first gift that names it."""

    def __init__(self) -> None:
        self.parties: dict[str, Party] = {}
        self.contexts: dict[tuple[str, str], Context] = {}

    def party(self, name: str) -> Party:
        return self.parties.setdefault(name, Party())

    def context(self, gift: Gift) -> tuple[Context | None, ...]:
        named = [(key, getattr(gift, key)) for key in CONTEXTS]
        return tuple(None if name is None else self.contexts.setdefault((key, name), Context()) for key, name in named)


def live(rows: pl.DataFrame, *, forgetful: bool = False) -> list[tuple[int | None, ...]]:
    """Gift by gift. At each moment first the labels known by then, in order of (known, row), then the gift."""
    memory = Memory()
    waiting: list[tuple[int, int, Gift, Label]] = []
    found = []
    for row, told in enumerate(rows.with_columns(pl.col("at", "label_at").to_physical()).iter_rows(named=True)):
        at = told["at"]
        while waiting and waiting[0][0] <= at:
            _, _, gift, label = heappop(waiting)
            learn(label, memory.party(gift.sender), memory.party(gift.recipient), memory.context(gift))
        said = {name: told.get(name) for name in (*CONTEXTS, *SAID)}
        gift = Gift(told["id"], told["sender"], told["recipient"], told["amount"], b"", **said)
        one, other, contexts = memory.party(gift.sender), memory.party(gift.recipient), memory.context(gift)
        if forgetful:
            one.forget(at - HORIZON_US)
            other.forget(at - HORIZON_US)
        columns, digest = look(gift, one, other, at, contexts=contexts)
        found.append((*facts(gift), *columns))
        taught = told.get("verdict") in (None, "approve")
        remember(gift, at, one, other, digest if taught else None, contexts=contexts, taught=taught)
        if told["fraud"] is not None and told["label_at"] is not None:
            label = Label(gift.id, told["fraud"], told["label_at"], at, digest.clean_excess if taught else 0)
            heappush(waiting, (label.known_at, row, gift, label))
    return found


def assert_equal(rows: pl.DataFrame, *, forgetful: bool = False) -> None:
    """In every column whose needs the history has."""
    names = (*FACTS, *PRIMITIVES)
    known = [name for name in names if set(TABLE[name].needs) <= set(rows.columns)]
    index = [names.index(name) for name in known]
    mine = [tuple(vector[at] for at in index) for vector in live(rows, forgetful=forgetful)]
    for row, (one, other) in enumerate(zip(mine, features(rows).select(known).rows(), strict=True)):
        if one != other:
            differ = [(name, a, b) for name, a, b in zip(known, one, other, strict=True) if a != b]
            raise AssertionError(f"row {row}: (column, live, history) {differ}\n{rows[: row + 1].rows()[-40:]}")


def frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    schema = {"id": pl.String, "at": TIME, "sender": pl.String, "recipient": pl.String, "amount": pl.Int64}
    schema |= {"fraud": pl.Boolean, "label_at": TIME, "verdict": pl.String, **dict.fromkeys(CONTEXTS, pl.String)}
    said = {name: pl.Int64 for name in SAID} | {"identity": pl.String, "same_owner": pl.Boolean}
    return pl.DataFrame([{**dict.fromkeys((*schema, *said)), **row} for row in rows], {**schema, **said})


# --- small histories ---

steps = st.sampled_from([0, 0, 0, 1, 60 * SECOND_US, *near_edges]) | st.integers(0, 2 * DAY_US)
small_steps = st.sampled_from([0, 1, SECOND_US, HOUR_US, HOUR_US + 1]) | st.integers(0, DAY_US // 2)
# So long after a gift some rows back: that one is on the edge of a window, the ones since are inside.
aimed = st.tuples(st.integers(1, 6), st.sampled_from(near_edges))
amounts = st.sampled_from([1, 10, 10, 10, 11, 19, 20, 21, 30, 31, 100, LARGEST, 9 * LARGEST]) | st.integers(1, 10**14)
# When a gift's label is known: never, after a delay, or together with a later gift (so that several share a moment).
delays = st.none() | st.sampled_from([0, 0, 1, -1, *near_edges]) | st.integers(-DAY_US, 3 * DAY_US)
labels = st.tuples(st.sampled_from([True, True, False, None]), delays, st.none() | st.integers(0, 12))
ages = st.sampled_from([None, 0, 5, 86_400, 30 * 86_400 - 1, 30 * 86_400, 10**9])
micro = st.sampled_from([None, None, 0, 1, 25, 10**12, LARGEST, 9 * LARGEST])
said = st.fixed_dictionaries(
    {
        "verdict": st.sampled_from([None, "approve", "approve", "approve", "hold", "block"]),
        **{key: st.sampled_from([None, "x", "x", "y", "z"]) for key in CONTEXTS},
        "identity": st.sampled_from([None, "none", "basic", "full"]),
        "same_owner": st.sampled_from([None, True, False]),
        **dict.fromkeys(("sender_age_s", "recipient_age_s", "topup_age_s"), ages),
        **dict.fromkeys(("sender_available", "promo_amount", "young_amount"), micro),
    }
)
gifts = st.tuples(st.integers(0, 19), st.integers(0, 18), amounts, labels, said)


@st.composite
def histories(draw: st.DrawFn, most: int = 60) -> pl.DataFrame:
    """Bursts and pauses among few parties (long windows) or more (short lists overflow); ties in time and in the moment
    that labels are known."""
    step = draw(st.sampled_from([steps, small_steps, small_steps]))
    many = draw(st.sampled_from([4, 6, 14, 20]))
    told = draw(st.lists(st.tuples(step | aimed, gifts), max_size=most))
    at, rows = START, []
    for row, (wait, (sender, further, amount, _, more)) in enumerate(told):
        if isinstance(wait, tuple):
            back, edge = wait
            at = max(at, rows[max(row - back, 0)]["at"] + edge if rows else at)
        else:
            at += wait
        one = sender % many
        names = {"sender": f"o{one}", "recipient": f"o{(one + 1 + further % (many - 1)) % many}"}
        rows.append({"id": f"g{row}", "at": at, **names, "amount": amount, "fraud": None, "label_at": None, **more})
    for row, (_, (*_, (fraud, delay, later), _)) in enumerate(told):
        rows[row]["fraud"] = fraud
        if later is not None and row + later < len(rows):
            rows[row]["label_at"] = rows[row + later]["at"]
        elif delay is not None:
            rows[row]["label_at"] = rows[row]["at"] + delay
    return frame(rows)


def line(*rows: tuple[Any, ...]) -> pl.DataFrame:
    """Rows of at, sender, recipient, amount, fraud, label_at and perhaps verdict, ip, age of the sender, promo."""
    names = (
        *("at", "sender", "recipient", "amount", "fraud", "label_at"),
        *("verdict", "ip", "sender_age_s", "promo_amount"),
    )
    told = [dict(zip(names, row, strict=False)) for row in rows]
    for turn, one in enumerate(told):
        one["id"] = f"g{turn}"
        one["at"] += START
        one["label_at"] = None if one["label_at"] is None else START + one["label_at"]
    return frame(told)


@given(histories(), st.booleans())
@example(frame([]), False)
@example(line((0, "a", "b", 10, True, 0), (0, "a", "b", 10, True, 0), (0, "b", "a", 10, False, 0)), True)
@example(line((5, "a", "b", 10, True, 1), (5, "a", "b", 10, False, 0), (5, "a", "b", 10, True, 5)), True)
@example(
    line((0, "a", "b", 10, True, 9), (30 * DAY_US, "a", "b", 10, None, None), (30 * DAY_US, "a", "c", 1, None, 0)), True
)
@example(line(*[(9 * turn, "a", "b", 10 + turn % 3, turn > 5, 9 * turn) for turn in range(90)]), True)
@examples(120)
def test_live_and_history_are_bit_equal_on_small_histories(rows: pl.DataFrame, forgetful: bool) -> None:
    assert_equal(rows, forgetful=forgetful)


def test_every_window_edge_is_the_same_live_and_on_history_to_the_microsecond() -> None:
    """For each edge, an own pair of orgs: gifts and labels on it, gifts and labels just inside, then two looks."""
    rows: list[tuple[Any, ...]] = []
    for turn, edge in enumerate(near_edges):
        a, b, c = f"a{turn}", f"b{turn}", f"c{turn}"
        more = ("approve", f"i{turn}", 30 * 86_400 - 1, 4)
        for at in (0, 1):
            rows += [(at, a, b, amount, amount > 10, at, *more) for amount in (10, 10, 10, 25, 50)]
            rows += [
                (at, b, a, 10, False, at, *more),
                (at, c, a, 10, True, at, *more),
                (at, b, c, 10, None, None, *more),
            ]
            rows += [(at, c, a, 90, True, at, "hold", *more[1:]), (at, a, c, 90, True, at, "block", *more[1:])]
        rows += [(edge, a, b, 20, None, None, *more), (edge, b, a, 20, None, None, *more)]
    assert_equal(line(*sorted(rows, key=itemgetter(0))))
    assert_equal(line(*sorted(rows, key=itemgetter(0))), forgetful=True)


@given(st.lists(st.tuples(small_steps, amounts, labels), min_size=HABIT, max_size=3 * HABIT), st.randoms())
@examples(20)
def test_a_long_habit_of_one_sender_is_the_same_live_and_on_history(
    told: list[tuple[int, int, Any]], random: Any
) -> None:
    at, rows = START, []
    for wait, amount, (fraud, delay, _) in told:
        at += wait // 8
        known = None if delay is None else at + delay // 8
        rows.append(
            (at - START, "a", f"o{random.randrange(3)}", amount, fraud, None if known is None else known - START)
        )
    assert_equal(line(*rows))


@pytest.mark.parametrize("name", ["payments-2018-04", "rings-a"])
@pytest.mark.parametrize("label_delay_us", [None, HOUR_US])
def test_live_and_history_are_bit_equal_on_shared_histories(name: str, label_delay_us: int | None) -> None:
    """As stored, where no label is known within so few days, and with every label an hour after its gift."""
    path = SHARED / f"{name}.parquet"
    if not path.exists():
        pytest.skip(f"{path} is not here: shared data is never part of the project")
    rows = pl.read_parquet(path, n_rows=20_000).sort("at", maintain_order=True)
    if label_delay_us is not None:
        rows = rows.with_columns(label_at=pl.col("at") + pl.duration(microseconds=label_delay_us))
    assert_equal(with_context(rows))


def with_context(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with verdicts, context keys and facts drawn from their ids: keys shared by few and by crowds."""
    drawn = pl.col("id").hash(7)

    def one_of(shift: int, words: list[Any]) -> pl.Expr:
        return (drawn // 3**shift % len(words)).replace_strict(dict(enumerate(words)), return_dtype=pl.String)

    home = pl.col("sender").str.slice(-2)
    return rows.with_columns(
        verdict=one_of(0, ["approve"] * 8 + ["hold", "block", None]),
        ip=pl.when(drawn // 5 % 4 < 3).then(home),
        device=pl.when(drawn // 7 % 50 > 0).then(pl.col("sender")),
        fingerprint=one_of(9, ["x", None, "y"]),
        identity=one_of(4, ["none", "basic", "full", None]),
        same_owner=drawn // 11 % 9 == 0,
        sender_age_s=(drawn // 13 % (90 * 86_400)).cast(pl.Int64),
        promo_amount=pl.when(drawn // 17 % 3 > 0).then(pl.col("amount") // 2),
        young_amount=pl.col("amount") // 3,
    )


def test_a_crowd_behind_one_key_is_the_same_live_and_on_history() -> None:
    """More gifts and labels than are kept, in bursts, so that the cap lies among gifts of one moment."""
    more = ("approve", "i", None, None)
    rows = [
        (
            turn // 5 * SECOND_US,
            f"a{turn * 7 % 31}",
            f"b{turn * 5 % 23}",
            10 + turn,
            turn % 3 == 0,
            turn // 4 * SECOND_US,
        )
        for turn in range(5 * CROWD)
    ]
    assert_equal(line(*((*row, *more) for row in rows)))


def test_a_context_stays_small() -> None:
    context = Context()
    for turn in range(2_000):
        at = START + turn
        context.add(at, f"a{turn}", f"b{turn % 7}")
        context.learn(Label(f"g{turn}", turn % 2 == 0, at, at, 0))
        kinds = (context.senders, context.recipients)
        assert len(context.times) < 2 * CROWD and len(context.frauds) <= 2 * CROWD
        assert all(len(kind.latest) == len(kind.order) < 2 * CROWD for kind in kinds)
    assert context.read(at) == (CROWD, CROWD, CROWD, CROWD, CROWD, 7, 0, CROWD, CROWD // 2, CROWD, CROWD // 2)


def test_a_gift_that_was_not_approved_moves_attempts_alone() -> None:
    one, other, place = Party(), Party(), Context()
    gift = given_gift(0, "a", "b")
    _, digest = look(gift, one, other, START, contexts=(place, None, None))
    remember(gift, START, one, other, None, contexts=(place, None, None), taught=False)
    columns, again = look(given_gift(1, "a", "b"), one, other, START + SECOND_US, contexts=(place, None, None))
    vector = dict(zip(PRIMITIVES, columns, strict=True))
    assert again == digest and vector["ip_count_24h"] == vector["sender_count_1h"] == vector["pair_count_30d"] == 0
    assert vector["sender_tried_count_1h"] == vector["recipient_tried_count_7d"] == 1
    with pytest.raises(ValueError, match="'g0' teaches but has no digest"):
        remember(gift, START, one, other, None)


# --- what an event carries, what a party keeps ---


def given_gift(turn: int, sender: str, recipient: str, amount: int = 10) -> Gift:
    return Gift(f"g{turn}", sender, recipient, amount, b"")


def test_a_digest_has_a_size_cap() -> None:
    """A crowd in which everybody pays everybody: names as long as a party's may be, lists full, walks deep."""
    parties = {f"{org:x<64}": Party() for org in range(40)}
    names, longest = list(parties), 0
    for turn in range(3_000):
        sender, recipient = names[turn * 7 % 40], names[(turn * 7 + 1 + turn // 40 % 39) % 40]
        gift, at = given_gift(turn, sender, recipient), START + turn * SECOND_US
        columns, digest = look(gift, parties[sender], parties[recipient], at)
        remember(gift, at, parties[sender], parties[recipient], digest)
        assert len(columns) == len(PRIMITIVES)
        assert max(len(digest.funders), len(digest.recipients), len(digest.recipient_funders)) <= NEAR
        assert len(digest.ancestors) == len(digest.depths) <= FAR
        longest = max(longest, len(msgspec.msgpack.encode(digest)))
    assert FAR * 64 < longest < 3_000  # bytes: 3 NEAR and FAR names of 64 letters, and a few numbers
    assert max(len(party.funders.ids) for party in parties.values()) == NEAR


def test_a_digest_survives_being_stored() -> None:
    digest = Digest(120, 130, 2, True, ("a", "b"), ("c",), (), ("a", "b", "d"), (1, 1, 2), True, 5)
    assert msgspec.json.decode(msgspec.json.encode(digest), type=Digest) == digest


def test_a_party_forgets_what_is_beyond_the_horizon() -> None:
    one, other = Party(), Party()
    for turn in range(500):
        at = START + turn * DAY_US
        for gift, pair in (
            (given_gift(turn, "a", f"r{turn}"), (one, Party())),
            (given_gift(turn, "b", "c"), (other, one)),
        ):
            remember(gift, at, *pair, look(gift, *pair, at)[1])
            learn(Label(gift.id, turn % 3 == 0, at, at, 0), *pair)
    assert len(one.sent.times) <= 64 and len(one.received.times) <= 64
    assert len(one.pairs) <= 128 and len(one.known_sent.times) <= 64
    assert len(one.habit.kept) == len(one.habit.by_gift) == len(one.habit.hours) <= 30
    assert len(other.pairs["c"]) <= 64
    assert max(len(track.times) for track in (one.tried, one.offered, other.tried)) <= 64


def test_a_look_changes_nothing_that_another_look_at_that_moment_sees() -> None:
    one, other = Party(), Party()
    for turn in range(50):
        gift, at = given_gift(turn, "a", "b", turn), START + turn * DAY_US
        first = look(gift, one, other, at)
        assert look(gift, one, other, at) == first
        remember(gift, at, one, other, first[1])


def test_every_column_has_one_name_and_is_an_int_or_none() -> None:
    columns, _ = look(given_gift(0, "a", "b"), Party(), Party(), START)
    assert len(columns) == len(PRIMITIVES) == len(set(PRIMITIVES))
    assert all(value is None or type(value) is int for value in columns)
