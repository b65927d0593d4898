"""The benchmark of sweeps: one whole small run judges every waiting gift again."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from bench.servers import ROOT
from models import artifact
from models.artifact import Content


def test_a_run_judges_a_lock_full_of_gifts_again(small: Content, tmp_path_factory: pytest.TempPathFactory) -> None:
    directory = tmp_path_factory.mktemp("models") / small.name
    artifact.write(directory, small)
    command = [sys.executable, "-m", "bench.cli", "relook", "--quick", "--json", "--workers", "1"]
    done = subprocess.run([*command, "--model", str(directory)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["gifts"] > 500 and sum(told["after"].values()) == 600 and told["faults"] == []
    assert told["seconds"] > 0 and told["cpu_us_per_gift"]["application"] > 0
