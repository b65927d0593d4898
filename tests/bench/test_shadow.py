"""The benchmark of a slow challenger: one whole run with tiny durations says what it measured."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from bench import pooled
from bench.load import percentile
from bench.pooled import Waits
from bench.servers import ROOT
from bench.shadow import goal
from models import artifact
from models.artifact import Content


def test_a_run_measures_pairs_of_laps_while_the_model_judges(
    small: Content, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("models") / small.name
    artifact.write(directory, small)
    options = ["--quick", "--json", "--orgs", "60", "--pace", "30", "--model", str(directory)]
    command = [sys.executable, "-m", "bench.cli", "shadow", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert set(told["interval"]) == {"p50_ratio", "p95_ratio", "p99_ratio", "typical_p99_ratio"}
    goal = told["goals"]["p99_ratio"]
    assert told["interval"]["p99_ratio"] is None and not goal["met"] and not goal["missed"]  # of one round
    assert goal["reached"] == pytest.approx(told["ms"]["shadowed"]["p99"] / told["ms"]["alone"]["p99"], rel=0.05)
    assert told["pace"] == 30 and all(told["requests"].values())
    assert sum(told["requests"].values()) <= told["statuses"]["single"]["201"]
    assert told["mechanism"]["shadow"]["most"] >= 0 and 0 <= told["mechanism"]["share_of_cores"] < 1
    assert told["judged"] > 0 and told["shadow_scored"] + told["pending"] == told["judged"]
    assert told["statuses"] == {"single": {"201": sum(told["transfers"].values())}} and told["faults"] == []


def test_what_is_no_artifact_is_named() -> None:
    command = [sys.executable, "-m", "bench.cli", "shadow", "--quick", "--model", "nowhere"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and "nowhere is no artifact to judge by" in done.stderr


# The statistics


def laps(rounds: int, seed: int, slower: float = 1.0) -> tuple[list[Waits], list[Waits]]:
    """Laps of 300 waits; the machine is slow or fast for both laps of a round, and a lap in twenty strays alone."""
    chance = np.random.default_rng(seed)
    found: tuple[list[Waits], list[Waits]] = [], []
    for _ in range(rounds):
        machine = chance.lognormal(0, 0.5)
        for way, times in zip(found, (slower, 1.0), strict=True):
            stray = 5.0 if chance.random() < 0.05 else 1.0
            way.append((chance.lognormal(0, 0.4, 300) * machine * times * stray * 1e6).astype(np.int64))
    return found


@pytest.mark.parametrize("of", [pooled.ratio, pooled.typical])
def test_the_interval_holds_what_is_true_as_often_as_it_says(of: pooled.Figure) -> None:
    held = 0
    for seed in range(60):
        ours, theirs = laps(30, seed)
        low, high = pooled.interval(ours, theirs, 0.99, of, draws=100) or (9, 9)
        held += low <= 1 <= high
    assert held >= 52  # of 57 on average


def test_a_stray_lap_decides_the_pooled_percentile_and_not_the_usual_round() -> None:
    ours = [np.full(100, 10) for _ in range(30)]
    theirs = [np.full(100, 10) for _ in range(30)]
    ours[3] = np.full(100, 90)
    assert pooled.ratio(ours, theirs, 0.99) == 9 and pooled.typical(ours, theirs, 0.99) == 1


def test_a_slower_way_is_found_and_rounds_are_drawn_whole() -> None:
    ours, theirs = laps(48, 1, slower=2.5)
    low, high = pooled.interval(ours, theirs, 0.5) or (0, 9)
    assert 1.05 < low < pooled.ratio(ours, theirs, 0.5) < high
    # What is paired otherwise says the same and is less sure of it.
    wide = pooled.interval(ours, theirs[1:] + theirs[:1], 0.5) or (0, 0)
    assert high - low < wide[1] - wide[0]
    assert pooled.interval(ours, theirs, 0.5) == (low, high)


def test_fewer_rounds_than_say_anything_give_no_interval() -> None:
    ours, theirs = laps(pooled.FEWEST, 2)
    assert pooled.interval(ours[1:], theirs[1:], 0.5) is None and pooled.interval(ours, theirs, 0.5, draws=9)


@pytest.mark.parametrize(
    ("sure", "met", "missed"), [((0.9, 1.05), True, False), ((1.06, 2.0), False, True), ((0.9, 1.1), False, False)]
)
def test_a_goal_is_told_only_where_the_whole_interval_tells_it(
    sure: tuple[float, float], met: bool, missed: bool
) -> None:
    assert goal(1.0, sure) == {"goal": 1.05, "reached": 1.0, "met": met, "missed": missed}
    assert not goal(1.0, None)["met"] and not goal(1.0, None)["missed"]


def test_requests_belong_to_the_lap_in_which_they_were_due() -> None:
    due, waited = np.array([30, 10, 20, 40]), np.array([3, 99, 2, 4])
    found = pooled.cut(due, waited, [(10, 20), (20, 40), (50, 60)])
    assert [lap.tolist() for lap in found] == [[99], [2, 3], []]


def test_a_percentile_is_the_load_generators() -> None:
    waits = np.random.default_rng(1).integers(0, 10**6, 997)
    for share in (0.01, 0.5, 0.95, 0.99, 0.999):
        assert pooled.percentile(waits, share) == percentile(sorted(waits.tolist()), share)
