"""Replay: plays a history file through the real application on its own throwaway database and a virtual clock.

Law: time never runs ahead of a gift. Gifts go through the gate in order of time, a batch at a time. A batch spans less
than TICK_US, and before it departs everything due by its first moment takes its second look, at most TICK_US after its
hour. So a second look sees every gift up to its own moment and none after it, as under a settlement worker that looks
once an hour; no batch of gifts spans its own settlement.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import asyncpg
import polars as pl
import typer
import uvloop

import detector.store
from detector import policy as policies
from detector.errors import PolicyRefused
from ledger import funding, settlement, store
from ledger.credits import MOST, new_id
from ledger.transfers import Answer, Request
from lockgate import postgres
from lockgate import replay_report as report
from lockgate.app import Works
from lockgate.config import SettingError, Settings
from lockgate.migrate import migrate
from training import history
from training.errors import HistoryRefused
from training.history import History

TICK_US = 3_600_000_000
SLICE_ROWS = 10_000
SETTLE_ROWS = 500
CONNECTIONS = 2
# Long enough for every age that a rule asks about to say "an old org, with credits cleared long ago".
BEFORE = timedelta(days=365)
# A history does not say what its senders owned. A purse that just covers what it sends would empty with the sender's
# last row, and look like a drained account; twice as much never does.
COVER = 2
MOST_ISSUED = 2**62  # half of what a 64-bit sum holds
FIRST_US, LAST_US = 0, 221_845_392_000_000_000  # 1970 to 9000: activity starts at 1970
EXPIRES = datetime(9500, 1, 1, tzinfo=UTC)  # after all that can be played
CONTEXT = r"^[\x20-\x7e]{1,128}$"  # as detector.contract.Context
FAULTS = (HistoryRefused, PolicyRefused, SettingError, OSError, UnicodeDecodeError, pl.exceptions.PolarsError)


def replay(
    file: Annotated[str, typer.Argument(help="A history (.parquet or .csv), or a glob of several.", show_default=False)],
    limit: Annotated[int | None, typer.Option(min=0, help="Play the first N rows only.", show_default=False)] = None,
    policy: Annotated[Path, typer.Option(help="The policy that judges, as TOML.")] = policies.DEFAULT,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    batch: Annotated[int, typer.Option(min=1, max=1000, help="Gifts in one transaction at most.")] = 200,
    bad_rows_to: Annotated[
        Path | None, typer.Option(help="Write every bad row to this CSV file.", show_default=False)
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress.")] = False,
) -> None:
    """Play a history through the real application, on a throwaway database and a virtual clock.

    Exit status 0: every good row got one answer, everything ended, and the books balance.
    """
    try:
        play = Play.prepare(file, limit, policy, batch)
        if bad_rows_to:
            play.history.bad.write_csv(bad_rows_to)
        postgres.exit_on_sigterm()
        with report.progress(play.history.rows.height, quiet=quiet) as watch, postgres.throwaway("lockgate-replay") as dsn:
            uvloop.run(play.run(dsn, watch))
    except FAULTS as error:
        typer.echo(f"lockgate replay: {getattr(error, 'detail', error)}", err=True)
        raise typer.Exit(1) from None
    found = play.report()
    print(json.dumps(found, indent=2)) if as_json else report.show(found)
    for fault in found["faults"]:
        print(f"lockgate replay: {fault}", file=sys.stderr)
    raise typer.Exit(1 if found["faults"] else 0)


@dataclass(slots=True)
class Play:
    """One history on its way: what is played and by what, and what came of it so far."""

    history: History
    policy: str
    settings: Settings
    most: int
    tally: report.Tally = field(default_factory=report.Tally)
    seconds: dict[str, float] = field(default_factory=dict)
    endings: list[dict[str, Any]] = field(default_factory=list)
    sums: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def prepare(cls, file: str, limit: int | None, policy: Path, most: int) -> Play:
        """Read all that the play needs. Raises one of FAULTS, before any server starts."""
        text = policy.read_text(encoding="utf-8")
        policies.read(text)
        settings = Settings.from_env(os.environ)
        started = time.perf_counter()
        found = playable(history.read(file, limit=limit))
        return cls(found, text, settings, most, seconds={"read": time.perf_counter() - started})

    async def run(self, dsn: str, watch: report.Progress) -> None:
        """Prepare the database, send every row, let the clock pass until nothing is open, and read the books."""
        conn = await asyncpg.connect(dsn)
        pool = await postgres.pool(dsn, size=CONNECTIONS)
        try:
            with self.timed("fund"):
                await migrate(conn)
                await detector.store.add_policy(conn, self.policy, "lockgate replay")
                await fund(conn, self.history.rows)
            works = Works.build(pool, self.settings)
            await works.detector.adopt(conn, await detector.store.active(conn))
            await self.send(works, conn, watch)
            with self.timed("reconcile"):
                self.sums = await funding.reconcile(conn)
                self.endings = [dict(row) for row in await conn.fetch(store.SQL["endings"], self.tally.fraud_transfers)]
        finally:
            await conn.close()
            await pool.close()

    async def send(self, works: Works, conn: asyncpg.Connection, watch: report.Progress) -> None:
        """Every gift in order of time, each batch after what was due before it; then what is still open, to its end."""
        for rows in batches(self.history.rows, self.most):
            requests = [request_of(row) for row in rows.iter_rows(named=True)]
            with self.timed("settle"):
                await pass_time(works, conn, requests[0].at)
            with self.timed("gate"):
                answers = await answers_of(works, requests)
            with self.timed("tally"):
                ids = [f"{request.id}.1" for request in requests]
                looks = {row["id"]: row for row in await detector.store.decisions(conn, ids)}
                frauds = rows["fraud"] if "fraud" in rows.columns else [None] * len(requests)
                for request, answer, fraud in zip(requests, answers, frauds, strict=True):
                    self.tally.add(request, answer, looks.get(f"{request.id}.1"), fraud)
            watch.advance(len(requests), requests[-1].at or 0)
        watch.say("letting the clock pass until every gift has ended")
        with self.timed("settle"):
            await pass_time(works, conn, None)

    def report(self) -> dict[str, Any]:
        return report.summary(self.history, self.tally, self.endings, self.sums, self.seconds)

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started


def playable(found: History) -> History:
    """The history without the rows that the application's own API would refuse; those are bad rows, too."""
    rows = found.rows
    at = pl.col("at").to_physical()
    checks = [("unplayable_at", "at", ~at.is_between(FIRST_US, LAST_US)), ("amount_too_large", "amount", pl.col("amount") > MOST)]
    context = [name for name in ("ip", "device") if name in rows.columns]
    rows = rows.with_columns(pl.when(pl.col(name).cast(pl.String) != "").then(pl.col(name).cast(pl.String)) for name in context)
    checks += [(f"bad_{name}", name, ~pl.col(name).str.contains(CONTEXT)) for name in context]
    reason = pl.coalesce(pl.when(bad).then(pl.lit(code)) for code, _, bad in checks)
    value = pl.coalesce(pl.when(bad).then(pl.col(about).cast(pl.String)) for _, about, bad in checks)
    judged = rows.with_columns(reason.alias(".reason"))
    odd = judged.filter(pl.col(".reason").is_not_null()).select(
        pl.lit(None, pl.Int64).alias("row"), "id", pl.col(".reason").alias("reason"), value.str.slice(0, 80).alias("value")
    )
    return History(judged.filter(pl.col(".reason").is_null()).drop(".reason"), pl.concat([found.bad, odd]))


