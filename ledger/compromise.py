"""Stolen accounts: what a report stops, and how the org comes back. Law: a gift sent since the claimed time that waits
when the report commits never settles, unless the platform says that the org is its owner's again, and an analyst then
releases it.

Receiving is held and not refused while a report stands: whoever gives to a stolen account has done nothing wrong, and a
refusal would tell the thief's accomplices; held, the gift is out of the thief's reach, and goes back if nobody rules.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal, NamedTuple

import asyncpg

from detector.contract import Left, Told, append
from ledger import events, store
from ledger.credits import new_id
from ledger.errors import Conflict, Invalid, NotFound
from ledger.funding import lock_org
from ledger.plan import Plan, slices_of, write
from ledger.relook import Seen, look_again
from ledger.scorer import Desk, Scorer
from ledger.transfers import Status
from ledger.views import stamp

REASON: Final = "compromised"
# A gift may be opened between our reading and our locks: then once more, so often.
ROUNDS = 5
MOST_SETTLED = 1_000
HINT = "settled before the report: POST /v1/transfers/{id}/reversals takes it back as far as the recipient has credits"


class Claim(NamedTuple):
    """That an account was stolen at `since`, says `author`; what to do with its waiting gifts, and with its keys."""

    org: str
    since: datetime
    author: str
    detail: str
    gifts: Literal["hold", "return"] = "hold"
    revoke_keys: bool = True


class Reach(NamedTuple):
    """What a report reaches: the gifts that wait, locked, and the moment after the locks.

    `in_hand` are gifts that somebody is settling, cancelling or judging just now: whoever does so finds the org stopped
    as soon as the report commits, and holds or ends them.
    """

    waiting: list[Any]
    in_hand: list[str]
    now: datetime

    def standing(self, status: Status) -> list[str]:
        return [one["id"] for one in self.waiting if one["status"] == status]


@dataclass(frozen=True, slots=True)
class Reported:
    """What a report did, as it is told, inside a transaction that has yet to end; say how it ended, by `seen.close`."""

    answer: dict[str, Any]
    seen: Seen


async def report(conn: asyncpg.Connection, scorer: Scorer, desk: Desk, claim: Claim, hold_s: int) -> Reported:
    """Stop an org whose account was stolen, inside the caller's transaction, of which nothing may follow.

    Raises NotFound, Invalid for a time to come, and PolicyMoved where another generation judges by now: the caller
    begins its transaction anew.
    """
    reach = await seize(conn, claim)
    if claim.since > reach.now:
        raise Invalid(f"since {stamp(claim.since)} is yet to come; it is {stamp(reach.now)}")
    await conn.execute(store.SQL["org_compromised"], claim.org, reach.now)
    keys = await conn.fetch(store.SQL["api_keys_revoke"], claim.org) if claim.revoke_keys else []
    settled = await conn.fetch(store.SQL["compromised_settled"], claim.org, claim.since, MOST_SETTLED)
    seen = await stop_gifts(conn, scorer, desk, claim, reach, hold_s)
    try:
        return Reported(await record(conn, desk, claim, reach, seen, settled, keys), seen)
    except BaseException:
        seen.close(committed=False)
        raise


async def seize(conn: asyncpg.Connection, claim: Claim) -> Reach:
    """Lock the org's waiting gifts since the claimed time, then it and their recipients, in the order of the house.

    Once the org is locked nobody opens a gift of it. What was opened just before, and is in somebody's hand already or
    goes to an org that is not locked, may not be waited for: then all once more, and at last without it.
    """
    for tries in itertools.count(1):
        attempt = conn.transaction()
        await attempt.start()
        waiting = await conn.fetch(store.SQL["waiting_lock"], await waiting_gifts(conn, claim))
        named = {claim.org, *(party for one in waiting for party in (one["sender"], one["recipient"]))}
        orgs = {row["id"]: row for row in await conn.fetch(store.SQL["lock_orgs"], sorted(named))}
        if claim.org not in orgs:
            raise NotFound(f"org {claim.org!r} does not exist")
        late = set(await waiting_gifts(conn, claim)).difference(one["id"] for one in waiting)
        found = await conn.fetch(store.SQL["waiting_lock_late"], sorted(late)) if late else []
        waiting += [one for one in found if one["recipient"] in orgs]
        in_hand = set(await waiting_gifts(conn, claim)).difference(one["id"] for one in waiting)
        if not in_hand or tries == ROUNDS:
            await attempt.commit()
            return Reach(waiting, sorted(in_hand), max(row["now"] for row in orgs.values()))
        await attempt.rollback()
    raise AssertionError("counting never ends")


async def waiting_gifts(conn: asyncpg.Connection, claim: Claim) -> list[str]:
    return [row["id"] for row in await conn.fetch(store.SQL["compromised_waiting"], claim.org, claim.since)]


async def stop_gifts(
    conn: asyncpg.Connection, scorer: Scorer, desk: Desk, claim: Claim, reach: Reach, hold_s: int
) -> Seen:
    """Hold what waits approved, beside what was held before, in one case; or give all of it back."""
    held = reach.standing(Status.HELD)
    if claim.gifts == "return":
        await give_back(conn, desk, reach, claim.author)
        return Seen([], None)
    pending = reach.standing(Status.PENDING)
    seen = await look_again(conn, scorer, pending, REASON, hold_s, stop=REASON, beside=held, actor=claim.author)
    if seen.sitting is None and len(held) > 1:
        await desk.bring_together(conn, held)
    return seen


async def give_back(conn: asyncpg.Connection, desk: Desk, reach: Reach, actor: str) -> None:
    slices = await slices_of(conn, [one["id"] for one in reach.waiting])
    plan = Plan()
    for one in reach.waiting:
        plan.give_back(one, slices[one["id"]], Status.RETURNED, REASON, reach.now)
    await write(conn, plan, 0)
    gone = [Left(name, "returned", reach.now) for name in reach.standing(Status.HELD)]
    await desk.left(conn, gone, events.stepped(plan.steps, reach.waiting, actor))


async def record(
    conn: asyncpg.Connection, desk: Desk, claim: Claim, reach: Reach, seen: Seen, settled: Sequence[Any],
    keys: Sequence[Any],
) -> dict[str, Any]:  # fmt: skip
    """Write down what was found and done, tell the log, and say it."""
    became = {one.gift: one.status for one in seen.gifts}
    usual = Status.RETURNED if claim.gifts == "return" else Status.HELD
    done = [(one["id"], one["status"], str(became.get(one["id"], usual))) for one in reach.waiting]
    cases = await desk.cases_of(conn, [name for name, _, now in done if now == Status.HELD])
    held = [cases[name] for name, _, now in done if now == Status.HELD and name in cases]
    case = max(held, key=held.count, default=None)
    name = new_id("cr", store.micros(reach.now) // 1000)
    gifts = sorted([*done, *((row["id"], "settled", "settled") for row in settled)])
    head = name, claim.org, reach.now, claim.since, claim.author, claim.detail, claim.gifts, len(keys), case
    await conn.execute(store.SQL["compromise_report_add"], *head, *store.columns(gifts, 3))
    if case is not None:
        since = f"{claim.org} is reported as stolen since {stamp(claim.since)} ({name})"
        await desk.note(conn, case, claim.author, f"{since}: {claim.detail}")
    gone = [events.key_told("key.revoked", key["hash"], key, claim.author) for key in keys]
    await append(conn, [*told(name, claim, done, len(keys), case), *gone])
    return {
        "report": name,
        "org": claim.org,
        "since": stamp(claim.since),
        "at": stamp(reach.now),
        "frozen": True,
        "keys_revoked": len(keys),
        "case": case,
        "gifts": [view(*gift, cases.get(gift[0])) for gift in gifts],
        "in_hand": reach.in_hand,
        "settled_unlisted": max(0, settled[0]["settled"] - len(settled)) if settled else 0,
    }


def view(name: str, was: str, now: str, case: str | None) -> dict[str, Any]:
    """What was done to one gift."""
    more = {"hint": HINT.format(id=name)} if now == "settled" else {"case": case} if case else {}
    return {"id": name, "was": was, "now": now, **more}


def told(name: str, claim: Claim, done: Sequence[tuple[str, str, str]], keys: int, case: str | None) -> list[Told]:
    """What the log hears of a report, the last thing that its transaction does."""
    counts = {now: sum(1 for gift in done if gift[2] == now) for now in ("held", "returned")}
    body = {"report": name, "since": stamp(claim.since), "keys_revoked": keys, "case": case, **counts}
    return [
        Told("org.compromised", claim.org, claim.author, body),
        Told("org.frozen", claim.org, claim.author, {"report": name}),
    ]


async def recover(conn: asyncpg.Connection, org_id: str, author: str, cool_off_s: int) -> asyncpg.Record:
    """The platform's word that an org is its owner's again: it sends, and is held for a while; its row.

    Raises NotFound, and Conflict where no report stands.
    """
    org = await lock_org(conn, org_id)
    if org["compromised_at"] is None:
        raise Conflict(f"org {org_id} is not reported as compromised; there is nothing to recover it from")
    row: asyncpg.Record = await conn.fetchrow(
        store.SQL["org_recovered"], org_id, org["now"] + timedelta(seconds=cool_off_s)
    )
    body = {"compromised_at": stamp(org["compromised_at"]), "cool_until": stamp(row["cool_until"])}
    await append(conn, [Told("org.unfrozen", org_id, author, body)])
    return row
