"""Real PostgreSQL for every test: one throwaway server a run, one fresh database a test."""

from __future__ import annotations

import asyncio
import itertools
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import asyncpg
import hypothesis
import pytest

from detector.feature_table import HASH
from lockgate.migrate import migrate
from lockgate.postgres import binaries, throwaway, with_database
from models import artifact, files
from models.artifact import Content
from tests.support import House, Worker, open_house, workers
from training.features import features
from training.fit import fit
from training.lesson import Wish
from training.simulate import START, simulate

# A busy machine is no fault of what is tested.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """DSN of a server that lives as long as this run."""
    with throwaway("lockgate-tests") as dsn:
        yield dsn


@pytest.fixture(scope="session")
def template(server: str) -> str:
    """Name of a migrated database, to copy: a copy takes milliseconds, migrating takes much longer."""
    _run(server, "CREATE DATABASE template_lockgate")
    # The loop that pytest-asyncio keeps must not notice the one that this runs on.
    with asyncio.Runner() as runner:
        runner.run(_migrate(with_database(server, "template_lockgate")))
    return "template_lockgate"


@pytest.fixture
def database(server: str, template: str) -> Iterator[str]:
    """DSN of a fresh migrated database, this test's own."""
    name = f"test_{next(_numbers)}"
    _run(server, f"CREATE DATABASE {name} TEMPLATE {template}")
    yield with_database(server, name)
    # A test that fails may leave connections behind.
    _run(server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def fresh_databases(server: str, template: str) -> tuple[Callable[[], str], Callable[[str], None]]:
    """Makes and drops migrated databases, for tests that need one an example."""

    def make() -> str:
        name = f"test_{next(_numbers)}"
        _run(server, f"CREATE DATABASE {name} TEMPLATE {template}")
        return with_database(server, name)

    def drop(dsn: str) -> None:
        _run(server, f"DROP DATABASE {urlsplit(dsn).path[1:]} WITH (FORCE)")

    return make, drop


@pytest.fixture
async def house(database: str) -> AsyncIterator[House]:
    """One process's works on a fresh database, where no rule fires; a lock of one hour, a hold of three."""
    async with open_house(database) as opened:
        yield opened


@pytest.fixture(scope="session")
def four(server: str, template: str) -> Iterator[tuple[str, list[Worker]]]:
    """Four worker processes on one database, for every test that races over processes; each makes its own orgs."""
    _run(server, f"CREATE DATABASE four TEMPLATE {template}")
    dsn = with_database(server, "four")
    with workers(dsn, 4) as started:
        yield dsn, started


@pytest.fixture(scope="session")
def small() -> Content:
    """A small model of a small simulated platform, made now, that learned from known frauds."""
    rows = simulate(300, 60, 3).drop("typology")
    until, now = START + timedelta(days=50), datetime.now(UTC)
    wish = Wish(as_of=until, name="small", enough=5, iterations=20, false_hold_rate=0.05, created_at=now)
    return fit(rows, features(rows), wish, HASH)


@pytest.fixture(scope="session")
def parcel(small: Content) -> bytes:
    """The small model as the database keeps it."""
    return files.parcel(artifact.build(small))


async def _migrate(dsn: str) -> None:
    conn = await asyncpg.connect(dsn)
    try:
        await migrate(conn)
    finally:
        await conn.close()


def _run(dsn: str, statement: str) -> None:
    """Through psql, so that a test of any kind, with an event loop or without, can use the fixtures."""
    psql = [binaries() / "psql", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--dbname", dsn]
    subprocess.run([*psql, "--command", statement], check=True)
