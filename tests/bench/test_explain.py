"""The benchmark of looks at cases: one whole small run says what it measured."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from bench.servers import ROOT
from models import artifact
from models.artifact import Content


def test_a_run_looks_at_real_gifts_beside_many_cases(small: Content, tmp_path_factory: pytest.TempPathFactory) -> None:
    directory = tmp_path_factory.mktemp("models") / small.name
    artifact.write(directory, small)
    command = [sys.executable, "-m", "bench.cli", "explain", "--quick", "--json", "--model", str(directory)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert set(told["ms"]) == {"case", "explanation", "show"} and set(told["goals"]) == {"show"}
    assert all(0 < one["median"] <= one["p95"] <= one["most"] for one in told["ms"].values())
    assert told["held"] > 0 and told["faults"] == []
