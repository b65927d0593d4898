"""What the desk costs: its queue over many open cases, a case as large as one gets, a claim; and opening cases itself.

Law: the cases are opened by the code that opens them at the gate, a batch in one transaction.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import median, quantiles
from typing import Any

import asyncpg

from bench import ground
from bench.servers import application
from detector import cases, store
from detector.gathering import MOST_GIFTS, Draft
from detector.policy import DEFAULT
from ledger.access import issue_key
from lockgate.postgres import throwaway

Say = Callable[[str], None]
GOALS_MS = {"list": 300.0, "show": 500.0}
BATCH = 100
REASONS = ["rule:new_pair_large", "rule:shared_ip"]


@dataclass(frozen=True, slots=True)
class Plan:
    """So many open cases, and how often each thing is asked for."""

    cases: int = 10_000
    asks: int = 60


QUICK = Plan(cases=300, asks=5)


def measure(plan: Plan, say: Say) -> dict[str, Any]:
    """Open the cases, ask for them, report."""
    with throwaway("lockgate-bench") as dsn:
        own, _ = ground.make(dsn, 2, "desk")
        key, opened_s, largest = asyncio.run(ground.on(own, lambda conn: fill(conn, plan)))
        say(f"{plan.cases:,} cases of 1 to {MOST_GIFTS} gifts opened in {opened_s:.1f} s")
        with application(own, 1) as (port, _):
            took = asked(port, key, largest, plan.asks)
        counted = asyncio.run(ground.on(own, lambda conn: conn.fetchrow(store.SQL["cases_count"])))
    return report(plan, opened_s, took, dict(counted))


async def fill(conn: asyncpg.Connection, plan: Plan) -> tuple[str, float, str]:
    """The cases; an analyst's key, the seconds that opening took, and the largest case."""
    await store.add_policy(conn, DEFAULT.read_text(encoding="utf-8"), "bench")
    now = datetime.now(UTC)
    drafts = [draft(f"ring{n}", "hub", f"spoke{n}", n, now) for n in range(MOST_GIFTS)]
    drafts += [draft(f"gift{n}", f"from{n}", f"to{n}", n, now) for n in range(plan.cases - 1)]
    began = time.perf_counter()
    for start in range(0, len(drafts), BATCH):
        async with conn.transaction():
            await cases.move(conn, drafts[start : start + BATCH], [])
    took = time.perf_counter() - began
    await conn.execute("analyze")
    largest = await conn.fetchval("select id from detector.cases order by gifts desc limit 1")
    return await issue_key(conn, "analyst", "ann"), took, largest


def draft(gift: str, sender: str, recipient: str, number: int, now: datetime) -> Draft:
    """A held gift; deadlines, amounts and scores differ as they do in life."""
    at = now - timedelta(minutes=number % 700)
    amount, score = (1 + number * 7919 % 5_000) * 1_000_000, (number * 31 % 100) / 100
    return Draft(
        f"{gift}.1", "hold", gift, sender, recipient, amount, None, None, at, "hold",
        REASONS[: 1 + number % 2], score, at + timedelta(hours=72),
    )  # fmt: skip


def asked(port: int, key: str, largest: str, asks: int) -> dict[str, list[float]]:
    """Milliseconds of each ask, over one connection."""
    conn = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def ask(path: str, body: Any = None) -> tuple[float, Any]:
        began = time.perf_counter()
        headers = {"Authorization": f"Bearer {key}"}
        conn.request("GET" if body is None else "POST", path, body and json.dumps(body), headers)
        answer = conn.getresponse()
        told = json.loads(answer.read())
        assert answer.status == 200, told
        return (time.perf_counter() - began) * 1_000, told

    page = ask("/v1/cases?limit=500")[1]
    names = [one["id"] for one in page["cases"] if one["id"] != largest]
    paths = {
        "list": "/v1/cases", "list_500": "/v1/cases?limit=500", "list_deadline": "/v1/cases?sort=deadline",
        "list_next": f"/v1/cases?cursor={page['next']}", "list_sender": "/v1/cases?sender=from77",
        "list_text": "/v1/cases?q=from77", "show_largest": f"/v1/cases/{largest}",
    }  # fmt: skip
    took = {name: [ask(path)[0] for _ in range(asks)] for name, path in paths.items()}
    took["show"] = [ask(f"/v1/cases/{name}")[0] for name in names[:asks]]
    versions = {one["id"]: one["version"] for one in page["cases"]}
    took["claim"] = [ask(f"/v1/cases/{name}/claim", {"version": versions[name]})[0] for name in names[:asks]]
    return took


def report(plan: Plan, opened_s: float, took: dict[str, list[float]], counted: dict[str, int]) -> dict[str, Any]:
    told = {name: {"median_ms": round(median(ms), 1), "p95_ms": p95(ms)} for name, ms in took.items()}
    wrong = [] if sum(counted.values()) == plan.cases else [f"{counted} cases are open, not {plan.cases}"]
    slow = [name for name, one in told.items() if one["p95_ms"] > GOALS_MS.get(name.split("_")[0], 1e9)]
    return {
        "cases": plan.cases,
        "opened_per_s": round((plan.cases + MOST_GIFTS - 1) / opened_s),
        **told,
        "goals_ms": GOALS_MS,
        "met": not slow,
        "faults": wrong,
    }


def p95(ms: Sequence[float]) -> float:
    return round(quantiles(ms, n=20)[-1], 1)
