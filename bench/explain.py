"""What explaining a held gift costs: its case and its explanation, beside many open cases and a busy past.

Law: the gifts explained are real ones, held by the real gate; every explanation is asked whether its decision, taken
again, came out the same.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles
from typing import Any

import asyncpg
import psutil

from bench import ground, model
from bench.servers import application, cpu_s
from detector import store
from detector.policy import DEFAULT
from ledger.access import issue_key
from lockgate.postgres import throwaway

Say = Callable[[str], None]
GOALS_MS = {"show": 500.0}
SEED = 0.4
HOLDS = '\n[[rule]]\nname = "bench"\nwhen = "amount >= 500000"\nverdict = "hold"\ndescription = "holds all"\n'
HISTORY = (Path(__file__).parent / "explain_history.sql").read_text()
KEYS = (Path(__file__).parent / "explain_keys.sql").read_text()
CASES = (Path(__file__).parent / "explain_cases.sql").read_text()


@dataclass(frozen=True, slots=True)
class Plan:
    """`past` gifts of 30 days between `orgs`, `cases` open ones, `shown` of held gifts that are looked at. The default
    policy holds enough of them where the past is busy; `helped`, a rule holds all."""

    orgs: int = 2_000
    past: int = 200_000
    cases: int = 10_000
    shown: int = 40
    helped: bool = False


QUICK = Plan(orgs=60, past=2_000, cases=300, shown=6, helped=True)


@dataclass(slots=True)
class Seen:
    """What the looks took, in milliseconds; what explanations took of the application's processor; and how many of the
    decisions came out again."""

    took: dict[str, list[float]] = field(default_factory=lambda: {"case": [], "explanation": [], "show": []})
    cpu_ms: list[float] = field(default_factory=list)
    replayed: int = 0
    verdicts: dict[str, int] = field(default_factory=dict)


def measure(plan: Plan, directory: Path | None, say: Say) -> dict[str, Any]:
    """Set up, look at cases, report; `faults` is empty if what was measured was right."""
    with throwaway("lockgate-bench") as dsn:
        own, senders = ground.make(dsn, plan.orgs)
        artifact = model.parcel(directory)
        model.serve(own, artifact)
        key = asyncio.run(ground.on(own, lambda conn: fill(conn, plan)))
        say(f"{plan.past:,} past gifts, {plan.cases:,} open cases")
        with application(own, 1) as (port, process):
            ask = Client(port, key)
            held = [gift for gift in send(ask, senders, plan.shown) if gift]
            say(f"{len(held)} of {plan.shown} real gifts were held")
            seen = look(ask, held, lambda: cpu_s(psutil.Process(process.pid)))
    return report(plan, held, seen)


async def fill(conn: asyncpg.Connection, plan: Plan) -> str:
    """The past, the cases and the default policy; the key of an analyst."""
    await store.add_policy(conn, DEFAULT.read_text(encoding="utf-8") + HOLDS * plan.helped, "bench")
    await conn.execute("select setseed($1)", SEED)
    await conn.execute(HISTORY, plan.past, plan.orgs)
    await conn.execute(KEYS)
    await conn.execute(CASES, plan.cases)
    await conn.execute("vacuum analyze")
    return await issue_key(conn, "analyst", "alice")


@dataclass(frozen=True, slots=True)
class Client:
    """One connection a request, as a command line has it."""

    port: int
    key: str

    def __call__(self, method: str, path: str, body: Any = None, key: str = "", **headers: str) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            bearer = {"Authorization": f"Bearer {key or self.key}", "Content-Type": "application/json"}
            connection.request(method, path, json.dumps(body) if body else None, bearer | headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()


def send(ask: Client, senders: list[tuple[str, str]], shown: int) -> Iterator[str | None]:
    """Gifts from the busiest orgs and from quiet ones, by addresses that many share; the ids of those held."""
    for number in range(shown):
        place = number if number % 2 else len(senders) - 1 - number
        key = senders[place][1]
        to = senders[(place + 7) % len(senders)][0]
        body = {
            "recipient": to,
            "amount": (1 + 37 * number) * 1_000_000,
            "ip": f"10.0.0.{number % 50}",
            "device": f"d{number}",
        }
        status, told = ask("POST", "/v1/billing/credits/transfer", body, key, **{"Idempotency-Key": f"k{number}"})
        yield told["id"] if status == 201 and told["status"] == "held" else None


def look(ask: Client, held: list[str], cpu: Callable[[], float]) -> Seen:
    """Each held gift's case and explanation; the first look is passed over, which loads the model."""
    seen = Seen()
    if not held:
        return seen
    ask("GET", f"/v1/decisions/{held[0]}/explanation")
    for gift in held:
        page = ask("GET", f"/v1/cases?q={gift}")[1]
        case = page["cases"][0]["id"]
        case_ms, _ = timed(lambda case=case: ask("GET", f"/v1/cases/{case}"))
        used = cpu()
        why_ms, (_, told) = timed(lambda case=case, gift=gift: ask("GET", f"/v1/cases/{case}/explanation?gift={gift}"))
        seen.cpu_ms.append((cpu() - used) * 1e3)
        seen.replayed += told["replayed"] is True
        for what, ms in (("case", case_ms), ("explanation", why_ms), ("show", case_ms + why_ms)):
            seen.took[what].append(ms)
        for turn in told["turns"]:
            name = f"{turn['what']} {turn['verdict']}"
            seen.verdicts[name] = seen.verdicts.get(name, 0) + 1
    return seen


def timed(act: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    told = act()
    return (time.perf_counter() - began) * 1e3, told


def report(plan: Plan, held: list[str], seen: Seen) -> dict[str, Any]:
    """Median, 95th percentile and most of each look, beside the goals."""
    took = {what: spread(times) for what, times in seen.took.items() if times}
    wrong = [] if held else ["no gift was held"]
    if seen.replayed < len(held):
        wrong.append(f"{len(held) - seen.replayed} of {len(held)} decisions did not come out again")
    return {
        "orgs": plan.orgs,
        "past": plan.past,
        "cases": plan.cases,
        "held": len(held),
        "ms": took,
        "explanation_cpu_ms": spread(seen.cpu_ms) if seen.cpu_ms else None,
        "load": [round(one, 1) for one in os.getloadavg()],
        "goals": {
            name: {"goal_ms": goal, "met": took[name]["p95"] < goal} for name, goal in GOALS_MS.items() if name in took
        },
        "turns": seen.verdicts,
        "faults": wrong,
    }


def spread(times: list[float]) -> dict[str, float]:
    cuts = quantiles(times, n=20, method="inclusive") if len(times) > 1 else times * 19
    return {"median": round(cuts[9], 1), "p95": round(cuts[18], 1), "most": round(max(times), 1)}
