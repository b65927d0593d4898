"""Drift: an alarm where gifts changed, and hardly ever where they did not, however dependent they are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date

import numpy as np
import polars as pl
import pytest

from detector.feature_table import HASH, NAMES
from models import artifact
from models.model import Model
from models.reference import Reference, check
from training.chance import chance, lasting, weekend
from training.drift import DAY_US, Drift, Window, days_of, drifts, reference, sparkline, verdict_days
from training.errors import TrainingError
from training.features import features
from training.lesson import matrix
from training.simulate import simulate
from training.thresholds import verdicts

MONDAY = 20_458 * DAY_US  # 2026-01-05
COLUMNS = tuple(f"column{number}" for number in range(12))
STREAMS, MOST = 40, 3  # at the 1 % asked for, more than 3 of 40 come once in some 1,500 runs


def stream(seed: int, days: int = 21, parties: int = 80) -> Window:
    """Gifts without a shift, in bursts: parties with ways of their own, days with moods, calm weekends."""
    chance = np.random.default_rng(seed)
    ways, gifts, at = chance.normal(size=(parties, len(COLUMNS))), [], []
    for day in range(days):
        mood = chance.normal(size=len(COLUMNS)) * 0.3
        calm = 1.0 if day % 7 < 5 else 0.4
        bursts = chance.poisson(calm * 2 * np.exp(chance.normal(size=parties)))
        who = np.repeat(np.arange(parties), bursts)
        gifts.append(ways[who] + mood + (1 - calm) + 0.3 * chance.normal(size=(len(who), len(COLUMNS))))
        at.append(MONDAY + DAY_US * day + np.sort(chance.integers(0, DAY_US, len(who))))
    vectors = np.concatenate(gifts)
    vectors[chance.random(vectors.shape) < 0.05] = np.nan
    scores = 1 / (1 + np.exp(-np.nan_to_num(vectors[:, 0])))
    return judged(Window(np.concatenate(at), vectors, scores, []))


def judged(window: Window) -> Window:
    words = np.select([window.scores > 0.97, window.scores > 0.9], ["block", "hold"], "approve")
    return replace(window, verdicts=words.tolist())


def part(window: Window, first: int, last: int) -> Window:
    """The days from `first` to before `last`."""
    chosen = np.flatnonzero((window.at >= MONDAY + DAY_US * first) & (window.at < MONDAY + DAY_US * last))
    verdicts = [window.verdicts[row] for row in chosen]
    return Window(window.at[chosen], window.vectors[chosen], window.scores[chosen], verdicts)


def later(window: Window, now: Window) -> list[Drift]:
    return drifts(reference(COLUMNS, part(window, 0, 14)), COLUMNS, now)


def alarms(found: list[Drift]) -> set[str]:
    return {one.name for one in found if one.alarm}


def test_bursts_and_moods_of_days_raise_no_more_alarms_than_stated() -> None:
    raised = [alarms(later(one, part(one, 14, 21))) for one in map(stream, range(STREAMS))]
    assert sum(map(bool, raised)) <= MOST, raised


def test_a_weekend_alone_is_no_drift() -> None:
    raised = [alarms(later(one, part(one, 19, 21))) for one in map(stream, range(STREAMS))]
    assert sum(map(bool, raised)) <= MOST, raised


@pytest.mark.parametrize("seed", range(3))
def test_a_shifted_column_is_alarmed_first(seed: int) -> None:
    whole = stream(seed)
    now = part(whole, 14, 21)
    moved = now.vectors.copy()
    moved[:, 3] = moved[:, 3] * 3 + 3
    found = later(whole, replace(now, vectors=moved))
    assert alarms(found) == {"column3"} and found[0].name == "column3"
    assert found[0].ks > 0.3 and found[0].psi > max(one.psi for one in found[1:])


@pytest.mark.parametrize("seed", range(3))
def test_nulls_in_a_column_are_alarmed(seed: int) -> None:
    whole = stream(seed)
    now = part(whole, 14, 21)
    holes = now.vectors.copy()
    holes[::2, 5] = np.nan
    found = later(whole, replace(now, vectors=holes))
    assert alarms(found) == {"column5"}
    assert found[0].nulls_now > 0.45 and found[0].nulls_then < 0.1


@pytest.mark.parametrize("seed", range(3))
def test_a_wave_of_frauds_moves_score_and_verdicts(seed: int) -> None:
    whole = stream(seed)
    now = part(whole, 14, 21)
    scores = now.scores.copy()
    scores[::3] = 0.95
    assert {"score", "verdicts"} <= alarms(later(whole, judged(replace(now, scores=scores))))


@pytest.mark.parametrize("seed", range(3))
def test_a_burst_of_one_day_is_no_drift(seed: int) -> None:
    """A day whose every gift is held: beyond chance as days go, and gone once that day is left out."""
    whole = stream(seed)
    now = part(whole, 14, 21)
    scores = np.where((now.at - MONDAY) // DAY_US == 16, 0.95, now.scores)
    burst = judged(replace(now, scores=scores))
    known = reference(COLUMNS, part(whole, 0, 14))
    days, place = days_of(burst.at)
    mixes = np.array(known["verdict_days"]), verdict_days(burst.verdicts, place, len(days))
    then, after = (np.pad(mix, ((0, 0), (0, 1))) for mix in mixes)
    weekends = weekend(map(date.fromisoformat, known["days"])), weekend(days)
    assert chance(then, after, *weekends) < 1e-4 < lasting(then, after, *weekends, 0.01)
    assert "verdicts" not in alarms(drifts(known, COLUMNS, burst))


def test_the_reference_adds_up_and_an_artifact_takes_it() -> None:
    found = reference(COLUMNS, stream(0))
    check(found, COLUMNS)
    assert len(found["days"]) == 21 == len(found["verdict_days"])
    assert np.sum(found["score"]["days"]) == found["rows"]


def test_what_cannot_be_told_is_said() -> None:
    whole = stream(0)
    short = reference(COLUMNS, part(whole, 0, 3))
    with pytest.raises(TrainingError, match="has 3 days: it takes 7"):
        drifts(short, COLUMNS, part(whole, 14, 21))
    with pytest.raises(TrainingError, match="no gift"):
        later(whole, part(whole, 30, 40))


def test_a_sparkline_shows_the_largest_share_in_full() -> None:
    assert sparkline([0.0, 0.5, 1.0]) == "▁▅█" and sparkline([0.0]) == "▁"


def world(rows: pl.DataFrame, model: Model) -> tuple[Reference, Window]:
    """A fortnight of a simulated platform as the reference, and the window of the week after, as the model scores."""
    vectors = matrix(features(rows).select(NAMES), np.arange(rows.height))
    scores = model.score(vectors)
    at = rows["at"].to_physical().to_numpy()
    whole = Window(at, vectors, scores, verdicts(scores, model.thresholds).to_list())
    return reference(NAMES, part(whole, 45, 59)), part(whole, 59, 66)


@pytest.fixture
def model(parcel: bytes) -> Model:
    return artifact.read_packed(parcel, features=NAMES, feature_table_hash=HASH)


def test_a_new_typology_is_an_alarm(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """Honest gifts, and in the last week one of five from farms of free grants."""
    monkeypatch.setattr("training.simulate.FRAUD_SHARE", 3.0)
    rows = simulate(500, 66, 7)
    new = rows["at"].to_physical() >= MONDAY + DAY_US * 59
    chosen = (rows["typology"] == "honest") | ((rows["typology"] == "free_tier_farming") & new)
    known, now = world(rows.filter(chosen).drop("typology", "truth"), model)
    assert "promo_amount" in alarms(drifts(known, NAMES, now))
    honest = rows.filter(rows["typology"] == "honest").drop("typology", "truth")
    known, now = world(honest, model)
    assert not alarms(drifts(known, NAMES, now))


def test_a_real_column_that_falls_silent_is_an_alarm(model: Model) -> None:
    """From one day on half of the gifts do not say their device any more."""
    rows = simulate(500, 66, 8).drop("typology", "truth")
    silent = (pl.col("at").to_physical() >= MONDAY + DAY_US * 59) & (pl.int_range(pl.len()) % 2 == 0)
    known, now = world(rows.with_columns(device=pl.when(~silent).then("device")), model)
    found = {one.name: one for one in drifts(known, NAMES, now)}
    assert found["device_gap_s"].alarm and found["device_gap_s"].nulls_now > found["device_gap_s"].nulls_then + 0.2
    assert "amount" not in alarms([*found.values()])


@pytest.mark.soak
def test_worlds_without_a_shift_raise_no_more_alarms_than_stated(model: Model) -> None:
    """A fortnight beside a week; at the 1 % asked for more than 7 of 200 come once in some 900 soaks."""
    raised = [alarms(drifts(known, NAMES, now)) for known, now in soaked(model)]
    assert sum(map(bool, raised)) <= 7, raised


def soaked(model: Model) -> Iterator[tuple[Reference, Window]]:
    for seed in range(1400, 1600):
        yield world(simulate(500, 66, seed).drop("typology", "truth"), model)
