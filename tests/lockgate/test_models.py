"""A model's life after training, from the first start to the roll-back: real commands, real database, real gates."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from typer.testing import CliRunner

from detector import champions, labels
from detector.contract import Label
from detector.feature_table import HASH
from lockgate import shadow
from lockgate.cli import app
from lockgate.config import Settings
from lockgate.serve import StartError, prepare
from models import artifact, files
from tests.support import CREDIT, NEVER_FIRES, ROOT, House
from training.features import features
from training.fit import fit
from training.lesson import Wish
from training.simulate import START, simulate

JUDGES = NEVER_FIRES + '[model]\nname = "champion"\n'
SLOW = """
import sys, time
import detector.shadow as one
from datetime import timedelta
said = one.opinions
def slowly(*asked):
    time.sleep(float(sys.argv[1]))
    return said(*asked)
one.opinions, one.SLICE = slowly, timedelta(milliseconds=float(sys.argv[2]))
import lockgate.shadow
lockgate.shadow.main()
"""
FAULTY = """
import detector.shadow as one
from models.model import Model
score = Model.score
def at_odds(self, vectors):
    if len(vectors) == 1 and vectors[0, 0] % 2 == 0:
        return score(self, vectors) * float("nan")
    raise ArithmeticError("no opinion")
import detector.serving
load = one.serving.load
async def loading(*asked):
    found = await load(*asked)
    Model.score = at_odds
    return found
one.serving.load = loading
import lockgate.shadow
lockgate.shadow.main()
"""


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two artifacts that score alike, and the history they were trained on."""
    root = tmp_path_factory.mktemp("shelf")
    rows = simulate(600, 60, 1)
    rows.write_parquet(root / "h.parquet")
    wish = Wish(as_of=START + timedelta(days=30), name="first", created_at=datetime.now(UTC))
    content = fit(rows, features(rows), wish, HASH)
    artifact.write(root / "models" / "first", content)
    artifact.write(root / "models" / "second", replace(content, name="second"))
    return root


async def give(house: House, shelf: Path, name: str, role: str) -> str:
    """A role to an artifact of the shelf; its hash."""
    parcel = files.pack(shelf / "models" / name)
    sha256 = artifact.sha256(files.open_parcel(parcel)[files.MANIFEST])
    async with house.pool.acquire() as conn:
        await champions.add(conn, name, sha256, parcel, "test")
        await champions.promote(conn, role, sha256, "test", "a test")
    return sha256


async def until(met: Callable[[], Awaitable[Any]], within_s: float = 120) -> None:
    async with asyncio.timeout(within_s):
        while not await met():
            await asyncio.sleep(0.1)


