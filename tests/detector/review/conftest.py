"""The desk against the real service: one process for the run, on a database of its own; tests make their own orgs."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from detector.case_shapes import Case
from detector.review.access import Access
from detector.review.desk import Desk
from detector.review.filters import Filters
from lockgate.postgres import with_database
from tests.conftest import _run
from tests.support import CREDIT, NEVER_FIRES, ROOT, House, new_key, open_house, rule

PROGRAM = [sys.executable, "-m", "lockgate.cli"]
POLICY = (
    NEVER_FIRES
    + rule("medium", "amount >= 100000000")
    + rule("large", "amount >= 400000000")
    + '[review]\nclaim = "10m"\nfour_eyes = 1000000000\n'
)
MEDIUM, LARGE, HUGE = 100 * CREDIT, 400 * CREDIT, 1_000 * CREDIT


@dataclass(frozen=True, slots=True)
class Office:
    """The running service, and a house on its database to send gifts from."""

    url: str
    house: House
    keys: dict[str, str]

    def desk(self, name: str) -> Desk:
        return Desk(Access(self.url, self.keys[name]))

    async def hired(self, name: str, role: str = "analyst") -> Desk:
        header = await new_key(self.house.pool, role, name=name)
        self.keys[name] = header["Authorization"].removeprefix("Bearer ")
        return self.desk(name)

    async def org(self) -> str:
        return await self.house.org(amount=100_000 * CREDIT)

    async def held(self, amount: int = MEDIUM, gifts: int = 1) -> Case:
        """A case of its own, with so many held gifts from one fresh org to another."""
        sender, recipient = await self.org(), await self.org()
        for _ in range(gifts):
            await self.house.sent(sender, recipient, amount)
        return await self.case(sender)

    async def case(self, sender: str) -> Case:
        desk = self.desk(next(iter(self.keys)))
        page = await asyncio.to_thread(desk.cases, Filters(sender=sender))
        return page.cases[0]


@pytest.fixture(scope="session")
def service(server: str, template: str, tmp_path_factory: Any) -> Iterator[tuple[str, str]]:
    """DSN and URL of a running service."""
    home: Path = tmp_path_factory.mktemp("service")
    _run(server, f"CREATE DATABASE review TEMPLATE {template}")
    dsn = with_database(server, "review")
    with asyncio.Runner() as runner:
        runner.run(activate(dsn))
    calm = {"LOCKGATE_SETTLE_EVERY_S": "3600", "LOCKGATE_HOME": str(home), "PYTHONPATH": str(ROOT)}
    env = {**os.environ, **calm, "DATABASE_URL": dsn}
    command = [*PROGRAM, "serve", "--port", "0"]
    with subprocess.Popen(command, cwd=home, env=env, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        found = re.search(r"http://\S+", process.stdout.readline())
        assert found is not None
        yield dsn, found[0]
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        assert process.wait(30) == 0


async def activate(dsn: str) -> None:
    async with open_house(dsn, POLICY, size=1):
        pass


@pytest.fixture
async def office(service: tuple[str, str]) -> AsyncIterator[Office]:
    """The service with two analysts, a lead and an auditor."""
    dsn, url = service
    async with open_house(dsn, None, size=2) as house:
        opened = Office(url, house, {})
        for name, role in (("alice", "analyst"), ("bob", "analyst"), ("lena", "lead"), ("otto", "auditor")):
            await opened.hired(name, role)
        yield opened
