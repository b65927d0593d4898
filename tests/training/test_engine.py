"""Engines: a real Dask cluster of two processes gives the very bytes that this process gives."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from detector.feature_table import HASH
from models import artifact
from training.engine import engine
from training.errors import TrainingError
from training.features import features
from training.fit import fit
from training.lesson import Wish
from training.score import score_history
from training.simulate import START, simulate

AS_OF = START + timedelta(days=35)
WISH = Wish(as_of=AS_OF, name="small", enough=5, iterations=8)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """HOST:PORT of a scheduler with two worker processes."""
    place = tmp_path_factory.mktemp("dask")
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    door = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(place / "scheduler.json")]
    started = [subprocess.Popen([sys.executable, "-m", "distributed.cli.dask_scheduler", *door], **quiet)]
    join = ["--nthreads", "1", "--no-nanny", "--no-dashboard", "--local-directory", str(place)]
    join += ["--scheduler-file", str(place / "scheduler.json")]
    # Elsewhere than this process's directory, as on other machines.
    started += [
        subprocess.Popen([sys.executable, "-m", "distributed.cli.dask_worker", *join], cwd=place, **quiet)
        for _ in range(2)
    ]
    import distributed

    try:
        with distributed.Client(scheduler_file=str(place / "scheduler.json"), timeout=60) as client:
            client.wait_for_workers(2, timeout=60)
            yield client.scheduler.address.removeprefix("tcp://")
    finally:
        for one in reversed(started):
            one.terminate()
            one.wait(30)


@pytest.mark.filterwarnings("default")
def test_a_cluster_gives_the_same_bytes(cluster: str, tmp_path: Path) -> None:
    import joblib

    rows = simulate(500, 45, 3).drop("typology")
    made, scores = [], []
    for number, where in enumerate(("local", f"dask://{cluster}")):
        with engine(where):
            pids = set(joblib.Parallel()(joblib.delayed(os.getpid)() for _ in range(8)))
            assert (os.getpid() in pids) == (where == "local") and len(pids) <= 2
            table = features(rows)
            content = fit(rows, table, WISH, HASH)
        assert content.supervised is not None
        made.append(artifact.build(content))
        model = artifact.write(tmp_path / f"m{number}", content)
        found = score_history(rows, table, model, AS_OF, AS_OF + timedelta(days=9))
        scores.append(found["score"].to_numpy().tobytes())
        assert table.equals(features(rows))
    assert made[0] == made[1] and scores[0] == scores[1]


@pytest.mark.parametrize(
    ("where", "said"),
    [("spark://x", "give local, dask://HOST:PORT"), ("dask://127.0.0.1:1", "no Dask scheduler answers")],
)
def test_an_engine_that_is_not_there_is_said(where: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.engine.CONNECT_S", 1)
    with pytest.raises(TrainingError, match=said), engine(where):
        pass


def test_a_missing_library_is_named_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    # What an import finds where the library is not installed.
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(TrainingError, match=r"pip install 'lockgate\[ray\]'"), engine("ray://auto"):
        pass
