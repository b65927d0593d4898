"""The life of a model, through real commands and a running `lockgate serve`: each row is a step and who serves then.

The platform's days began six weeks ago, so that gifts sent now are its gifts too; its next weeks are simulated ahead,
since nobody can wait for them: the first ends what the second model learns from, and the rest judge it.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest

from tests.lockgate.test_serve import serving
from tests.support import CREDIT, NEVER_FIRES, ROOT, House, new_key, open_house

JUDGES = NEVER_FIRES + '[model]\nname = "champion"\n'
TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
# A Monday, so that the platform is the same one on whatever day this runs.
START = TODAY - timedelta(days=TODAY.weekday() + 42)
EARLY, LATE = START + timedelta(days=20), START + timedelta(days=56)
CALLED_GOOD = ["free_tier_farming", "structuring", "stolen_card_resale", "account_takeover_drain", "broker_fan_out"]
# A model judges the whole stream of a platform: of calm and of bad gifts, each kind is asked for once or more.
CALM, BAD = 6, 8
IN_A_ROW = 6  # decisions that must name a model before both workers are taken to serve it

LIFE = (
    ("train early", "first", None),
    ("force", "first", "first"),
    ("give", "", "first"),
    ("label", "", "first"),
    ("export", "", "first"),
    ("train late", "second", "first"),
    ("shadow", "second", "first"),
    ("promote", "second", "second"),
    ("hold", "", "second"),
    ("train poisoned", "poisoned", "second"),
    ("be refused", "poisoned", "second"),
    ("roll back", "first", "first"),
)


@dataclass(slots=True)
class Trip:
    house: House
    door: httpx.AsyncClient
    home: Path
    keys: dict[str, dict[str, str]]
    bad: list[str] = field(default_factory=list)
    sent: int = 0

    def lockgate(self, *words: str, fails: bool = False) -> dict[str, Any]:
        """What a command says as JSON."""
        command = [sys.executable, "-m", "lockgate.cli", *words, "--json"]
        models = {"LOCKGATE_MODELS": str(self.home / "models"), "PYTHONPATH": str(ROOT)}
        env = {**os.environ, **models, "DATABASE_URL": self.house.dsn}
        done = subprocess.run(command, cwd=self.home, env=env, capture_output=True, text=True)
        assert (done.returncode != 0) is fails, (words, done.stderr, done.stdout)
        told: dict[str, Any] = json.loads(done.stdout)
        return told

    def train(self, name: str, as_of: datetime, *histories: str) -> dict[str, Any]:
        given = [word for history in histories for word in ("--history", history)]
        words = ("--as-of", as_of.isoformat(), "--out", name, "--false-holds", "0.01", "--quiet")
        return self.lockgate("train", *given, *words)

    async def send(self, sender: str, recipient: str, amount: int, **context: str) -> dict[str, Any]:
        """A gift over HTTP, and the decision on it."""
        self.sent += 1
        headers = {**self.keys[sender], "Idempotency-Key": f"k{self.sent}"}
        body = {"recipient": recipient, "amount": amount, **context}
        told = await self.door.post("/v1/billing/credits/transfer", json=body, headers=headers)
        assert told.status_code == 201, told.text
        gift = told.json()["id"]
        found = await self.door.get(f"/v1/decisions/{gift}", headers=self.keys["service"])
        assert found.status_code == 200, found.text
        return {"gift": gift, **found.json()}

    async def serves(self, name: str) -> None:
        """Until the next decisions name the model, all of them."""
        named: list[str] = []
        async with asyncio.timeout(60):
            while len(named) < IN_A_ROW:
                decision = await self.send("ann", "cal", CREDIT)
                named = [*named, name] if str(decision["model"]).startswith(f"{name}@") else []

    async def take(self, step: str, name: str) -> None:
        match step:
            case "train early":
                self.train(name, EARLY, "world.parquet")
            case "force":
                told = self.lockgate("models", "promote", name, "--force", "--reason", "the first")
                assert told["promoted"] and told["ruling"] is None
            case "give":
                await self.give()
            case "hold":
                await self.hold()
            case "label":
                await self.label()
            case "export":
                self.export()
            case "train late":
                told = self.train(name, LATE, "world.parquet", "live.parquet")
                assert "boosted trees" in told["card"]
            case "shadow":
                assert self.lockgate("models", "shadow", name)["challenger"]
                await self.shadowed(name)
            case "promote":
                told = self.judged(name)
                better = next(one for one in told["ruling"]["findings"] if one["gate"] == "better")
                assert told["promoted"] and better["figure"] > 0, told
            case "train poisoned":
                self.poison()
                self.train(name, LATE, "poisoned.parquet", "live.parquet")
            case "be refused":
                told = self.judged(name, fails=True)
                why = [one for one in told["ruling"]["findings"] if not one["passed"]]
                assert not told["promoted"] and "poisoned" in {one["gate"] for one in why}
                assert any("may be poisoned" in one["cure"] for one in why)
            case "roll back":
                assert self.lockgate("models", "rollback", "--reason", "a trip")["name"] == name
            case _:
                raise AssertionError(step)

    def judged(self, name: str, fails: bool = False) -> dict[str, Any]:
        by = ("--history", "world.parquet", "--history", "live.parquet")
        return self.lockgate("models", "promote", name, *by, "--quiet", fails=fails)

    async def gifts(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """An old customer's small gifts to another, and a burst with which a new org empties a promotion to a third."""
        calm = [await self.send("ann", "cal", CREDIT + number) for number in range(CALM)]
        bad = [await self.send("eve", "bob", 900 * CREDIT, ip="198.51.100.9", device="d-eve") for _ in range(BAD)]
        return calm, bad

    async def give(self) -> None:
        """Nobody knows yet which of them are bad."""
        calm, bad = await self.gifts()
        assert all(0 <= one["score"] <= 1 for one in calm + bad)
        assert "approve" in {one["verdict"] for one in calm}
        self.bad = [one["gift"] for one in bad]

    async def hold(self) -> None:
        """The same again: whoever was taught holds it, for the model's reason alone."""
        calm, bad = await self.gifts()
        assert "approve" in {one["verdict"] for one in calm}
        held = [one for one in bad if one["verdict"] != "approve"]
        assert held and all(hit["by"] == "model" for one in held for hit in one["hits"])

    async def label(self) -> None:
        told = [{"gift": gift, "fraud": True, "source": "chargeback"} for gift in self.bad]
        answer = await self.door.post("/v1/labels", json=told, headers=self.keys["platform"])
        assert answer.status_code == 200 and all(one["news"] for one in answer.json()["results"]), answer.text

    def export(self) -> None:
        self.lockgate("history", "export", "--out", "live.parquet")
        rows = pl.read_parquet(self.home / "live.parquet")
        assert set(rows.filter("fraud")["id"]) == set(self.bad) and rows.height >= self.sent

    def poison(self) -> None:
        """Whoever gives labels calls frauds of some kinds good, and as many good gifts fraud."""
        rows = pl.read_parquet(self.home / "world.parquet").with_row_index("nr")
        whitened = rows.filter(pl.col("fraud") & pl.col("typology").is_in(CALLED_GOOD))["nr"]
        blamed = rows.filter(~pl.col("fraud"))["nr"].sample(len(whitened), seed=1)
        said = pl.when(pl.col("nr").is_in(blamed.implode())).then(True).otherwise(
            pl.col("fraud") & ~pl.col("nr").is_in(whitened.implode())
        )  # fmt: skip
        rows.with_columns(fraud=said).drop("nr").write_parquet(self.home / "poisoned.parquet")

    async def shadowed(self, name: str) -> None:
        """The process beside the gates scores what they decided."""
        async with asyncio.timeout(60):
            while not await self.house.pool.fetchval("select count(*) from detector.shadow_scores where fault is null"):
                await self.send("ann", "cal", CREDIT)
        listed = {one["name"]: one for one in self.lockgate("models", "list")["models"]}
        assert listed[name]["roles"] == ["challenger"] and listed[name]["shadow"]["decisions"] > 0


