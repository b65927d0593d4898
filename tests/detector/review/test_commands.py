"""The plain commands as scripts run them: real processes, real keys, exit statuses."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from detector.case_shapes import Case
from tests.detector.review.conftest import HUGE, LARGE, MEDIUM, PROGRAM, Office
from tests.support import CREDIT, ROOT, one_ring
from training.simulate import simulate

Run = Callable[..., Awaitable[subprocess.CompletedProcess[str]]]


@pytest.fixture
def review(office: Office, tmp_path: Path) -> Run:
    """Runs `lockgate review …` as one of the people; fails unless it ends with the status expected."""

    async def run(who: str, *words: str, status: int = 0, **environ: str) -> subprocess.CompletedProcess[str]:
        way = {"LOCKGATE_URL": office.url, "LOCKGATE_KEY": office.keys.get(who, ""), "XDG_CONFIG_HOME": str(tmp_path)}
        env = {**os.environ, "PYTHONPATH": str(ROOT), "DATABASE_URL": "", **way, **environ}
        done = await asyncio.to_thread(
            subprocess.run, [*PROGRAM, "review", *words], cwd=tmp_path, env=env, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == status, done
        assert "Traceback" not in done.stderr
        return done

    return run


def answer(done: subprocess.CompletedProcess[str]) -> Any:
    return json.loads(done.stdout)


async def test_a_day_at_the_desk_by_script(office: Office, review: Run) -> None:
    case = await office.held(gifts=3)
    listed = answer(await review("alice", "list", "--sender", case.senders[0], "--json"))
    assert [one["id"] for one in listed["cases"]] == [case.id] and listed["more"] is False
    assert f"{case.id}  " in (await review("alice", "list", "--sender", case.senders[0])).stdout
    claim = await review("alice", "claim", case.id)
    assert claim.stdout.startswith(f"{case.id}: yours until ")
    again = await review("bob", "claim", case.id, "--json", status=3)
    assert answer(again)["fault"]["code"] == "case_conflict" and "alice claimed" in again.stderr
    await review("alice", "note", case.id, "spoke to them")
    shown = answer(await review("bob", "show", case.id, "--json"))
    assert [one["text"] for one in shown["notes"]] == ["spoke to them"]
    assert len(shown["explanations"]) == 1 and shown["explanations"][0]["gift"] in {g["id"] for g in shown["gifts"]}
    first, second, third = (gift["id"] for gift in shown["gifts"])
    asked = ("alice", "release", case.id, "--gift", first, "--why", "known")
    assert answer(await review(*asked, "--dry-run", "--json"))["gifts"] == [first]
    ruled = answer(await review(*asked, "--json"))
    assert (ruled["ruling"]["status"], ruled["ruling"]["gifts"], ruled["case"]["waiting"]) == ("done", [first], 2)
    assert "waits no more: released by alice on 20" in (await review(*asked, status=3)).stderr
    assert (
        "Done: return of 1 gift"
        in (await review("alice", "return", case.id, "--gift", second, "--why", "asked for")).stdout
    )
    assert "Done: block" in (await review("alice", "block", case.id, "--why", "stolen")).stdout
    ended = await review("alice", "block", case.id, "--why", "again", status=3)
    assert "no gift of case" in ended.stderr
    (gone,) = answer(await review("otto", "list", "--status", "ended", "--sender", case.senders[0], "--json"))["cases"]
    assert (gone["status"], gone["waiting"]) == ("ended", 0)
    standing = {g["id"]: g["standing"] for g in answer(await review("otto", "show", case.id, "--json"))["gifts"]}
    assert standing == {first: "released", second: "returned", third: "blocked"}


async def test_four_eyes_by_script(office: Office, review: Run) -> None:
    case = await office.held(HUGE)
    asked = ("alice", "release", case.id, "--why", "known", "--claim", "--json")
    assert answer(await review(*asked, status=4))["ruling"]["status"] == "proposed"
    assert "another person" in (await review("alice", "confirm", case.id, status=5)).stderr
    assert "alice proposed" in (await review("lena", "block", case.id, "--why", "no", status=3)).stderr
    await review("bob", "refuse", case.id, "--why", "not to me")
    assert "waits for a second person" in (await review("bob", "confirm", case.id, status=3)).stderr
    await review("alice", "release", case.id, "--why", "see the contract", status=4)
    done = await review("bob", "confirm", case.id)
    assert done.stdout.strip() == f"{case.id}: Done: release of 1 gift, 1,000 credits."


async def test_leads_assign_and_everybody_escalates(office: Office, review: Run) -> None:
    case, other = await office.held(), await office.held(LARGE)
    assert "cases:assign" in (await review("alice", "assign", case.id, "--to", "bob", status=5)).stderr
    await review("lena", "assign", case.id, other.id, "--to", "bob")
    assert "assigned to bob" in (await review("alice", "claim", case.id, status=3)).stderr
    await review("bob", "claim", case.id, other.id)
    await review("bob", "escalate", other.id, "--why", "too large for me")
    mine = answer(await review("bob", "list", "--mine", "--rule", "large", "--json"))["cases"]
    assert [(one["id"], one["escalated"]) for one in mine] == [(other.id, True)]
    await review("bob", "unclaim", case.id)
    done = await review("bob", "freeze", other.id, "--org", other.recipients[0], "--why", "a mule", "--json")
    assert answer(done)["ruling"]["act"] == "freeze" and answer(done)["case"]["waiting"] == 1
    assert await office.house.pool.fetchval("select frozen from ledger.orgs where id = $1", other.recipients[0])


async def test_one_case_that_cannot_be_claimed_keeps_no_other_from_it(office: Office, review: Run) -> None:
    case = await office.held()
    done = await review("alice", "claim", "nowhere", case.id, status=6)
    assert "nowhere" in done.stderr and case.id in done.stdout


async def test_export_writes_every_case_once(office: Office, review: Run, tmp_path: Path) -> None:
    cases = [await office.held(), await office.held(LARGE, gifts=2)]
    done = await review("otto", "export", "--out", "cases.csv", "--format", "csv")
    assert done.stdout == ""
    rows = {row["id"]: row for row in csv.DictReader((tmp_path / "cases.csv").read_text().splitlines())}
    for case in cases:
        assert int(rows[case.id]["amount"]) == case.amount and rows[case.id]["senders"] == case.senders[0]
    lines = (await review("otto", "export", "--min-amount", "800", "--whole")).stdout.splitlines()
    wholes = {one["case"]["id"]: one for one in map(json.loads, lines)}
    assert cases[1].id in wholes and cases[0].id not in wholes and len(wholes) == len(lines)
    assert len(wholes[cases[1].id]["gifts"]) == 2
    assert list(tmp_path.glob("*.part")) == []
    assert "cannot be written" in (await review("otto", "export", "--out", "no/such/place", status=1)).stderr


async def test_each_mistake_has_its_status(office: Office, review: Run, tmp_path: Path) -> None:
    assert "no case 'nowhere'" in (await review("alice", "show", "nowhere", status=6)).stderr
    assert "--sort is 'size'" in (await review("alice", "list", "--sort", "size", status=2)).stderr
    assert "amount 'lots'" in (await review("alice", "list", "--min-amount", "lots", status=2)).stderr
    assert "set LOCKGATE_KEY" in (await review("nobody", "list", status=5)).stderr
    assert "unknown or revoked" in (await review("alice", "list", status=5, LOCKGATE_KEY="lg_x")).stderr
    away = await review("alice", "list", status=1, LOCKGATE_URL="http://127.0.0.1:9")
    assert "does not answer" in away.stderr
    assert "needs a terminal" in (await review("alice", status=2)).stderr
    assert "--why" in (await review("alice", "release", "x", status=2)).stderr
    file = tmp_path / "my key"
    file.write_text(office.keys["alice"])
    file.chmod(0o600)
    await review("nobody", "list", LOCKGATE_KEY_FILE=str(file))
    file.chmod(0o644)
    assert "chmod 600" in (await review("nobody", "list", status=5, LOCKGATE_KEY_FILE=str(file))).stderr


async def test_the_shell_completes_commands_cases_and_rules(office: Office, review: Run) -> None:
    case: Case = await office.held(LARGE)

    async def completed(line: str) -> str:
        asks = {"_LOCKGATE_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)}
        env = {**os.environ, **asks, "LOCKGATE_URL": office.url, "LOCKGATE_KEY": office.keys["alice"]}
        code = "import sys; sys.argv[0] = 'lockgate'; from lockgate.cli import app; app(prog_name='lockgate')"
        done = await asyncio.to_thread(
            subprocess.run, [sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, check=False
        )
        assert "Traceback" not in done.stderr, done
        return done.stdout

    assert "escalate" in await completed("lockgate review esc")
    assert case.id in await completed(f"lockgate review show {case.id[:-2]}")
    assert "large" in await completed("lockgate review list --rule la")
    assert "deadline" in await completed("lockgate review list --sort d")


async def test_plain_commands_load_neither_the_terminal_nor_the_service() -> None:
    heavy = "{'textual', 'asyncpg', 'polars', 'fastapi', 'httpx', 'numpy'}"
    check = f"import sys, lockgate.cli, detector.review.cli; print({heavy} & {{*sys.modules}})"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", check], env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"


async def test_a_ring_is_one_case_and_show_says_all_of_it(office: Office, review: Run) -> None:
    ring = [await office.org() for _ in range(6)]
    gifts = [await office.house.sent(a, b, MEDIUM) for a, b in [*pairwise(ring), (ring[-1], ring[0])]]
    case = await office.case(ring[0])
    told = answer(await review("alice", "show", case.id, "--every-gift", "--json"))
    assert {one["id"] for one in told["gifts"]} == set(gifts) and told["case"]["gifts"] == len(gifts)
    assert [one["kind"] for one in told["audit"]].count("case.opened") == 1
    assert {one["gift"] for one in told["explanations"]} == set(gifts)
    for why in told["explanations"]:
        assert why["replayed"] and [one["name"] for one in why["causes"]] == ["medium"]
        assert why["model"]["model"] is None and "no model" in why["model"]["note"]
        assert [one["what"] for one in why["turns"]] == ["amount", "time", "counterpart"]
        (amount,) = [one for one in why["turns"] if one["what"] == "amount"]
        assert amount["to"] is not None and amount["verdict"] == "approve"
        assert set(ring) >= {one["id"] for one in why["graph"]["nodes"]} and len(why["graph"]["edges"]) >= 4
        assert {one["id"] for one in why["timeline"]} <= set(gifts) and why["timeline"]


async def test_a_ring_of_the_simulator_played_through_the_gate_is_one_case(office: Office, review: Run) -> None:
    ring = one_ring(simulate(1_000, 60, 3))
    for name in sorted({org for pair in ring for org in pair}):
        await office.house.org(name, amount=100_000 * CREDIT)
    gifts = {await office.house.sent(a, b, MEDIUM) for a, b in ring}
    case = await office.case(ring[0][0])
    told = answer(await review("alice", "show", case.id, "--json"))
    assert {one["id"] for one in told["gifts"]} == gifts
    (why,) = told["explanations"]
    parts = ("causes", "turns", "timeline")
    assert (
        why["replayed"] and all(why[part] for part in parts) and len(why["graph"]["nodes"]) > 2 and why["model"]["note"]
    )
