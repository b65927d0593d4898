"""Replay: a history file through the real application, on its own throwaway database and a virtual clock.

Law: time never runs ahead of a gift. Gifts go through the gate in order of time, a batch at a time. A batch
spans less than TICK_US, and before it departs, everything due by its first moment takes its second look, at
most TICK_US after its hour. So a second look sees every gift up to its own moment and none after it, as under
a settlement worker that looks once an hour.
"""

from __future__ import annotations

import asyncio
import os
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
from ledger import funding, orgs, store
from ledger.credits import new_id
from ledger.transfers import Answer, Request
from lockgate import connections, first_model, postgres
from lockgate import replay_report as report
from lockgate.config import SettingError, Settings
from lockgate.loops import learn_sizes
from lockgate.migrate import migrate
from lockgate.replay_progress import Progress, progress
from lockgate.replay_rows import SLICE_ROWS, TICK_US, batches, playable, request_of
from lockgate.works import Works
from models import registry
from models.errors import ModelError
from training import history
from training.errors import HistoryRefused
from training.history import History

SETTLE_ROWS = 500
# This throwaway database believes the times it is told: a history may reach into the future.
NO_CLOCK = """
create or replace function ledger.clock() returns timestamptz language sql volatile
    as $$ select timestamptz 'infinity' $$
"""
CONNECTIONS = 2
# Long enough for every age that a rule asks about to say "an old org, with credits cleared long ago".
BEFORE = timedelta(days=365)
# A history does not say what its senders owned. A purse that just covers what it sends would empty with the
# sender's last row, and look like a drained account; twice as much never does.
COVER = 2
MOST_ISSUED = 2**62  # half of what a 64-bit sum holds
EXPIRES = datetime(9500, 1, 1, tzinfo=UTC)  # after all that can be played
FAULTS = (
    *(HistoryRefused, PolicyRefused, ModelError, SettingError, OSError),
    *(UnicodeDecodeError, pl.exceptions.PolarsError),
)


