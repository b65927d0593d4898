"""One step out from a gift's parties: bounded in width, heaviest first, and honest about what it left out."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from detector.explain_shapes import Edge
from detector.neighbourhood import MOST_NODES, MOST_TIES, among, step
from tests.support import examples

org = st.sampled_from([f"o{n}" for n in range(40)])
edges = st.lists(
    st.builds(Edge, org, org, st.just(1), st.integers(1, 99), st.integers(0, 2)).filter(
        lambda one: one.sender != one.recipient
    ),
    max_size=120,
    unique_by=lambda one: (one.sender, one.recipient),
)


def tie(sender: str, recipient: str, amount: int = 1, stopped: int = 0) -> Edge:
    return Edge(sender, recipient, 1, amount, stopped)


def test_a_step_takes_the_heaviest_ties_of_each_org_those_with_stopped_gifts_first() -> None:
    ties = [tie("a", "x", 5), tie("y", "a", 9), tie("a", "z", 1, stopped=1), tie("b", "w", 1)]
    steps = {"a": 0, "b": 0}
    assert step(ties, ["a", "b"], steps, 2) == (["z", "y", "w"], True)
    assert steps == {"a": 0, "b": 0, "z": 1, "y": 1, "w": 1}


def test_nothing_is_left_out_where_there_is_room() -> None:
    ties = [tie("a", "x"), tie("x", "a"), tie("x", "b"), tie("c", "d")]
    steps = {"a": 0, "b": 0}
    assert step(ties, ["a", "b"], steps, 1) == (["x"], False), "x is one org, whichever way it is tied"
    assert step(ties, ["x"], steps, 1) == ([], False) and step(ties, [], steps, 1) == ([], False)


@examples(60)
@given(edges)
def test_a_neighbourhood_is_bounded_and_each_org_hangs_on_a_nearer_one(ties: list[Edge]) -> None:
    steps = {"o0": 0, "o1": 0}
    front, left_out = ["o0", "o1"], False
    for most in MOST_TIES:
        front, cut = step(ties, front, steps, most)
        left_out = left_out or cut
    assert len(steps) <= MOST_NODES and max(steps.values()) <= len(MOST_TIES)
    shown = among(steps, ties)
    for name, far in steps.items():
        near = {other for one in shown for other in (one.sender, one.recipient) if name in (one.sender, one.recipient)}
        assert far == 0 or any(steps[other] == far - 1 for other in near - {name})
    if not left_out:
        inner = {name for name, far in steps.items() if far < len(MOST_TIES)}
        assert [one for one in ties if one not in shown and inner & {one.sender, one.recipient}] == []


def test_sixty_orgs_are_the_most() -> None:
    parties = [f"p{n}" for n in range(12)]
    ties = [tie(party, f"{party}x{n}") for party in parties for n in range(MOST_TIES[0])]
    steps = dict.fromkeys(parties, 0)
    out, left_out = step(ties, parties, steps, MOST_TIES[0])
    assert len(steps) == MOST_NODES == len(out) + len(parties) and left_out
