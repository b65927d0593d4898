"""What is drawn, as text: spans and amounts, the queue's rows, the graph, the find line. Pure."""

from __future__ import annotations

import doctest
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any

import pytest

from detector.case_shapes import Case, CaseFile, CaseGift, CasePage, Ruling
from detector.explain_shapes import Alike, Cause, Contribution, Edge, Explanation, Graph, ModelSaid, Node, Past, Turn
from detector.review import filters, graph, plans, sections, told, why
from detector.review.errors import Conflict, NotThere, Usage
from detector.review.filters import Filters
from detector.review.terminal import opened
from detector.review.terminal.pages import Pages
from detector.review.terminal.rows import row
from detector.review.told import LIGHT, PLAIN
from tests.support import CREDIT

NOW = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)


def at(**ago: float) -> str:
    return (NOW - timedelta(**ago)).isoformat()


def case(name: str = "cs_1", **more: Any) -> Case:
    plain: dict[str, Any] = {
        "id": name, "kind": "hold", "status": "open", "version": 1, "opened_at": at(hours=1), "deadline": at(hours=-3),
        "gifts": 2, "waiting": 2, "amount": 900 * CREDIT, "at_risk": 900 * CREDIT, "expected_loss": 450 * CREDIT,
        "priority": 150.0, "score": 0.5, "senders": ["acme"], "recipients": ["globex", "hooli"],
        "reasons": ["rule:shared_ip"],
    }  # fmt: skip
    return Case(**{**plain, **more})


def held(name: str, amount: int = 100 * CREDIT, **more: Any) -> CaseGift:
    plain: dict[str, Any] = {
        "id": name, "decision": f"{name}.1", "at": at(hours=1), "sender": "acme", "recipient": "globex",
        "amount": amount,
        "ip": None, "device": None, "verdict": "hold", "reasons": ["rule:shared_ip"], "score": 0.5,
        "standing": "waiting", "deadline": at(hours=-3),
    }  # fmt: skip
    return CaseGift(**{**plain, **more})


@pytest.mark.parametrize("module", [told, filters, opened], ids=lambda module: module.__name__)
def test_the_examples_in_the_docstrings_hold(module: ModuleType) -> None:
    tried = doctest.testmod(module)
    assert tried.attempted and not tried.failed


@pytest.mark.parametrize(
    "line",
    ["", "sender:acme min:0.000001 older:7200s", "rule:shared_ip kind:sample status:ended", "by:ann sort:age a b"],
)
def test_a_find_line_comes_back_as_it_was_meant(line: str) -> None:
    wanted = filters.read(line)
    assert filters.read(wanted.words()) == wanted


@pytest.mark.parametrize(
    "line", ["min:x", "min:-1", "min:0.0000001", "min:1e400", "older:2", "kind:gift", "sender:", "sort:size"]
)
def test_a_find_line_that_cannot_be_read_says_why(line: str) -> None:
    with pytest.raises(Usage):
        filters.read(line)


def test_mine_is_by_me_and_a_strange_word_is_searched_for() -> None:
    assert filters.read("mine", "ann") == Filters(claimed_by="ann")
    assert filters.read("http://x mine").q == "http://x mine"


# --- rows ---


@pytest.mark.parametrize("width", [28, 30, 44, 62])
@pytest.mark.parametrize(
    "more", [{}, {"claimed_by": "bob", "claimed_until": at(hours=-1)}, {"deadline": None}, {"status": "ended"}]
)
def test_a_row_is_two_lines_of_exactly_its_width(width: int, more: dict[str, Any]) -> None:
    drawn = row(case(senders=["an-org-with-a-long-name"] * 5, **more), NOW, "ann", width, LIGHT, "▌")
    assert [line.cell_len for line in drawn] == [width, width]


def test_a_row_tells_clock_loss_gifts_claim_and_reasons() -> None:
    first, second = row(case(claimed_by="bob", claimed_until=at(minutes=-5)), NOW, "ann", 60, LIGHT, " ")
    assert first.plain.split() == ["3h", "00m", "450", "900", "×2", "●", "bob"]
    assert "shared_ip" in second.plain and "acme → globex +1" in second.plain
    mine, _ = row(case(claimed_by="ann", claimed_until=at(minutes=-5)), NOW, "ann", 60, LIGHT, " ")
    lapsed, _ = row(case(claimed_by="bob", claimed_until=at(minutes=5)), NOW, "ann", 60, LIGHT, " ")
    assert "● you" in mine.plain and "bob" not in lapsed.plain


