"""What is read, for ever: the queue, and the case in hand.

Law: nothing here blocks. Three threads at most ask the service: for the queue, for the case in hand, and to act.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime

from detector.case_shapes import CaseFile, CasePage
from detector.review.desk import Desk
from detector.review.errors import Conflict, NotAllowed, NotThere, ReviewError, Usage
from detector.review.filters import Filters
from detector.review.terminal.aside import aside
from detector.review.terminal.case_view import EXPLAINED, SECTIONS
from detector.review.terminal.showing import Showing
from detector.review.told import parsed

PAGE = 200
REFRESH_S = 5.0
# A silent service is asked again after so long, longer each time.
RETRY_S = (1, 2, 4, 8, 15)
# A hand that runs down the queue asks for no case on the way.
REST_S = 0.08


class Reading(Showing):
    """Keeps what is shown fresh. `desk` is the analyst's way to the service."""

    def __init__(self, desk: Desk, look: str = "lockgate-dark", wanted: Filters | None = None) -> None:
        super().__init__(look)
        self.desk = desk
        self.filters = wanted or Filters()
        self.hurry, self.turned = asyncio.Event(), asyncio.Event()
        self.whole = self.further = False
        self.acting = False
        # What was asked for of a case that is still being read.
        self.pending: tuple[str, Callable[[], None]] | None = None

    def on_mount(self) -> None:
        self.ink_all()
        self.queue.focus()
        self.view.empty("reading the queue …")
        self.set_interval(1, self.tick)
        self.run_worker(self.keep_queue(), group="queue")
        self.run_worker(self.keep_case(), group="case")

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
