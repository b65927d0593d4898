"""A ledger and its scorer apart, as an operator starts them: from the key to a settled gift."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from tests.lockgate.test_serve import ROOT, pasted, serving, until

# The whole lock, and the deadline that an honest answer on a busy machine needs.
QUICK = {
    "LOCKGATE_LOCK_HOURS": str(2 / 3600),
    "LOCKGATE_SETTLE_EVERY_S": "0.1",
    "LOCKGATE_SCORER_DEADLINE_MS": "20000",
}


def test_one_gift_over_two_machines(
    tmp_path: Path, fresh_databases: tuple[Callable[[], str], Callable[[str], None]]
) -> None:
    make, drop = fresh_databases
    ledger_dsn, scorer_dsn = make(), make()
    try:
        home = tmp_path / "scorer"
        home.mkdir()
        with serving(home, "--only", "detector", DATABASE_URL=scorer_dsn) as scorer:
            assert "the scoring API alone" in scorer.text
            paths = set(httpx.get(f"{scorer.url}/openapi.json").json()["paths"])
            assert "/v1/score/batch" in paths
            assert not any(path.startswith(("/v1/billing", "/v1/orgs")) for path in paths)
            assert httpx.post(f"{scorer.url}/v1/billing/credits/transfer").status_code == 404
            key = run(["keys", "create", "--role", "service", "--name", "ledger"], DATABASE_URL=scorer_dsn)
            one_gift(tmp_path, ledger_dsn, scorer.url, key)
            assert httpx.get(f"{scorer.url}/healthz").json()["status"] == "ok"
    finally:
        drop(ledger_dsn)
        drop(scorer_dsn)


def one_gift(tmp_path: Path, dsn: str, scorer: str, key: str) -> None:
    environ = {**QUICK, "DATABASE_URL": dsn, "LOCKGATE_HOME": str(tmp_path), "LOCKGATE_SCORER_KEY": key}
    with serving(tmp_path, "--only", "ledger", "--scorer", scorer, "--demo", **environ) as ledger:
        assert f"{scorer} judges" in ledger.text
        paths = set(httpx.get(f"{ledger.url}/openapi.json").json()["paths"])
        assert "/v1/billing/credits/transfer" in paths
        assert not any(path.startswith("/v1/score") for path in paths)
        gift, status = pasted(ledger.curls()[0])
        assert (status, gift["status"]) == (201, "pending"), gift
        show = ledger.curls()[1].replace("/ID ", f"/{gift['id']} ")
        until(lambda: pasted(show)[0]["status"] == "settled")
        assert httpx.get(f"{ledger.url}/healthz").json()["scorer"]["circuit"] == "closed"
        looks = asked(scorer, key, str(gift["id"]))
        assert [one["verdict"] for one in looks] == ["approve", "approve"]


def asked(scorer: str, key: str, gift: str) -> list[dict[str, Any]]:
    """The looks that the scorer took."""
    headers = {"Authorization": f"Bearer {key}"}
    return [httpx.get(f"{scorer}/v1/decisions/{gift}.{look}", headers=headers).json() for look in (1, 2)]


def run(arguments: list[str], **environ: str) -> str:
    """What a command of ours prints."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), **environ}
    command = [sys.executable, "-m", "lockgate.cli", *arguments, "--json"]
    told = subprocess.run(command, env=env, capture_output=True, text=True, check=True, timeout=60)
    return str(json.loads(told.stdout)["key"])