# --- pages ---


def page(names: str, following: str | None = None) -> CasePage:
    return CasePage([case(name) for name in names], following, NOW.isoformat(), len(names), 0)


def test_pages_are_one_queue_without_twins() -> None:
    pages = Pages()
    assert pages.more
    pages.put(0, page("abc", "1"))
    pages.put(1, page("de"))
    assert ([one.id for one in pages.rows], pages.more) == ([*"abcde"], False)
    pages.put(0, page("xab", "1"))
    assert [one.id for one in pages.rows] == [*"xabde"]  # c moved on to the next page, which is read again soon
    pages.put(1, page("cde"))
    assert [one.id for one in pages.rows] == [*"xabcde"] and pages.place["d"] == 4
    pages.put(1, page("bcde"))
    assert [one.id for one in pages.rows] == [*"xabcde"]
    pages.put(0, page("xa"))
    assert ([one.id for one in pages.rows], pages.more) == ([*"xa"], False)


def test_every_page_is_read_again_in_turn() -> None:
    pages = Pages()
    for number in range(3):
        pages.put(number, page("abc"[number], str(number) if number < 2 else None))
    assert [pages.sweep() for _ in range(5)] == [1, 2, 0, 1, 2]


def test_an_older_reading_never_replaces_a_newer_one() -> None:
    pages = Pages()
    pages.put(0, page("ab"))
    pages.renew(case("a", version=3, escalated=True))
    pages.renew(case("a", version=2))
    pages.renew(case("z"))
    assert pages.rows[0].version == 3 and pages.rows[0].escalated


# --- graph ---


def edge(sender: str, recipient: str, stopped: int = 0, amount: int = 10 * CREDIT) -> Edge:
    return Edge(sender, recipient, 3, amount, stopped)


RING = [edge("a", "b", 1), edge("b", "c"), edge("c", "a"), edge("m", "a"), edge("n", "m")]


def test_rings_are_found_once_the_shortest_first() -> None:
    more = [*RING, edge("b", "a")]
    assert graph.rings(more, "a", "b") == [("a", "b", "a"), ("a", "b", "c", "a")]
    assert graph.rings(RING[1:2], "a", "b") == []


def test_the_graph_names_every_org_and_what_stopped() -> None:
    nodes = [Node("a", 0, 2, "block"), Node("b", 0, 0), Node("c", 1, 0, "allow"), Node("m", 1, 0), Node("n", 2, 1)]
    text = graph.drawn(Graph(nodes, RING, False), "a", "b", 46, PLAIN).plain
    assert text.splitlines()[0] == "↻ ring  a → b → c → a"
    assert "a ✗2 block list  sends" in text and "c allow list" in text and "n ✗1" in text
    assert "─▶ b" in text and "◀─ m" in text and "1 stopped" in text
    assert max(map(len, text.splitlines())) <= 46


def test_a_wide_graph_is_cut_and_says_so() -> None:
    edges = [edge("a", f"org{number}", amount=number * CREDIT) for number in range(40)]
    text = graph.drawn(Graph([], edges, True), "a", "b", 46, PLAIN).plain
    assert "28 more neighbours" in text and "Too wide" in text and "org39" in text and "org27" not in text


# --- sections and plans ---


def explanation(**more: Any) -> Explanation:
    cause = Cause("rule", "shared_ip", "hold", "one address", "an office", {"amount": 3 * CREDIT, "ip_senders_24h": 7})
    said = ModelSaid(
        "m@1", 0.83, 0.6, 0.95, [Contribution("pair", 0, 1.5, "never before"), Contribution("id", 2, -0.5, "full")], ""
    )
    turns = [Turn("amount", "3000000", "1000000", "approve", "fewer"), Turn("time", "now", None, None, "")]
    past = [
        Past("g", at(hours=1), "acme", "globex", CREDIT, "hold", None, "this"),
        Past("p", at(days=2), "x", "acme", CREDIT, "approve", True, "got"),
    ]
    plain: dict[str, Any] = {
        "gift": "g", "decision": "g.1", "at": at(hours=1), "verdict": "hold", "generation": 4, "causes": [cause],
        "model": said,
        "turns": turns, "timeline": past, "graph": Graph([], [], False),
        "alike": [Alike("cs_9", at(days=9), 0.9, ["shared_ip"], {"block": 2})],
    }  # fmt: skip
    return Explanation(**{**plain, **more})


