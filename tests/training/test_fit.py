"""Training from end to end: reproducible, calm as asked, and blind to what it may not see."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from detector.feature_table import HASH, NAMES
from lockgate.cli import app
from models import artifact
from models.tails import tails as laid
from training import surprises
from training.errors import TrainingError
from training.evaluate import average_precision
from training.features import features
from training.fit import fit
from training.lesson import Wish, matrix
from training.score import score_history, verdicts
from training.simulate import START, simulate
from training.split import frauds
from training.unseen import left_out, without

AS_OF = START + timedelta(days=55)
WISH = Wish(as_of=AS_OF, name="small", enough=20, iterations=25)


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    return simulate(1000, 70, 3).drop("typology")


@pytest.fixture(scope="module")
def table(rows: pl.DataFrame) -> pl.DataFrame:
    return features(rows)


@pytest.fixture(scope="module")
def content(rows: pl.DataFrame, table: pl.DataFrame) -> artifact.Content:
    return fit(rows, table, WISH, HASH)


def served(content: artifact.Content, directory: Path) -> Any:
    artifact.write(directory, content)
    return artifact.read(directory, features=NAMES, feature_table_hash=HASH)


def test_the_same_rows_and_seed_give_the_same_model(
    rows: pl.DataFrame, table: pl.DataFrame, content: artifact.Content, tmp_path: Path
) -> None:
    assert content.supervised is not None and content.labels["fraud"] >= WISH.enough
    assert artifact.build(fit(rows, table, WISH, HASH)) == artifact.build(content)
    model, vectors = served(content, tmp_path / "small"), matrix(table, np.arange(300))
    one, other = model.score(vectors), served(content, tmp_path / "again").score(vectors)
    assert one.tobytes() == other.tobytes()


def test_the_reference_is_of_the_held_gifts(rows: pl.DataFrame, content: artifact.Content) -> None:
    told = content.reference
    assert told is not None and set(told["features"]) == set(NAMES)
    held = sum(week["gifts"] for week in content.card_json["weeks"])
    assert told["rows"] == held == sum(told["verdicts"].values())
    assert told["verdicts"]["hold"] and told["verdicts"]["approve"] > 0.9 * held


def test_it_ranks_later_frauds_above_chance(
    rows: pl.DataFrame, table: pl.DataFrame, content: artifact.Content, tmp_path: Path
) -> None:
    scores = score_history(rows, table, served(content, tmp_path / "small"), AS_OF, AS_OF + timedelta(days=15))
    later = rows.join(scores, on="id", maintain_order="left")
    truth = later["truth"].to_numpy()
    assert average_precision(truth, later["score"].to_numpy()) > 5 * truth.mean()
    held = scores.filter(pl.col("verdict") != "approve")
    assert held.height and held["reasons"].list.len().is_between(1, 3).all()
    assert scores.filter(pl.col("verdict") == "approve")["reasons"].list.len().sum() == 0
    assert held["reasons"].explode().str.strip_prefix("model:").is_in(list(NAMES)).all()


def test_the_card_says_what_a_risk_lead_asks(content: artifact.Content) -> None:
    shape = content.card_json
    for heading in ("For:", "Not for:", "What it learned from", "Thresholds, and what", "By week", "Known weaknesses"):
        assert heading in content.card
    every, chosen = shape["held"]["all"], shape["choices"][0]
    for name in ("recall", "precision", "good_held", "good_blocked", "loss_prevented", "average_precision"):
        assert set(every[name]) == {"value", "low", "high"}
    assert chosen["good_held"] == every["good_held"]["value"] and chosen["recall"] == every["recall"]["value"]
    names = {"calibration", "scores", "weekly", "precision-recall", "importance"}
    assert {name.removesuffix(".svg") for name in content.pictures} == names
    for picture in content.pictures.values():
        assert ElementTree.fromstring(picture).tag.endswith("svg") and b"nan" not in picture


def test_a_typology_left_out_leaves_no_trace() -> None:
    world = simulate(500, 50, 3).filter(pl.col("at") < START + timedelta(days=45))
    wish = Wish(as_of=START + timedelta(days=45), enough=5, iterations=8, false_hold_rate=0.02)
    found = left_out(world, wish)
    assert found and all(0 <= one["recall"]["low"] <= one["recall"]["high"] <= 1 for one in found)
    one = found[0]
    known = (world["typology"] == one["kind"]) & pl.Series(frauds(world, wish.as_of))
    # What its labels say changes nothing: they are not there.
    sooner = pl.when(known).then(pl.col("label_at") - pl.duration(hours=1)).otherwise("label_at")
    mixed = world.with_columns(label_at=sooner)
    assert without(mixed, wish, one["kind"]) == one
    with pytest.raises(TrainingError, match="typology"):
        left_out(world.drop("typology"), wish)


def test_nothing_after_as_of_is_looked_at(rows: pl.DataFrame, table: pl.DataFrame, content: artifact.Content) -> None:
    past = (rows["at"] < AS_OF).to_numpy()
    cut = fit(rows.filter(past), table.filter(past), WISH, HASH)
    assert artifact.build(cut) == artifact.build(content)


def test_shuffled_labels_teach_nothing(rows: pl.DataFrame, tmp_path: Path) -> None:
    mixed = rows.with_columns(pl.struct("fraud", "label_at").shuffle(seed=1).alias("label")).with_columns(
        fraud=pl.col("label").struct.field("fraud"),
        label_at=pl.max_horizontal(pl.col("label").struct.field("label_at"), pl.col("at") + pl.duration(days=3)),
    )
    table = features(mixed)
    model = served(fit(mixed, table, WISH, HASH), tmp_path / "small")
    later = np.flatnonzero((rows["at"] >= AS_OF).to_numpy())
    fraud = mixed["fraud"].fill_null(False).to_numpy()[later]
    assert average_precision(fraud, model.score(matrix(table, later))) < 4 * fraud.mean() + 0.01


def test_the_start_without_labels_holds_as_many_as_asked(rows: pl.DataFrame, tmp_path: Path) -> None:
    unlabelled = rows.drop("fraud", "label_at")
    table = features(unlabelled)
    wish = Wish(as_of=AS_OF, name="cold", false_hold_rate=0.02)
    content = fit(unlabelled, table, wish, HASH)
    assert content.supervised is None and set(content.calibration.thresholds) == {"hold"}
    model = served(content, tmp_path / "cold")
    later = np.flatnonzero(((rows["at"] >= AS_OF) & ~rows["truth"]).to_numpy())
    held = verdicts(model.score(matrix(table, later)), model.thresholds) == "hold"
    assert 0.002 < held.mean() < 0.045


@pytest.fixture(scope="module")
def cold(rows: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A model that no label taught."""
    content = fit(rows.drop("fraud", "label_at"), features(rows, labels=False), Wish(as_of=AS_OF, name="cold"), HASH)
    return served(content, tmp_path_factory.mktemp("models") / "cold")


