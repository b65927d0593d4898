"""The real program in a real terminal, on the real service: what an analyst types and sees."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.detector.review.conftest import HUGE, PROGRAM, Office
from tests.support import ROOT

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")
PATIENCE_S = 90.0


class Terminal:
    """A tmux session of its own server."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket

    def tmux(self, *words: str) -> str:
        command = ["tmux", "-S", str(self.socket), "-f", "/dev/null", *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def seen(self, *how: str) -> str:
        return self.tmux("capture-pane", "-p", *how, "-t", "desk")

    async def types(self, *keys: str) -> None:
        for key in keys:
            await asyncio.to_thread(self.tmux, "send-keys", "-t", "desk", key)

    async def writes(self, words: str) -> None:
        await asyncio.to_thread(self.tmux, "send-keys", "-t", "desk", "-l", words)

    async def sees(self, *patterns: str) -> str:
        """Wait until each pattern is on the screen; the screen."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            seen = await asyncio.to_thread(self.seen)
            if all(re.search(pattern, seen) for pattern in patterns):
                return seen
            assert time.monotonic() < deadline, f"{patterns} not in:\n{seen}"
            await asyncio.sleep(0.1)


@asynccontextmanager
async def terminal(office: Office, who: str, home: Path, size: str, *words: str) -> AsyncIterator[Terminal]:
    width, _, height = size.partition("x")
    file = home / f"{who}.key"
    file.write_text(office.keys[who])
    file.chmod(0o600)
    opened = Terminal(home / "tmux")
    env = {
        "LOCKGATE_URL": office.url, "LOCKGATE_KEY_FILE": str(file), "PYTHONPATH": str(ROOT), "COLORTERM": "truecolor",
        "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8",
    }  # fmt: skip
    asks = [part for name, value in env.items() for part in ("-e", f"{name}={value}")]
    program = ["sh", "-c", '"$@"; echo "left with status $?"; sleep 600', "sh", *PROGRAM, "review", *words]
    opened.tmux("new-session", "-d", "-s", "desk", "-x", width, "-y", height, *asks, *program)
    try:
        yield opened
    finally:
        subprocess.run(["tmux", "-S", str(opened.socket), "kill-server"], check=False, env={**os.environ})


@pytest.mark.parametrize(("size", "look"), [("80x24", "--dark"), ("160x48", "--light")])
async def test_a_case_is_worked_from_the_keyboard(office: Office, tmp_path: Path, size: str, look: str) -> None:
    case = await office.held(gifts=2)
    async with terminal(office, "alice", tmp_path, size, look, "--find", f"sender:{case.senders[0]}") as screen:
        first = await screen.sees(
            "alice · analyst", case.id, r"\d+h \d\dm left", "nobody has claimed it", "HOLD", r"q quit\s*\Z"
        )
        width, height = map(int, size.split("x"))
        assert len(first.splitlines()) == height and max(map(len, first.splitlines())) <= width
        assert "release" in first.splitlines()[-1] and "quit" in first.splitlines()[-1], first
        ground = "48;2;251;253;252" if look == "--light" else "48;2;11;20;22"
        assert ground in await asyncio.to_thread(screen.seen, "-e")
        await screen.types("c")
        await screen.sees("It is yours until", "claimed by you", r"\d+s left")
        clock = re.search(r"you, (\d+m \d\ds)", screen.seen())
        await screen.sees(f"you, (?!{clock[1] if clock else ''})")
        await screen.types("n")
        await screen.sees("keeps it")
        await screen.writes("spoke to them, all well")
        await screen.types("C-s")
        await screen.sees("Noted")
        await screen.types("5")
        await screen.sees("spoke to them, all well")
        await screen.types("r")
        await screen.sees("Release 2 gifts, 200 credits", f"{case.senders[0]} → {case.recipients[0]} +100")
        await screen.writes("known customer")
        await screen.types("Enter")
        await screen.sees("Done: release of 2 gifts, 200 credits", "ended")
        await screen.types("q")
        await screen.sees("left with status 0")
    after = await asyncio.to_thread(office.desk("alice").case, case.id)
    assert [gift.standing for gift in after.gifts] == ["released", "released"]
    assert [(note.author, note.text) for note in after.notes] == [("alice", "spoke to them, all well")]


async def test_two_people_at_two_terminals(office: Office, tmp_path: Path) -> None:
    case = await office.held(HUGE)
    (tmp_path / "one").mkdir()
    (tmp_path / "other").mkdir()
    find = ("--find", f"sender:{case.senders[0]}")
    async with (
        terminal(office, "alice", tmp_path / "one", "80x24", *find) as alice,
        terminal(office, "bob", tmp_path / "other", "100x30", *find) as bob,
    ):
        await bob.sees(case.id, "nobody has claimed it")
        await alice.sees(case.id)
        await alice.types("r")
        await alice.sees("this claims it first")
        await alice.writes("known")
        await alice.types("Enter")
        await alice.sees("Proposed: release of 1 gift")
        await bob.sees("alice: release 1.0k", "y confirms")
        await bob.types("c")
        await bob.sees("Not done: alice claimed case")
        await bob.types("y")
        await bob.sees("Confirm what alice proposed")
        await bob.types("Enter")
        await bob.sees("Done: release of 1 gift, 1,000 credits")
        await alice.sees("ended")


async def test_what_keeps_the_screen_from_opening_is_one_line(office: Office, tmp_path: Path) -> None:
    async with terminal(office, "alice", tmp_path, "80x24", "--find", "min:lots") as screen:
        await screen.sees("lockgate review: amount 'lots'", "left with status 2")
