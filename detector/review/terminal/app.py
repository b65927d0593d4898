"""The screen: queue at the left, case at the right, keys at the bottom."""

from __future__ import annotations

from typing import ClassVar

from msgspec import structs
from textual.binding import Binding, BindingType
from textual.widgets import Input

from detector.review import filters
from detector.review.errors import Usage
from detector.review.filters import Filters
from detector.review.terminal import keys
from detector.review.terminal.acting import Acting
from detector.review.terminal.dialogs import Help
from detector.review.terminal.pages import Pages
from detector.review.terminal.queue import QueueList
from detector.review.told import holder

ORDERS = ("priority", "deadline", "age")


class ReviewApp(Acting):
    """One analyst at work: looking around, and finding."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding(key.keys, key.action, key.words, show=False) for key in keys.EVERY]

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

    def action_calm(self) -> None:
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


def with_(wanted: Filters, **more: str | None) -> Filters:
    return structs.replace(wanted, **more)
