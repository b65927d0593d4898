"""Whole replays: a file through the real application, from the command line, to its last transfer."""

from __future__ import annotations

import asyncio
import json
import random
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import polars as pl
import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from lockgate.replay import replay
from lockgate.replay_rows import TICK_US

START = datetime(2026, 3, 1, tzinfo=UTC)
REAL = Path(__file__).parents[3] / "shared" / "data" / "payments-2018-05.parquet"
L, WINDOW = 3, timedelta(hours=1)
POLICY = f"""
[[limit]]
name = "pair_hourly"
on = ["pair"]
window = "1h"
count = {L}
action = "block"
description = "structuring"

[[limit]]
name = "sender_daily_value"
on = ["sender"]
window = "24h"
value = 900000000
action = "hold"
description = "drained account"

[[rule]]
name = "big"
when = "amount >= 80000000"
verdict = "hold"
description = "a big gift"

[[rule]]
name = "huge"
when = "amount >= 99000000"
verdict = "block"
description = "a huge gift"

[[rule]]
name = "from_somewhere"
when = "ip = '10.0.0.9'"
verdict = "hold"
description = "a bad address; gifts that name none are held as degraded"
"""
BAD = {
    "ragged_line": "bad-0,2026-03-01T00:00:00Z,a,b",
    "missing_at": "bad-1,,a,b,1,,0",
    "bad_at": "bad-2,yesterday,a,b,1,,0",
    "missing_sender": "bad-3,2026-03-01T00:00:00Z,,b,1,,0",
    "nonpositive_amount": "bad-4,2026-03-01T00:00:00Z,a,b,-1,,0",
    "fractional_amount": "bad-5,2026-03-01T00:00:00Z,a,b,1.5,,0",
    "self_gift": "bad-6,2026-03-01T00:00:00Z,a,a,1,,0",
    "duplicate_id": "g0,2026-03-01T00:00:00Z,a,b,1,,0",
    "amount_too_large": "bad-8,2026-03-01T00:00:00Z,a,b,1000000000000001,,0",
}

Row = tuple[str, datetime, str, str, int, str, bool]
REASONS = {f"limit:{name}" for name in ("pair_hourly", "sender_daily_value")} | {
    f"rule:{name}" for name in ("big", "huge", "from_somewhere")
}
LATENESS = "select min(ended_at - settle_at), max(ended_at - settle_at) from ledger.transfers where status = 'settled'"
FIRST_LOOKS = ("gifts", "bad_reasons", "verdicts", "reasons", "answers", "refused", "blocked")


def gifts(seed: int, many: int) -> list[Row]:
    """Gifts among few orgs over two days, so that every limit is met; out of order, as files may be."""
    dice = random.Random(seed)
    rows = []
    for number in range(many):
        sender, recipient = dice.sample(["a", "b", "c", "d", "e"], 2)
        at = START + timedelta(seconds=dice.randrange(2 * 86_400))
        ip = "10.0.0.9" if dice.random() < 0.02 else "10.0.0.1"
        rows.append((f"g{number}", at, sender, recipient, dice.randrange(1, 100_000_000), ip, dice.random() < 0.1))
    return rows


def write(path: Path, rows: list[Row], bad: dict[str, str]) -> Path:
    lines = [f"{n},{at.isoformat()},{s},{r},{amount},{ip},{int(fraud)}" for n, at, s, r, amount, ip, fraud in rows]
    path.write_text("\n".join(["id,at,sender,recipient,amount,ip,fraud", *lines, *bad.values()]) + "\n")
    return path


def invoke(*words: object) -> Result:
    app = typer.Typer()
    app.command()(replay)
    return CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)


@dataclass(frozen=True, slots=True)
class Played:
    """One file, the policy, and what the command said of them on a server of its own."""

    rows: list[Row]
    file: Path
    policy: Path
    bad_rows: Path
    done: Result

    @property
    def found(self) -> Any:
        return json.loads(self.done.stdout)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Played:
    folder = tmp_path_factory.mktemp("replay")
    rows = gifts(seed=1, many=600)
    file, policy, bad_rows = write(folder / "h.csv", rows, BAD), folder / "policy.toml", folder / "bad.csv"
    policy.write_text(POLICY)
    words = (file, "--policy", policy, "--json", "--quiet", "--batch", 64, "--bad-rows-to", bad_rows)
    return Played(rows, file, policy, bad_rows, invoke(*words))


