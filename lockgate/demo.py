"""The demo's two orgs, as old and as well funded as a customer's: made on the first start, found later.

The database keeps only the keys' hashes, so the demo keeps the keys themselves in LOCKGATE_HOME/demo.json.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

import asyncpg

from detector.log import SYSTEM, Told, append
from ledger import events, funding, store
from ledger.access import digest, enter_key
from ledger.credits import CREDIT
from ledger.funding import Issue, Terms

# The owner marks an org as the demo's own; no key is ever issued to another one of that name.
OWNERS: Final = {"acme": "Acme Corporation (Lockgate demo)", "globex": "Globex Corporation (Lockgate demo)"}
# name in demo.json: role, org
KEYS: Final[dict[str, tuple[str, str | None]]] = {
    "acme": ("owner", "acme"),
    "globex": ("owner", "globex"),
    "platform": ("platform", None),
    "service": ("service", None),
    "analyst": ("analyst", None),
    "lead": ("lead", None),
}
# Grown orgs: the default policy looks harder at orgs younger than a week and credits bought within two days.
AGE = timedelta(days=60)
BOUGHT = timedelta(days=21)
CLEARED = timedelta(days=20)
PROMO_LASTS = timedelta(days=90)
PURCHASE = 1_000 * CREDIT
PROMO = 100 * CREDIT
GIFT = 5 * CREDIT


class Occupied(RuntimeError):
    """The database holds a real org under one of the demo's names."""


@dataclass(frozen=True, slots=True)
class Demo:
    """The demo's keys, where they are kept, and what there is to say about them."""

    keys: Mapping[str, str]
    file: Path
    note: str | None


async def make_demo(conn: asyncpg.Connection, home: Path) -> Demo:
    """Make what is missing, inside the caller's transaction; any later start finds it again."""
    made = [await make_org(conn, org_id) for org_id in OWNERS]
    told = [event for some in made for event in some]
    file = home.resolve() / "demo.json"
    keys = read(file)
    if await all_valid(conn, keys):
        await append(conn, told)
        return Demo(keys, file, None)
    issued = {name: await enter_key(conn, role, f"demo-{name}", org, SYSTEM) for name, (role, org) in KEYS.items()}
    keys = {name: key for name, (key, _) in issued.items()}
    # Before the commit: a file whose keys were never committed is found invalid by the next start.
    write(file, keys)
    await append(conn, [*told, *(event for _, event in issued.values())])
    lost = f"The demo's keys were not in {file}, so these are new ones; older ones still work."
    return Demo(keys, file, None if all(made) else lost)


async def make_org(conn: asyncpg.Connection, org_id: str) -> list[Told]:
    """What the log is to hear of the org that was made; nothing if the demo made it before."""
    now = await conn.fetchval("SELECT clock_timestamp()")
    made = await conn.fetchrow(store.SQL["org_add"], org_id, "standard", "full", OWNERS[org_id], now - AGE, None)
    if made is None:
        org = await conn.fetchrow(store.SQL["org"], org_id)
        if org["owner"] != OWNERS[org_id]:
            raise Occupied(f"org {org_id!r} exists and is not the demo's: start without --demo")
        return []
    purchase = Issue(PURCHASE, "purchase", giftable_at=now - CLEARED)
    promo = Issue(PROMO, "promo", expires_at=now + PROMO_LASTS, giftable=True)
    rows = [funding.grant_row(org_id, wish, Terms(), now - BOUGHT) for wish in (purchase, promo)]
    return [events.org_created(made, SYSTEM), *await funding.enter(conn, rows, SYSTEM)]


async def all_valid(conn: asyncpg.Connection, keys: Mapping[str, str]) -> bool:
    """True if every key of the demo is there and this database knows it as what it is."""
    for name, (role, org_id) in KEYS.items():
        row = await conn.fetchrow(store.SQL["api_key"], digest(keys.get(name, "")))
        if row is None or (row["role"], row["org_id"]) != (role, org_id):
            return False
    return True


def read(file: Path) -> dict[str, str]:
    """The keys kept, or none where the file is lost or was cut short."""
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        return {name: str(kept["keys"][name]) for name in KEYS}
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return {}


def write(file: Path, keys: Mapping[str, str]) -> None:
    """Whole or not at all, and for this user's eyes only."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
        json.dump({"keys": dict(keys)}, out, indent=2)
        out.write("\n")
    part.replace(file)


def guide(demo: Demo, url: str, lock_s: int, *, judged_here: bool = True) -> list[str]:
    """What a newcomer does first, to paste as it stands. Decisions are shown where they are taken."""
    gifts = f"{url}/v1/billing/credits/transfer"
    acme, service = (f"-H 'Authorization: Bearer {demo.keys[name]}'" for name in ("acme", "service"))
    unique, typed = '-H "Idempotency-Key: $(date +%s%N)"', "-H 'Content-Type: application/json'"
    body = json.dumps({"recipient": "globex", "amount": GIFT})
    return [
        *([demo.note, ""] if demo.note else []),
        f"Send a gift of {GIFT // CREDIT} credits from acme to globex:",
        "",
        f"""curl -sS -w '\\n%{{http_code}}\\n' {gifts} {acme} {unique} {typed} -d '{body}'""",
        "",
        f"It answers 201 and pending: the gift waits {hours(lock_s)} in the lock, is judged again, and settles.",
        f"See it{', and why it was judged so,' if judged_here else ''} with the id it answered in place of ID:",
        "",
        f"curl -sS {gifts}s/ID {acme}",
        *([f"curl -sS {url}/v1/decisions/ID {service}"] if judged_here else []),
        "",
        "Sit down at the analyst's desk, where held gifts wait (in another terminal; q leaves it):",
        "",
        f"LOCKGATE_URL={url} LOCKGATE_KEY={demo.keys['analyst']} {command()} review",
        "",
        f"All keys, globex's, a lead's and the platform's too, are in {demo.file}",
    ]


def command() -> str:
    """The program that was started, as a shell beside it starts it."""
    started = Path(sys.argv[0])
    return str(started) if started.name == "lockgate" else f"{sys.executable} -m lockgate.cli"


def hours(span_s: int) -> str:
    """A span of seconds as people say it.

    >>> hours(86_400), hours(1_800), hours(5)
    ('24 h', '0.5 h', '5 s')
    """
    return f"{span_s / 3600:g} h" if span_s >= 360 else f"{span_s} s"
