"""Gathering against oracles: connected components where nothing stands in the way, a naive desk where it does."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector import gathering
from detector.gathering import MOST_GIFTS, SPAN, Beside, Desk, Draft, Gathered, Open, gather
from tests.support import examples

START = datetime(2026, 5, 1, tzinfo=UTC)
ORGS = st.sampled_from("abcdefg")
CONTEXTS = st.sampled_from([None, None, "x", "y"])


@st.composite
def streams(draw: st.DrawFn) -> list[Draft]:
    """Held gifts in order of time, over a few days."""
    hours = sorted(draw(st.lists(st.integers(0, 96), min_size=1, max_size=24)))
    return [
        Draft(f"g{n}.1", "hold", f"g{n}", a, b if b != a else "z", 1, draw(CONTEXTS), draw(CONTEXTS),
              START + timedelta(hours=hour), "hold", [], None, None)
        for n, hour in enumerate(hours)
        for a, b in [(draw(ORGS), draw(ORGS))]
    ]  # fmt: skip


def share(one: Draft, other: Draft) -> bool:
    """Whether two gifts belong together, said once more without keys."""
    orgs = {one.sender, one.recipient} & {other.sender, other.recipient}
    ip = one.ip is not None and one.ip == other.ip
    device = one.device is not None and one.device == other.device
    return bool(orgs or ip or device) and abs(one.at - other.at) < SPAN


def partition(gathered: Gathered) -> set[frozenset[str]]:
    homes: dict[str, set[str]] = {}
    for draft, case in gathered.joined:
        homes.setdefault(gathered.last(case), set()).add(draft.gift_id)
    return {frozenset(gifts) for gifts in homes.values()}


def components(drafts: Sequence[Draft]) -> set[frozenset[str]]:
    groups: list[list[Draft]] = []
    for draft in drafts:
        linked = [group for group in groups if any(share(draft, one) for one in group)]
        groups = [group for group in groups if group not in linked] + [[draft, *(one for g in linked for one in g)]]
    return {frozenset(one.gift_id for one in group) for group in groups}


@given(streams())
@examples(300)
def test_what_is_linked_within_a_day_is_one_case(drafts: list[Draft]) -> None:
    assert partition(gather(drafts, Desk())) == components(drafts)


@given(streams(), st.integers(1, 5))
@examples(200)
def test_batches_make_no_difference(drafts: list[Draft], size: int) -> None:
    """What one process gathers in one batch, several gather in many, from what the desk keeps."""
    whole, desk, bits = gather(drafts, Desk()), Desk(), Gathered()
    for start in range(0, len(drafts), size):
        kept = Desk({name: Open(**vars_of(one)) for name, one in desk.cases.items()}, desk.keys)
        part = gather(drafts[start : start + size], kept)
        desk = kept
        bits.joined += part.joined
        bits.merged |= part.merged
    assert partition(bits) == partition(whole)
    assert {bits.last(case) for _, case in bits.joined} == {whole.last(case) for _, case in whole.joined}


def vars_of(one: Open) -> dict[str, object]:
    return {name: getattr(one, name) for name in ("id", "opened_at", "gifts", "busy")}


class Naive:
    """A desk without keys: every case is a list of its gifts."""

    def __init__(self, most: int, busy: set[str]) -> None:
        self.most, self.busy = most, busy
        self.cases: dict[str, list[Draft]] = {}
        self.opened: dict[str, datetime] = {}

    def take(self, draft: Draft) -> None:
        linked = [
            case for case, gifts in self.cases.items() if len(gifts) < self.most and any(share(draft, g) for g in gifts)
        ]
        linked.sort(key=lambda case: (self.opened[case], case))
        home = next((case for case in linked if case in self.busy), linked[0] if linked else None)
        if home is None:
            home = gathering.case_id(draft)
            self.cases[home], self.opened[home] = [], draft.at
            if int(draft.gift_id[1:]) % 3 == 0:
                self.busy.add(home)
        for other in linked:
            fits = len(self.cases[home]) + len(self.cases[other]) < self.most
            if other != home and other not in self.busy and fits:
                self.cases[home] += self.cases.pop(other)
        self.cases[home].append(draft)


@given(streams(), st.integers(2, 5))
@examples(300)
def test_claimed_cases_stay_and_full_ones_take_no_more(drafts: list[Draft], most: int) -> None:
    naive, desk, bits = Naive(most, set()), Desk(), Gathered()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gathering, "MOST_GIFTS", most)
        for draft in drafts:
            part = gather([draft], desk)
            for one in part.opened:
                one.busy = int(draft.gift_id[1:]) % 3 == 0  # somebody claims every third case as it opens
            bits.joined += part.joined
            assert not any(desk.cases[case].busy for case in part.merged if case in desk.cases)
            bits.merged |= part.merged
            naive.take(draft)
    told = {frozenset(one.gift_id for one in gifts) for gifts in naive.cases.values()}
    assert partition(bits) == told
    assert all(len(gifts) <= most for gifts in told)


def test_a_gift_that_links_two_cases_makes_them_one_the_older() -> None:
    def draft(name: str, sender: str, recipient: str, hour: int) -> Draft:
        at = START + timedelta(hours=hour)
        return Draft(f"{name}.1", "hold", name, sender, recipient, 1, None, None, at, "hold", [], None, None)

    chain = [draft("g1", "a", "b", 0), draft("g2", "c", "d", 1), draft("g3", "b", "c", 2)]
    gathered = gather(chain, Desk())
    first, second = (gathering.case_id(one) for one in chain[:2])
    assert gathered.merged == {second: first}
    assert [gathered.last(case) for _, case in gathered.joined] == [first, first, first]


def test_a_sample_is_alone() -> None:
    at = START
    drafts = [
        Draft(f"g{n}.1", kind, f"g{n}", "a", "b", 1, None, None, at, "hold", [], None, None)
        for n, kind in enumerate(["sample", "hold", "sample", "hold"])
    ]
    assert partition(gather(drafts, Desk())) == {frozenset({"g0"}), frozenset({"g2"}), frozenset({"g1", "g3"})}


# cases that belong together whatever their age, by (gifts, busy), oldest first; how many there are then, where a gift
# of their org goes
BESIDE: list[tuple[list[tuple[int, bool]], int, int]] = [
    ([(1, False)], 1, 0),
    ([(1, False), (1, False), (1, False)], 1, 0),
    ([(1, False), (1, True), (1, False)], 1, 1),  # what somebody works on takes the others in
    ([(1, True), (1, True), (1, False)], 2, 0),
    ([(MOST_GIFTS - 2, False), (1, False), (1, False)], 2, 0),  # as far as there is room
]


@pytest.mark.parametrize(("cases", "left", "home"), BESIDE)
def test_cases_beside_become_one_and_what_comes_joins_it(cases: list[tuple[int, bool]], left: int, home: int) -> None:
    now = START + 30 * SPAN

    def near() -> list[Beside]:
        opened = [Open(f"c{n}", START + timedelta(hours=n), *one) for n, one in enumerate(cases)]
        return [Beside(one, "o:a", now) for one in opened]

    assert len(cases) - len(gather([], Desk(), near()).merged) == left
    come = Draft("g1.2", "hold", "g1", "a", "b", 1, None, None, now, "hold", [], None, None)
    gathered = gather([come], Desk(), near())
    assert (gathered.opened, gathered.last(gathered.joined[0][1])) == ([], f"c{home}")
