"""`lockgate drift` on what a real gate recorded, and law 10 for the export of it."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner, Result

from detector import labels
from detector.contract import Label
from detector.feature_table import HASH, NAMES
from detector.model_vector import vectors
from lockgate import cli
from models import artifact, files
from models.artifact import Content
from tests.support import CREDIT, House, limit, new_key, open_door, open_house, rule
from training import history, recorded
from training.features import features
from training.fit import fit
from training.lesson import Wish, matrix

POLICY = (
    '[model]\nname = "champion"\nhold_at = 1.0\nblock_at = 1.0\n'
    + limit("often", "pair", "1h", count=3)
    + rule("large", f"amount > {4_000 * CREDIT}")
)
DAY_S = 86_400


async def founded(house: House) -> list[str]:
    """Orgs of several levels, tiers, owners and purses."""
    orgs = []
    for number in range(12):
        more: dict[str, Any] = {
            "identity": ("basic", "full")[number % 2],
            "tier": ("standard", "gold")[number % 3 == 0],
        }
        org = await house.org(f"org{number}", owner=f"owner{number // 3}" if number % 4 else None, **more)
        await house.grant(org, 40_000_000 * CREDIT, origin=("purchase", "promo")[number % 5 == 4])
        orgs.append(org)
    return orgs


async def day(house: House, orgs: list[str], chance: random.Random, times: int = 1) -> None:
    """A day of gifts in three bursts, most between parties that know one another, one of them told to be a fraud."""
    sent: list[str] = []
    for _ in range(3):
        for _ in range(chance.randrange(5, 9)):
            sender = chance.randrange(len(orgs))
            recipient = (sender + chance.choice([1, 1, 1, 2, 5])) % len(orgs)
            amount = round(min(900, chance.lognormvariate(4, 1))) * times * CREDIT
            place = {"ip": f"10.0.0.{sender % 5}", "device": f"device{sender}"} if chance.random() < 0.7 else {}
            answer = await house.send(orgs[sender], orgs[recipient], amount, **place)
            sent += [msgspec.json.decode(answer.body)["id"]] if answer.status == 201 else []
        await house.pass_time(DAY_S / 3)
    async with house.pool.acquire() as conn, conn.transaction():
        gift = chance.choice(sent)
        await labels.note(conn, [(gift, Label(gift, chance.random() < 0.5, "test"))], "test")


async def live(dsn: str, days: int, chance: random.Random, parcel: bytes | None = None, times: int = 1) -> pl.DataFrame:
    """So many days at the gate, under this champion if one is given; all that was recorded until then."""
    async with open_house(dsn, POLICY if parcel else None) as house:
        if parcel:
            await house.promote(parcel)
        orgs = [one["id"] for one in await house.pool.fetch("select id from ledger.orgs order by id")]
        orgs = orgs or await founded(house)
        for _ in range(days):
            await day(house, orgs, chance, times)
        async with house.pool.acquire() as conn:
            return await recorded.recorded(conn)


def learned(rows: pl.DataFrame) -> bytes:
    """A champion that learned from these very gifts, as the database keeps it."""
    until = rows["at"].max()
    content: Content = fit(rows, features(rows), Wish(as_of=until, name="own", created_at=until), HASH)
    return files.parcel(artifact.build(content))


def drift(*options: str) -> tuple[int, dict[str, Any]]:
    done: Result = CliRunner().invoke(cli.app, ["drift", "--json", *options])
    assert done.exit_code in (0, 3), done.output
    return done.exit_code, json.loads(done.stdout)


def test_the_champion_beside_what_its_gate_recorded(
    database: str, parcel: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Figures are those of the decisions themselves; gifts of five times the size are an alarm and exit status 3."""
    monkeypatch.setenv("DATABASE_URL", database)
    chance = random.Random(4)
    own = learned(asyncio.run(live(database, 44, chance, parcel)))
    asyncio.run(live(database, 8, chance, own))
    status, calm = drift("--days", "7")
    rows = asyncio.run(decisions(database, 7))
    assert status == (3 if calm["alarms"] else 0) and not {"amount", "score"} & {*calm["alarms"]}
    assert calm["model"] == "own" and not calm["stale"]
    assert calm["gifts"] == len([row for row in rows if row["features"]]) > 80
    assert calm["gifts"] + calm["gifts_without_features"] == len(rows)
    columns = {one["name"]: one for one in calm["columns"]}
    assert set(columns) == {*NAMES, "score", "verdicts"}
    model = artifact.read_packed(own, features=NAMES, feature_table_hash=HASH)
    assert model.reference is not None
    looked = [row for row in rows if row["features"]]
    vector = vectors([msgspec.json.decode(row["features"]) for row in looked])
    for name, values in (
        *((name, vector[:, place]) for place, name in enumerate(NAMES)),
        ("score", np.array([row["score"] for row in looked])),
    ):
        edges = (model.reference["score"] if name == "score" else model.reference["features"][name])["edges"]
        there = values[~np.isnan(values)]
        counts = np.bincount(np.searchsorted(edges, there, side="right"), minlength=len(edges) + 1)
        assert columns[name]["now"] == pytest.approx([*(counts / len(values)), 1 - len(there) / len(values)]), name
    held = [row["score"] >= model.thresholds["hold"] for row in looked]
    assert columns["verdicts"]["now"] == pytest.approx([1 - np.mean(held), np.mean(held), 0.0, 0.0])
    asyncio.run(live(database, 7, chance, own, times=5))
    status, shifted = drift("--days", "7")
    by_name = {one["name"]: one for one in shifted["columns"]}
    assert status == 3 and "score" in shifted["alarms"] and shifted["columns"][0]["alarm"]
    assert by_name["amount"]["ks"] > 0.5 and by_name["amount"]["p"] < 0.001


