"""Exports of what the gate recorded: complete, in order, streaming, and meaning the same when they are read again."""

from __future__ import annotations

import asyncio
import json
import random
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from typer.testing import CliRunner

from detector import store
from detector.feature_table import HASH
from lockgate import cli
from tests.support import CREDIT, House, limit, open_house, rule
from training import history, recorded
from training.features import features
from training.lesson import matrix
from training.split import weights

POLICY = rule("big", f"amount >= {50 * CREDIT}") + limit("pair", "pair", "1h", count=3)


async def platform(house: House) -> list[str]:
    """Some gifts over two days through the real gate, one of them held, one blocked; their ids in order."""
    orgs = [await house.org(available, amount=10_000 * CREDIT) for available in ("ann", "bob", "cleo")]
    ids: list[str] = []
    for number in range(18):
        sender, recipient = orgs[number % 3], orgs[(number + 1 + number // 9) % 3]
        more = {"ip": f"10.0.0.{number % 4}"} if number % 2 else {}
        amount = (60 if number == 7 else 1 + number) * CREDIT
        ids.append(await house.sent(sender, recipient, amount, **more))
        await house.pass_time(7_000)
    for _ in range(4):
        answer = await house.send("ann", "bob", CREDIT)
    assert answer.status == 429
    return ids


async def learned(pool: asyncpg.Pool, gift: str, fraud: bool) -> None:
    """A label, and the features that the model read, as a gate with a model records them."""
    await pool.execute(
        "insert into detector.labels (gift_id, fraud, source, author, sender, recipient, at, excess) "
        "select $1, $2, 'case', 'ann', sender, recipient, at, 0 from detector.decisions where id = $1 || '.1'",
        gift,
        fraud,
    )


async def note_features(pool: asyncpg.Pool, rows: pl.DataFrame) -> None:
    """Record the features of these rows in their decisions, as a gate with a model does."""
    told = features(rows, labels=False).select(recorded.RECORDED).rows()
    async with pool.acquire() as conn, conn.transaction():
        await conn.execute("set local session_replication_role = replica")
        await conn.executemany(
            "update detector.decisions set features = $2, feature_table = $3, model = 'm' where id = $1 || '.1'",
            [(name, json.dumps(one), HASH) for name, one in zip(rows["id"], told, strict=True)],
        )


@pytest.mark.parametrize("ending", ["parquet", "csv"])
async def test_an_export_read_again_is_what_was_recorded(database: str, tmp_path: Path, ending: str) -> None:
    async with open_house(database, POLICY) as house:
        ids = await platform(house)
        await learned(house.pool, ids[7], True)
        async with house.pool.acquire() as conn:
            ended = await conn.fetchval("select clock_timestamp()")
            assert await store.note_outcome(conn, ids[3], "settled", ended)
            assert await store.note_outcome(conn, ids[3], "reversed", ended + timedelta(hours=1))
            out = tmp_path / f"history.{ending}"
            shape = await recorded.export(conn, out, size=5)
            held = await recorded.recorded(conn)
            decided = await conn.fetch("select * from detector.decisions where look = 1 order by at, seq, id")
    assert shape["rows"] == len(decided) == held.height >= len(ids) + 1
    assert [*tmp_path.iterdir()] == [out]
    found = history.read(out)
    assert found.bad.height == 0
    as_text = pl.selectors.exclude("id", "at", "sender", "recipient", "amount", "fraud", "label_at").cast(pl.String)
    columns = list(recorded.SCHEMA)
    assert_frame_equal(found.rows.select(columns).with_columns(as_text), held.select(columns).with_columns(as_text))
    for name in ("sender", "recipient", "amount", "verdict", "ip", "device", "fingerprint", "tier", "at"):
        assert found.rows[name].to_list() == [one[name] for one in decided], name
    assert found.rows["id"].to_list() == [one["id"].removesuffix(".1") for one in decided]
    assert set(found.rows["verdict"]) == {"approve", "hold", "block"}
    assert found.rows.filter(pl.col("fraud"))["id"].to_list() == [ids[7]]
    assert dict(found.rows.filter(pl.col("outcome").is_not_null()).select("id", "outcome").rows()) == {
        ids[3]: "reversed"
    }
    # Law 10: what an offline command computes from the file is what it would from the database.
    assert features(found.rows).equals(features(held), null_equal=True)


async def test_recorded_features_come_back_as_they_were_recorded(database: str, tmp_path: Path) -> None:
    async with open_house(database, POLICY) as house:
        await platform(house)
        async with house.pool.acquire() as conn:
            rows = await recorded.recorded(conn)
        assert rows["sender_available"].is_null().all()  # no model judged
        given = rows.with_columns(pl.arange(0, pl.len()).alias("sender_available") * CREDIT)
        await note_features(house.pool, given)
        async with house.pool.acquire() as conn:
            out = tmp_path / "h.parquet"
            await recorded.export(conn, out)
    again = history.read(out).rows
    assert again["sender_available"].to_list() == given["sender_available"].to_list()
    ours, theirs = (features(one, labels=False) for one in (again, given))
    assert matrix(ours, range(len(rows))).tobytes() == matrix(theirs, range(len(rows))).tobytes()


async def test_a_span_is_cut_to_the_microsecond(database: str) -> None:
    async with open_house(database, POLICY) as house:
        await platform(house)
        async with house.pool.acquire() as conn:
            every = await recorded.recorded(conn)
            times = every["at"].to_list()
            for low, high in ((0, 5), (3, 17), (17, 18), (4, 4)):
                part = await recorded.recorded(conn, times[low], times[high])
                assert part.equals(every.filter((pl.col("at") >= times[low]) & (pl.col("at") < times[high])))
            assert (await recorded.recorded(conn, times[-1] + timedelta(days=1))).schema == every.schema


async def test_a_gift_of_another_snapshot_is_not_in_it(database: str) -> None:
    async with open_house(database, POLICY) as house:
        ids = await platform(house)
        async with house.pool.acquire() as conn:
            seen: list[str] = []
            async for part in recorded.batches(conn, size=4):
                if not seen:
                    await house.sent("bob", "cleo", 3 * CREDIT)
                seen += part["id"].to_list()
            assert len(seen) == len(set(seen)) and set(ids) <= set(seen)
            assert (await recorded.recorded(conn)).height == len(seen) + 1


def test_the_command_line_writes_it_and_replay_plays_it(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def gifts() -> None:
        async with open_house(database, POLICY) as house:
            await platform(house)

    asyncio.run(gifts())
    monkeypatch.setenv("DATABASE_URL", database)
    out, run = tmp_path / "history.parquet", CliRunner().invoke
    done = run(cli.app, ["history", "export", "--out", str(out), "--json"])
    assert done.exit_code == 0, done.output
    shape: dict[str, Any] = json.loads(done.stdout)
    rows = pl.read_parquet(out)
    assert shape["rows"] == rows.height and shape["from"] == rows["at"][0].isoformat()
    played = run(cli.app, ["replay", str(out), "--json", "--quiet"])
    assert played.exit_code == 0, played.output
    assert run(cli.app, ["history", "export", "--out", str(tmp_path / "x.txt")]).exit_code == 1
    late = run(cli.app, ["history", "export", "--out", str(out), "--from", "soon"])
    assert late.exit_code == 1 and "--from is 'soon'" in late.output
    assert pl.read_parquet(out).equals(rows)


async def test_labels_are_told_as_they_were_known(database: str, tmp_path: Path) -> None:
    async with open_house(database, POLICY) as house:
        ids = await platform(house)
        pool = house.pool
        for number, gift in enumerate(ids[:4]):
            await learned(pool, gift, number % 2 == 0)
        times = dict(await pool.fetch("select gift_id, label_at from detector.labels"))
        async with pool.acquire() as conn:
            assert await store.note_outcome(conn, ids[0], "settled", times[ids[0]])
            for number in range(5):
                moment = times[ids[number]] if number < 4 else times[ids[0]] - timedelta(microseconds=1)
                rows = await recorded.recorded(conn, known=recorded.Known(moment))
                expected = {one for one in ids[:4] if times[one] <= moment}
                assert set(rows.filter(pl.col("fraud").is_not_null())["id"]) == expected
                assert set(rows.filter(pl.col("label_at").is_not_null())["id"]) == expected
                assert rows.height == (await recorded.recorded(conn)).height, "gifts are never left out"
                assert rows["outcome"].is_null().all(), "an outcome counts from when it was noted"
            assert (await recorded.recorded(conn))["outcome"].drop_nulls().to_list() == ["settled"]


async def test_weights_say_what_each_gift_stands_for_where_reviewing_decides(database: str) -> None:
    async with open_house(database, POLICY) as house:
        ids = await platform(house)
        pool = house.pool
        drawn, reported, later, unread, plain = ids[0], ids[1], ids[2], ids[3], ids[4]
        for gift in (drawn, reported, later, unread):
            await pool.execute("insert into detector.samples select $1, $1 || '.1', 0.01, now()", gift)
        by_ruling, by_report = (drawn, later, ids[7]), (reported, plain)
        for gift in (*by_ruling, *by_report):
            await pool.execute(
                "insert into detector.labels (gift_id, fraud, source, author, sender, recipient, at, excess) "
                "select $1, true, $2, 'ann', sender, recipient, at, 0 from detector.decisions where id = $1 || '.1'",
                gift,
                "ruling" if gift in by_ruling else "chargeback",
            )
        await pool.execute(
            "insert into detector.case_gifts select $1 || '.2', case_id, 'hold', $1, 'a', 'b', 1, null, null, now(), "
            "'hold', '{}', null, null from detector.case_gifts limit 1",
            later,
        )
        async with pool.acquire() as conn:
            rows = await recorded.recorded(conn, known=recorded.Known(by_review=True))
            told = dict(rows.select("id", "weight").rows())
            assert {one: told[one] for one in (drawn, reported, later, unread, plain, ids[7])} == {
                drawn: 100.0, reported: 1.0, later: 1.0, unread: 0.0, plain: 1.0, ids[7]: 1.0,
            }  # fmt: skip
            assert {weight for name, weight in told.items() if name not in (*by_ruling, *by_report)} == {0.0}
            assert weights(rows).sum() == 104.0
            before = recorded.Known(rows["at"][0], by_review=True)
            assert set((await recorded.recorded(conn, known=before))["weight"]) == {0.0}, "nothing was known then"
            plain_rows = await recorded.recorded(conn)
            assert plain_rows["weight"].is_null().all()
            assert set(plain_rows.filter(pl.col("sample_rate") == 0.01)["id"]) == {drawn, reported, later, unread}


async def test_the_weighted_share_of_frauds_is_that_of_life(database: str) -> None:
    """A desk that sees one approved gift in five, and every held one, still estimates the share of frauds rightly."""
    chance = random.Random(7)
    async with open_house(database, "[review]\nsample = 0.2\n" + rule("big", f"amount >= {50 * CREDIT}")) as house:
        a, b = await house.org(amount=10**6 * CREDIT), await house.org()
        truth = {}
        for _ in range(300):
            held = chance.random() < 0.1
            gift = await house.sent(a, b, (60 if held else 1) * CREDIT)
            truth[gift] = chance.random() < (0.5 if held else 0.2)
        seen = await house.pool.fetch("select gift_id, kind from detector.case_gifts")
        for row in seen:
            await house.pool.execute(
                "insert into detector.labels (gift_id, fraud, source, author, sender, recipient, at, excess) "
                "select $1, $2, 'ruling', 'ann', sender, recipient, at, 0 from detector.decisions where id = $3",
                row["gift_id"],
                truth[row["gift_id"]],
                f"{row['gift_id']}.1",
            )
        async with house.pool.acquire() as conn:
            rows = await recorded.recorded(conn, known=recorded.Known(by_review=True))
        known = weights(rows)
        share = float((known * rows["fraud"].fill_null(False).to_numpy()).sum() / known.sum())
        life = sum(truth.values()) / len(truth)
        drawn = sum(row["kind"] == "sample" for row in seen)
        assert abs(known.sum() - 300) < 4 * (270 * 0.2 * 0.8) ** 0.5 / 0.2
        assert abs(share - life) < 4 * (0.2 * 0.8 / drawn) ** 0.5
