"""Backtests: law 10 for a whole policy, against the real gate; and labels, which count and never decide."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

from detector.policy import read
from detector.store import HITS
from lockgate.cli import app
from tests.support import CREDIT, House, limit, open_house, rule
from training.backtest import LeftOut, fitting, outcomes, summary
from training.errors import TrainingError
from training.recorded import recorded
from training.simulate import simulate

POLICY = "".join(
    (
        # It holds nothing; and the facts of a gift are on record where there is a model.
        '[model]\nname = "champion"\nhold_at = 1.0\nblock_at = 1.0\n',
        limit("often", "sender", "1h", count=4),
        limit("much", ["pair"], "24h", action="hold", value=90 * CREDIT),
        limit("one_place", "ip", "10m", count=3),
        rule("large", f"amount > {60 * CREDIT}"),
        rule("spread", "ip is not null and ip_senders_24h >= 3", "block"),
        rule("eager", "sender_attempt_count_1h >= 5"),
        rule("emptied", f"sender_available < {9_700 * CREDIT}"),
        rule("ours", "same_owner"),
    )
)
HERE = datetime(2026, 3, 2, tzinfo=UTC)


def silent(stage: str, share: float) -> None:
    pass


async def traffic(house: House, chance: random.Random) -> None:
    """Gifts in bursts, minutes to days apart; many meet a limit or a rule."""
    orgs = [
        await house.org(f"org{number}", owner=f"owner{number // 2}" if number < 4 else None, amount=10_000 * CREDIT)
        for number in range(6)
    ]
    for _ in range(40):
        for _ in range(chance.randrange(1, 6)):
            sender, recipient = chance.sample(orgs, 2)
            place: dict[str, Any] = {} if chance.random() < 0.4 else {"ip": f"10.0.0.{chance.randrange(3)}"}
            await house.send(sender, recipient, chance.choice([1, 20, 50, 80]) * CREDIT, **place)
        await house.pass_time(chance.choice([60, 700, 4_000, 90_000]))


async def test_a_backtest_decides_as_the_gate_did(database: str, parcel: bytes) -> None:
    async with open_house(database, POLICY) as house:
        await house.promote(parcel)
        await traffic(house, random.Random(3))
        async with house.pool.acquire() as conn:
            rows = await recorded(conn)
            decided = await conn.fetch("select * from detector.decisions where look = 1 order by at, seq, id")
    found, left_out = outcomes(rows, read(POLICY), silent)
    assert not left_out and found["verdict"].to_list() == [one["verdict"] for one in decided]
    reasons = [[hit.reason for hit in HITS.decode(one["hits"])] for one in decided]
    assert found["reasons"].to_list() == reasons
    fired = {reason for each in reasons for reason in each}
    assert {f"rule:{name}" for name in ("large", "spread", "eager", "emptied", "ours")} <= fired
    assert {f"limit:{name}" for name in ("often", "much", "one_place")} <= fired


@pytest.fixture(scope="module")
def world() -> pl.DataFrame:
    return simulate(120, 30, 5).drop("typology", "truth")


STRICT = read(limit("often", "sender", "24h", count=2) + rule("large", f"amount > {40 * CREDIT}"))


def test_no_label_and_no_later_gift_changes_a_verdict(world: pl.DataFrame) -> None:
    whole, _ = outcomes(world, STRICT, silent)
    assert whole["verdict"].n_unique() == 3
    early = world.height // 2
    planted = world.with_columns(fraud=True, label_at="at")
    for rows in (world.drop("fraud", "label_at"), planted, world[:early]):
        found, _ = outcomes(rows, STRICT, silent)
        assert found.equals(whole[: rows.height])


def test_what_a_policy_reaches_is_counted_by_hand() -> None:
    amounts = [10, 50, 60, 10, 10]
    rows = pl.DataFrame(
        {
            "id": [f"g{number}" for number in range(5)],
            "at": pl.Series([HERE + timedelta(hours=number) for number in range(5)], dtype=pl.Datetime("us", "UTC")),
            "sender": ["a", "a", "a", "b", "a"],
            "recipient": "c",
            "amount": [amount * CREDIT for amount in amounts],
            "fraud": [False, True, None, False, False],
        }
    )
    outcome, left_out = outcomes(rows, STRICT, silent)
    # The third is one too many for its sender, and so is the fifth: a blocked gift burns no budget.
    assert outcome["verdict"].to_list() == ["approve", "hold", "block", "approve", "block"]
    told = summary(rows, outcome, STRICT, left_out)
    assert {word: one["gifts"] for word, one in told["verdicts"].items()} == {"approve": 2, "hold": 1, "block": 2}
    by = {one["reason"]: one for one in told["by"]}
    assert {name: (one["gifts"], one["alone"]) for name, one in by.items()} == {
        "rule:large": (2, 1),
        "limit:often": (2, 1),
    }
    assert by["rule:large"]["frauds"] == 1 and by["rule:large"]["fraud_amount"] == 50 * CREDIT
    assert by["limit:often"]["good"] == 1 and by["limit:often"]["unlabelled"] == 1
    assert by["limit:often"]["amount"] == 70 * CREDIT and told["known_frauds"] == 1


def test_what_a_history_cannot_tell_is_left_out_and_named() -> None:
    policy = read(limit("place", ["sender", "ip"], "1h", count=3) + rule("young", "sender_age_s < 60 and amount > 1"))
    both = fitting(policy, {"ip", "sender_age_s"})
    assert both[0].limits == policy.limits and both[0].rules == policy.rules and not both[1]
    some, left_out = fitting(policy, {"ip"})
    assert some.limits == policy.limits and not some.rules
    assert left_out == [LeftOut("young", ("sender_age_s",))]
    with pytest.raises(TrainingError, match="place needs ip; young needs sender_age_s"):
        fitting(policy, set())


def run(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["backtest", *words])
    return done.exit_code, done.stdout


def test_the_command_tells_and_writes(world: pl.DataFrame, tmp_path: Path) -> None:
    history, policy, out = tmp_path / "world.parquet", tmp_path / "strict.toml", tmp_path / "verdicts.csv"
    world.write_parquet(history)
    policy.write_text(STRICT.text)
    status, said = run(str(history), "--policy", str(policy), "--out", str(out), "--json")
    told = json.loads(said)
    verdicts = pl.read_csv(out)
    assert status == 0 and told["gifts"] == world.height == verdicts.height
    assert told["verdicts"]["block"]["gifts"] == (verdicts["verdict"] == "block").sum() > 0
    begin = world["at"][world.height // 2]
    status, said = run(str(history), "--policy", str(policy), "--from", begin.isoformat(), "--json")
    later = world["at"] >= begin
    assert status == 0 and json.loads(said)["gifts"] == later.sum()
    assert json.loads(said)["verdicts"]["block"]["gifts"] == ((verdicts["verdict"] == "block") & later).sum()
    status, said = run(str(history), "--policy", str(policy))
    assert status == 0 and "limit:often" in said and "rule:large" in said


@pytest.mark.parametrize("words", [["nowhere.parquet"], ["{}", "--to", "2020-01-01"], ["{}", "--out", "there.txt"]])
def test_what_cannot_be_done_ends_with_status_1(world: pl.DataFrame, tmp_path: Path, words: list[str]) -> None:
    history = tmp_path / "world.parquet"
    world.write_parquet(history)
    assert run(*(word.format(history) for word in words))[0] == 1
