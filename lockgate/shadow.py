"""The process that shadows: `lockgate serve` keeps one beside its gates; it ends with whoever started it.

Law: it takes from the gate neither its time nor its faults: a process of its own, at the lowest priority, replaced when
it dies. Whoever starts it holds the other end of its standard input.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import asyncpg

from lockgate.config import Settings

log = logging.getLogger(__name__)
AGAIN_S = 2.0
STOP_S = 10.0
NICENESS = 19
COMMAND = [sys.executable, "-m", "lockgate.shadow"]


@contextmanager
def beside(dsn: str, command: Sequence[str] = COMMAND) -> Iterator[None]:
    """A shadowing process for as long as this lasts."""
    ended = threading.Event()
    keeper = threading.Thread(target=keep, args=(dsn, ended, command), daemon=True)
    keeper.start()
    try:
        yield
    finally:
        ended.set()
        keeper.join(2 * STOP_S)


def keep(dsn: str, ended: threading.Event, command: Sequence[str]) -> None:
    """Start it, and again when it died, until the end."""
    while not ended.is_set():
        with subprocess.Popen(command, env={**os.environ, "DATABASE_URL": dsn}, stdin=subprocess.PIPE) as process:
            while not ended.wait(0.2) and process.poll() is None:
                pass
            if process.poll() is None:
                process.terminate()
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
        ended.wait(AGAIN_S)


def main() -> None:
    """Shadow until told to stop, or until standard input ends with its owner."""
    logging.basicConfig(level=logging.WARNING, format="shadow: %(message)s")
    # A terminal's Ctrl-C is for the owner, who then stops this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(NICENESS)
    threading.Thread(target=end_with_owner, daemon=True).start()
    run(Settings.from_env(os.environ))


def end_with_owner() -> None:
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)


def run(settings: Settings) -> None:
    """Follow decisions on the database of the settings, over lost connections too; SIGTERM ends it."""
    assert settings.database_url is not None, "whoever starts it says where"
    try:
        asyncio.run(endless(settings.database_url, settings.trusted_key))
    except KeyboardInterrupt:
        return


async def endless(dsn: str, trusted_key: str | None) -> None:
    from detector.shadow import shadow

    while True:
        try:
            conn = await asyncpg.connect(dsn)
            try:
                await shadow(conn, trusted_key)
            finally:
                await conn.close()
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            log.warning("the database is gone (%s); again in %.0f s", error, AGAIN_S)
            await asyncio.sleep(AGAIN_S)


if __name__ == "__main__":
    main()
