"""`lockgate serve`: one PostgreSQL, one or more gates on it, and nothing left running when it ends.

Law: whatever would stop the start is found before anything is started, and said in one message with its cure.
"""

from __future__ import annotations

import asyncio
import http.client
import multiprocessing
import os
import signal
import socket
import threading
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import asyncpg

from detector import champions, store
from detector.policy import DEFAULT
from lockgate import first_model, shadow
from lockgate.config import Settings
from lockgate.demo import Demo, Occupied, guide, make_demo
from lockgate.migrate import LOCK_KEY, migrate
from lockgate.postgres import engine
from models.errors import ArtifactRefused

if TYPE_CHECKING:
    from fastapi import FastAPI

OLDEST_POSTGRES = 15
REACH_S = 10.0
READY_S = 120.0
# Requests that are running at Ctrl-C get this long to end; each takes milliseconds.
GRACE_S = 10
# A worker silent for so long is replaced; one on a busy machine must not look like that.
HUNG_S = 30
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StartError(RuntimeError):
    """What keeps Lockgate from starting, and the cure."""


@dataclass(frozen=True, slots=True)
class Ground:
    """What the gates find in the database."""

    generation: int
    demo: Demo | None


def serve(settings: Settings, *, host: str, port: int, workers: int, demo: bool) -> None:
    """Serve until told to stop. Ctrl-C, SIGTERM and a closed terminal all unwind the stack in order."""
    if demo and settings.only == "detector":
        raise StartError("--demo makes orgs with credits, which a detector alone has none of: leave one of the two out")
    for stop in STOPS:
        signal.signal(stop, signal.default_int_handler)
    try:
        with listen(host, port) as listener, engine(settings) as dsn:
            try:
                ground = asyncio.run(prepare(dsn, settings, demo))
                os.environ["DATABASE_URL"] = dsn
                address = address_of(listener)
                text = banner(settings, ground, "http://{}:{}".format(*address), workers)
                threading.Thread(target=announce, args=(address, text), daemon=True).start()
                with nullcontext() if settings.only == "ledger" else shadow.beside(dsn):
                    run(listener, workers)
            finally:
                for stop in STOPS:  # a second Ctrl-C must not cut the stopping short
                    signal.signal(stop, signal.SIG_IGN)
    except KeyboardInterrupt:
        print("\nstopped", flush=True)


def listen(host: str, port: int) -> socket.socket:
    """The listening socket, taken first of all: clients that come early wait for the gates."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise StartError(
            f"cannot listen on {host}:{port}: {error.strerror or error}; stop the program that uses port "
            f"{port}, or choose another port with --port (0 takes a free one) or another address with --host"
        ) from error


async def prepare(dsn: str, settings: Settings, with_demo: bool) -> Ground:
    """A migrated database with an active policy and, if asked for, the demo's orgs; starters may race."""
    conn = await connect(dsn)
    try:
        await migrate(conn)
        async with conn.transaction():
            await conn.execute("SELECT pg_advisory_xact_lock($1)", LOCK_KEY)
            generation = await store.active(conn)
            if generation is None:
                generation = await store.add_policy(conn, DEFAULT.read_text(encoding="utf-8"), "lockgate")
            if settings.only != "ledger":
                await default_champion(conn, settings)
            found = await make_demo(conn, settings.home) if with_demo else None
        return Ground(generation, found)
    except Occupied as error:
        raise StartError(str(error)) from error
    finally:
        await conn.close()


async def default_champion(conn: asyncpg.Connection, settings: Settings) -> None:
    """Let the shipped artifact serve where none ever did; one that does not hold stops the start."""
    directory = settings.models / first_model.SHIPPED
    if not directory.is_dir() or await champions.ever(conn):
        return
    try:
        await first_model.promote(conn, directory, settings.trusted_key, "shipped, at the first start")
    except ArtifactRefused as error:
        if error.reason in ("unsigned", "signature"):
            return  # whoever trusts one key alone promotes what that key signed
        raise StartError(
            f"the shipped model {directory} does not hold: {error.detail}; install this version again, or point "
            "LOCKGATE_MODELS to a folder without one and promote a model of your own: until then gifts are held"
        ) from error


