"""`lockgate verify` as it is run: exit status, the rows it names, JSON for programs."""

from __future__ import annotations

import asyncio
import json

import asyncpg
import pytest
from typer.testing import CliRunner

from detector import log
from detector.finding import Finding
from detector.log import Told
from detector.verify_cli import line
from lockgate import cli


async def at(dsn: str, *statements: str) -> None:
    conn = await asyncpg.connect(dsn)
    if not statements:
        await log.append(conn, [Told("case.opened", "c1", "ann", {"n": nr}) for nr in range(3)])
    await conn.execute("set session_replication_role = replica")
    for statement in statements:
        await conn.execute(statement)
    await conn.close()


def test_verify_names_what_was_touched_and_exits_so(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", database)
    run = CliRunner().invoke
    empty = run(cli.app, ["verify"])
    assert empty.exit_code == 0 and empty.stdout == f"0 events in 0 links: all as it was appended\nhead 0 {'00' * 32}\n"
    asyncio.run(at(database))
    whole = run(cli.app, ["verify"])
    assert whole.exit_code == 0 and whole.stdout.startswith("3 events in 1 links: all as it was appended\nhead 3 ")
    edit, drop = "update log.events set actor = 'mallory' where seq = 2", "delete from log.events where seq = 3"
    asyncio.run(at(database, edit, drop))
    touched = run(cli.app, ["verify"])
    assert touched.exit_code == 1
    assert touched.stdout.splitlines()[:3] == [
        "edited event 2 case.opened of c1: what it says does not make its hash",
        "dropped event 3: it was appended and is not there",
        "2 events in 1 links: 2 findings",
    ]
    shape = json.loads(run(cli.app, ["verify", "--json"]).stdout)
    assert shape["sound"] is False and shape["events"] == 2 and shape["head"]["seq"] == 3
    assert [(one["what"], one["seq"], one["kind"]) for one in shape["findings"]] == [
        ("edited", 2, "case.opened"), ("dropped", 3, None),
    ]  # fmt: skip
    asyncio.run(at(database, "update log.events set subject = subject || seq", "delete from log.events where seq = 1"))
    assert run(cli.app, ["verify", "--quiet"]).exit_code == 1


def test_more_than_a_screen_of_findings_is_counted(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", database)

    async def many() -> None:
        conn = await asyncpg.connect(database)
        await log.append(conn, [Told("case.opened", "c1", "ann", {})] * 250)
        await conn.close()

    asyncio.run(many())
    asyncio.run(at(database, "update log.events set actor = 'mallory'"))
    told = CliRunner().invoke(cli.app, ["verify"]).stdout.splitlines()
    assert len(told) == 103 and told[100] == "… and 150 more; --json names them all"
    assert len(json.loads(CliRunner().invoke(cli.app, ["verify", "--json"]).stdout)["findings"]) == 250


def test_a_hostile_text_stays_on_its_line() -> None:
    told = line(Finding("edited", "log.events", 1, "a.b", "x\ndropped event 9: \x1b[2Jno", "why"))
    assert told == "edited event 1 a.b of x dropped event 9: \ufffd[2Jno: why"
