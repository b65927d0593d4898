"""A synthetic platform: the same seed gives the same bytes, the file is a history, and no one column is the answer."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score
from typer.testing import CliRunner

from detector.gift import Gift
from lockgate.cli import app as front_door
from training import history
from training.errors import TrainingError
from training.simulate import START, simulate
from training.simulate_drafts import CENT, drafts, fillings
from training.simulate_labels import labels
from training.simulate_orgs import CREDIT, DAY, IDENTITIES, TIERS, customers
from training.simulate_purses import LOCK, Purse, kept
from training.simulate_typologies import LOOKALIKES, NAMES, TRUTH, TYPOLOGIES
from training.terminal import START as CLI_START
from training.terminal import write

CONTEXT = ("ip", "device", "fingerprint", "tier", "recipient_tier", "identity", "sender_age_s", "recipient_age_s")
CONTEXT += ("sender_available", "topup_age_s", "same_owner", "promo_amount", "young_amount")
COLUMNS = [*history.REQUIRED, *history.OPTIONAL, *CONTEXT, "typology", "truth"]
JUDGING = {"typology", "truth"}


@pytest.fixture(scope="module")
def platform() -> pl.DataFrame:
    """The default size."""
    return simulate(2000, 90, 1)


@pytest.fixture(scope="module")
def small() -> pl.DataFrame:
    return simulate(150, 21, 5)


def same_bytes(one: pl.DataFrame, other: pl.DataFrame) -> bool:
    return one.write_ipc(None, compression="uncompressed").getvalue() == (
        other.write_ipc(None, compression="uncompressed").getvalue()
    )


# Chance


def test_the_same_seed_gives_the_same_bytes_and_another_seed_another_platform(small: pl.DataFrame) -> None:
    assert same_bytes(simulate(150, 21, 5), small)
    other = simulate(150, 21, 6)
    assert set(other["at"]).isdisjoint(small["at"])


def test_progress_changes_nothing_and_goes_up(small: pl.DataFrame) -> None:
    told: list[tuple[str, float]] = []
    assert same_bytes(simulate(150, 21, 5, step=lambda stage, share: told.append((stage, share))), small)
    shares = [share for _, share in told]
    assert shares == sorted(shares) and shares[0] > 0 and shares[-1] < 1
    assert "labels" in [stage for stage, _ in told]


def test_start_moves_the_platform() -> None:
    later = datetime(2030, 9, 1, 6, tzinfo=UTC)
    rows = simulate(60, 10, 1, start=later)
    assert rows["at"].min() >= later and rows["at"].max() < later + timedelta(days=10)


@settings(max_examples=12, deadline=None)
@given(orgs=st.integers(50, 120), days=st.integers(7, 30), seed=st.integers(0, 2**63))
def test_any_platform_keeps_the_laws(orgs: int, days: int, seed: int) -> None:
    rows = simulate(orgs, days, seed)
    laws(rows, days)


def laws(rows: pl.DataFrame, days: int) -> None:
    """What holds of every platform, whatever its size and seed."""
    assert rows.columns == COLUMNS
    assert rows.height and rows["id"].is_unique().all() and rows["at"].is_sorted()
    assert rows["at"].min() >= START and rows["at"].max() < START + timedelta(days=days)
    assert (rows["amount"] > 0).all() and (rows["sender"] != rows["recipient"]).all()
    assert (rows["amount"] <= rows["sender_available"]).all()
    for name in ("sender", "recipient", "id"):
        assert rows[name].str.contains(history.PARTY).all()
    for name in ("sender_age_s", "recipient_age_s", "topup_age_s"):
        assert (rows[name].drop_nulls() >= 0).all(), name
    assert (rows["fraud"].is_null() == rows["label_at"].is_null()).all()
    assert (rows["fingerprint"].is_null() == rows["topup_age_s"].is_null()).all()
    assert (rows["promo_amount"] + rows["young_amount"] <= rows["amount"]).all()
    assert (rows.select(pl.min_horizontal("promo_amount", "young_amount") >= 0)).to_series().all()
    young = rows["topup_age_s"].fill_null(7 * 86_400) < 7 * 86_400
    assert (young == (rows["young_amount"] > 0)).all()
    assert ((rows["promo_amount"] == rows["amount"]) == rows["topup_age_s"].is_null()).all()
    assert ((rows["label_at"] - rows["at"]).drop_nulls() >= timedelta(days=1)).all()
    assert set(rows["tier"]) <= set(TIERS) and set(rows["identity"]) <= set(IDENTITIES)


# The contract


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_the_file_is_a_history_without_a_bad_row(platform: pl.DataFrame, tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"platform.{ending}"
    write(platform, path)
    found = history.read(path)
    assert found.bad.is_empty()
    for name in (*history.REQUIRED, *history.OPTIONAL):
        assert found.rows[name].equals(platform[name]), name
    assert found.rows.columns == sorted(COLUMNS, key=lambda name: name in CONTEXT or name in JUDGING)


def test_columns_are_the_detectors_facts(platform: pl.DataFrame) -> None:
    laws(platform, 90)
    # The look is the detector's own, a hold its ledger's; domains matter to lists alone, what was revoked comes later.
    untold = {"sender_domain", "recipient_domain", "revoked_amount", "ledger_hold"}
    facts = set(Gift.__struct_fields__) - {"look", "payload_hash"} - untold
    assert set(COLUMNS) - facts == {"at", "fraud", "label_at"} | JUDGING
    assert facts < set(COLUMNS)
    assert platform.schema["at"] == platform.schema["label_at"] == pl.Datetime("us", "UTC")
    assert platform.schema["amount"] == pl.Int64 and platform.schema["fraud"] == pl.Boolean


def test_an_org_keeps_its_founding_day(platform: pl.DataFrame) -> None:
    ends = [
        platform.select(org=end, born=pl.col("at").dt.timestamp("us") // 1_000_000 - pl.col(f"{end}_age_s"))
        for end in ("sender", "recipient")
    ]
    spans = pl.concat(ends).group_by("org").agg(spread=pl.col("born").max() - pl.col("born").min())
    assert (spans["spread"] <= 1).all()  # seconds are cut off


# What the platform is like


def test_every_typology_and_lookalike_lives_at_the_default_size(platform: pl.DataFrame) -> None:
    names = {story.name for story in (*TYPOLOGIES, *LOOKALIKES)} | {"honest"}
    assert set(platform["typology"]) == names
    frauds = {story.name for story in TYPOLOGIES}
    assert (platform["typology"].is_in(frauds) == platform["truth"]).all()
    assert 0.005 <= platform["truth"].mean() <= 0.0115


def test_every_typology_has_one_lookalike_of_its_shape() -> None:
    mirrored = {story.mirrors: story for story in LOOKALIKES}
    assert len(mirrored) == len(LOOKALIKES) == len(TYPOLOGIES) == 10
    for story in TYPOLOGIES:
        assert type(mirrored[story.name].shape) is type(story.shape)
    assert len(set(NAMES)) == len(NAMES) and TRUTH.sum() == 10


def test_the_platform_grows_rests_at_weekends_and_brings_guests(platform: pl.DataFrame) -> None:
    weekday = platform.group_by(pl.col("at").dt.weekday()).len().sort("at")["len"]
    assert weekday[5:].mean() < 0.8 * weekday[:5].mean()
    month = platform.group_by(pl.col("at").dt.month()).len().sort("at")["len"]
    assert month[2] > month[0] * 31 / 27
    assert (platform["recipient_age_s"] < 7 * 86_400).mean() > 0.02


def precision(truth: np.ndarray, score: pl.Series) -> float:
    """Average precision as a multiple of the prevalence, whichever way round the score is better."""
    values = score.cast(pl.Float64).fill_null(-1.0).to_numpy()
    return max(average_precision_score(truth, values), average_precision_score(truth, -values)) / truth.mean()


def test_neither_amount_nor_hour_gives_fraud_away(platform: pl.DataFrame) -> None:
    truth = platform["truth"].to_numpy()
    assert precision(truth, platform["amount"]) < 2.5
    assert precision(truth, platform["amount"] % CREDIT) < 2.5
    hours = platform.select(pl.col("at").dt.hour().alias("hour"), "truth", half=pl.col("at").dt.ordinal_day() % 2)
    rates = hours.group_by("hour", "half").agg(rate=pl.col("truth").mean())
    other = hours.with_columns(half=1 - pl.col("half")).join(
        rates, on=["hour", "half"], how="left", maintain_order="left"
    )
    assert precision(truth, other["rate"]) < 2.5


@pytest.mark.parametrize(
    "name", ["ip", "device", "fingerprint", "same_owner", "sender_available", "sender_age_s", "tier"]
)
def test_no_context_column_is_the_answer(platform: pl.DataFrame, name: str) -> None:
    column = platform[name]
    score = column.is_null() if column.dtype == pl.String else column
    assert precision(platform["truth"].to_numpy(), score) < 10


@pytest.mark.parametrize("name", ["promo_amount", "young_amount"])
def test_neither_promotions_nor_young_credits_give_fraud_away(platform: pl.DataFrame, name: str) -> None:
    """They are part of most frauds of their kind, and of more honest gifts."""
    share = platform[name] / platform["amount"]
    assert precision(platform["truth"].to_numpy(), share) < 10
    of = platform.with_columns(share=share)
    assert (of.filter("truth")["share"] > 0.5).sum() < 0.5 * (of.filter(~pl.col("truth"))["share"] > 0.5).sum()


@pytest.mark.parametrize("key", ["ip", "device", "fingerprint"])
def test_honest_orgs_share_places_and_means_too(platform: pl.DataFrame, key: str) -> None:
    """Of what several senders use, more is honest than not; and frauds use both what is shared and what is not."""
    used = platform.drop_nulls(key).with_columns(shared=pl.col("sender").n_unique().over(key) > 1)
    shared = used.filter("shared").group_by(key).agg(pl.col("truth").any())
    assert (~shared["truth"]).sum() > 1.5 * shared["truth"].sum()
    assert 0.02 < used.filter("truth")["shared"].mean() < 0.98


@pytest.mark.parametrize("lookalike", LOOKALIKES, ids=lambda story: story.name)
def test_amounts_of_a_typology_overlap_with_its_lookalike(platform: pl.DataFrame, lookalike: object) -> None:
    of = {name: platform.filter(typology=name)["amount"] for name in (lookalike.name, lookalike.mirrors)}
    honest, fraud = of[lookalike.name], of[lookalike.mirrors]
    assert honest.min() < fraud.quantile(0.9) and fraud.min() < honest.quantile(0.9)


# Labels


def test_labels_are_late_incomplete_and_now_and_then_wrong(platform: pl.DataFrame) -> None:
    days = (pl.col("label_at") - pl.col("at")).dt.total_seconds() / 86_400
    delays = platform.filter(pl.col("fraud") & pl.col("truth")).select(days.alias("days"))["days"]
    assert delays.min() >= 1 and delays.max() <= 45
    assert 4 < delays.median() < 11
    assert delays.quantile(0.9) > 1.7 * delays.median()
    counts = {(truth, fraud): n for truth, fraud, n in platform.group_by("truth", "fraud").len().iter_rows()}
    frauds, honest = platform["truth"].sum(), (~platform["truth"]).sum()
    assert 0.6 < counts[True, True] / frauds < 0.95
    assert counts[True, None] / frauds > 0.03
    assert 0.2 < counts[False, None] / honest < 0.4
    assert 0 < counts[False, True] / honest < 0.002


def test_most_honest_gifts_are_cleared_when_the_dispute_window_ends(platform: pl.DataFrame) -> None:
    cleared = platform.filter(fraud=False, truth=False)
    waited = cleared["label_at"] - cleared["at"]
    assert 0.9 < (waited == timedelta(days=30)).mean() < 1.0
    assert waited.max() <= timedelta(days=45)


def test_a_platform_without_cases_still_gets_labels() -> None:
    hands = (np.zeros(400, np.int64), np.zeros(400, np.int64))
    rows = drafts(np.arange(400, dtype=np.int64), 0, 1, hands)
    fraud, label_at = labels(np.random.default_rng(1), rows, np.zeros(400, bool))
    assert set(fraud.tolist()) <= {-1, 0, 1} and ((fraud < 0) == (label_at < 0)).all()


# Purses


def test_purses_are_never_negative(platform: pl.DataFrame) -> None:
    """Purse.take asserts it of every burn; the frame shows it of every gift."""
    assert (platform["sender_available"] - platform["amount"]).min() >= 0
    assert (platform["amount"] % CENT == 0).all()


def test_a_purse_burns_grants_first_and_names_the_youngest_purchase() -> None:
    purse = Purse()
    purse.put(10, 7, 100)
    purse.put(-1, -1, 50)
    purse.put(20, 8, 100)
    purse.put(-1, -1, 50)
    assert purse.take(60) == [[-1, -1, 60]]
    assert purse.take(100) == [[-1, -1, 40], [10, 7, 60]]
    assert purse.take(60) == [[10, 7, 40], [20, 8, 20]]
    assert purse.available == 80
    with pytest.raises(AssertionError):
        purse.take(81)


def books_of(times: list[int], senders: list[int], recipients: list[int], **given: object) -> list[int]:
    """The amounts that come of these drafts when org 0 was granted 100 credits at moment 0."""
    world = customers(np.random.default_rng(3), 50, 10_000 * DAY, 10_007 * DAY)
    n = len(times)
    hands = (np.zeros(n, np.int64), np.zeros(n, np.int64))
    first = 10_000 * DAY
    at = first + np.array(times, np.int64)
    rows = drafts(at, np.array(senders, np.int64), np.array(recipients, np.int64), hands, **given)
    filled = fillings(first - 1, 0, 100 * CREDIT)
    # End where it begins, so that nobody uses credits in between.
    return kept(np.random.default_rng(4), world, rows, filled, first).amount.tolist()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 4 * DAY), st.permutations([0, 1, 2]), st.integers(1, 90)), max_size=20))
def test_nobody_gives_what_it_did_not_get(wishes: list[tuple[int, list[int], int]]) -> None:
    wishes = sorted(wishes)
    times, parties, credits = zip(*wishes, strict=True) if wishes else ((), (), ())
    senders, takers = [one[0] for one in parties], [one[1] for one in parties]
    amounts = books_of(list(times), senders, takers, amount=np.array(credits, np.int64) * CREDIT)
    for turn, (now, org) in enumerate(zip(times, senders, strict=True)):
        past = range(turn + 1)
        out = sum(amounts[i] for i in past if senders[i] == org)
        got = sum(amounts[i] for i in past if takers[i] == org and times[i] + LOCK <= now)
        assert out <= got + (100 * CREDIT if org == 0 else 0)


def test_a_gift_is_spent_only_after_its_lock() -> None:
    give = {"amount": 60 * CREDIT}
    assert books_of([1, LOCK], [0, 1], [1, 2], **give) == [60 * CREDIT, 0]
    assert books_of([1, LOCK + 1], [0, 1], [1, 2], **give) == [60 * CREDIT, 60 * CREDIT]


def test_a_draft_beyond_the_purse_is_cut_or_bought() -> None:
    [cut] = books_of([1], [0], [1], amount=500 * CREDIT)
    assert 0 < cut < 100 * CREDIT
    assert books_of([DAY], [0], [1], amount=500 * CREDIT, funds=True) == [500 * CREDIT]
    assert books_of([1, 2], [0, 0], [1, 1], share=0.5) == [50 * CREDIT, 25 * CREDIT]


# The command


def run(*words: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(front_door, ["simulate", *words])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stdout, done.stderr


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_the_command_writes_a_history_and_says_what_is_in_it(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"p.{ending}"
    status, out, _ = run("--orgs", "80", "--days", "10", "--seed", "3", "--out", str(path), "--json")
    shape = json.loads(out)
    rows = history.read(path).rows
    assert status == 0
    assert [child.name for child in tmp_path.iterdir()] == [path.name]
    assert {name: shape[name] for name in ("orgs", "days", "seed", "path")} == {
        "orgs": 80, "days": 10, "seed": 3, "path": str(path)
    }  # fmt: skip
    assert shape["rows"] == rows.height == sum(one["gifts"] for one in shape["by_typology"].values())
    assert shape["frauds"] == sum(one["gifts"] for one in shape["by_typology"].values() if one["fraud"])


def test_the_command_tells_people_too(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    status, out, _ = run("--orgs", "80", "--days", "10", "--out", str(path))
    assert status == 0 and str(path) in out and "honest" in out
    assert simulate(80, 10, 1).equals(pl.read_parquet(path))


def test_the_front_door_knows_the_command(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    done = CliRunner().invoke(front_door, ["simulate", "--orgs", "60", "--days", "7", "--out", str(path), "--json"])
    assert done.exit_code == 0 and json.loads(done.stdout)["rows"] == history.read(path).rows.height
    assert datetime.fromisoformat(CLI_START) == START


FAULTS = [
    (("--out", "{tmp}/p.json"), "'.json': a history ends in .parquet or .csv"),
    (("--out", "{tmp}/none/p.csv"), "none is no folder: make it first"),
    (("--out", "{tmp}/folder.csv"), "is a folder: name a file in it"),
    (("--out", "{tmp}/p.csv", "--orgs", "49"), "orgs is 49: give 50 to"),
    (("--out", "{tmp}/p.csv", "--days", "6"), "days is 6: give 7 to"),
    (("--out", "{tmp}/p.csv", "--days", "99999"), "days is 99999: give 7 to 3650"),
    (("--out", "{tmp}/p.csv", "--seed", "-1"), "seed is -1: give 0 or more"),
    (("--out", "{tmp}/p.csv", "--start", "soon"), "start is 'soon': give a day or a time"),
]


@pytest.mark.parametrize(("words", "message"), FAULTS, ids=[message for _, message in FAULTS])
def test_a_mistake_is_named_with_its_cure_and_nothing_is_written(
    tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    (tmp_path / "folder.csv").mkdir()
    status, out, err = run(*(word.format(tmp=tmp_path) for word in words))
    assert status == 1 and out == ""
    assert err.startswith("lockgate simulate: ") and message in err
    assert [child.name for child in tmp_path.iterdir()] == ["folder.csv"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_path_without_permission_is_refused_before_any_work(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        status, _, err = run("--out", str(tmp_path / "p.csv"))
    finally:
        tmp_path.chmod(0o700)
    assert status == 1 and "cannot be written by this user" in err


def test_a_moment_without_a_zone_is_no_start() -> None:
    with pytest.raises(TrainingError, match="give a time with its zone"):
        simulate(50, 7, 1, start=datetime(2026, 1, 1))
