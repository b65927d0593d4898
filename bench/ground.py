"""What a benchmark stands on: orgs with keys and credits, a policy that refuses nobody, pgbench's tables."""

from __future__ import annotations

import asyncio
import re
import subprocess
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg

import detector.store
from bench.servers import ROOT, BenchError
from detector import policy
from ledger import funding, store
from ledger.access import digest
from ledger.funding import Issue, Terms
from lockgate.migrate import migrate
from lockgate.postgres import binaries, with_database

RAISE, CEILING = 10**6, 10**18
ASKED = re.compile(r"(>=?\s*)([\d_]+)")
# Within seconds every org of a closed loop has sent to more orgs than an honest one does in a day.
FAN_OUT = re.compile(r"(sender_recipients_\w+\s*>=?\s*)([\d_]+)")
# Old enough to be nobody's new org, and to have cleared; too young to be dormant.
AGE = timedelta(days=20)
GRANT = 10**14


def make(dsn: str, orgs: int, name: str = "gate") -> tuple[str, list[tuple[str, str]]]:
    """A migrated database with a policy and so many funded orgs: its DSN, and each org with its key."""
    return asyncio.run(make_ready(dsn, name, orgs))


async def make_ready(dsn: str, name: str, orgs: int) -> tuple[str, list[tuple[str, str]]]:
    await on(dsn, lambda conn: conn.execute(f"create database {name}"))
    own = with_database(dsn, name)
    senders = [(f"org_{number:06d}", f"lg_owner_{'benchmark' * 4}{number:07d}") for number in range(orgs)]
    await on(own, lambda conn: fill(conn, senders))
    return own, senders


async def fill(conn: asyncpg.Connection, senders: list[tuple[str, str]]) -> None:
    """Through the ledger's own statements, pipelined or as sets: thousands of orgs take a second or two."""
    await migrate(conn)
    await detector.store.add_policy(conn, raised((ROOT / "detector" / "policy.toml").read_text()), "bench")
    born = datetime.now(UTC) - AGE
    purchase = Issue(GRANT, "purchase")
    async with conn.transaction():
        orgs = [(org, "standard", "full", None, born, None) for org, _ in senders]
        await conn.executemany(store.SQL["org_add"], orgs)
        keys = [(digest(key), "bench", "owner", org) for org, key in senders]
        await conn.executemany(store.SQL["api_key_add"], keys)
        await funding.issue(conn, [funding.grant_row(org, purchase, Terms(), born) for org, _ in senders])
    await conn.execute("analyze")


def raised(text: str) -> str:
    """The policy without its model; out of reach are the ceilings of its limits, what its blocking rules ask, and to
    how many orgs one must have sent for a rule to hold."""
    text = re.sub(r"^\[model\]\n(\w+ = .*\n)+", "", text, flags=re.M)
    ceilings = re.compile(r"^((?:count|value) = )([\d_]+)$", re.M)
    text = ceilings.sub(lambda line: f"{line[1]}{higher(line[2])}", text)
    for rule in tomllib.loads(text).get("rule", []):
        asked = ASKED if rule["verdict"] == "block" else FAN_OUT
        when = asked.sub(lambda part: f"{part[1]}{higher(part[2])}", rule["when"])
        text = text.replace(rule["when"], when)
    policy.read(text)
    return text


def higher(number: str) -> int:
    return min(int(number) * RAISE, CEILING)


def fill_pgbench(dsn: str, scale: int) -> str:
    """The DSN of a database with pgbench's own tables."""
    asyncio.run(on(dsn, lambda conn: conn.execute("create database pgbench")))
    own = with_database(dsn, "pgbench")
    run_pgbench(own, "--initialize", "--quiet", f"--scale={scale}")
    return own


def run_pgbench(dsn: str, *options: str) -> str:
    """What pgbench printed. Raises BenchError when it failed."""
    done = subprocess.run([binaries() / "pgbench", *options, dsn], capture_output=True, text=True)
    if done.returncode:
        raise BenchError(f"pgbench {' '.join(options)} failed: {done.stderr.strip()}")
    return done.stdout


def tps(printed: str) -> tuple[float, int]:
    """Transactions a second and their number, as pgbench prints them.

    >>> tps("number of transactions actually processed: 12/12\\ntps = 3.5 (without …)")
    (3.5, 12)
    """
    rate = re.search(r"^tps = ([\d.]+)", printed, re.M)
    number = re.search(r"^number of transactions actually processed: (\d+)", printed, re.M)
    if rate is None or number is None:
        raise BenchError(f"pgbench printed no rate: {printed!r}")
    return float(rate[1]), int(number[1])


def postmaster(dsn: str) -> int:
    """The process number of the server: its data directory says it."""
    folder = asyncio.run(on(dsn, lambda conn: conn.fetchval("show data_directory")))
    return int((Path(folder) / "postmaster.pid").read_text().split("\n", 1)[0])


def books(dsn: str) -> dict[str, Any]:
    """Law 1 over all that was sent, and the transfers by status."""
    return asyncio.run(on(dsn, read_books))


async def read_books(conn: asyncpg.Connection) -> dict[str, Any]:
    await conn.execute("set work_mem = '256MB'")
    rows = await conn.fetch("select status, count(*) from ledger.transfers group by status order by status")
    return {
        "reconciled": (await funding.reconcile(conn))["balanced"],
        "transfers": {row["status"]: row["count"] for row in rows},
    }


def make_forgettable(dsn: str) -> None:
    """Nothing of this server will be read again, so that its last checkpoint need not reach the disk."""
    for statement in ("alter system set fsync = off", "select pg_reload_conf()"):
        asyncio.run(on(dsn, lambda conn, sql=statement: conn.execute(sql)))


async def on(dsn: str, do: Any) -> Any:
    conn = await asyncpg.connect(dsn)
    try:
        return await do(conn)
    finally:
        await conn.close()