async def fund(conn: asyncpg.Connection, rows: pl.DataFrame) -> None:
    """Every party as a verified org, long before the first gift; every sender with cleared credits to cover its gifts."""
    if rows.is_empty():
        return
    total = rows.select(pl.col("amount").cast(pl.Int128).sum()).item() * COVER
    if total > MOST_ISSUED:
        raise HistoryRefused(f"the amounts add up to {total // COVER}, more than {MOST_ISSUED // COVER}: play fewer rows")
    created = rows["at"][0] - BEFORE
    parties = pl.concat([rows["sender"], rows["recipient"].alias("sender")]).unique().sort()
    needs = rows.group_by("sender").agg(pl.col("amount").sum()).sort("sender")
    at_ms = max(0, store.micros(created) // 1000)
    for part in parties.to_frame().iter_slices(SLICE_ROWS):
        await conn.execute(store.SQL["orgs_add"], part.to_series().to_list(), "basic", created)
    for part in needs.iter_slices(SLICE_ROWS):
        grants = [
            (new_id("gr", at_ms), sender, "purchase", 100, EXPIRES, True, created, created, amount * COVER)
            for sender, amount in part.iter_rows()
        ]
        async with conn.transaction():
            await funding.issue(conn, grants)
    await conn.execute("analyze ledger.orgs, ledger.grants")


def batches(rows: pl.DataFrame, most: int) -> Iterator[pl.DataFrame]:
    """The rows in order, in batches of at most `most` that each span less than a tick."""
    for part in rows.iter_slices(SLICE_ROWS):
        for start, end in cuts(part["at"].to_physical().to_list(), most, TICK_US):
            yield part.slice(start, end - start)


def cuts(times: Sequence[int], most: int, span: int) -> Iterator[tuple[int, int]]:
    """Where to cut ascending times into runs of at most `most` that each span less than `span`.

    >>> list(cuts([0, 1, 2, 3, 10, 20], 3, 10))
    [(0, 3), (3, 5), (5, 6)]
    """
    start = 0
    for end in range(1, len(times) + 1):
        if end == len(times) or end - start == most or times[end] - times[start] >= span:
            yield start, end
            start = end


def request_of(row: dict[str, Any]) -> Request:
    """A row as the API would hand it to the gate, and the moment that stands in for the clock."""
    at = store.micros(row["at"])
    ip, device = row.get("ip"), row.get("device")
    meaning = f"{row['recipient']}\n{row['amount']}\n{ip}\n{device}"
    body_hash = hashlib.sha256(meaning.encode()).digest()
    name = new_id("tr", at // 1000)
    return Request(name, key_of(row["id"]), row["sender"], row["recipient"], row["amount"], None, ip, device, body_hash, at)


def key_of(name: str) -> str:
    """The row's idempotency key: its id where that is fit for a key, else what stands for it."""
    if re.fullmatch(r"[\x21-\x7e]{1,200}", name):
        return f"row:{name}"
    return f"row#{hashlib.sha256(name.encode()).hexdigest()}"


async def answers_of(works: Works, requests: Sequence[Request]) -> list[Answer | Exception]:
    """One batch as the gate's own group commit runs it: a gift that fails does not fail its neighbours."""
    loop = asyncio.get_running_loop()
    asked = [(request, loop.create_future()) for request in requests]
    await works.gate.run(asked)
    return await asyncio.gather(*(answer for _, answer in asked), return_exceptions=True)  # type: ignore[arg-type]


async def pass_time(works: Works, conn: asyncpg.Connection, until: int | None) -> None:
    """Work through what falls due up to a moment, tick by tick; None: until nothing is open.

    What is due lies after the moment that was passed last, and gifts sent since span less than a tick, so that `at`
    is after all of them.
    """
    while (due := await conn.fetchval(store.SQL["due_next"])) is not None:
        due_us = store.micros(due)
        if until is not None and due_us > until:
            return
        at = store.moment(due_us + TICK_US if until is None else min(due_us + TICK_US, until))
        if not await works.settlement.settle_due(at, most=SETTLE_ROWS):
            raise RuntimeError(f"a transfer is due since {due}, but settlement takes none at {at}")
        while await works.settlement.settle_due(at, most=SETTLE_ROWS):
            pass
        await settlement.expire_due(works.pool, at)
