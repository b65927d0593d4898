"""`lockgate serve` as an operator and a newcomer meet it: real processes and signals, the curl run as printed."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import httpx
import psutil
import pytest

from lockgate.config import Settings
from lockgate.demo import Occupied, make_demo
from lockgate.serve import prepare

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "lockgate.cli", "serve", "--port", "0"]
READY_S = 60


class Running:
    """A started `lockgate serve` and what it has printed so far."""

    def __init__(self, process: subprocess.Popen[bytes], out: Path) -> None:
        self.process = process
        self.out = out

    @property
    def text(self) -> str:
        return self.out.read_text()

    @property
    def url(self) -> str:
        return re.findall(r"is up: (http://\S+)", self.text)[0]

    def said_all(self) -> bool:
        return "is up" in self.text and self.text.endswith("\n")

    def curls(self) -> list[str]:
        return [line for line in self.text.splitlines() if line.startswith("curl ")]

    def workers(self) -> list[psutil.Process]:
        children = psutil.Process(self.process.pid).children()
        # a worker that was just killed is a zombie until its supervisor looks, and has no command line
        alive = [child for child in children if child.status() != psutil.STATUS_ZOMBIE]
        return [child for child in alive if "spawn_main" in " ".join(child.cmdline())]

    def stop(self, sign: signal.Signals) -> int:
        # As a terminal does: the whole foreground group gets the signal.
        os.killpg(self.process.pid, sign)
        return self.process.wait(30)


@contextmanager
def serving(tmp_path: Path, *options: str, **environ: str) -> Iterator[Running]:
    out = tmp_path / f"out-{time.monotonic_ns()}"
    env = {**os.environ, "PYTHONPATH": str(ROOT), **environ}
    with (
        out.open("wb") as stdout,
        subprocess.Popen(
            [*COMMAND, *options], cwd=tmp_path, env=env, stdout=stdout, stderr=stdout, start_new_session=True
        ) as process,
    ):
        running = Running(process, out)
        try:
            until(lambda: running.said_all() or process.poll() is not None)
            assert process.poll() is None, running.text
            yield running
        finally:
            if process.poll() is None:
                running.stop(signal.SIGINT)


def until(met: Callable[[], object], within_s: float = READY_S) -> None:
    deadline = time.monotonic() + within_s
    while not met():
        assert time.monotonic() < deadline, f"not met in {within_s} s"
        time.sleep(0.05)


def pasted(line: str) -> tuple[dict[str, object], int]:
    """What a shell answers to a line of the banner: the JSON, and the status where the line prints it."""
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True, timeout=30)
    body, _, status = done.stdout.partition("\n")
    return json.loads(body), int(status or 0)


def refused(tmp_path: Path, *options: str, **environ: str) -> str:
    """The message of a start that must fail with exit status 1 and without a traceback."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "LOCKGATE_HOME": str(tmp_path / "home"), **environ}
    done = subprocess.run(
        [*COMMAND, *options], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1, done
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "home").exists()
    return done.stderr


def servers_in(home: Path) -> list[psutil.Process]:
    found = psutil.process_iter(["cmdline", "status"])
    return [
        one
        for one in found
        if str(home) in " ".join(one.info["cmdline"] or ()) and one.info["status"] != psutil.STATUS_ZOMBIE
    ]


