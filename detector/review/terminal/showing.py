"""What the screen always shows, and how it looks: the queue, the case in hand, the clock, the keys, one message."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from rich.text import Text
from textual.app import App, ComposeResult, SystemCommand
from textual.containers import Horizontal, Vertical
from textual.screen import Screen
from textual.widgets import Input, Static

from detector.review.desk import Me
from detector.review.terminal import keys, looks
from detector.review.terminal.case_view import CaseView
from detector.review.terminal.queue import QueueList
from detector.review.terminal.rows import heading
from detector.review.told import Ink


class Showing(App[None]):
    """The widgets and how they look. Whoever reads says what is so: who works here, the counts, a fault."""

    TITLE = "Lockgate review"
    CSS = looks.CSS
    ENABLE_COMMAND_PALETTE = False

    def __init__(self, look: str) -> None:
        super().__init__()
        for theme in looks.THEMES:
            self.register_theme(theme)
        self.top, self.heading, self.message, self.keys = (
            Static(id=name) for name in ("top", "heading", "said", "keys")
        )
        self.queue, self.view = QueueList(), CaseView()
        self.look = self.theme = look
        self.me: Me | None = None
        self.counts = (0, 0)
        self.ahead = timedelta(0)
        self.fault: str | None = None
        self.read_at: datetime | None = None
        self.again_at = 0.0
        self.said, self.said_of_fault = "", False

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
