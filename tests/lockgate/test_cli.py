"""The command line as its users run it: real processes on a real database, beside a running service."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from detector.policy import DEFAULT
from tests.ledger.test_revocation import chain
from tests.support import open_house

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = [sys.executable, "-m", "lockgate.cli"]

BAD_POLICY = """
[[limit]]
name = "sender_hourly"
on = ["sendr"]
window = "40d"
count = 20
action = "block"
description = "bursts"

[[rule]]
name = "big"
when = "amout > 5"
verdict = "refuse"
description = "large gifts"
"""

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def lockgate(database: str, tmp_path: Path) -> Run:
    """Runs one command against this test's database; fails unless it ends with the status expected."""

    def run(*words: str, status: int = 0, **environ: str) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "PYTHONPATH": str(ROOT), "DATABASE_URL": database, **environ}
        done = subprocess.run(
            [*PROGRAM, *words], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == status, done
        assert "Traceback" not in done.stderr
        return done

    return run


@pytest.fixture
def service(database: str, tmp_path: Path) -> Iterator[str]:
    """URL of a running `serve --demo` on this test's database; its keys are in tmp_path/demo.json."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "DATABASE_URL": database, "LOCKGATE_HOME": str(tmp_path)}
    command = [*PROGRAM, "serve", "--demo", "--port", "0"]
    with subprocess.Popen(command, cwd=tmp_path, env=env, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        found = re.search(r"http://\S+", process.stdout.readline())
        assert found is not None
        yield found[0]
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        assert process.wait(30) == 0


def answer(done: subprocess.CompletedProcess[str]) -> Any:
    return json.loads(done.stdout)


def test_the_help_imports_nothing_heavy() -> None:
    check = "import sys, lockgate.cli; print({'asyncpg', 'polars', 'fastapi', 'uvicorn'} & {*sys.modules})"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", check], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_stolen_account_from_the_command_line(lockgate: Run, service: str, tmp_path: Path) -> None:
    keys = json.loads((tmp_path / "demo.json").read_text())["keys"]

    def send(number: int, key: str) -> httpx.Response:
        headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": f"gift-{number}"}
        body = {"recipient": "globex", "amount": 1_000_000}
        return httpx.post(f"{service}/v1/billing/credits/transfer", json=body, headers=headers)

    asked = ["orgs", "compromised", "acme", "--detail", "a call", "--author", "ann"]
    gift = send(1, keys["acme"]).json()["id"]
    assert "needs a time zone" in lockgate(*asked, "--since", "2026-11-01T00:00:00", status=1).stderr
    done = answer(lockgate(*asked, "--since", "2026-11-01T00:00:00Z", "--json"))
    assert [(one["id"], one["was"], one["now"]) for one in done["gifts"]] == [(gift, "pending", "held")]
    assert (done["keys_revoked"], done["gifts"][0]["case"]) == (1, done["case"])
    text = lockgate(*asked, "--since", "2026-11-01T00:00:00Z", "--return", "--keep-keys").stdout
    assert f"{gift}  held  returned" in text and "keys revoked: 0" in text
    listed = answer(lockgate("orgs", "reports", "acme", "--json"))["reports"]
    said = [(one["author"], one["gifts"], one["case"]) for one in listed]
    assert said == [("ann", "return", None), ("ann", "hold", done["case"])]
    assert "until 20" in lockgate("orgs", "recover", "acme").stdout
    key = lockgate("orgs", "rotate", "acme").stdout.strip()
    assert send(2, key).json()["status"] == "held"


def test_a_running_gate_judges_by_what_is_activated(lockgate: Run, service: str, tmp_path: Path) -> None:
    keys = json.loads((tmp_path / "demo.json").read_text())["keys"]

    def judged(number: int) -> tuple[int, str]:
        """The generation and the verdict of a fresh gift."""
        sender, judge = ({"Authorization": f"Bearer {keys[name]}"} for name in ("acme", "service"))
        body = {"recipient": "globex", "amount": 1_000_000 + number}
        unique = {"Idempotency-Key": f"gift-{number}"}
        sent = httpx.post(f"{service}/v1/billing/credits/transfer", json=body, headers=sender | unique).json()
        decision = httpx.get(f"{service}/v1/decisions/{sent['id']}", headers=judge).json()
        return decision["generation"], decision["verdict"]

    strict = tmp_path / "strict.toml"
    rule = '[[rule]]\nname = "any"\nwhen = "amount > 0"\nverdict = "hold"\ndescription = "a lock-down"\n'
    strict.write_text(DEFAULT.read_text().replace("count = 20\n", "count = 30\n") + rule)
    assert judged(1) == (1, "approve")

    assert answer(lockgate("policy", "check", str(strict), "--json"))["fit"] is True
    difference = lockgate("policy", "diff", str(strict)).stdout
    assert "~ limit sender_hourly_gifts\n    count: 20\n         → 30\n+ rule any\n" in difference
    changes = answer(lockgate("policy", "diff", str(strict), "--json"))["changes"]
    assert {one["name"]: one["change"] for one in changes} == {"sender_hourly_gifts": "changed", "any": "added"}

    done = lockgate("policy", "activate", str(strict), "--author", "ann")
    assert done.stdout == "generation 2 judges from now on\n"
    assert judged(2) == (2, "hold")
    same = "the same limits, rules, identity, model, review and breaker"
    assert same in lockgate("policy", "diff", str(strict)).stdout

    moved = answer(lockgate("policy", "rollback", "--author", "bob", "--json"))
    assert moved == {"left": 2, "generation": 1}
    assert judged(3) == (1, "approve")

    listed = answer(lockgate("policy", "list", "--json"))["activations"]
    assert [(one["generation"], one["author"], one["active"]) for one in listed] == [
        (1, "bob", True),
        (2, "ann", False),
        (1, "lockgate", False),
    ]
    assert answer(lockgate("policy", "show", "2", "--json"))["text"] == strict.read_text()
    assert lockgate("policy", "show").stdout == DEFAULT.read_text()
    assert "no generation before" in lockgate("policy", "rollback", status=1).stderr
    assert "no generation 9" in lockgate("policy", "show", "9", status=1).stderr
    assert "balanced" in lockgate("reconcile").stdout


def test_a_refused_policy_names_one_fault_a_line(lockgate: Run, tmp_path: Path) -> None:
    file = tmp_path / "bad.toml"
    file.write_text(BAD_POLICY)
    for command in ("check", "activate"):
        faults = lockgate("policy", command, str(file), status=1).stderr.splitlines()
        assert len(faults) == 4
        assert faults[0].startswith(f"{file}: limit 'sender_hourly': on = ['sendr']; name one or more of sender,")
        assert faults[1].startswith(f"{file}: limit 'sender_hourly': window = '40d'; write a span")
        assert faults[2].startswith(f"{file}: rule 'big': verdict = 'refuse'; write 'hold' or 'block'")
        assert faults[3].startswith(f"{file}: rule 'big': unknown column `amout`: perhaps amount")
    told = answer(lockgate("policy", "check", str(file), "--json", status=1))
    assert told["fit"] is False
    assert any("amout" in fault for fault in told["faults"])
    file.write_bytes(b"\xff")
    assert "not UTF-8" in lockgate("policy", "check", str(file), status=1).stderr
    assert answer(lockgate("policy", "list", "--json")) == {"activations": []}


def test_features_are_listed_with_type_and_meaning(lockgate: Run) -> None:
    rows = answer(lockgate("policy", "features", "--json"))["features"]
    assert {"name": "amount", "type": "int", "description": "micro-credits of this gift"} in rows
    assert lockgate("policy", "features").stdout.startswith("column ")


def test_a_key_is_printed_once_and_only_for_an_org_that_exists(lockgate: Run, database: str) -> None:
    key = lockgate("keys", "create", "--role", "platform").stdout.strip()
    assert re.fullmatch(r"lg_platform_[\w-]{40,}", key)
    assert lockgate("keys", "revoke", key).stdout.strip() == "revoked platform"
    assert "no such key" in lockgate("keys", "revoke", key, status=1).stderr
    create = ("keys", "create", "--role", "owner")
    assert "org 'nobody' does not exist" in lockgate(*create, "--org", "nobody", status=1).stderr
    assert "'owner' needs org" in lockgate(*create, status=1).stderr


def test_reconcile_and_migrate_say_what_they_found(lockgate: Run, server: str) -> None:
    assert answer(lockgate("reconcile", "--json"))["balanced"] is True
    assert answer(lockgate("migrate", "--json")) == {"applied": []}
    assert answer(lockgate("version", "--json"))["version"]
    empty = lockgate("reconcile", status=1, DATABASE_URL=server).stderr
    assert "run 'lockgate migrate' first" in empty


def test_books_that_do_not_balance_end_with_status_1(lockgate: Run, database: str) -> None:
    asyncio.run(cook(database))
    assert answer(lockgate("reconcile", "--json", status=1))["balanced"] is False
    assert "NOT balanced" in lockgate("reconcile", status=1).stdout


async def cook(database: str) -> None:
    """Credit an org past the entries."""
    conn = await asyncpg.connect(database)
    await conn.execute("INSERT INTO ledger.orgs (id, created_at, available) VALUES ('cooked', now(), 5)")
    await conn.close()


def test_a_report_makes_no_database_where_there_is_none(lockgate: Run, tmp_path: Path) -> None:
    message = lockgate("reconcile", status=1, DATABASE_URL="", LOCKGATE_HOME=str(tmp_path / "nowhere")).stderr
    assert "there is no database in" in message and "LOCKGATE_HOME" in message
    assert not (tmp_path / "nowhere").exists()


# --- traces ---


def test_a_trace_of_five_gifts_after_a_revocation(lockgate: Run, database: str, tmp_path: Path) -> None:
    async def play() -> tuple[str, list[str], str]:
        async with open_house(database) as house:
            root, orgs = await chain(house, 5)
            await house.revoke(root)
            gift = await house.pool.fetchval("select id from ledger.transfers where recipient = $1", orgs[3])
            return root, orgs, gift

    with asyncio.Runner() as runner:
        root, orgs, gift = runner.run(play())
    told = lockgate("trace", root).stdout
    assert told.count("gifted to") == 5 and all(org in told for org in orgs)
    assert f"0.00008 taken back, 0.00002 owed by {orgs[0]}" in told and "unspent" not in told
    assert max(map(len, told.splitlines())) <= 100
    found = answer(lockgate("trace", gift, "--json", "--svg", "gift.svg"))
    assert [one["org"] for one in found["grants"]] == orgs and found["totals"]["revoked"] == 80
    assert (tmp_path / "gift.svg").read_text().startswith("<svg")
    assert answer(lockgate("trace", orgs[5], "--json", "--most", "3"))["kind"] == "org"
    assert "grant, org or transfer 'nosuch' does not exist" in lockgate("trace", "nosuch", status=1).stderr