def replay(
    file: Annotated[
        str, typer.Argument(help="A history (.parquet or .csv), or a glob of several.", show_default=False)
    ],
    limit: Annotated[int | None, typer.Option(min=0, help="Play the first N rows only.", show_default=False)] = None,
    policy: Annotated[Path, typer.Option(help="The policy that judges, as TOML.")] = policies.DEFAULT,
    model: Annotated[
        str, typer.Option(help="The champion, by its name or as a path, where the policy asks for one.")
    ] = first_model.SHIPPED,
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
        play = Play.prepare(file, limit, policy, model, batch)
        if bad_rows_to:
            play.history.bad.write_csv(bad_rows_to)
        play.on_own_server(quiet=quiet)
    except FAULTS as error:
        typer.echo(f"lockgate replay: {getattr(error, 'detail', error)}", err=True)
        raise typer.Exit(1) from None
    raise typer.Exit(report.tell(play.report(), as_json=as_json))


command = replay  # as lockgate.cli names it


@dataclass(slots=True)
class Play:
    """One history on its way: what is played and by what, and what came of it so far."""

    history: History
    policy: str
    settings: Settings
    champion: Path | None
    most: int
    tally: report.Tally = field(default_factory=report.Tally)
    seconds: dict[str, float] = field(default_factory=dict)
    endings: list[dict[str, Any]] = field(default_factory=list)
    second_looks: list[tuple[str, str | None, int]] = field(default_factory=list)
    sums: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def prepare(cls, file: str, limit: int | None, policy: Path, model: str, most: int) -> Play:
        """Read all that the play needs. Raises one of FAULTS, before any server starts."""
        text = policy.read_text(encoding="utf-8")
        settings = Settings.from_env(os.environ)
        asked = policies.read(text).model is not None
        champion = registry.named(settings.models, model) if asked else None
        started = time.perf_counter()
        found = playable(history.read(file, limit=limit))
        return cls(found, text, settings, champion, most, seconds={"read": time.perf_counter() - started})

    def on_own_server(self, *, quiet: bool) -> None:
        postgres.exit_on_sigterm()
        with progress(self.history.rows.height, quiet=quiet) as watch, postgres.throwaway("lockgate-replay") as dsn:
            uvloop.run(self.run(dsn, watch))

    async def run(self, dsn: str, watch: Progress) -> None:
        """Prepare the database, send every row, let the clock pass, and read the books."""
        conn = await asyncpg.connect(dsn)
        pool = await connections.pool(dsn, size=CONNECTIONS)
        try:
            with self.timed("fund"):
                await migrate(conn)
                await conn.execute(NO_CLOCK)
                await detector.store.add_policy(conn, self.policy, "lockgate replay")
                if self.champion:
                    await first_model.promote(conn, self.champion, self.settings.trusted_key, "a replay")
                await fund(conn, self.history.rows)
            works = Works.build(pool, self.settings)
            await works.detector.refresh(conn)
            young = asyncio.create_task(learn_sizes(works))
            await self.send(works, conn, watch)
            young.cancel()
            with self.timed("reconcile"):
                self.sums = await funding.reconcile(conn)
                endings = await conn.fetch(store.SQL["endings"], self.tally.fraud_transfers)
                self.endings = [dict(row) for row in endings]
                self.second_looks = list(map(tuple, await conn.fetch(detector.store.SQL["second_looks"])))
        finally:
            await conn.close()
            await pool.close()

    async def send(self, works: Works, conn: asyncpg.Connection, watch: Progress) -> None:
        """Every gift in order of time, each batch after what was due before it; then the rest to its end."""
        watch.advance(0, 0)
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
        found = report.summary(self.history, self.tally, self.endings, self.sums, self.seconds)
        return {**found, "second_look": report.second_look(self.second_looks)}

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started


async def fund(conn: asyncpg.Connection, rows: pl.DataFrame) -> None:
    """Every party as a verified org, every sender with credits for all its gifts, long before the first."""
    if rows.is_empty():
        return
    total = rows.select(pl.col("amount").cast(pl.Int128).sum()).item() * COVER
    if total > MOST_ISSUED:
        raise HistoryRefused(
            f"the amounts add up to {total // COVER}, more than {MOST_ISSUED // COVER}: play fewer rows"
        )
    created = rows["at"][0] - BEFORE
    parties = pl.concat([rows["sender"], rows["recipient"].alias("sender")]).unique().sort()
    needs = rows.group_by("sender").agg(pl.col("amount").sum()).sort("sender")
    verified = rows["at"][-1]  # no history tells identities: as fresh as any gift may ask
    at_ms = max(0, store.micros(created) // 1000)
    for part in parties.to_frame().iter_slices(SLICE_ROWS):
        await orgs.create_many(conn, part.to_series().to_list(), "full", created, verified)
    for part in needs.iter_slices(SLICE_ROWS):
        grants = [
            (new_id("gr", at_ms), sender, "purchase", 100, EXPIRES, True, created, created, amount * COVER)
            for sender, amount in part.iter_rows()
        ]
        async with conn.transaction():
            await funding.issue(conn, grants)
    await conn.execute("analyze ledger.orgs, ledger.grants")


async def answers_of(works: Works, requests: Sequence[Request]) -> list[Answer | BaseException]:
    """One batch as the gate's own group commit runs it: a gift that fails does not fail its neighbours."""
    loop = asyncio.get_running_loop()
    asked = [(request, loop.create_future()) for request in requests]
    await works.gate.run(asked)
    answers: list[Answer | BaseException] = await asyncio.gather(
        *(answer for _, answer in asked), return_exceptions=True
    )
    return answers


async def pass_time(works: Works, conn: asyncpg.Connection, until: int | None) -> None:
    """Work through what falls due up to a moment, tick by tick; None: until nothing is open.

    What is due lies after the moment that was passed last, and gifts sent since span less than a tick, so
    `at` is after all of them.
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
