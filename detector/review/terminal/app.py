"""The screen: queue at the left, case at the right, keys at the bottom.

Law: nothing here blocks, and nothing is shown as done that the service did not answer for.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import ClassVar, TypeVar

from msgspec import structs
from rich.text import Text
from textual.app import App, ComposeResult, SystemCommand
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import Screen
from textual.widgets import Input, Static

from detector.case_shapes import CaseFile, CasePage
from detector.contract import Act
from detector.review import filters, plans
from detector.review.desk import Desk, Me
from detector.review.errors import REFUSED, Conflict, NotAllowed, NotThere, ReviewError, Unreachable, Usage
from detector.review.filters import Filters
from detector.review.plans import Plan
from detector.review.terminal import keys, looks
from detector.review.terminal.aside import aside
from detector.review.terminal.case_view import EXPLAINED, SECTIONS, CaseView
from detector.review.terminal.dialogs import Confirm, Given, Help, Line, Page
from detector.review.terminal.pages import Pages
from detector.review.terminal.queue import QueueList
from detector.review.terminal.rows import heading
from detector.review.told import Ink, holder, parsed

T = TypeVar("T")
PAGE = 200
REFRESH_S = 5.0
# A silent service is asked again after so long, longer each time.
RETRY_S = (1, 2, 4, 8, 15)
# A hand that runs down the queue asks for no case on the way.
REST_S = 0.08
ORDERS = ("priority", "deadline", "age")


class ReviewApp(App[None]):
    """One analyst at work. `desk` is their way to the service."""

    TITLE = "Lockgate review"
    CSS = looks.CSS
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [Binding(key.keys, key.action, key.words, show=False) for key in keys.EVERY]

    def __init__(self, desk: Desk, look: str = "lockgate-dark", wanted: Filters | None = None) -> None:
        super().__init__()
        for theme in looks.THEMES:
            self.register_theme(theme)
        self.top, self.heading, self.message, self.keys = (
            Static(id=name) for name in ("top", "heading", "said", "keys")
        )
        self.queue, self.view = QueueList(), CaseView()
        self.desk = desk
        self.look = self.theme = look
        self.me: Me | None = None
        self.filters = wanted or Filters()
        self.counts = (0, 0)
        self.ahead = timedelta(0)
        self.fault: str | None = None
        self.read_at: datetime | None = None
        self.again_at = 0.0
        self.hurry, self.turned = asyncio.Event(), asyncio.Event()
        self.whole = self.further = False
        self.acting = False
        self.said, self.said_of_fault = "", False
        # What was asked for of a case that is still being read.
        self.pending: tuple[str, Callable[[], None]] | None = None

    def compose(self) -> ComposeResult:
        yield self.top
        with Horizontal(id="columns"):
            with Vertical(id="left"):
                yield self.heading
                yield self.queue
            yield self.view
        yield Input(id="find", placeholder="sender:acme min:500 older:2h rule:shared_ip kind:sample mine …")
        yield self.message
        yield self.keys

    def on_mount(self) -> None:
        self.ink_all()
        self.queue.focus()
        self.view.empty("reading the queue …")
        self.set_interval(1, self.tick)
        self.run_worker(self.keep_queue(), group="queue")
        self.run_worker(self.keep_case(), group="case")

    # --- reading, for ever ---

    async def keep_queue(self) -> None:
        """Read the queue every few seconds, at once when asked to; while the service is silent, less and less often."""
        failed = 0
        while True:
            self.hurry.clear()
            try:
                await self.read_queue()
                failed, wait = 0, REFRESH_S
                self.fault = None
            except ReviewError as error:
                wait = float(RETRY_S[min(failed, len(RETRY_S) - 1)])
                failed += 1
                self.fault = error.detail
            self.again_at = time.monotonic() + wait
            self.draw_top()
            try:
                await asyncio.wait_for(self.hurry.wait(), wait)
            except TimeoutError:
                continue

    async def read_queue(self) -> None:
        if self.me is None:
            self.me = await aside(self.desk.me)
            self.queue.me = self.view.me = self.me.name
            self.draw_keys()
        asked, pages = self.filters, self.queue.pages
        if self.further and pages.more:
            wanted = [len(pages.pages)]
        else:
            sweep = pages.sweep() if pages.pages else 0
            wanted = list(range(len(pages.pages))) if self.whole else [0, *([sweep] if sweep else [])]
        self.further = self.whole = False
        for number in wanted:
            if number >= len(pages.cursors):
                break
            page = await aside(lambda number=number: self.desk.cases(asked, PAGE, pages.cursors[number]))  # type: ignore[misc]
            if asked != self.filters or pages is not self.queue.pages:
                self.hurry.set()
                return
            pages.put(number, page)
            self.heard(page)

    def heard(self, page: CasePage) -> None:
        """A page of the queue arrived: the clock is the database's."""
        self.read_at = parsed(page.now)
        self.ahead = self.read_at - datetime.now(UTC)
        self.counts = (page.open, page.claimed)
        self.queue.show()
        if self.queue.chosen is None and self.queue.rows:
            self.queue.choose(0)
        elif not self.queue.rows and self.queue.chosen is None:
            self.view.empty(self.nothing())
        case = self.view.file.case if self.view.file else None
        if case is None:
            return
        at = self.queue.pages.place.get(case.id)
        moved = case.status != "ended" if at is None else case.version != self.queue.rows[at].version
        if moved:
            self.turned.set()  # somebody else did something to the case in hand, or it left the queue

    def nothing(self) -> str:
        if self.filters.words():
            return f"No case is like that: {self.filters.words()}\n\nEscape shows the whole queue."
        return "The queue is empty: no gift waits for a ruling.\n\nNew cases appear here by themselves."

    async def keep_case(self) -> None:
        """Read the case in hand whenever it changes, and why the gift in sight was held."""
        while True:
            await self.turned.wait()
            self.turned.clear()
            await asyncio.sleep(REST_S)
            case = self.queue.chosen
            if case is None:
                continue
            try:
                if not self.turned.is_set():
                    await self.read_case(case)
            except NotThere as error:
                self.say(error.detail, "warn")
            except ReviewError as error:
                self.fault = error.detail
                self.draw_top()
                await asyncio.sleep(RETRY_S[0])
                self.turned.set()

    async def read_case(self, case: str) -> None:
        file = await aside(lambda: self.desk.case(case))
        if self.queue.chosen != case:
            self.turned.set()
            return
        self.take(file)
        gift = self.view.gift
        if gift is None or gift.id in self.view.told or SECTIONS[self.view.section] not in EXPLAINED:
            return
        try:
            told = await aside(lambda: self.desk.explanation(case, gift.id))
        except (NotThere, NotAllowed, Usage, Conflict) as error:
            self.view.explain(gift.id, f"No explanation: {error.detail}")
            return
        if self.view.case == case:
            self.view.explain(gift.id, told)

    def take(self, file: CaseFile) -> None:
        self.view.show(file)
        self.queue.pages.renew(file.case)
        self.queue.show()
        pending, self.pending = self.pending, None
        if pending is not None and pending[0] == file.case.id and len(self.screen_stack) == 1:
            self.say("", "soft")
            pending[1]()

    # --- the clock and the looks ---

    @property
    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    @property
    def ink(self) -> Ink:
        return looks.LOOKS[self.look]

    def tick(self) -> None:
        now = self.now
        self.queue.tick(now)
        self.view.tick(now)
        self.draw_top()

    def ink_all(self) -> None:
        self.view.ink = self.ink
        self.queue.put_on(self.ink)
        self.view.draw()
        self.draw_top()
        self.draw_keys()

    def on_resize(self) -> None:
        width, height = self.size
        self.query_one("#left").styles.width = max(30, min(62, round(width * 0.38)))
        self.screen_stack[0].set_class(height < 30, "short")
        self.call_after_refresh(self.draw_keys)

    def draw_top(self) -> None:
        ink, width = self.ink, max(20, self.size.width - 2)
        who = f"{self.me.name} · {self.me.role}" if self.me else ""
        line = Text("▌▐ ", ink.accent).append("Lockgate review", f"bold {ink.ink}").append(f"  {who}", ink.soft)
        open_, claimed = self.counts
        end = Text(f"{open_:,} open · {claimed:,} claimed  " if self.read_at else "", ink.ink)
        if self.fault is None:
            end.append("● ", ink.good).append(f"{self.now:%H:%M:%S}", ink.soft)
        else:
            wait = max(0, round(self.again_at - time.monotonic()))
            end.append("○ ", ink.bad).append(f"silent, again in {wait}s", ink.bad)
        line.truncate(max(0, width - end.cell_len - 1), overflow="ellipsis", pad=True)
        self.top.update(line.append(" ").append_text(end), layout=False)
        # What an act came to is not hidden by the silence: the line above tells of that too.
        if self.fault is not None and (self.said_of_fault or not self.said):
            self.say(self.fault, "bad")
            self.said_of_fault = True
        elif self.fault is None and self.said_of_fault:
            self.say("", "soft")

    def draw_keys(self) -> None:
        may = self.me.may if self.me else (lambda scope: scope == "cases:read")
        self.keys.update(keys.bottom(self.size.width, may, self.ink), layout=False)
        self.heading.update(heading(max(10, self.queue.size.width), self.ink))

    def say(self, words: str, tone: str = "good") -> None:
        """One message above the keys; it stays until the next."""
        self.said, self.said_of_fault = words, False
        self.message.update(Text(words, getattr(self.ink, tone)))

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return {"line": "#25403f"}

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        return ()

    # --- looking ---

    def on_queue_list_chosen(self, message: QueueList.Chosen) -> None:
        self.pending = None
        self.view.wait_for(self.queue.rows[self.queue.cursor])
        self.turned.set()

    def on_queue_list_opened(self) -> None:
        self.view.body.focus()

    def on_queue_list_nearing(self) -> None:
        self.further = True
        self.hurry.set()

    def action_section(self, number: int) -> None:
        self.view.turn_to(number)
        self.turned.set()

    def action_turn(self, by: int) -> None:
        self.action_section(self.view.section + by)

    def action_gift(self, by: int) -> None:
        self.view.turn_gift(by)
        self.turned.set()

    def action_mark(self) -> None:
        self.view.mark()

    def action_mark_all(self) -> None:
        self.view.mark_all()

    def action_zoom(self) -> None:
        alone = self.screen_stack[0].toggle_class("alone").has_class("alone")
        (self.view.body if alone else self.queue).focus()

    def action_other(self) -> None:
        (self.view.body if self.queue.has_focus and self.view.file else self.queue).focus()

    def action_scroll(self, by: int) -> None:
        body = self.view.body
        body.scroll_relative(y=by * max(1, body.size.height // 2), animate=False)

    def action_look(self) -> None:
        self.look = "lockgate-light" if self.look == "lockgate-dark" else "lockgate-dark"
        self.theme = self.look
        self.ink_all()

    def action_help(self) -> None:
        self.push_screen(Help(self.ink))

    def action_leave(self) -> None:
        self.exit()

    # --- which cases ---

    def action_find(self) -> None:
        find = self.query_one("#find", Input)
        find.value = self.filters.words()
        self.screen.add_class("finding")
        find.focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        if event.input.id == "find":
            try:
                self.look_for(filters.read(event.value, self.me.name if self.me else None))
            except Usage as error:
                self.say(error.detail, "warn")
            else:
                self.stop_finding()

    def on_key(self, event: object) -> None:
        if getattr(event, "key", "") == "escape":
            if self.screen.has_class("finding"):
                self.stop_finding()
            elif self.filters.words():
                self.look_for(Filters())

    def stop_finding(self) -> None:
        self.screen.remove_class("finding")
        self.queue.focus()

    def look_for(self, wanted: Filters) -> None:
        """Another queue, from its beginning."""
        self.filters = wanted
        self.queue.pages, self.queue.cursor, self.queue.chosen = Pages(), 0, None
        self.queue.scroll_home(animate=False)
        self.queue.show()
        self.view.empty("reading the queue …")
        self.say(f"only {wanted.words()} · escape shows all" if wanted.words() else "", "soft")
        self.hurry.set()

    def action_mine(self) -> None:
        me = self.me.name if self.me else None
        self.look_for(with_(self.filters, claimed_by=None if self.filters.claimed_by else me))

    def action_order(self) -> None:
        now = self.filters.sort or ORDERS[0]
        order = ORDERS[(ORDERS.index(now) + 1) % len(ORDERS)]
        self.look_for(with_(self.filters, sort=None if order == ORDERS[0] else order))
        self.say(f"ordered by {order}", "soft")

    def action_reload(self) -> None:
        self.whole = True
        self.view.told = {}
        self.turned.set()
        self.hurry.set()
        self.say("", "soft")

    def action_next(self) -> None:
        """The next case that nobody else holds, round the end and on from the start."""
        rows, now = self.queue.rows, self.now
        gone = self.queue.chosen not in self.queue.pages.place
        start = self.queue.cursor + (0 if gone else 1)
        for step in range(len(rows)):
            at = (start + step) % len(rows)
            by = holder(rows[at], now)
            if (
                rows[at].status != "ended"
                and by in (None, self.me.name if self.me else None)
                and rows[at].id != self.queue.chosen
            ):
                self.queue.choose(at)
                return
        self.say("No other case is free.", "soft")

    # --- acting ---

    def act(self, ask: Callable[[str], CaseFile], told: Callable[[CaseFile], str]) -> None:
        """Do one thing to the case in hand, show the case as it then is, and say what came of it."""
        case = self.queue.chosen
        if case is None or self.acting:
            return
        self.acting = True
        self.say("…", "soft")
        self.run_worker(self.done(case, ask, told), group="act")

    async def done(self, case: str, ask: Callable[[str], CaseFile], told: Callable[[CaseFile], str]) -> None:
        try:
            file = await aside(lambda: ask(case))
            self.say(told(file))
            if self.queue.chosen == case:
                self.take(file)
        except Conflict as error:
            self.say(f"Not done: {error.detail}", "warn")
            self.turned.set()
        except Unreachable as error:
            sure = error.code == REFUSED
            words = error.detail if sure else f"{error.detail}. The case is read again; look before you repeat it."
            self.say(f"{'Not' if sure else 'Perhaps not'} done: {words}", "bad")
            self.turned.set()
        except ReviewError as error:
            self.say(f"Not done: {error.detail}", "bad")
        finally:
            self.acting = False
        self.hurry.set()

    def in_hand(self, again: Callable[[], None]) -> CaseFile | None:
        """The case as it was read; while it is being read, `again` is kept for the moment it is there."""
        if self.view.file is not None and self.view.case == self.queue.chosen:
            return self.view.file
        if self.queue.chosen is not None and self.pending is None:
            self.pending = (self.queue.chosen, again)
            self.say("The case is being read …", "soft")
        return None

    def action_claim(self) -> None:
        file = self.in_hand(self.action_claim)
        if file:
            self.act(lambda case: self.desk.claim(case, file.case.version), claimed)

    def action_unclaim(self) -> None:
        if self.in_hand(self.action_unclaim):
            self.act(self.desk.unclaim, lambda _: "Handed back: anybody may claim it.")

    def action_note(self) -> None:
        def on(text: str) -> None:
            self.act(lambda case: self.desk.note(case, text), lambda _: "Noted.")

        if self.in_hand(self.action_note):
            self.answer(Page(self.ink), on)

    def action_escalate(self) -> None:
        def on(why: str) -> None:
            self.act(lambda case: self.desk.escalate(case, why), lambda _: "Escalated: leads see it marked ▲.")

        if self.in_hand(self.action_escalate):
            words = "The leads are asked to look. The case keeps its place and its clock."
            self.answer(Line("Escalate this case", "why, for the audit", words, self.ink), on)

    def action_assign(self) -> None:
        def on(name: str) -> None:
            self.act(lambda case: self.desk.assign(case, name), lambda _: f"Given to {name}.")

        if self.in_hand(self.action_assign):
            self.answer(Line("Give this case to", "the name on their key", "", self.ink), on)

    def action_rule(self, act: Act) -> None:
        file = self.in_hand(lambda: self.action_rule(act))
        if file is None:
            return
        try:
            plan = plans.plan(file, act, [gift.id for gift in file.gifts if gift.id in self.view.marked])
        except ReviewError as error:
            self.say(error.detail, "warn")
            return
        by = holder(file.case, self.now)
        first = "You have not claimed it: this claims it first." if by is None else None
        if by is not None and self.me is not None and by != self.me.name:
            first = f"{by} has claimed it: only a lead may rule on it now."
        others = tuple(dict.fromkeys(gift.recipient for gift in file.gifts if gift.recipient not in plan.orgs))

        def ruled(answer: Given | None) -> None:
            self.ruled(file, plan, by, answer)

        self.push_screen(Confirm(plan, first, others, self.ink), ruled)

    def ruled(self, file: CaseFile, plan: Plan, by: str | None, answer: Given | None) -> None:
        if answer is None:
            self.say("Left as it is.", "soft")
            return
        why, orgs = answer

        def rule(case: str) -> CaseFile:
            if by is None:
                self.desk.claim(case, file.case.version)
            return self.desk.rule(case, plan.act, why, plan.gifts, orgs or None)

        self.view.marked = frozenset()
        self.act(rule, lambda after: plans.done(plans.newest(after, self.me.name if self.me else None)))

    def action_second(self, what: str) -> None:
        file = self.in_hand(lambda: self.action_second(what))
        if file is None:
            return
        try:
            ruling = plans.proposal(file)
        except ReviewError as error:
            self.say(error.detail, "warn")
            return

        def on(why: str) -> None:
            def ask(case: str) -> CaseFile:
                if what == "confirm":
                    return self.desk.confirm(case, ruling.id)
                return self.desk.refuse(case, ruling.id, why)

            self.act(ask, lambda after: plans.done(plans.by_id(after, ruling.id)))

        title, words = f"{what.capitalize()} what {ruling.by} proposed?", plans.proposed(ruling)
        asks = "" if what == "confirm" else "why, for the audit"
        self.answer(Line(title, asks, words, self.ink), on)

    def answer(self, dialog: Line | Page, then: Callable[[str], None]) -> None:
        def told(answer: Given | None) -> None:
            if answer is None:
                self.say("Left as it is.", "soft")
            else:
                then(answer[0])

        self.push_screen(dialog, told)


def claimed(file: CaseFile) -> str:
    until = file.case.claimed_until
    return f"It is yours until {parsed(until):%H:%M} UTC." if until else "It is yours."


def with_(wanted: Filters, **more: str | None) -> Filters:
    return structs.replace(wanted, **more)