async def asked(dsn: str, chance: random.Random) -> None:
    """Gifts of another ledger through the scoring API, which says the means of payment, or leaves things out."""
    async with open_house(dsn, None) as house, open_door(dsn) as door:
        service = await new_key(house.pool, "service", name="shop")
        for number in range(40):
            sender, recipient = chance.sample([f"org{one}" for one in range(12)], 2)
            said: dict[str, Any] = {"sender_available": 10**9, "identity": chance.choice(["none", "basic", "full"])}
            said |= {"same_owner": chance.random() < 0.5, "fingerprint": f"card{chance.randrange(4)}"}
            said = {key: value for key, value in said.items() if chance.random() < 0.8}
            gift = {"id": f"asked{number}", "sender": sender, "recipient": recipient, **said}
            gift["amount"] = (5_000 if number % 10 == 4 else 50) * CREDIT
            told = await door.post("/v1/score", json=gift, headers=service)
            assert told.status_code == 200, told.text


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_features_of_an_export_are_those_that_the_gate_recorded(
    database: str, parcel: bytes, tmp_path: Path, ending: str
) -> None:
    """Law 10, to the bit: from the database, and from the file."""
    chance = random.Random(6)
    asyncio.run(live(database, 5, chance, parcel))
    asyncio.run(asked(database, chance))
    out = tmp_path / f"gifts.{ending}"
    held, rows = asyncio.run(exported(database, out))
    looked = [place for place, row in enumerate(rows) if row["features"]]
    stored = vectors([msgspec.json.decode(rows[place]["features"]) for place in looked])
    for name in ("identity", "same_owner", "fingerprint", "verdict", "ip", "device", "fraud"):
        assert held[name].drop_nulls().n_unique() > 1, name
    for given in (held, history.read(out).rows):
        again = matrix(features(given).select(NAMES), np.array(looked))
        different = [
            name for place, name in enumerate(NAMES) if stored[:, place].tobytes() != again[:, place].tobytes()
        ]
        assert not different and len(looked) > 100


async def exported(dsn: str, out: Path) -> tuple[pl.DataFrame, list[Any]]:
    async with open_house(dsn, None) as house, house.pool.acquire() as conn:
        await recorded.export(conn, out)
        query = "select * from detector.decisions where look = 1 order by at, seq, id"
        return await recorded.recorded(conn), await conn.fetch(query)


async def decisions(dsn: str, days: int) -> list[Any]:
    async with open_house(dsn, None) as house:
        found: list[Any] = await house.pool.fetch(
            "select * from detector.decisions where look = 1 and at >= now() - make_interval(days => $1)", days
        )
        return found
