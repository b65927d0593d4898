"""The embedded engine and the migrations, on real servers that these tests start, stop and kill."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import asyncpg
import psutil
import pytest

from lockgate.config import SettingError, Settings
from lockgate.migrate import SOURCES, MigrationError, migrate
from lockgate.postgres import binaries, engine, throwaway, with_database

# Another process that uses the server until it is ended.
HOLDER = """
import sys, time
from pathlib import Path
from lockgate.config import Settings
from lockgate.postgres import engine, exit_on_sigterm, throwaway
exit_on_sigterm()
with engine(Settings(home=Path(sys.argv[2]))) if sys.argv[1] == "engine" else throwaway(sys.argv[2]) as dsn:
    print(dsn, flush=True)
    time.sleep(60)
"""


@contextmanager
def holder(kind: str, name: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [sys.executable, "-c", HOLDER, kind, name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def pgdata_of(dsn: str) -> Path:
    """The socket lies in the server's own directory, when the path is short enough for one."""
    return Path(parse_qs(urlsplit(dsn).query)["host"][0])


def postmaster_of(pgdata: Path) -> psutil.Process:
    return psutil.Process(int((pgdata / "postmaster.pid").read_text().split()[0]))


def runs(server: psutil.Process) -> bool:
    """In a container nobody may reap it: a zombie has ended. Or it is reaped between the two questions."""
    try:
        return server.is_running() and server.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def ended(server: psutil.Process) -> bool:
    """A server removes its pid file, which is what a stop waits for, a moment before its process ends."""
    deadline = time.monotonic() + 2
    while runs(server) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not runs(server)


@pytest.fixture
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


def test_a_database_url_is_used_as_it_is_and_starts_nothing(tmp_path: Path) -> None:
    url = "postgresql://me@db.example/credits"
    with engine(Settings(database_url=url, home=tmp_path / "unused")) as dsn:
        assert dsn == url
    assert not (tmp_path / "unused").exists()


def test_a_home_that_pg_ctl_would_split_is_refused_with_the_cure(tmp_path: Path) -> None:
    with (
        pytest.raises(SettingError, match=r"LOCKGATE_HOME is .*my credits.*: .*set it to another one"),
        engine(Settings(home=tmp_path / "my credits")),
    ):
        pass
    assert not (tmp_path / "my credits").exists()


async def test_the_engine_starts_is_set_up_keeps_its_tables_and_stops(home: Path) -> None:
    settings = Settings(home=home)
    with engine(settings) as dsn:
        conn = await asyncpg.connect(dsn)
        await conn.execute("CREATE TABLE kept (n int)")
        assert await conn.fetchval("SHOW max_wal_size") == "2GB"
        assert await conn.fetchval("SHOW checkpoint_timeout") == "15min"
        assert await conn.fetchval("SELECT datcollate FROM pg_database WHERE datname = 'postgres'") == "C"
        server = postmaster_of(home / "postgres")
        since = time.monotonic()
    assert time.monotonic() - since < 2, "a connected client must not delay the stop"
    assert ended(server)
    conn.terminate()
    with engine(settings) as dsn:
        conn = await asyncpg.connect(dsn)
        assert await conn.fetchval("SELECT count(*) FROM kept") == 0
        await conn.close()


def test_the_server_stops_with_its_last_user(home: Path) -> None:
    with holder("engine", str(home)) as (other, dsn):
        with engine(Settings(home=home)) as same:
            assert same == dsn
        server = postmaster_of(home / "postgres")
        with engine(Settings(home=home)):  # a second time in this process, while the other one holds it
            other.terminate()
            assert other.wait(60) == 128 + signal.SIGTERM
            assert runs(server)
    assert ended(server)


def test_sigterm_stops_the_server(home: Path) -> None:
    with holder("engine", str(home)) as (owner, _):
        server = postmaster_of(home / "postgres")
        since = time.monotonic()
        owner.terminate()
        assert owner.wait(60) == 128 + signal.SIGTERM
        assert time.monotonic() - since < 3
    assert ended(server)


def test_a_killed_user_does_not_keep_the_server_running(home: Path) -> None:
    with holder("engine", str(home)) as (owner, _):
        server = postmaster_of(home / "postgres")
        owner.kill()
        owner.wait()
        assert runs(server)
        with engine(Settings(home=home)):
            users = json.loads((home / "postgres" / ".handle_pids.json").read_text())
            assert users == [os.getpid()]
    assert ended(server)


async def test_a_killed_server_recovers_at_the_next_start(home: Path) -> None:
    with holder("engine", str(home)) as (owner, dsn):
        conn = await asyncpg.connect(dsn)
        await conn.execute("CREATE TABLE kept AS SELECT 7 AS n")
        owner.kill()
        owner.wait()
        server = postmaster_of(home / "postgres")
        server.kill()
        while runs(server):
            await asyncio.sleep(0.01)
        conn.terminate()
        with engine(Settings(home=home)) as dsn:
            conn = await asyncpg.connect(dsn)
            assert await conn.fetchval("SELECT n FROM kept") == 7
            await conn.close()