def test_a_newcomers_first_and_second_start(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with serving(tmp_path, "--demo", LOCKGATE_HOME=str(home), DATABASE_URL="") as first:
        gift, status = pasted(first.curls()[0])
        assert (status, gift["status"], gift["amount"]) == (201, "pending", 5_000_000)
        assert pasted(first.curls()[0])[0]["id"] != gift["id"], "every paste is a gift of its own"
        shown, _ = pasted(first.curls()[1].replace("/ID ", f"/{gift['id']} "))
        assert shown["settle_at"]
        decision, _ = pasted(first.curls()[2].replace("/ID ", f"/{gift['id']} "))
        assert (decision["verdict"], decision["generation"], decision["hits"]) == ("approve", 1, [])
        assert httpx.get(f"{first.url}/docs").status_code == 200
        assert "24 h" in first.text
        assert servers_in(home)
        assert first.stop(signal.SIGINT) == 0
        assert "Traceback" not in first.text
        assert not servers_in(home)
    assert stat.S_IMODE((home / "demo.json").stat().st_mode) == 0o600
    with serving(tmp_path, "--demo", LOCKGATE_HOME=str(home), DATABASE_URL="") as second:
        shown, _ = pasted(second.curls()[1].replace("/ID ", f"/{gift['id']} "))
        assert (shown["id"], shown["status"]) == (gift["id"], "pending")
        assert "new ones" not in second.text
        assert second.stop(signal.SIGTERM) == 0
        assert "Traceback" not in second.text
        assert not servers_in(home)


def test_a_killed_worker_is_replaced_and_none_outlives_its_supervisor(tmp_path: Path, database: str) -> None:
    options = ("--demo", "--workers", "2")
    with serving(tmp_path, *options, DATABASE_URL=database, LOCKGATE_HOME=str(tmp_path)) as running:
        until(lambda: len(running.workers()) == 2)
        victim = running.workers()[0]
        victim.kill()
        for _ in range(10):
            assert pasted(running.curls()[0])[1] == 201
        until(lambda: len(running.workers()) == 2 and victim not in running.workers())
        workers = running.workers()
        running.process.kill()
        _, alive = psutil.wait_procs(workers, timeout=20)
        assert not alive


def test_a_port_in_use_is_said_before_anything_is_started(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        message = refused(tmp_path, "--port", str(port), DATABASE_URL="")
    assert f"127.0.0.1:{port}: Address already in use" in message
    assert "choose another port with --port" in message


def test_a_wrong_setting_is_said_with_its_cure(tmp_path: Path) -> None:
    message = refused(tmp_path, LOCKGATE_LOCK_HOURS="a day", DATABASE_URL="")
    assert message.startswith("lockgate: LOCKGATE_LOCK_HOURS is 'a day': give hours as a number")


def test_a_database_that_cannot_be_reached_is_named_without_its_password(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    message = refused(tmp_path, DATABASE_URL=f"postgresql://me:secret@127.0.0.1:{port}/credits")
    assert f"cannot reach the database 127.0.0.1:{port}/credits: " in message
    assert "check that DATABASE_URL is right" in message
    assert "secret" not in message


async def test_racing_starters_make_one_generation_and_one_demo(database: str, tmp_path: Path) -> None:
    settings = Settings(database_url=database, home=tmp_path)
    grounds = await asyncio.gather(*[prepare(database, settings, True) for _ in range(6)])
    assert {ground.generation for ground in grounds} == {1}
    assert len({tuple(ground.demo.keys.items()) for ground in grounds if ground.demo}) == 1
    conn = await asyncpg.connect(database)
    try:
        assert await conn.fetchval("SELECT count(*) FROM detector.policies") == 1
        assert await conn.fetchval("SELECT count(*) FROM ledger.grants") == 4
    finally:
        await conn.close()


async def test_lost_demo_keys_are_issued_anew_and_it_is_said(database: str, tmp_path: Path) -> None:
    conn = await asyncpg.connect(database)
    try:
        first = await make_demo(conn, tmp_path)
        assert first.note is None
        assert await make_demo(conn, tmp_path) == first
        (tmp_path / "demo.json").write_text('{"keys": {"acme": "lg_ow')
        second = await make_demo(conn, tmp_path)
        assert second.note and "new ones" in second.note
        assert not {*first.keys.values()} & {*second.keys.values()}
        assert json.loads((tmp_path / "demo.json").read_text())["keys"] == second.keys
    finally:
        await conn.close()


async def test_no_key_is_issued_to_a_real_org_of_the_demos_name(database: str, tmp_path: Path) -> None:
    conn = await asyncpg.connect(database)
    try:
        await conn.execute("INSERT INTO ledger.orgs (id, owner, created_at) VALUES ('globex', 'A', now())")
        with pytest.raises(Occupied, match="'globex' exists and is not the demo's: start without --demo"):
            async with conn.transaction():
                await make_demo(conn, tmp_path)
        assert await conn.fetchval("SELECT count(*) FROM ledger.api_keys") == 0
        assert not (tmp_path / "demo.json").exists()
    finally:
        await conn.close()
