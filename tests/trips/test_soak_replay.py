"""Whole histories through the real application: minutes each, so only `make soak` runs them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

SHARED = Path(__file__).parents[3] / "shared" / "data"


@pytest.mark.soak
@pytest.mark.parametrize("name", ["payments-2018-05.parquet", "rings-a.parquet"])
def test_a_whole_history_ends_with_balanced_books(name: str) -> None:
    file = SHARED / name
    if not file.exists():
        pytest.skip(f"{file} is not here")
    command = [Path(sys.executable).with_name("lockgate"), "replay", file, "--json", "--quiet"]
    told = subprocess.run(command, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    report = json.loads(told.stdout)
    assert report["gifts"] == pl.read_parquet(file, columns=["id"]).height
    assert report["reconciled"] and report["bad_rows"] == 0
    assert sum(report["verdicts"].values()) == report["gifts"]
