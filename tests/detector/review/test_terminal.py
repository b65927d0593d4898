"""The full screen, driven by Textual's pilot against the real service: every key does what the help says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, Static

from detector.case_shapes import Case
from detector.review.access import Access
from detector.review.desk import Desk
from detector.review.filters import Filters
from detector.review.terminal.app import ReviewApp
from detector.review.terminal.dialogs import Choice, Confirm, Help, Line, Page
from detector.review.terminal.keys import EVERY
from tests.detector.review.conftest import HUGE, LARGE, Office

# Far longer than anything takes; what is waited for ends the wait.
PATIENCE_S = 60.0


class Screen:
    """A person before the screen: presses keys and looks until something is there."""

    def __init__(self, app: ReviewApp, pilot: Pilot[None]) -> None:
        self.app, self.pilot = app, pilot

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)

    async def write(self, words: str) -> None:
        await self.pilot.press(*["space" if letter == " " else letter for letter in words])

    async def until(self, there: Callable[[], Any]) -> None:
        deadline = asyncio.get_running_loop().time() + PATIENCE_S
        while not there():
            assert asyncio.get_running_loop().time() < deadline, self.seen()
            await self.pilot.pause(0.02)

    async def sees(self, *words: str) -> None:
        await self.until(lambda: all(word in self.seen() for word in words))

    async def opened(self, dialog: type) -> None:
        await self.until(lambda: isinstance(self.app.screen, dialog) and self.app.screen.is_attached)

    def seen(self) -> str:
        """Every line of the screen as text."""
        lines = self.app.screen._compositor.render_strips()
        return "\n".join("".join(segment.text for segment in line) for line in lines)


@asynccontextmanager
async def sitting(desk: Desk, wanted: Filters | None = None, size: tuple[int, int] = (80, 24)) -> AsyncIterator[Screen]:
    app = ReviewApp(desk, "lockgate-dark", wanted)
    async with app.run_test(size=size) as pilot:
        yield Screen(app, pilot)


def only(case: Case) -> Filters:
    return Filters(sender=case.senders[0])


async def test_a_case_from_the_queue_to_its_end(office: Office) -> None:
    case = await office.held(gifts=2)
    async with sitting(office.desk("alice"), only(case)) as screen:
        await screen.sees("alice · analyst", case.id, "nobody has claimed it", "medium", "200")
        await screen.press("c")
        await screen.sees("claimed by you", "It is yours until", "● you")
        await screen.press("n")
        await screen.opened(Page)
        await screen.write("spoke to them")
        await screen.press("ctrl+s")
        await screen.sees("Noted.")
        await screen.press("5")
        await screen.sees("alice", "spoke to them")
        await screen.press("4", "tab")
        await screen.sees("☐")
        await screen.press("space")
        await screen.sees("☑1")
        await screen.press("r")
        await screen.opened(Confirm)
        await screen.sees("Release 1 gift, 100 credits?", f"{case.senders[0]} → {case.recipients[0]}", "Pending again")
        await screen.press("enter")
        await screen.sees("Say why first.")
        await screen.write("known")
        await screen.press("enter")
        await screen.sees("Done: release of 1 gift, 100 credits.", "×1/2")
        await screen.press("b")
        await screen.opened(Confirm)
        await screen.sees("Block 1 gift", "Remembered as fraud")
        await screen.write("stolen")
        await screen.press("enter")
        await screen.sees("Done: block of 1 gift", "ended")
        await screen.press("6")
        await screen.sees("ruling.done")
    page = await asyncio.to_thread(office.desk("alice").cases, Filters(status="ended", sender=case.senders[0]))
    assert [one.id for one in page.cases] == [case.id]


async def test_escape_leaves_everything_as_it_is(office: Office) -> None:
    case = await office.held()
    async with sitting(office.desk("alice"), only(case)) as screen:
        await screen.sees(case.id)
        for key, dialog in (("r", Confirm), ("b", Confirm), ("t", Confirm), ("f", Confirm), ("n", Page), ("e", Line)):
            await screen.press(key)
            await screen.opened(dialog)
            await screen.press("x", "escape")
            await screen.sees("Left as it is.")
    after = await asyncio.to_thread(office.desk("alice").case, case.id)
    assert (after.case.version, len(after.audit)) == (case.version, 1)


async def test_a_ruling_claims_first_and_large_ones_wait_for_another(office: Office) -> None:
    case = await office.held(HUGE)
    async with sitting(office.desk("alice"), only(case)) as screen:
        await screen.sees(case.id)
        await screen.press("r")
        await screen.opened(Confirm)
        await screen.sees("this claims it first")
        await screen.write("known")
        await screen.press("enter")
        await screen.sees("Proposed: release of 1 gift, 1,000 credits.", "another person confirms", "⚑")
        await screen.press("y")
        await screen.opened(Line)
        await screen.press("enter")
        await screen.sees("Not done: you proposed")
    async with sitting(office.desk("bob"), only(case)) as screen:
        await screen.sees("⚑ alice: release 1.0k", "y confirms, x refuses")
        await screen.press("x")
        await screen.opened(Line)
        await screen.write("unsure")
        await screen.press("escape", "y")
        await screen.sees("Confirm what alice proposed?", "Release 1 gift, 1,000 credits: known")
        await screen.press("enter")
        await screen.sees("Done: release of 1 gift, 1,000 credits.")


async def test_who_was_faster_is_told_kindly(office: Office) -> None:
    case = await office.held()
    async with sitting(office.desk("alice"), only(case)) as screen:
        await screen.sees(case.id, "nobody has claimed it")
        await asyncio.to_thread(office.desk("bob").claim, case.id, case.version)
        await screen.press("c")
        await screen.sees("Not done: bob claimed case", "claimed by bob")
        await screen.press("r")
        await screen.opened(Confirm)
        await screen.sees("only a lead may rule on it now")
        await screen.press("escape")
        await screen.sees("Left as it is.")
        await screen.press("full_stop")
        await screen.sees("No other case is free.")


async def test_leads_assign_freeze_and_escalate(office: Office) -> None:
    case = await office.held(LARGE)
    async with sitting(office.desk("lena"), only(case)) as screen:
        await screen.sees(case.id)
        await screen.press("e")
        await screen.opened(Line)
        await screen.write("too large")
        await screen.press("enter")
        await screen.sees("Escalated", "▲")
        await screen.press("g")
        await screen.opened(Line)
        await screen.write("bob")
        await screen.press("enter")
        await screen.sees("Given to bob.", "→ bob", "for bob")
        await screen.press("f")
        await screen.opened(Confirm)
        await screen.press("tab", "down", "space", "k", "space")
        chosen = screen.app.screen.query_one(Choice)
        assert (chosen.chosen, chosen.at) == ([case.recipients[0]], 0)
        await screen.press("tab")
        await screen.write("a mule")
        await screen.press("enter")
        await screen.sees("Done: freeze")
    frozen = await office.house.pool.fetch("select id from ledger.orgs where frozen and id = any($1)", [
        case.senders[0], case.recipients[0],
    ])  # fmt: skip
    assert [row["id"] for row in frozen] == [case.recipients[0]]


async def test_an_auditor_sees_all_and_is_told_what_the_key_may_not(office: Office) -> None:
    case = await office.held()
    async with sitting(office.desk("otto"), only(case)) as screen:
        await screen.sees("otto · auditor", case.id)
        keys = str(screen.app.query_one("#keys", Static).render())
        assert "claim" not in keys and "find" in keys
        await screen.press("c")
        await screen.sees("Not done", "cases:write")


async def test_every_section_shows_its_part(office: Office) -> None:
    case = await office.held(gifts=2)
    sender, recipient = case.senders[0], case.recipients[0]
    async with sitting(office.desk("alice"), only(case), (120, 40)) as screen:
        await screen.sees("HOLD", "medium", "What would have changed it")
        await screen.press("2")
        await screen.sees("▶", f"{sender} → {recipient}")
        await screen.press("3")
        await screen.sees(f"{sender}  sends", f"{recipient}  receives", "×2")
        await screen.press("right_square_bracket", "left_square_bracket")
        await screen.press("right")
        await screen.sees("☐", "waiting")
        await screen.press("a")
        await screen.sees("☑2")
        await screen.press("a", "l", "l")
        await screen.sees("case.opened", "case.joined")
        await screen.press("h", "left", "z")
        assert not screen.app.query_one("#left").display
        await screen.press("z")
        assert screen.app.query_one("#left").display


async def test_the_find_line_mine_and_order(office: Office) -> None:
    case, other = await office.held(), await office.held(LARGE)
    async with sitting(office.desk("alice")) as screen:
        await screen.sees("alice · analyst")
        await screen.press("slash")
        await screen.until(lambda: screen.app.query_one("#find", Input).has_focus)
        await screen.write("min:lots")
        await screen.press("enter")
        await screen.sees("amount 'lots'")
        screen.app.query_one("#find", Input).value = f"sender:{case.senders[0]}"
        await screen.press("enter")
        await screen.sees(case.id, f"only sender:{case.senders[0]}")
        assert [one.id for one in screen.app.queue.rows] == [case.id]
        await screen.press("escape")
        await screen.until(lambda: other.id in screen.app.queue.pages.place)
        await asyncio.to_thread(office.desk("alice").claim, other.id, other.version)
        await screen.press("m")
        await screen.until(
            lambda: other.id in screen.app.queue.pages.place and case.id not in screen.app.queue.pages.place
        )
        await screen.press("m", "o")
        await screen.sees("ordered by deadline")
        await screen.until(lambda: len(screen.app.queue.rows) > 1)
        deadlines = [one.deadline or "9" for one in screen.app.queue.rows]
        assert deadlines == sorted(deadlines)


async def test_an_empty_queue_says_so(office: Office) -> None:
    async with sitting(office.desk("alice"), Filters(sender="nobody")) as screen:
        await screen.sees("No case is like that: sender:nobody")
        await screen.press("c", "r", "n", "full_stop", "j", "end")
        await screen.sees("No other case is free.")


async def test_a_silent_service_is_told_of_and_tried_again(office: Office) -> None:
    case = await office.held()
    desk = office.desk("alice")
    async with sitting(desk, only(case)) as screen:
        await screen.sees(case.id)
        await screen.until(lambda: screen.app.view.case == case.id)
        there, desk.access = desk.access, Access("http://127.0.0.1:9", desk.access.key)
        await screen.press("R")
        await screen.sees("silent, again in", "does not answer")
        assert case.id in screen.seen()
        await screen.press("c")
        await screen.sees("Not done: http://127.0.0.1:9 does not answer")
        desk.access = there
        await screen.press("R")
        await screen.until(lambda: screen.app.fault is None and "silent" not in screen.seen())


@pytest.mark.parametrize("size", [(80, 24), (160, 48), (40, 12), (300, 80)])
@pytest.mark.parametrize("look", ["lockgate-dark", "lockgate-light"])
async def test_it_fits_every_screen_in_both_looks(office: Office, size: tuple[int, int], look: str) -> None:
    case = await office.held()
    app = ReviewApp(office.desk("alice"), look, only(case))
    async with app.run_test(size=size) as pilot:
        screen = Screen(app, pilot)
        await screen.sees("Lockgate")
        await screen.until(lambda: app.view.case == case.id)
        await screen.press("question_mark")
        await screen.opened(Help)
        await screen.press("j", "escape", "T")
        assert (app.look, app.theme) != (look, look)
        assert all(len(line) == size[0] for line in screen.seen().splitlines())
        await screen.press("r")
        await screen.opened(Confirm)
        why = app.screen.query_one("#why", Input)
        assert app.screen.find_widget(why).visible_region.height == 1 or size == (40, 12)
        await screen.press("escape")


async def test_holding_a_key_down_reaches_the_end_page_by_page(office: Office) -> None:
    """More cases than a page: the end is read on to, each case is there once, and the case in hand is the one shown."""
    await fill(office, 450)
    async with sitting(office.desk("alice"), Filters(kind="hold", q="many-")) as screen:
        await screen.until(lambda: screen.app.queue.rows)
        assert len(screen.app.queue.rows) == 200
        while screen.app.queue.pages.more:
            before = len(screen.app.queue.rows)
            await screen.press("end")
            await screen.until(
                lambda before=before: len(screen.app.queue.rows) > before or not screen.app.queue.pages.more
            )
        assert len(screen.app.queue.rows) == 450 == len({one.id for one in screen.app.queue.rows})
        await screen.press("end")
        await screen.until(lambda: screen.app.view.case == screen.app.queue.rows[-1].id)
        await screen.press("home")
        await screen.until(lambda: screen.app.view.case == screen.app.queue.rows[0].id)


async def fill(office: Office, number: int) -> None:
    """Open so many cases, each of one gift."""
    for start in range(0, number, 50):
        pairs = [(f"many-{start + one}", f"much-{start + one}") for one in range(min(50, number - start))]
        for pair in pairs:
            for name in pair:
                await office.house.org(name, amount=1_000_000_000)
        await asyncio.gather(*(office.house.sent(sender, recipient, 100_000_000) for sender, recipient in pairs))


def test_no_key_has_two_meanings() -> None:
    keys = [one for key in EVERY for one in key.keys.split(",")]
    assert len(keys) == len({*keys})
    actions = {key.action.partition("(")[0] for key in EVERY}
    assert all(hasattr(ReviewApp, f"action_{action}") for action in actions)
