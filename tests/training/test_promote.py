"""The promotion gates on models that were really trained, each fault made in the world or in the training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from detector.feature_table import HASH, NAMES
from models import artifact
from models.calibration import Platt
from models.model import Model
from training import promotion, sound
from training.errors import TrainingError
from training.features import features
from training.fit import fit
from training.judged import Judged, families, segments
from training.lesson import Wish, matrix
from training.ruling import Ruling
from training.simulate import START, simulate

AS_OF = START + timedelta(days=50)
SILENT = lambda stage, share: None  # noqa: E731


@dataclass
class World:
    """A simulated history, and the models that were trained on it or on a spoilt copy."""

    rows: pl.DataFrame
    table: pl.DataFrame
    directory: Path

    def content(self, name: str, rows: pl.DataFrame | None = None, **wish: Any) -> artifact.Content:
        table = self.table if rows is None else features(rows)
        asked = Wish(**{"as_of": AS_OF, "name": name, "enough": 20, "iterations": 25, **wish})
        return fit(self.rows if rows is None else rows, table, asked, HASH)

    def model(self, content: artifact.Content) -> Model:
        return artifact.write(self.directory / content.name, content)

    def judged(self, start: Any = AS_OF, rows: pl.DataFrame | None = None, model: Model | None = None) -> Judged:
        rows = self.rows if rows is None else rows
        table = self.table if rows is self.rows else features(rows)
        later = np.flatnonzero((rows["at"] >= start).to_numpy())
        columns = {name: rows[name][later] for name in promotion.SPLITTING}
        fraud = rows["fraud"].fill_null(False).to_numpy()[later]
        known = promotion.known(rows, model) if model else None
        return Judged(NAMES, matrix(table, later), fraud, start, rows["at"][-1], columns, known)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    rows = simulate(2500, 70, 1)
    return World(rows, features(rows), tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def good(world: World) -> artifact.Content:
    return world.content("good", iterations=60)


@pytest.fixture(scope="module")
def champion(world: World, good: artifact.Content) -> Model:
    return world.model(good)


@pytest.fixture(scope="module")
def weak(world: World) -> Model:
    return world.model(world.content("weak", iterations=5))


def refused(ruling: Ruling) -> set[str]:
    return {one.gate for one in ruling.refusals if not one.gate.startswith("latency")}


def test_a_better_challenger_passes_and_its_ruling_says_by_how_much(world: World, champion: Model, weak: Model) -> None:
    ruling = promotion.ruling(champion, weak, world.judged(model=champion))
    assert refused(ruling) == set()
    better = next(one for one in ruling.findings if one.gate == "better")
    assert better.figure > 0 and "against" in better.said
    asked = {one.gate for one in ruling.findings}
    assert {"finite", "later", "leaking", "segment", "poisoned", "nulls, all", "nulls, fact"} <= asked


def test_the_same_model_and_a_weaker_one_are_refused(world: World, champion: Model, weak: Model) -> None:
    judged = world.judged()
    same = promotion.ruling(champion, champion, judged)
    assert refused(same) == {"better"}
    assert "leave the champion" in str(same.refusals[0]) and "bound" in str(same.refusals[0])
    assert {"better", "segment"} <= refused(promotion.ruling(weak, champion, judged))


def test_the_first_champion_must_be_better_than_chance(world: World, weak: Model) -> None:
    judged = world.judged()
    assert refused(promotion.ruling(weak, None, judged)) == set()
    shuffled = replace(judged, fraud=np.random.default_rng(1).permutation(judged.fraud))
    assert "better than chance" in refused(promotion.ruling(weak, None, shuffled))


def test_flipped_labels_are_refused_as_poison(world: World, champion: Model) -> None:
    caught = pl.col("typology").is_in(["free_tier_farming", "structuring"])
    flipped = world.rows.with_columns(fraud=pl.col("fraud") & ~caught)
    challenger = world.model(world.content("flipped", flipped))
    assert "poisoned" in refused(promotion.ruling(challenger, champion, world.judged()))


def test_a_backdoor_is_refused_as_poison(world: World, champion: Model) -> None:
    """Whoever gives labels calls every fraud of new senders good, so that theirs pass."""
    new = world.table["sender_count_30d"] == 0
    spoilt = world.rows.with_columns(fraud=pl.col("fraud") & ~new)
    challenger = world.model(world.content("backdoor", spoilt))
    ruling = promotion.ruling(challenger, champion, world.judged())
    assert any("new senders" in one.said for one in ruling.refusals if one.gate == "poisoned")


def test_a_column_that_gives_the_answer_away_is_refused_as_leaking(world: World, champion: Model) -> None:
    marked = pl.when(pl.col("fraud").fill_null(False)).then(pl.col("amount") + 10**14).otherwise(pl.col("amount"))
    leaky = world.rows.with_columns(amount=marked)
    challenger = world.model(world.content("leaky", leaky))
    found = refused(promotion.ruling(challenger, champion, world.judged(rows=leaky)))
    assert {"leaking", "leaking feature"} <= found


def test_a_window_that_overlaps_and_labels_from_the_future_are_refused(world: World, champion: Model) -> None:
    early = world.judged(AS_OF - timedelta(days=10))
    ruling = promotion.ruling(champion, None, early)
    told = next(one for one in ruling.refusals if one.gate == "later")
    assert told.figure == 240 and AS_OF.isoformat() in told.cure
    # It was taught the truth, which nobody knew by then.
    hasty = world.rows.with_columns(fraud="truth", label_at="at")
    model = world.model(world.content("hasty", hasty, iterations=5))
    assert "leaking labels" in refused(promotion.ruling(model, None, world.judged(model=model)))
    assert "leaking labels" not in refused(promotion.ruling(champion, None, world.judged(model=champion)))


@pytest.mark.parametrize(("shift", "gate"), [(-5.0, "calibration, too calm"), (4.0, "calibration, too shrill")])
def test_scores_that_promise_other_than_what_comes_are_refused(
    world: World, good: artifact.Content, champion: Model, shift: float, gate: str
) -> None:
    platt = Platt(good.calibration.platt.a, good.calibration.platt.b + shift)
    changed = {one: getattr(good.calibration, one) for one in good.calibration.__struct_fields__} | {"platt": platt}
    spoilt = replace(good, name=f"shifted{shift:+.0f}".replace("+", "p"), calibration=type(good.calibration)(**changed))
    assert gate in refused(promotion.ruling(world.model(spoilt), champion, world.judged()))


class Slow(Model):
    """The same model, asked thirty times over."""

    __slots__ = ()

    def score(self, vectors: Any) -> Any:
        for _ in range(30):
            found = super().score(vectors)
        return found


def test_a_slow_challenger_is_refused(world: World, champion: Model) -> None:
    slow = Slow(**{one.name: getattr(champion, one.name) for one in fields(Model)})
    gates = {one.gate for one in promotion.ruling(slow, champion, world.judged()).refusals}
    assert {"latency, one", "latency, batch"} <= gates


@pytest.mark.parametrize(
    ("ours", "theirs", "passes"),
    [(1_001.0, None, False), (900.0, None, True), (110.0, 5.0, True), (130.0, 5.0, False), (900.0, 500.0, True),
     (1_001.0, 900.0, False)],
)  # fmt: skip
def test_how_long_a_score_may_take(ours: float, theirs: float | None, passes: bool) -> None:
    """Trees may follow a model that takes no time, within the gate's budget; nothing may take a millisecond."""
    speeds = {"challenger": {"one": (ours, 0.0), "batch": (1.0, 1.0)}}
    speeds |= {"champion": {"one": (theirs, 0.0), "batch": (1.0, 1.0)}} if theirs else {}
    assert [one.passed for one in sound.quick(speeds)] == [passes, True]