@pytest.mark.parametrize("width", [40, 46, 100])
def test_why_tells_causes_model_turns_and_likes(width: int) -> None:
    text = why.why(explanation(), held("g"), width, PLAIN).plain.replace("\u00a0", " ")
    for words in (
        "HOLD",
        "shared_ip",
        "one address",
        "false alarms: an office",
        "amount = 3 credits",
        "+1.50",
        "-0.50",
    ):
        assert words in text
    for words in (
        "0.830",
        "hold from 0.6, block from 0.95",
        "3 → 1  approve",
        "nothing found that turns it",
        "2 blocked",
    ):
        assert words in text
    assert max(map(len, text.splitlines())) <= max(width, 46)


def test_without_a_model_the_note_says_so() -> None:
    said = ModelSaid(None, None, None, None, [], "the generation names no model")
    text = why.why(explanation(model=said), None, 46, PLAIN).plain
    assert "the generation names no model" in text and "0.8" not in text


def test_the_timeline_marks_this_gift_and_known_frauds() -> None:
    lines = sections.timeline(explanation().timeline, "g", NOW, 60, PLAIN).plain.splitlines()
    assert lines[0] == "Thursday, 26 November 2026" and lines[1].startswith("▶11:00") and lines[3].endswith("✗ fraud")


def file(*gifts: CaseGift, rulings: tuple[Ruling, ...] = ()) -> CaseFile:
    return CaseFile(case(), list(gifts), list(rulings), [], [])


def ruling(name: str, status: str = "proposed") -> Ruling:
    return Ruling(name, "release", ["g"], CREDIT, "known", status, "bob", at(minutes=5))  # type: ignore[arg-type]


def test_a_plan_tells_gifts_orgs_amount_and_effects() -> None:
    one = plans.plan(file(held("g"), held("h", 250_000), held("i", standing="released")), "block")
    assert (one.title, one.gifts, one.amount) == ("Block 2 gifts, 100.25 credits?", ("g", "h"), 100_250_000)
    assert one.lines[1] == ("acme → globex", "0.25") and "fraud" in one.effects[0]
    frozen = plans.plan(file(held("g"), held("h")), "freeze")
    assert (frozen.orgs, frozen.title) == (("acme",), "Freeze 1 org?")


def test_a_plan_on_what_cannot_be_ruled_on_is_refused() -> None:
    with pytest.raises(Conflict, match="gift i waits no more: released"):
        plans.plan(file(held("i", standing="released")), "release", ["i"])
    with pytest.raises(Conflict, match="no gift of case cs_1 waits"):
        plans.plan(file(held("i", standing="released")), "release")
    with pytest.raises(NotThere, match="'z'"):
        plans.plan(file(held("g")), "release", ["z"])


def test_one_proposal_is_found_and_several_are_named() -> None:
    assert plans.proposal(file(rulings=(ruling("r"), ruling("s", "refused")))).id == "r"
    with pytest.raises(Conflict, match=r"r \(release 1 by bob\), s "):
        plans.proposal(file(rulings=(ruling("r"), ruling("s"))))
    assert plans.proposal(file(rulings=(ruling("r"), ruling("s"))), "s").id == "s"
    with pytest.raises(Conflict, match="waits for a second"):
        plans.proposal(file())
    with pytest.raises(NotThere):
        plans.proposal(file(rulings=(ruling("r"),)), "t")


def test_the_head_shows_the_proposal_before_the_claim() -> None:
    claimed = case(claimed_by="bob", claimed_until=at(minutes=-9))
    assert "claimed by bob, 9m 00s left" in sections.head(claimed, [], NOW, "ann", 60, PLAIN).plain
    text = sections.head(claimed, [ruling("r")], NOW, "ann", 60, PLAIN).plain
    assert "⚑ bob: release 1; y confirms, x refuses" in text and "3h 00m left" in text
    assert "another person confirms" in sections.head(claimed, [ruling("r")], NOW, "bob", 60, PLAIN).plain


def test_the_weightiest_waiting_gift_comes_first() -> None:
    gifts = (held("a", 10), held("b", 50, score=0.1), held("c", 20, score=0.9), held("d", 99, standing="released"))
    assert [one.id for one in sections.weightiest(file(*gifts))] == ["c"]
    assert sections.weightiest(file()) == []