async def connect(dsn: str) -> asyncpg.Connection:
    """A connection to the database, or a StartError that says why there is none."""
    try:
        conn = await asyncpg.connect(dsn, timeout=REACH_S)
    except (OSError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        reason = str(error) or f"no answer in {REACH_S:.0f} s"
        raise StartError(
            f"cannot reach the database {place(dsn)}: {reason}; check that DATABASE_URL is right, that this "
            "PostgreSQL runs, and that it lets this user in"
        ) from error
    major = conn.get_server_version().major
    if major < OLDEST_POSTGRES:
        await conn.close()
        raise StartError(f"the database {place(dsn)} is PostgreSQL {major}; it must be {OLDEST_POSTGRES} or newer")
    return conn


def place(dsn: str) -> str:
    """Where a database is, without the user and password that its URL may hold.

    >>> place("postgresql://me:secret@db.example:5432/credits?sslmode=require")
    'db.example:5432/credits'
    """
    parts = urlsplit(dsn)
    return parts.netloc.rpartition("@")[2] + parts.path


def run(listener: socket.socket, workers: int) -> None:
    """Run the gates until a signal stops them: one in this process, or several under uvicorn's supervisor."""
    import uvicorn
    from uvicorn.supervisors import Multiprocess

    class Supervisor(Multiprocess):
        """Replaces a worker that dies; a closed terminal stops it, as it stops a lone gate."""

        handle_hup = Multiprocess.handle_term

    config = uvicorn.Config(
        "lockgate.app:create" if workers == 1 else "lockgate.serve:create_worker",
        factory=True,
        workers=workers,
        loop="uvloop",
        http="lockgate.wire:Wire",
        lifespan="on",
        ws="none",
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=GRACE_S,
        timeout_worker_healthcheck=HUNG_S,
    )
    if workers == 1:
        server = uvicorn.Server(config)
        server.run(sockets=[listener])
        failed = not server.started
    else:
        supervisor = Supervisor(config, [listener])
        supervisor.run()
        failed = any(process.exitcode == uvicorn.config.STARTUP_FAILURE for process in supervisor.processes)
    if failed:
        raise StartError("the gate did not start; the log above says why")
    raise KeyboardInterrupt  # as uvicorn itself does after a signal when it runs without a supervisor


def create_worker() -> FastAPI:
    """The application in a worker, which ends with its supervisor even if that was killed."""
    from lockgate.app import create

    threading.Thread(target=end_with_supervisor, daemon=True).start()
    return create()


def end_with_supervisor() -> None:
    supervisor = multiprocessing.parent_process()
    assert supervisor is not None, "uvicorn's supervisor spawns its workers"
    supervisor.join()
    os.kill(os.getpid(), signal.SIGTERM)


def address_of(listener: socket.socket) -> tuple[str, int]:
    """Where a client on this machine reaches the listener."""
    host, port = listener.getsockname()[:2]
    anywhere = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}
    return anywhere.get(host, f"[{host}]" if ":" in host else host), port


def announce(address: tuple[str, int], text: str) -> None:
    """Print the banner once a gate answers."""
    conn = http.client.HTTPConnection(*address, timeout=READY_S)
    try:
        conn.request("GET", "/healthz")
        if conn.getresponse().status == http.HTTPStatus.OK:
            print(text, flush=True)
    except (OSError, http.client.HTTPException):
        return  # it never came up, and has said why
    finally:
        conn.close()


def banner(settings: Settings, ground: Ground, url: str, workers: int) -> str:
    gates = "1 gate" if workers == 1 else f"{workers} gates"
    kept = f"embedded PostgreSQL in {settings.home.resolve()}"
    if settings.database_url is not None:
        kept = f"PostgreSQL at {place(settings.database_url)}"
    judges = f"policy generation {ground.generation} judges"
    if settings.only == "ledger":
        judges = f"{settings.scorer} judges"
    elif settings.only == "detector":
        gates, judges = f"the scoring API alone, {'1 process' if workers == 1 else f'{workers} processes'},", judges
    lines = [
        f"Lockgate is up: {url}   API pages: {url}/docs",
        f"{gates} on {kept}; {judges}. Ctrl-C stops it.",
    ]
    if ground.demo is not None:
        lines += ["", *guide(ground.demo, url, settings.lock_s, judged_here=settings.only is None)]
    return "\n".join(lines)