def start(dsn: str, script: str | None, *words: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", script, *words] if script else shadow.COMMAND
    env = {**os.environ, "DATABASE_URL": dsn, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, env=env, cwd=ROOT, stdin=subprocess.PIPE)


def end(process: subprocess.Popen[bytes]) -> None:
    """As `lockgate serve` lets go of it: by its standard input."""
    assert process.stdin is not None
    process.stdin.close()
    process.wait(30)


async def opened(house: House, shelf: Path) -> tuple[str, str, str]:
    """A house where `first` judges and `second` shadows: two orgs and the challenger's hash."""
    await give(house, shelf, "first", champions.CHAMPION)
    challenger = await give(house, shelf, "second", champions.CHALLENGER)
    await house.activate(JUDGES)
    return await house.org(amount=100 * CREDIT), await house.org(), challenger


async def scores(house: House) -> dict[str, float | None]:
    rows = await house.pool.fetch("select decision_id, score from detector.shadow_scores")
    assert len({row["decision_id"] for row in rows}) == len(rows)
    return {row["decision_id"]: row["score"] for row in rows}


async def decided(house: House) -> dict[str, float]:
    rows = await house.pool.fetch("select id, score from detector.decisions where features is not null")
    return {row["id"]: row["score"] for row in rows}


async def test_killed_in_the_middle_it_says_each_thing_once(house: House, shelf: Path) -> None:
    sender, recipient, _ = await opened(house, shelf)
    for _ in range(30):
        await house.send(sender, recipient, CREDIT)
    killed = start(house.dsn, SLOW, "0.2", "50")
    await until(lambda: scores(house))
    killed.kill()
    end(killed)
    wanted = await decided(house)
    assert 0 < len(await scores(house)) < len(wanted) == 30
    process = start(house.dsn, None)
    try:
        await house.send(sender, recipient, CREDIT)
        await until(lambda: counted(house, 31))
    finally:
        end(process)
    # Both artifacts score alike: what was rebuilt from the record is what the gate saw, to the bit.
    assert await scores(house) == await decided(house)
    assert await house.pool.fetchval("select count(*) from detector.shadow_scores where verdict is null") == 0


async def counted(house: House, number: int) -> bool:
    return len(await scores(house)) == number


async def test_a_challenger_that_sleeps_keeps_no_gift_waiting(house: House, shelf: Path) -> None:
    sender, recipient, _ = await opened(house, shelf)
    await house.send(sender, recipient, CREDIT)
    process = start(house.dsn, SLOW, "5", "5000")
    try:
        for _ in range(20):
            assert (await house.send(sender, recipient, CREDIT)).status == 201
        assert len(await decided(house)) == 21
        await until(lambda: counted(house, 21))
    finally:
        end(process)


async def test_what_a_challenger_cannot_say_is_noted(house: House, shelf: Path) -> None:
    sender, recipient, challenger = await opened(house, shelf)
    for number in range(4):
        await house.send(sender, recipient, CREDIT + number)
    process = start(house.dsn, FAULTY)
    try:
        await until(lambda: counted(house, 4))
    finally:
        end(process)
    faults = await house.pool.fetch("select fault, score from detector.shadow_scores")
    assert sorted(row["fault"] for row in faults) == [*["ArithmeticError: no opinion"] * 2, *["its score is nan"] * 2]
    async with house.pool.acquire() as conn:
        told = await champions.shadowed(conn, challenger)
    assert (told["decisions"], told["faults"], told["agreement"]) == (4, 4, None)


# The commands


@pytest.fixture
def lockgate(database: str, shelf: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.chdir(shelf)
    monkeypatch.setenv("DATABASE_URL", database)
    monkeypatch.setenv("LOCKGATE_MODELS", str(shelf / "models"))

    def run(*words: str, fails: bool = False) -> Any:
        found = CliRunner().invoke(app, ["models", *words])
        assert (found.exit_code != 0) is fails, (found.output, found.exception)
        return json.loads(found.stdout) if "--json" in words and found.stdout else found

    return run


def test_the_life_of_a_model(lockgate: Callable[..., Any], shelf: Path) -> None:
    listed = lockgate("list", "--json")["models"]
    assert [(one["name"], one["loadable"], one["roles"]) for one in listed] == [
        ("first", True, []),
        ("second", True, []),
    ]
    assert "say by what to judge" in lockgate("promote", "first", fails=True).stderr
    assert "--force needs a --reason" in lockgate("promote", "first", "--force", fails=True).stderr
    forced = lockgate("promote", "first", "--force", "--reason", "the first", "--json")
    assert forced["promoted"] and forced["ruling"] is None
    judge = ("promote", "second", "--history", "h.parquet", "--json")
    told = lockgate(*judge, fails=True)
    refused = {one["gate"] for one in told["ruling"]["findings"] if not one["passed"]}
    assert "better" in refused and told["promoted"] is False
    words = lockgate(*judge[:-1], fails=True).stderr
    assert "second is refused: better: recall at 1% of gifts" in words and "leave the champion" in words
    early = lockgate(*judge, "--from", "2026-01-20", fails=True)
    assert "later" in {one["gate"] for one in early["ruling"]["findings"] if not one["passed"]}
    assert lockgate(*judge, "--force", "--reason", "the same, newly made")["promoted"]
    assert {one["name"]: one["roles"] for one in lockgate("list", "--json")["models"]} == {
        "first": [],
        "second": ["champion"],
    }
    assert "serves already" in lockgate("promote", "second", "--history", "h.parquet", fails=True).stderr
    assert lockgate("rollback", "--reason", "strays", "--json")["name"] == "first"
    assert "no champion before" in lockgate("rollback", fails=True).stderr
    assert lockgate("shadow", "second", "--json")["challenger"] == forced_hash(lockgate, "second")
    assert "challenger" in lockgate("list").stdout
    assert lockgate("shadow", "--none", "--json") == {"challenger": None}
    assert "name one artifact" in lockgate("shadow", fails=True).stderr


async def test_the_gates_own_gifts_and_labels_judge(house: House, shelf: Path, lockgate: Callable[..., Any]) -> None:
    sender, recipient, _ = await opened(house, shelf)
    by_database = ("promote", "second", "--labels-from-database", "--json")
    gifts = [await house.sent(sender, recipient, CREDIT // 10 + number) for number in range(60)]
    few = await asyncio.to_thread(lockgate, *by_database, fails=True)
    assert "0 known frauds among 60 gifts" in few.stderr
    told = [(gift, Label(gift, number % 2 == 0, "chargeback")) for number, gift in enumerate(gifts)]
    async with house.pool.acquire() as conn, conn.transaction():
        await labels.note(conn, told, "test")
    ruled = await asyncio.to_thread(lockgate, *by_database, fails=True)
    findings = {one["gate"]: one for one in ruled["ruling"]["findings"]}
    assert "later" in findings and "leaking labels" not in findings, "the gate's record does not reach back so far"
    assert not ruled["promoted"] and not findings["better"]["passed"] and findings["better"]["figure"] == 0
    assert findings["better"]["said"].startswith("recall at 1% of gifts")
    forced = await asyncio.to_thread(lockgate, *by_database, "--force", "--reason", "a test")
    assert forced["promoted"] and forced["ruling"]["findings"]


def forced_hash(lockgate: Callable[..., Any], name: str) -> str:
    found: str = next(one["sha256"] for one in lockgate("list", "--json")["models"] if one["name"] == name)
    return found


def test_show_and_diff(lockgate: Callable[..., Any], shelf: Path) -> None:
    shown = lockgate("show", "first").stdout
    assert "first" in shown and "sha256" in shown and str(shelf / "models" / "first" / "figures") in shown
    card = lockgate("show", "first", "--json")["card"]
    assert card["name"] == "first" and card["held"]
    assert "there are: first, second" in lockgate("show", "third", fails=True).stderr
    same = lockgate("diff", "first", "second", "--history", "h.parquet", "--json")
    assert set(same["changed"]) == {"sha256"} and same["verdicts"]["changed"] == 0 < same["verdicts"]["gifts"]
    assert "average precision" in lockgate("diff", "first", "second").stdout


def test_a_spoilt_artifact_is_listed_with_its_reason(lockgate: Callable[..., Any], shelf: Path, tmp_path: Path) -> None:
    files.lay(files.collect(shelf / "models" / "first"), tmp_path / "spoilt")
    (tmp_path / "spoilt" / "card.md").write_text("another")
    listed = lockgate("--models", str(tmp_path), "list", "--json")["models"]
    assert not listed[0]["loadable"] and "card.md" in listed[0]["refused"]
    force = ("promote", "spoilt", "--force", "--reason", "hurry")
    assert "not to be loaded" in lockgate("--models", str(tmp_path), *force, fails=True).stderr


async def test_the_first_start_lets_the_shipped_artifact_serve(database: str, shelf: Path, tmp_path: Path) -> None:
    files.lay(files.collect(shelf / "models" / "first"), tmp_path / "default")
    settings = Settings(database_url=database, home=tmp_path, models=tmp_path)
    conn = await asyncpg.connect(database)
    try:
        await asyncio.gather(*[prepare(database, settings, False) for _ in range(4)])
        playing = await champions.playing(conn, champions.CHAMPION)
        assert playing and playing["name"] == "first" and playing["author"] == "lockgate"
        await champions.promote(conn, champions.CHAMPION, None, "ann", "rules alone")
        await prepare(database, settings, False)
        assert await champions.playing(conn, champions.CHAMPION) is None, "who took it away is obeyed"
    finally:
        await conn.close()


async def test_a_spoilt_shipped_artifact_stops_the_start(database: str, shelf: Path, tmp_path: Path) -> None:
    files.lay(files.collect(shelf / "models" / "first"), tmp_path / "default")
    (tmp_path / "default" / "card.md").write_text("another")
    with pytest.raises(StartError, match=r"does not hold.*install this version again"):
        await prepare(database, Settings(database_url=database, home=tmp_path, models=tmp_path), False)
