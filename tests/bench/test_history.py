"""The benchmark of features over a history: each process tells of its calls, and the report is theirs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench import history
from bench.servers import BenchError
from training.ready import whole


def test_a_process_times_every_call_and_says_what_it_computed(tmp_path: Path) -> None:
    whole().write_parquet(tmp_path / "h.parquet")
    told = history.alone(str(tmp_path / "h.parquet"), 2)
    assert told["gifts"] == whole().height and len(told["calls"]) == 3
    assert all(call["wall_s"] > 0 and call["cpu_s"] >= 0 for call in told["calls"])
    assert told["digest"] == history.alone(str(tmp_path / "h.parquet"), 0)["digest"]


def test_a_history_that_cannot_be_read_is_named() -> None:
    with pytest.raises(BenchError, match="nowhere"):
        history.run("nowhere.parquet", 0, {})


def lap(*seconds: float, digest: str = "a") -> dict[str, Any]:
    calls = [{"wall_s": one, "cpu_s": 1.5 * one} for one in seconds]
    return {"gifts": 1_000_000, "features": 3, "import_s": 1.0, "read_s": 0.5, "calls": calls, "digest": digest}


def test_the_report_keeps_first_calls_apart_from_warm_ones() -> None:
    told = history.report(lap(20.0), [lap(4.0, 2.0, 2.5), lap(5.0, 1.0, 2.0), lap(10.0, 2.0, 2.0)])
    assert told["gifts_per_s"]["compiling"]["median"] == 50_000
    assert told["gifts_per_s"]["first"] == {"min": 100_000, "median": 200_000, "max": 250_000}
    assert told["gifts_per_s"]["warm"] == {"min": 400_000, "median": 500_000, "max": 1_000_000}
    assert told["cpu_s_per_million"] == {"compiling": 30.0, "first": 7.5, "warm": 3.0}
    assert told["goals"]["first"]["met"] and told["faults"] == []
    assert history.report(lap(20.0, digest="b"), [lap(6.0, 2.0)])["faults"]
    assert not history.report(lap(20.0), [lap(6.0, 2.0)])["goals"]["first"]["met"]