async def test_what_a_killed_machine_leaves_behind_is_repaired(home: Path) -> None:
    pgdata = home / "postgres"
    with engine(Settings(home=home)):
        pass
    # After a reboot other programs have the numbers of the server and its user; a list may be cut short.
    (pgdata / "postmaster.pid").write_text(f"{os.getppid()}\n{pgdata}\n1\n5432\n{pgdata}\n\n 1 1\nready\n")
    (pgdata / ".handle_pids.json").write_text("")
    with engine(Settings(home=home)) as dsn:
        conn = await asyncpg.connect(dsn)
        await conn.close()
        server = postmaster_of(pgdata)
    assert ended(server)


def test_a_number_given_to_a_younger_process_is_not_its_user(home: Path) -> None:
    pgdata = home / "postgres"
    with engine(Settings(home=home)):
        pass
    users = pgdata / ".handle_pids.json"
    users.write_text(json.dumps([os.getppid()]))
    os.utime(users, (1, 1))  # written long before that process was born
    with engine(Settings(home=home)):
        assert json.loads(users.read_text()) == [os.getpid()]


def test_a_throwaway_server_takes_its_directory_along() -> None:
    with throwaway("lockgate-gone") as dsn:
        pgdata = pgdata_of(dsn)
        server = postmaster_of(pgdata)
        assert runs(server)
    assert ended(server)
    assert not pgdata.parent.exists()


def test_the_next_throwaway_removes_one_whose_owner_was_killed() -> None:
    with holder("throwaway", "lockgate-orphan") as (owner, dsn):
        pgdata = pgdata_of(dsn)
        server = postmaster_of(pgdata)
        owner.kill()
        owner.wait()
        with throwaway("lockgate-orphan"):
            assert ended(server)
            assert not pgdata.parent.exists()


def test_binaries_holds_the_programs() -> None:
    assert {"psql", "pgbench", "postgres"} <= {path.name for path in binaries().iterdir()}


async def test_each_test_has_its_own_migrated_database(database: str, server: str) -> None:
    assert database != server
    conn = await asyncpg.connect(database)
    try:
        files = sum(len(list(folder.glob("[0-9]*.sql"))) for folder in SOURCES.values())
        assert await conn.fetchval("SELECT count(*) FROM lockgate_migrations") == files
        assert await migrate(conn) == []
    finally:
        await conn.close()


@pytest.fixture
def sources(tmp_path: Path) -> dict[str, Path]:
    """Two packages: one with two migrations, written in the wrong order, and one without any."""
    (tmp_path / "first").mkdir()
    (tmp_path / "first" / "0002_row.sql").write_text("INSERT INTO t VALUES (1); INSERT INTO t VALUES (2);")
    (tmp_path / "first" / "0001_table.sql").write_text("CREATE TABLE t (n int);")
    return {"first": tmp_path / "first", "second": tmp_path / "absent"}


@pytest.fixture
def empty(server: str) -> Iterator[str]:
    """DSN of a fresh database without any table."""
    psql = [binaries() / "psql", "-Xqc"]
    subprocess.run([*psql, "CREATE DATABASE migrating TEMPLATE template0", server], check=True)
    yield with_database(server, "migrating")
    subprocess.run([*psql, "DROP DATABASE migrating WITH (FORCE)", server], check=True)


async def test_migrations_apply_once_in_order(empty: str, sources: dict[str, Path]) -> None:
    conn = await asyncpg.connect(empty)
    try:
        assert await migrate(conn, sources) == ["first/0001_table.sql", "first/0002_row.sql"]
        assert await migrate(conn, sources) == []
        assert await conn.fetchval("SELECT array_agg(n) FROM t") == [1, 2]
        (sources["first"] / "0003_more.sql").write_text("INSERT INTO t VALUES (3)")
        assert await migrate(conn, sources) == ["first/0003_more.sql"]
    finally:
        await conn.close()


async def test_a_changed_migration_is_refused_with_the_cure(empty: str, sources: dict[str, Path]) -> None:
    conn = await asyncpg.connect(empty)
    try:
        await migrate(conn, sources)
        (sources["first"] / "0001_table.sql").write_text("CREATE TABLE t (n bigint);")
        with pytest.raises(MigrationError, match=r"first/0001_table\.sql was changed .* new migration"):
            await migrate(conn, sources)
    finally:
        await conn.close()


async def test_a_failing_migration_leaves_nothing_behind(empty: str, sources: dict[str, Path]) -> None:
    (sources["first"] / "0003_bad.sql").write_text("SELECT 1 / 0")
    conn = await asyncpg.connect(empty)
    try:
        with pytest.raises(MigrationError, match=r"0003_bad\.sql failed.*division by zero"):
            await migrate(conn, sources)
        assert await conn.fetchval("SELECT to_regclass('t')") is None
    finally:
        await conn.close()


async def test_processes_starting_at_once_migrate_once(empty: str, sources: dict[str, Path]) -> None:
    conns = [await asyncpg.connect(empty) for _ in range(6)]
    try:
        applied = await asyncio.gather(*(migrate(conn, sources) for conn in conns))
        assert sorted(map(len, applied)) == [0, 0, 0, 0, 0, 2]
        assert await conns[0].fetchval("SELECT count(*) FROM t") == 2
    finally:
        for conn in conns:
            await conn.close()
