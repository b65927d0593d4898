"""How far a replay is, on standard error: a bar on a terminal, else a line every few seconds, or nothing."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from rich import progress as bars
from rich.console import Console

from ledger import store

EVERY_S = 5.0


class Progress(Protocol):
    def advance(self, gifts: int, at: int) -> None: ...
    def say(self, text: str) -> None: ...


@contextmanager
def progress(total: int, *, quiet: bool) -> Iterator[Progress]:
    """On standard error: a bar on a terminal, else a line every few seconds, or nothing."""
    if quiet or not sys.stderr.isatty():
        yield Lines(total, EVERY_S if not quiet else None)
        return
    columns = (bars.TextColumn("{task.description}"), bars.BarColumn(), bars.MofNCompleteColumn())
    ends = (bars.TextColumn("{task.fields[rate]}"), bars.TimeRemainingColumn(), bars.TimeElapsedColumn())
    with bars.Progress(*columns, *ends, console=Console(stderr=True), transient=True) as bar:
        yield Bar(bar, bar.add_task("starting", total=total, rate=""))


@dataclass(slots=True)
class Bar:
    """A bar with the virtual time, the rate and the time that is left."""

    bar: bars.Progress
    task: bars.TaskID

    def advance(self, gifts: int, at: int) -> None:
        speed = self.bar.tasks[0].speed
        shown = f"{speed:,.0f} gifts/s" if speed else ""
        self.bar.update(self.task, advance=gifts, description=f"{store.moment(at):%Y-%m-%d %H:%M}", rate=shown)

    def say(self, text: str) -> None:
        self.bar.update(self.task, description=text)


@dataclass(slots=True)
class Lines:
    """The same as plain lines, at most one every `every_s` seconds; None: no line at all."""

    total: int
    every_s: float | None
    sent: int = 0
    started: float = field(default_factory=time.monotonic)
    told: float = field(default_factory=time.monotonic)

    def advance(self, gifts: int, at: int) -> None:
        now = time.monotonic()
        if not self.sent:  # from here on, not from when the server began to start
            self.started = self.told = now
        self.sent += gifts
        if self.every_s is None or now - self.told < self.every_s:
            return
        self.told = now
        speed = self.sent / max(now - self.started, 1e-6)
        left = (self.total - self.sent) / max(speed, 1e-6)
        clock = f"{store.moment(at):%Y-%m-%d %H:%M}"
        self.say(f"{self.sent:,} of {self.total:,} gifts, at {clock}, {speed:,.0f}/s, {left:,.0f} s left")

    def say(self, text: str) -> None:
        if self.every_s is not None:
            print(text, file=sys.stderr, flush=True)
