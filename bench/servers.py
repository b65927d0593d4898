"""The processes that a benchmark runs against: started, awaited, watched for the CPU time used, stopped."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
START_S = 60.0
UVICORN = [
    "--host",
    "127.0.0.1",
    "--loop",
    "uvloop",
    "--no-access-log",
    "--log-level",
    "warning",
]
Served = tuple[int, subprocess.Popen[bytes]]


class BenchError(Exception):
    """What kept a benchmark from measuring."""


@contextmanager
def application(dsn: str, workers: int, profile: Path | None = None) -> Iterator[Served]:
    """The real application on a database, at its default settings; yields its port and process."""
    port = free_port()
    module = ["bench.profiled", str(profile.resolve())] if profile else ["uvicorn"]
    command = [*module, "lockgate.app:create", "--factory", *served_at(port, workers), "--http", "lockgate.wire:Wire"]
    with running(command, port, "/healthz", {"DATABASE_URL": dsn}) as process:
        yield port, process


@contextmanager
def noop(workers: int) -> Iterator[Served]:
    """The empty endpoint, served as uvicorn serves any application."""
    port = free_port()
    command = ["uvicorn", "bench.noop:app", *served_at(port, workers), "--http", "httptools"]
    with running(command, port, "/openapi.json") as process:
        yield port, process


def served_at(port: int, workers: int) -> list[str]:
    return ["--port", str(port), "--workers", str(workers), *UVICORN]


@contextmanager
def constant() -> Iterator[int]:
    """The server that shows the load generator's own ceiling."""
    port = free_port()
    with running(["bench.constant", str(port)], port, None):
        yield port


@contextmanager
def running(
    command: Sequence[str], port: int, path: str | None, environ: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """`python -m COMMAND`, once it answers on its port; what it said on stderr is shown at the end."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("LOCKGATE_")}
    with tempfile.TemporaryFile() as said:
        python = [sys.executable, "-m", *command]
        process = subprocess.Popen(python, cwd=ROOT, env=own | (environ or {}), stdout=said, stderr=said)
        try:
            await_answer(process, port, path)
            yield process
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()
            process.wait()
            said.seek(0)
            show(command[0], said.read().decode(errors="replace"))


def await_answer(process: subprocess.Popen[bytes], port: int, path: str | None) -> None:
    deadline = time.monotonic() + START_S
    while not answers(port, path):
        if process.poll() is not None:
            raise BenchError(f"{process.args!r} ended with status {process.returncode}")
        if time.monotonic() > deadline:
            raise BenchError(f"{process.args!r} did not answer on port {port} within {START_S:.0f} s")
        time.sleep(0.02)


def answers(port: int, path: str | None) -> bool:
    """Whether it accepts connections and, where a path is given, says 200 there."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.connect()
        if path is None:
            return True
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def show(name: str, said: str) -> None:
    """A quiet server has nothing to say; the first and last words of another are worth reading."""
    lines = said.splitlines()
    cut = lines if len(lines) <= 20 else [*lines[:10], f"… {len(lines) - 20} more lines …", *lines[-10:]]
    for line in cut:
        print(f"{name}: {line}", file=sys.stderr)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def cpu_s(root: psutil.Process) -> float:
    """Seconds of CPU that a process and its children used, those included that ended."""
    times = root.cpu_times()
    total: float = times.user + times.system + times.children_user + times.children_system
    for child in root.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            own = child.cpu_times()
            total += own.user + own.system
    return total