def test_labels_that_come_after_a_start_without_them_only_raise_scores(
    rows: pl.DataFrame, table: pl.DataFrame, cold: Any
) -> None:
    later = np.flatnonzero((rows["at"] >= AS_OF).to_numpy())
    calm, told = (cold.score(matrix(frame, later)) for frame in (features(rows, labels=False), table))
    month, week = (table[f"recipient_frauds_{window}"][later].to_numpy() > 0 for window in ("30d", "7d"))
    assert week.any() and (told[week] > calm[week]).all()
    assert (told >= calm).all() and (told[~month] == calm[~month]).all()


@pytest.mark.parametrize("most", [0.0, 2.0, 4.5])
def test_labels_alone_come_up_to_the_sum_of_a_hold_and_no_further(most: float) -> None:
    told = np.full((1, len(NAMES)), np.nan)
    told[:, [NAMES.index(name) for name in ("recipient_streak_plain", "recipient_risk_7d")]] = 8, 1
    assert laid(surprises.known(NAMES, most), NAMES).sums(told) == [most]


def test_labels_alone_hold_no_gift_after_a_start_without_them(cold: Any) -> None:
    told = np.full((1, len(NAMES)), np.nan)
    told[:, [NAMES.index(name) for name in ("recipient_streak_plain", "recipient_risk_7d")]] = 8, 1
    assert cold.score(told)[0] < cold.thresholds["hold"]


def test_no_label_yet_scores_as_no_labels_at_all(rows: pl.DataFrame, cold: Any) -> None:
    """At the gate a count of labels is 0 as long as there are none; a history without labels has nulls there."""
    null = pl.lit(None)
    awaited = rows.with_columns(fraud=null.cast(rows.schema["fraud"]), label_at=null.cast(rows.schema["label_at"]))
    zeros, nulls = features(awaited), features(rows, labels=False)
    assert set(zeros["recipient_streak_plain"]) == {0} and nulls["recipient_streak_plain"].is_null().all()
    assert set(zeros["recipient_risk_7d"]) == {0.005} and nulls["recipient_risk_7d"].is_null().all()
    every = np.arange(rows.height)
    assert cold.score(matrix(zeros, every)).tobytes() == cold.score(matrix(nulls, every)).tobytes()


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        (Wish(as_of=START - timedelta(days=1)), "no row before"),
        (Wish(as_of=START + timedelta(days=3)), "late labels"),
        (Wish(as_of=AS_OF, false_hold_rate=2.0), "false_hold_rate is 2.0"),
    ],
)
def test_what_cannot_be_trained_is_said(rows: pl.DataFrame, table: pl.DataFrame, wish: Wish, said: str) -> None:
    with pytest.raises(TrainingError, match=said):
        fit(rows, table, wish, HASH)


# The commands


def run(*words: str, fails: bool = False) -> Any:
    found = CliRunner().invoke(app, list(words))
    assert (found.exit_code != 0) is fails, found.output
    return found


def test_simulate_train_score(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run("simulate", "--orgs", "300", "--days", "45", "--out", "h.parquet", "--quiet")
    train = ("train", "--history", "h.parquet", "--as-of", "2026-02-12", "--out")
    shape = json.loads(run(*train, "first", "--json").stdout)
    assert Path("models/first/card.md").read_text() == shape["card"] and "# first" in shape["card"]
    score = ("score-history", "h.parquet", "--from", "2026-02-12T00:00:00Z")
    run(*score, "--model", "first", "--out", "s.parquet")
    run(*score, "--model", "./models/first", "--to", "2026-02-14", "--out", "s.csv")
    scores = pl.read_parquet("s.parquet")
    assert scores.columns == ["id", "score", "verdict", "reasons"] and scores["score"].is_between(0, 1).all()
    later = pl.read_parquet("h.parquet").filter(pl.col("at") >= datetime(2026, 2, 12, tzinfo=UTC))
    assert scores["id"].to_list() == later["id"].to_list()
    # What comes later changes no score.
    sooner = pl.read_csv("s.csv")
    assert sooner["score"].to_list() == scores["score"].head(sooner.height).to_list()
    assert "is there already" in run(*train, "first", fails=True).stderr
    assert "'x'" in run("train", "--history", "h.parquet", "--as-of", "x", "--out", "b", fails=True).stderr
    assert "no model at models/none" in run(*score, "--model", "none", "--out", "t.parquet", fails=True).stderr
    early = run("train", "--history", "h.parquet", "--as-of", "2020-01-01", "--out", "b", fails=True)
    assert "no row before 2020-01-01" in early.stderr
