"""Weekly folds: each as `train` and `score-history` would have had it, and blind to what came later."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from detector.feature_table import HASH, NAMES
from lockgate.cli import app
from models import artifact
from training import folds
from training.errors import TrainingError
from training.features import features
from training.fit import fit
from training.folds import Fold, Labels
from training.jobs import tables_of
from training.lesson import Wish
from training.score import score_history
from training.simulate import START, simulate
from training.split import Span

DAY = timedelta(days=1)
SPAN = Span(START + 56 * DAY, START + 63 * DAY)
WISH = Wish(as_of=START, name="fold", enough=20, iterations=8)


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    return simulate(600, 66, 3).drop("typology")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def judged(rows: pl.DataFrame, labels: Labels, cache: Path) -> Fold:
    return folds.judge(rows, tables_of(rows, labels, cache), SPAN, WISH, HASH, lambda stage, share: None)


def test_a_fold_is_what_train_and_score_history_give(rows: pl.DataFrame, cache: Path, tmp_path: Path) -> None:
    found = judged(rows, Labels.KNOWN, cache)
    table, past = features(rows), (rows["at"] < SPAN.start).to_numpy()
    wish = Wish(as_of=SPAN.start, name="fold", enough=WISH.enough, iterations=WISH.iterations)
    artifact.write(tmp_path / "fold", fit(rows.filter(past), table.filter(past), wish, HASH))
    model = artifact.read(tmp_path / "fold", features=NAMES, feature_table_hash=HASH)
    scores = score_history(rows, table, model, SPAN.start, SPAN.end)
    assert found.kind == "boosted trees" and found.frauds >= WISH.enough and found.thresholds == model.thresholds
    assert found.held.judged.score.tobytes() == scores["score"].to_numpy().tobytes()
    truth = rows.filter(rows["id"].is_in(scores["id"].implode()))["fraud"].fill_null(False)
    assert found.held.judged.fraud.tolist() == truth.to_list() and truth.any()


@pytest.mark.parametrize("labels", list(Labels))
def test_labels_count_from_their_moment_on_or_never(rows: pl.DataFrame, cache: Path, labels: Labels) -> None:
    """Turned: labels that came after the fold; and all of them, where none may count. Truths turn with them."""
    turned = pl.col("label_at") >= (START if labels == Labels.NEVER else SPAN.end)
    other = rows.with_columns(fraud=pl.when(turned).then(~pl.col("fraud")).otherwise("fraud"))
    one, two = judged(rows, labels, cache), judged(other, labels, cache)
    assert one.held.judged.score.tobytes() == two.held.judged.score.tobytes() and one.thresholds == two.thresholds
    assert one.held.judged.fraud.tolist() != two.held.judged.fraud.tolist()


def test_without_labels_the_model_is_one_and_late_ones_count_in_features(rows: pl.DataFrame, cache: Path) -> None:
    never, late = (judged(rows, labels, cache) for labels in (Labels.NEVER, Labels.LATE))
    assert never.kind == late.kind == "surprises, without labels" and never.frauds == late.frauds == 0
    assert never.thresholds == late.thresholds
    raised = late.held.judged.score - never.held.judged.score
    assert (raised >= 0).all() and (raised > 0).any()


def test_means_are_of_the_folds_and_say_what_they_leave_out(rows: pl.DataFrame, cache: Path) -> None:
    one = judged(rows, Labels.NEVER, cache)
    shape = folds.report([one, one], Labels.NEVER)
    first = shape["folds"][0]
    assert first["all"]["gifts"] == len(one.held.judged.score) > first["senders_remaining"]["gifts"]
    assert first["senders_not_known"]["gifts"] == int(one.held.fresh.sum())
    for group in ("all", "senders_not_known", "senders_remaining"):
        for name, mean in shape["mean"][group].items():
            assert mean["value"] == pytest.approx(first[group][name]["value"], nan_ok=True)
            assert not mean["low"] > mean["high"]
    # Two folds tell more than one.
    wide, narrow = (part["all"]["roc_auc"] for part in (first, shape["mean"]))
    assert narrow["high"] - narrow["low"] < wide["high"] - wide["low"]
    assert shape["mean"]["worst_good_held"] == first["all"]["good_held"]["value"]
    days = shape["mean"]["precision_at_100_senders_a_day"]
    assert days["low"] <= days["value"] <= days["high"] <= shape["mean"]["precision_at_100_senders_a_day_at_most"] + 1


def test_folds_end_with_the_last_day_or_where_they_are_told_to() -> None:
    last = datetime(2026, 6, 30, 18, 30, tzinfo=UTC)
    found = folds.spans(last, 2, 7, None)
    assert [(one.start.day, one.end.day) for one in found] == [(17, 24), (24, 1)]
    assert folds.spans(last, 1, 3, last) == [Span(last - 3 * DAY, last)]


@pytest.mark.parametrize(
    ("without", "count", "end", "said"),
    [
        ((), 9, None, "begins too early for a model"),
        ((), 1, START + 99 * DAY, "give another --to"),
        (("label_at",), 1, None, "no column label_at"),
    ],
)
def test_what_cannot_be_judged_is_said(
    rows: pl.DataFrame, without: tuple[str, ...], count: int, end: datetime | None, said: str
) -> None:
    with pytest.raises(TrainingError, match=said):
        folds.refuse(rows.drop(without), folds.spans(rows["at"][-1], count, 7, end))


def run(*words: str) -> Any:
    return CliRunner().invoke(app, ["evaluate", *words])


def test_the_command_reports_as_json_and_as_lines(rows: pl.DataFrame, tmp_path: Path) -> None:
    rows.write_parquet(tmp_path / "h.parquet")
    asked = ("--history", str(tmp_path / "h.parquet"), "--cache", str(tmp_path / "c"), "--folds", "2")
    done = run(*asked, "--unlabelled", "never", "--json")
    assert done.exit_code == 0, done.output
    shape = json.loads(done.stdout)
    assert shape["labels"] == "never" and "No label anywhere" in shape["protocol"] and len(shape["folds"]) == 2
    assert np.isfinite(shape["mean"]["senders_remaining"]["average_precision"]["value"])
    lines = run(*asked, "--unlabelled", "late").stdout
    assert "mean precision at 100 senders a day" in lines and shape["folds"][0]["from"][:10] in lines
    refused = run(*asked, "--folds", "20")
    assert refused.exit_code == 1 and "fewer --folds" in refused.stderr
