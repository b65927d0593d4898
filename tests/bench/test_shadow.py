"""The benchmark of a slow challenger: one whole run with tiny durations says what it measured."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from bench.servers import ROOT
from models import artifact
from models.artifact import Content


def test_a_run_measures_pairs_of_laps_while_the_model_judges(
    small: Content, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("models") / small.name
    artifact.write(directory, small)
    options = ["--quick", "--json", "--orgs", "60", "--model", str(directory)]
    command = [sys.executable, "-m", "bench.cli", "shadow", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert set(told["spread"]) == set(told["interval"]) == {"p50_ratio", "p95_ratio", "p99_ratio"}
    goal = told["goals"]["p99_ratio"]
    assert told["interval"]["p99_ratio"] is None and not goal["met"] and not goal["missed"]  # of one round
    assert all(one["min"] <= one["median"] <= one["max"] for one in told["spread"].values())
    assert set(told["gps"]) == set(told["p99_ms"]) == {"alone", "shadowed"}
    assert told["pace"] > 0 and told["gps"]["alone"]["max"] <= 2.1 * told["pace"]  # what the warm-up left over, too
    assert told["judged"] > 0 and told["shadow_scored"] + told["pending"] == told["judged"]
    assert told["statuses"] == {"single": {"201": sum(told["transfers"].values())}} and told["faults"] == []


def test_what_is_no_artifact_is_named() -> None:
    command = [sys.executable, "-m", "bench.cli", "shadow", "--quick", "--model", "nowhere"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and "nowhere is no artifact to judge by" in done.stderr