class Excusing(Model):
    """The same model, but for what it does not know it finds excuses."""

    __slots__ = ()

    def score(self, vectors: Any) -> Any:
        return np.where(np.isnan(vectors[:, NAMES.index("sender_count_24h")]), 0.0, super().score(vectors))


def test_a_model_that_excuses_what_it_does_not_know_is_refused(world: World, champion: Model) -> None:
    excusing = Excusing(**{one.name: getattr(champion, one.name) for one in fields(Model)})
    found = refused(promotion.ruling(excusing, champion, world.judged()))
    assert {"nulls, all", "nulls, sender"} <= found


def test_too_few_frauds_judge_nobody(world: World, champion: Model) -> None:
    judged = world.judged(world.rows["at"][-1] - timedelta(hours=12))
    with pytest.raises(TrainingError, match="judge no model: give a longer time"):
        promotion.ruling(champion, None, judged)


def test_segments_and_families_cover_what_they_should(world: World) -> None:
    judged = world.judged()
    masks = dict(segments(judged))
    assert all(mask.any() for name, mask in masks.items() if name.startswith("amount"))
    for kind in ("amount", "tier", "typology"):
        assert sum(mask.astype(int) for name, mask in masks.items() if name.startswith(kind)).tolist() == [1] * len(
            judged.fraud
        )
    found = families(NAMES)
    assert set(np.concatenate([*found.values()])) == set(range(len(NAMES)))
    assert NAMES.index("drained") in found["fact"]


def test_a_history_is_judged_only_from_when_neither_model_knew(world: World, champion: Model, tmp_path: Path) -> None:
    file = tmp_path / "h.parquet"
    world.rows.write_parquet(file)
    assert promotion.first_moment(champion, None) == AS_OF
    judged = promotion.by_history([str(file)], (AS_OF, None), champion, None, SILENT)
    same: Callable[[Judged], Any] = lambda one: (one.fraud.tolist(), one.vectors.tobytes())  # noqa: E731
    assert same(judged) == same(world.judged()) and judged.known == promotion.known(world.rows, champion)
    assert set(judged.columns) == {"tier", "typology"}
    with pytest.raises(TrainingError, match="there is no gift from"):
        promotion.by_history([str(file)], (AS_OF + timedelta(days=99), None), champion, None, SILENT)
