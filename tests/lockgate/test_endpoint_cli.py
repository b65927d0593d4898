"""`lockgate endpoints` as an operator types it, against a receiver that is a process of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from lockgate.cli import app, main
from tests.receiver import ReceiverProcess

Words = Callable[..., Result]


@pytest.fixture
def lockgate(database: str, monkeypatch: pytest.MonkeyPatch) -> Words:
    """Runs one command; fails unless it ends with the status expected."""
    monkeypatch.setenv("DATABASE_URL", database)
    monkeypatch.setenv("LOCKGATE_WEBHOOK_PRIVATE", "allow")

    def run(*words: str, status: int = 0) -> Result:
        done = CliRunner().invoke(app, ["endpoints", *words])
        assert done.exit_code == status, (done.output, done.exception)
        return done

    return run


def answer(done: Result) -> Any:
    return json.loads(done.stdout)


def test_an_operator_adds_tests_changes_and_removes_an_endpoint(lockgate: Words, tmp_path: Path) -> None:
    there = ReceiverProcess(tmp_path, "")
    assert "no endpoints" in lockgate("list").stdout
    made = answer(
        lockgate("add", there.url, "--kind", "transfer.*", "--kind", "org.frozen", "--author", "ann", "--json")
    )
    key, there.secret = made["id"], made["secret"]
    assert made["kinds"] == ["org.frozen", "transfer.*"]
    down = answer(lockgate("test", key, "--json", status=1))
    assert down["outcome"] == "failed" and "no connection" in down["error"]
    there.start()
    try:
        assert "test  delivered: 204" in lockgate("test", key).stdout
        rotated = answer(lockgate("rotate", key, "--overlap-hours", "1", "--json"))
        assert rotated["secret"] != there.secret and "delivered" in lockgate("test", key).stdout
    finally:
        there.kill()
    assert f"{key}  disabled (platform)  {there.url}" in lockgate("disable", key).stdout
    assert answer(lockgate("enable", key, "--json"))["enabled"]
    assert answer(lockgate("change", key, "--kind", "grant.*", "--json"))["kinds"] == ["grant.*"]
    assert "after 0 once more" in lockgate("replay", key, "--after", "0").stdout
    assert answer(lockgate("replay", key, "--since", "2020-01-01T00:00:00Z", "--json"))["after"] == 0
    assert [one["outcome"] for one in answer(lockgate("deliveries", key, "--json"))["deliveries"]] == [
        "delivered", "delivered", "failed",
    ]  # fmt: skip
    assert lockgate("deliveries", key, "--failed").stdout.count("\n") == 1
    assert key in lockgate("list").stdout and "whsec" not in lockgate("show", key, "--json").stdout
    assert f"removed {key}" in lockgate("remove", key).stdout
    assert "no endpoints" in lockgate("list").stdout


def test_what_cannot_be_done_ends_with_a_message(
    lockgate: Words, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lockgate("change", "we_none", status=2)
    lockgate("replay", "we_none", "--since", "soon", status=2)
    monkeypatch.delenv("LOCKGATE_WEBHOOK_PRIVATE")
    wrong = [
        (["show", "we_none"], "there is no endpoint 'we_none'"),
        (["replay", "we_none"], "give one of after"),
        (["add", "https://10.0.0.1/hook"], "which is not public; LOCKGATE_WEBHOOK_PRIVATE=allow"),
        (["add", "http://example.com/"], "not https"),
    ]
    for words, says in wrong:
        monkeypatch.setattr("sys.argv", ["lockgate", "endpoints", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        assert says in str(ended.value.code), words
