"""Learning from PostgreSQL, and nights: real labels in, a challenger in its role, once a day, one at a time; and who
has shadowed is promoted by what came later."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import polars as pl
import pytest
from typer.testing import CliRunner

from detector import champions, labels
from detector.contract import Label
from detector.feature_table import HASH
from detector.model_vector import RECORDED
from lockgate.cli import app
from models import artifact, files
from models.artifact import Content
from tests.support import CREDIT, NEVER_FIRES, open_house
from training.features import features
from training.fit import fit
from training.lesson import Wish
from training.nightly import LOCK, succeed
from training.simulate import START, simulate

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


@dataclass(frozen=True)
class Rivals:
    """A history with its features, and two models as of one day: a good one, and one whose labels were shuffled."""

    rows: pl.DataFrame
    table: pl.DataFrame
    good: Content
    poor: Content


@pytest.fixture(scope="module")
def rivals() -> Rivals:
    rows = simulate(1200, 70, 1)
    table = features(rows)
    shuffled = rows.with_columns(rows[name].shuffle(1) for name in ("fraud", "label_at"))

    def model(name: str, learned: pl.DataFrame) -> Content:
        as_of = START + timedelta(days=45)
        wish = Wish(as_of=as_of, name=name, enough=10, iterations=40, false_hold_rate=0.02)
        return fit(learned, table, wish, HASH)

    return Rivals(rows, table, model("good", rows), model("poor", shuffled))


async def give(conn: asyncpg.Connection, content: Content, role: str) -> str:
    """A role to a model; its hash."""
    parcel = files.parcel(artifact.build(content))
    sha256 = artifact.sha256(files.open_parcel(parcel)[files.MANIFEST])
    await champions.add(conn, content.name, sha256, parcel, "test")
    await champions.promote(conn, role, sha256, "test", "a test")
    return sha256


async def names(conn: asyncpg.Connection) -> tuple[str | None, str | None]:
    """Who serves, and who shadows."""
    found = [await champions.playing(conn, role) for role in (champions.CHAMPION, champions.CHALLENGER)]
    champion, challenger = [one and one["name"] for one in found]
    return champion, challenger


async def fill(dsn: str, rows: pl.DataFrame, table: pl.DataFrame | None = None, now: datetime = NOW) -> None:
    """The world as the gate and the analysts would have recorded it; with the features that the gate reads, of `table`,
    which law 10 says are a history's.
    """
    conn = await asyncpg.connect(dsn)
    gifts = rows.select("id", "at", "sender", "recipient", "amount").rows()
    seen = [json.dumps(one) for one in table.select(RECORDED).rows()] if table is not None else [None] * rows.height
    await conn.copy_records_to_table(
        "decisions",
        schema_name="detector",
        columns=["id", "at", "seq", "look", "sender", "recipient", "amount", "verdict", "refused", "hits", "vector",
                 "generation", "payload_hash", "features", "feature_table"],
        records=[
            (f"{id}.1", at, seq, 1, sender, to, amount, "approve", False, "[]", "[]", 1, b"", seen[seq], HASH)
            for seq, (id, at, sender, to, amount) in enumerate(gifts)
        ],
    )  # fmt: skip
    told = rows.filter(pl.col("fraud").is_not_null() & (pl.col("label_at") <= now))
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


def run(*words: str, now: datetime = NOW) -> Any:
    return CliRunner().invoke(app, ["train", "--as-of", now.isoformat(), "--json", *words])


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


async def test_a_night_cut_short_goes_on_and_never_promotes_what_it_made(
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
    shape = json.loads(found.stdout)
    assert shape["status"] == "shadowing" and shape["ruled"] is None
    assert "nobody has been shadowing" in found.stderr and "learning from" not in found.stderr
    assert (tmp_path / "models/nightly-2026-02-19/manifest.json").read_bytes() == made
    conn = await asyncpg.connect(database)
    assert await names(conn) == (None, "nightly-2026-02-19")
    await conn.close()


@pytest.mark.soak
async def test_who_has_shadowed_serves_if_the_gates_pass_it_on_what_came_later(
    database: str, rivals: Rivals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", database)
    now = START + timedelta(days=71)
    await fill(database, rivals.rows, rivals.table, now)
    conn = await asyncpg.connect(database)
    poor, good = [
        await give(conn, one, role)
        for one, role in ((rivals.poor, champions.CHAMPION), (rivals.good, champions.CHALLENGER))
    ]
    found = await in_thread("--nightly", "--promote", *EASY, now=now)
    assert found.exit_code == 0, found.output
    shape = json.loads(found.stdout)
    ruled, tonight = shape["ruled"], shape["name"]
    assert (ruled["sha256"], ruled["against"], ruled["promoted"], ruled["reasons"]) == (good, poor, True, [])
    assert ruled["ruling"]["passed"] and "better" in {one["gate"] for one in ruled["ruling"]["findings"]}
    assert shape["status"] == "shadowing" and await names(conn) == ("good", tonight)
    kept = await conn.fetchrow("select * from detector.promotions where sha256 = $1 and role = 'champion'", good)
    assert kept["author"] == "lockgate train --nightly" and json.loads(kept["figures"])["ruling"] == ruled["ruling"]

    # Tonight's own has seen no later gift: nothing judges it, and that is no error.
    again = await in_thread("--nightly", "--promote", now=now)
    assert again.exit_code == 0, again.output
    ruled = json.loads(again.stdout)["ruled"]
    assert ruled["name"] == tonight and not ruled["promoted"] and "there is no gift from" in ruled["reasons"][0]
    assert f"{tonight} is not promoted: there is no gift" in again.stderr and await names(conn) == ("good", tonight)
    await conn.close()


@pytest.mark.soak
async def test_who_is_refused_or_has_served_stays_what_it_was(database: str, rivals: Rivals) -> None:
    now, said = START + timedelta(days=71), list[str]()
    await fill(database, rivals.rows, rivals.table, now)
    conn = await asyncpg.connect(database)
    assert await succeed(conn, now, None, said.append) is None
    poor = await give(conn, rivals.poor, champions.CHALLENGER)
    chance = await succeed(conn, now, None, said.append)
    assert chance and not chance["promoted"] and await names(conn) == (None, "poor")
    assert any(one.startswith("better than chance:") for one in chance["reasons"])

    good = await give(conn, rivals.good, champions.CHALLENGER)
    unsigned = await succeed(conn, now, "00" * 32, said.append)
    assert unsigned and unsigned["reasons"][0].startswith("unsigned:") and unsigned["ruling"] is None
    first = await succeed(conn, now, None, said.append)
    assert first and first["promoted"] and first["against"] is None and await names(conn) == ("good", "good")

    await give(conn, rivals.poor, champions.CHALLENGER)
    worse = await succeed(conn, now, None, said.append)
    assert worse and not worse["promoted"] and (worse["sha256"], worse["against"]) == (poor, good)
    assert any(one.startswith("better:") and one in said[-len(worse["reasons"]) :][0] for one in worse["reasons"])
    assert await names(conn) == ("good", "poor")

    # What a person took back a night does not give again.
    await champions.promote(conn, champions.CHAMPION, poor, "ann", "by hand")
    await champions.roll_back(conn, "ann", "strays")
    served = await succeed(conn, now, None, said.append)
    assert served and "has served" in served["reasons"][0] and await names(conn) == ("good", "poor")
    await conn.close()


async def test_too_few_known_frauds_promote_nobody_and_that_is_said(
    database: str, small: Content, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gifts that the real gate judged, and labels that it took."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", database)
    async with open_house(database, NEVER_FIRES + '[model]\nname = "champion"\n') as house:
        async with house.pool.acquire() as conn:
            await give(conn, small, champions.CHAMPION)
            await give(conn, replace(small, name="second"), champions.CHALLENGER)
        sender, recipient = await house.org(amount=100 * CREDIT), await house.org()
        sent = [json.loads((await house.send(sender, recipient, CREDIT)).body)["id"] for _ in range(12)]
        found = await in_thread("--nightly", "--promote", now=datetime.now(UTC))
        assert found.exit_code == 0, found.output
        shape = json.loads(found.stdout)
        assert shape["status"] == "nothing new" and not shape["ruled"]["promoted"] and shape["ruled"]["ruling"] is None
        assert "second is not promoted: 0 known frauds among 12 gifts" in found.stderr

        said = list[str]()
        async with house.pool.acquire() as conn:
            async with conn.transaction():
                await labels.note(conn, [(gift, Label(gift, True, "test")) for gift in sent[:5]], "test")
            ruled = await succeed(conn, datetime.now(UTC), None, said.append)
            assert ruled and not ruled["promoted"] and ruled["reasons"][0].startswith("5 known frauds among 12 gifts")
            assert said == [f"second is not promoted: {ruled['reasons'][0]}"]
            assert await names(conn) == ("small", "second")


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
    assert await names(conn) == (None, None) and shape["ruled"] is None
    assert await conn.fetchval("select name from detector.models") == "nightly-2026-02-19"
    await conn.close()


@pytest.mark.parametrize("words", [(), ("--nightly", "--out", "x"), ("--promote", "--out", "x")])
def test_what_does_not_go_together_is_said(words: tuple[str, ...]) -> None:
    found = run(*words)
    assert found.exit_code == 1 and "--nightly" in found.stderr


async def in_thread(*words: str, now: datetime = NOW) -> Any:
    """The command runs a loop of its own."""
    return await asyncio.to_thread(run, *words, now=now)
