"""Learning from PostgreSQL, and nights: real labels in, a challenger in its role, once a day, one at a time."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import polars as pl
import pytest
from typer.testing import CliRunner

from detector import champions
from lockgate.cli import app
from training.nightly import LOCK
from training.simulate import simulate

DAYS = 45
NOW = datetime(2026, 2, 19, tzinfo=UTC)
# So few gifts stray further from what is asked than a platform's do.
EASY = ("--false-holds", "0.05", "--good-blocked", "0.02")


@pytest.fixture(scope="module")
def world() -> pl.DataFrame:
    return simulate(400, DAYS, 8)


@pytest.fixture(scope="module")
def hopeless() -> pl.DataFrame:
    """A world whose few known frauds nothing finds."""
    return simulate(300, DAYS, 3)


async def fill(dsn: str, rows: pl.DataFrame) -> None:
    """The world as the gate and the analysts would have recorded it."""
    conn = await asyncpg.connect(dsn)
    gifts = rows.select("id", "at", "sender", "recipient", "amount").rows()
    await conn.copy_records_to_table(
        "decisions",
        schema_name="detector",
        columns=["id", "at", "seq", "look", "sender", "recipient", "amount", "verdict", "refused", "hits", "vector",
                 "generation", "payload_hash"],
        records=[
            (f"{id}.1", at, seq, 1, sender, to, amount, "approve", False, "[]", "[]", 1, b"")
            for seq, (id, at, sender, to, amount) in enumerate(gifts)
        ],
    )  # fmt: skip
    told = rows.filter(pl.col("fraud").is_not_null() & (pl.col("label_at") <= NOW))
    await conn.copy_records_to_table(
        "labels",
        schema_name="detector",
        columns=["gift_id", "fraud", "label_at", "source", "author", "sender", "recipient", "at", "excess"],
        records=[
            (id, fraud, label_at, "case", "test", sender, to, at, 0)
            for id, fraud, label_at, sender, to, at in told.select(
                "id", "fraud", "label_at", "sender", "recipient", "at"
            ).rows()
        ],
    )
    await conn.close()


def run(*words: str) -> Any:
    return CliRunner().invoke(app, ["train", "--as-of", NOW.isoformat(), "--json", *words])


async def test_a_model_learns_from_postgresql(
    database: str, world: pl.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(database, world)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", database)
    world.drop("typology", "truth").write_parquet("h.parquet")
    shapes = []
    for words in (("--out", "base"), ("--out", "file", "--history", "h.parquet")):
        found = await in_thread(*words)
        assert found.exit_code == 0, found.output
        shapes.append(json.loads(found.stdout))
    assert shapes[0]["labels"] == shapes[1]["labels"] and shapes[0]["labels"]["fraud"]
    assert shapes[0]["weeks"][0]["gifts"] == shapes[1]["weeks"][0]["gifts"]


async def test_a_night_makes_one_challenger_and_promotes_nobody(
    database: str, world: pl.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", database)
    conn = await asyncpg.connect(database)
    quiet = await in_thread("--nightly")
    assert quiet.exit_code == 0 and json.loads(quiet.stdout)["status"] == "nothing new"
    await fill(database, world)
    # Another night at work elsewhere.
    await conn.fetchval("select pg_advisory_lock($1)", LOCK)
    assert (await in_thread("--nightly")).exit_code == 3
    await conn.fetchval("select pg_advisory_unlock($1)", LOCK)

    first = await in_thread("--nightly", *EASY)
    assert first.exit_code == 0, first.output
    shape = json.loads(first.stdout)
    assert shape["status"] == "shadowing" and shape["name"] == "nightly-2026-02-19" and all(shape["gates"].values())
    assert "learning from" in first.stderr and "gates:" in first.stderr
    challenger = await champions.playing(conn, champions.CHALLENGER)
    assert challenger is not None and challenger["sha256"] == shape["sha256"]
    assert await champions.playing(conn, champions.CHAMPION) is None
    again = await in_thread("--nightly")
    assert again.exit_code == 0 and json.loads(again.stdout)["status"] == "done already"
    assert await conn.fetchval("select count(*) from detector.promotions") == 1
    await conn.close()


async def test_a_night_cut_short_goes_on_and_promotes_where_asked(
    database: str, world: pl.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", database)
    await fill(database, world)
    # What a run that died after writing its artifact leaves behind.
    assert (await in_thread("--out", "nightly-2026-02-19", *EASY)).exit_code == 0
    made = (tmp_path / "models/nightly-2026-02-19/manifest.json").read_bytes()
    found = await in_thread("--nightly", "--promote")
    assert found.exit_code == 0, found.output
    assert json.loads(found.stdout)["status"] == "promoted" and "learning from" not in found.stderr
    assert (tmp_path / "models/nightly-2026-02-19/manifest.json").read_bytes() == made
    conn = await asyncpg.connect(database)
    champion = await champions.playing(conn, champions.CHAMPION)
    assert champion is not None and champion["name"] == "nightly-2026-02-19"
    await conn.close()


async def test_a_challenger_no_better_than_chance_gets_no_role(
    database: str, hopeless: pl.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", database)
    await fill(database, hopeless)
    found = await in_thread("--nightly", "--promote", *EASY)
    shape = json.loads(found.stdout)
    assert found.exit_code == 2 and shape["status"] == "refused" and not shape["gates"]["better than chance"]
    conn = await asyncpg.connect(database)
    assert await conn.fetchval("select count(*) from detector.promotions") == 0
    assert await conn.fetchval("select name from detector.models") == "nightly-2026-02-19"
    await conn.close()


@pytest.mark.parametrize("words", [(), ("--nightly", "--out", "x"), ("--promote", "--out", "x")])
def test_what_does_not_go_together_is_said(words: tuple[str, ...]) -> None:
    found = run(*words)
    assert found.exit_code == 1 and "--nightly" in found.stderr


async def in_thread(*words: str) -> Any:
    """The command runs a loop of its own."""
    return await asyncio.to_thread(run, *words)
