"""The queue's widget: only the lines in sight are drawn, so that ten thousand cases cost what forty do."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import ClassVar

from rich.style import Style
from rich.text import Text
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from detector.case_shapes import Case
from detector.review.terminal.pages import Pages
from detector.review.terminal.rows import row
from detector.review.told import DARK, Ink, holder, left_s, span

TALL = 2
# The next page is asked for while so many rows are still to come.
AHEAD = 60
MOST_DRAWN = 2_000


class QueueList(ScrollView, can_focus=True):
    """Cases, most pressing first. `chosen` is the case in hand; it stays in hand though it may leave the queue."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", show=False),
        Binding("down,j", "move(1)", show=False),
        Binding("pageup", "leap(-1)", show=False),
        Binding("pagedown", "leap(1)", show=False),
        Binding("home", "edge(0)", show=False),
        Binding("end,G", "edge(1)", show=False),
        Binding("enter", "open", show=False),
    ]

    class Chosen(Message):
        """Another case is in hand."""

        def __init__(self, case: str) -> None:
            super().__init__()
            self.case = case

    class Opened(Message):
        """Enter: on to the case."""

    class Nearing(Message):
        """The end of what was read is near."""

    def __init__(self) -> None:
        super().__init__(id="queue")
        self.pages = Pages()
        self.chosen: str | None = None
        self.cursor = 0
        self.ink: Ink = DARK
        self.drawn: dict[tuple[object, ...], tuple[Strip, Strip]] = {}
        self.me: str | None = None
        self.now = datetime.now(UTC)

    @property
    def rows(self) -> list[Case]:
        return self.pages.rows

    def show(self) -> None:
        """The queue was read again: keep the case in hand where it now stands."""
        lines = len(self.rows) * TALL + (1 if self.pages.more else 0)
        self.virtual_size = Size(self.scrollable_content_region.width, lines)
        if self.chosen in self.pages.place:
            self.cursor = self.pages.place[self.chosen]
        else:
            self.cursor = max(0, min(self.cursor, len(self.rows) - 1))
        self.refresh()

    def tick(self, now: datetime) -> None:
        self.now = now
        self.refresh()

    # --- moving ---

    def action_move(self, by: int) -> None:
        # Where the case in hand has left the queue, the next one already stands in its place.
        gone = self.chosen not in self.pages.place
        self.choose(self.cursor if gone and by > 0 else self.cursor + by)

    def action_leap(self, by: int) -> None:
        self.choose(self.cursor + by * max(1, self.scrollable_content_region.height // TALL - 1))

    def action_edge(self, end: int) -> None:
        self.choose(len(self.rows) - 1 if end else 0)

    def action_open(self) -> None:
        self.post_message(self.Opened())

    def choose(self, at: int) -> None:
        if not self.rows:
            return
        self.cursor = max(0, min(at, len(self.rows) - 1))
        self.reveal()
        case = self.rows[self.cursor].id
        if self.pages.more and self.cursor + AHEAD >= len(self.rows):
            self.post_message(self.Nearing())
        if case != self.chosen:
            self.chosen = case
            self.post_message(self.Chosen(case))
            self.refresh()

    def reveal(self) -> None:
        top, height = self.cursor * TALL, self.scrollable_content_region.height
        if top < self.scroll_offset.y:
            self.scroll_to(y=top, animate=False)
        elif top + TALL > self.scroll_offset.y + height:
            self.scroll_to(y=top + TALL - height, animate=False)

    def watch_scroll_y(self, old: float, new: float) -> None:
        super().watch_scroll_y(old, new)
        if self.pages.more and new + self.size.height + AHEAD * TALL >= self.virtual_size.height:
            self.post_message(self.Nearing())

    def on_click(self, event: object) -> None:
        offset = getattr(event, "y", 0)
        self.choose((offset + self.scroll_offset.y) // TALL)

    # --- drawing ---

    def put_on(self, ink: Ink) -> None:
        self.ink = ink
        self.drawn.clear()
        self.refresh()

    def render_line(self, y: int) -> Strip:
        at, half = divmod(y + self.scroll_offset.y, TALL)
        width = self.scrollable_content_region.width
        if at < len(self.rows):
            return self.lines(self.rows[at], width)[half]
        last = at == len(self.rows) and half == 0 and self.pages.more
        return self.strip(Text("  reading on …" if last else "", self.ink.soft), width, None)

    def lines(self, case: Case, width: int) -> tuple[Strip, Strip]:
        """The case's two lines, drawn anew only where something in them changed."""
        clock = span(left_s(case.deadline, self.now))
        here = case.id == self.chosen
        key = (case.id, case.version, clock, holder(case, self.now), case.expected_loss, width, here)
        kept = self.drawn.get(key)
        if kept is None:
            if len(self.drawn) >= MOST_DRAWN:
                self.drawn.clear()
            first, second = row(case, self.now, self.me, width, self.ink, "▌" if here else " ")
            mark = self.ink.mark if here else None
            kept = self.drawn[key] = (self.strip(first, width, mark), self.strip(second, width, mark))
        return kept

    def strip(self, line: Text, width: int, mark: str | None) -> Strip:
        drawn = Strip(line.render(self.app.console), line.cell_len).adjust_cell_length(width)
        return drawn.apply_style(self.rich_style if mark is None else self.rich_style + Style.parse(mark))