@pytest.fixture
def elsewhere(database: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Replays on a database of this run's server: starting one of its own takes seconds."""
    monkeypatch.setattr("lockgate.postgres.throwaway", lambda prefix: nullcontext(database))
    return database


def oracle(rows: list[Row]) -> dict[str, str]:
    """The verdict of each gift by brute force: every limit looks at all earlier gifts again."""
    verdicts: dict[str, str] = {}
    admitted: list[Row] = []
    for row in sorted(rows, key=lambda row: row[1]):
        name, at, sender, recipient, amount, ip, _ = row
        pair = [one for one in admitted if one[2:4] == (sender, recipient) and at - WINDOW < one[1] <= at]
        spent = sum(one[4] for one in admitted if one[2] == sender and at - timedelta(days=1) < one[1] <= at)
        if len(pair) >= L or amount >= 99_000_000:
            verdicts[name] = "block"
            continue
        held = spent + amount > 900_000_000 or amount >= 80_000_000 or ip == "10.0.0.9"
        verdicts[name] = "hold" if held else "approve"
        admitted.append(row)
    return verdicts


async def fetch(dsn: str, query: str) -> list[tuple[Any, ...]]:
    conn = await asyncpg.connect(dsn)
    try:
        return [tuple(row) for row in await conn.fetch(query)]
    finally:
        await conn.close()


def counts(found: dict[str, Any]) -> dict[str, Any]:
    """What must be the same in every replay of one file."""
    apart = ("gifts_per_s", "gifts_per_s_with_settlement", "seconds")
    return {name: value for name, value in found.items() if name not in apart}


def test_a_file_is_played_to_its_end(played: Played) -> None:
    found, rows = played.found, played.rows
    ends = ("settled", "returned", "blocked", "refused")

    assert (played.done.exit_code, found["faults"]) == (0, [])
    assert (found["gifts"], found["bad_rows"]) == (600, len(BAD))
    assert found["fraud"]["gifts"] == sum(row[6] for row in rows)
    assert set(found["reasons"]) == REASONS
    assert found["reconciled"] is True
    assert found["open"] == found["reconciliation"]["in_lock"] == found["reconciliation"]["reserved"] == 0
    assert sum(found[end] for end in ends) == 600
    assert min(found[end] for end in ends) > 0
    assert sum(found["reconciliation"][name] for name in ("consumed", "expired", "revoked")) == 0


def test_bad_rows_are_counted_and_named(played: Played) -> None:
    found = played.found
    named = {row["reason"]: row for row in found["first_bad_rows"]}

    assert found["bad_reasons"] == dict.fromkeys(BAD, 1)
    assert named["nonpositive_amount"] == {
        "row": 605, "id": "bad-4", "reason": "nonpositive_amount", "value": "-1",
    }  # fmt: skip
    assert pl.read_csv(played.bad_rows)["reason"].sort().to_list() == sorted(BAD)


def test_every_verdict_is_what_a_brute_force_oracle_says(played: Played) -> None:
    expected = oracle(played.rows)
    blocked_fraud = sum(row[6] and expected[row[0]] == "block" for row in played.rows)

    assert played.found["verdicts"] == {word: [*expected.values()].count(word) for word in ("approve", "hold", "block")}
    assert min(played.found["verdicts"].values()) > 0
    assert played.found["fraud"]["verdicts"]["block"] == blocked_fraud


@pytest.mark.parametrize("batch", [64, 7])
def test_a_second_replay_tells_the_same(played: Played, elsewhere: str, batch: int) -> None:
    """Another size of batch moves a second look by less than a tick, and no first look at all."""
    done = invoke(played.file, "--policy", played.policy, "--json", "--quiet", "--batch", batch)
    again = json.loads(done.stdout)

    assert done.exit_code == 0
    assert {name: again[name] for name in FIRST_LOOKS} == {name: played.found[name] for name in FIRST_LOOKS}
    assert batch != 64 or counts(again) == counts(played.found)
    # Gift by gift, at the gift's own moment to the microsecond; and no settlement before its hour or much after.
    expected = oracle(played.rows)
    looks = asyncio.run(
        fetch(elsewhere, "select at, sender, recipient, amount, verdict from detector.decisions where look = 1")
    )
    assert {look[:4]: look[4] for look in looks} == {row[1:5]: expected[row[0]] for row in played.rows}
    [(early, late)] = asyncio.run(fetch(elsewhere, LATENESS))
    assert timedelta(0) <= early <= late <= timedelta(microseconds=TICK_US)


def test_people_read_tables_and_progress_goes_to_standard_error(tmp_path: Path, elsewhere: str) -> None:
    file = write(tmp_path / "h.csv", gifts(seed=2, many=40), {"self_gift": BAD["self_gift"]})
    told = ("40 gifts", "approve", "self_gift", "row 41 (id 'bad-6')", "settled", "the books balance", "gifts/s")

    done = invoke(file)

    assert done.exit_code == 0
    assert [words for words in told if words not in done.stdout] == []
    assert "letting the clock pass" in done.stderr
    assert "letting the clock pass" not in done.stdout


def test_a_file_without_a_good_row_is_a_failure(tmp_path: Path, elsewhere: str) -> None:
    done = invoke(write(tmp_path / "bad.csv", [], {"self_gift": BAD["self_gift"]}), "--json", "--quiet")

    assert (done.exit_code, json.loads(done.stdout)["bad_rows"]) == (1, 1)
    assert "no good row" in done.stderr


@pytest.mark.parametrize(
    ("file", "policy", "why"),
    [("missing.csv", POLICY, "no history at"), ("h.csv", "", "empty policy"), ("h.csv", "[", "not TOML")],
)
def test_what_cannot_be_read_says_why(tmp_path: Path, file: str, policy: str, why: str) -> None:
    write(tmp_path / "h.csv", gifts(seed=3, many=1), {})
    (tmp_path / "policy.toml").write_text(policy)

    done = invoke(tmp_path / file, "--policy", tmp_path / "policy.toml")

    assert done.exit_code == 1
    assert why in done.stderr


@pytest.mark.skipif(not REAL.exists(), reason=f"{REAL} is not here: it is a third party's, never copied")
def test_real_payments_are_played_under_the_default_policy(elsewhere: str) -> None:
    done = invoke(REAL, "--limit", 2000, "--json", "--quiet")
    found = json.loads(done.stdout)

    assert (done.exit_code, found["gifts"], found["bad_rows"]) == (0, 2000, 0)
    assert sum(found["verdicts"].values()) == 2000
    assert found["reconciled"] is True
    assert found["gifts_per_s"] > 0
