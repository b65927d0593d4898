"""What is read, for ever: the queue, the case in hand, the clock; and how it is shown.

Law: nothing here blocks. Three threads at most ask the service: for the queue, for the case in hand, and to act.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

from rich.text import Text
from textual.app import App, ComposeResult, SystemCommand
from textual.containers import Horizontal, Vertical
from textual.screen import Screen
from textual.widgets import Input, Static

from detector.case_shapes import CaseFile, CasePage
from detector.review.desk import Desk, Me
from detector.review.errors import Conflict, NotAllowed, NotThere, ReviewError, Usage
from detector.review.filters import Filters
from detector.review.terminal import keys, looks
from detector.review.terminal.aside import aside
from detector.review.terminal.case_view import EXPLAINED, SECTIONS, CaseView
from detector.review.terminal.queue import QueueList
from detector.review.terminal.rows import heading
from detector.review.told import Ink, parsed

PAGE = 200
REFRESH_S = 5.0
# A silent service is asked again after so long, longer each time.
RETRY_S = (1, 2, 4, 8, 15)
# A hand that runs down the queue asks for no case on the way.
REST_S = 0.08


class Reading(App[None]):
    """The widgets, what keeps them fresh, and how they look. `desk` is the analyst's way to the service."""

    TITLE = "Lockgate review"
    CSS = looks.CSS
    ENABLE_COMMAND_PALETTE = False

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