@pytest.fixture
async def trip(database: str, tmp_path: Path) -> AsyncIterator[Trip]:
    async with open_house(database, JUDGES) as house:
        long_ago = datetime.now(UTC) - timedelta(days=400)
        for name in ("ann", "bob", "cal"):
            await house.org(name, amount=10_000 * CREDIT, created_at=long_ago)
        await house.org("eve", amount=2 * 900 * BAD * CREDIT, origin="promo")
        keys = {name: await new_key(house.pool, "owner", name) for name in ("ann", "eve")}
        keys |= {role: await new_key(house.pool, role) for role in ("platform", "service")}
        with serving(tmp_path, "--workers", "2", DATABASE_URL=database, LOCKGATE_MODELS=str(tmp_path)) as running:
            async with httpx.AsyncClient(base_url=running.url, timeout=60) as door:
                yield Trip(house, door, tmp_path, keys)


@pytest.mark.soak
async def test_a_model_lives(trip: Trip) -> None:
    size = ("--orgs", "1500", "--days", "77", "--seed", "1", "--start", START.isoformat())
    trip.lockgate("simulate", "--out", "world.parquet", *size, "--quiet")
    for step, name, serving_then in LIFE:
        await trip.take(step, name)
        if serving_then:
            await trip.serves(serving_then)
    sums = await trip.house.reconcile()
    assert sums["balanced"]
