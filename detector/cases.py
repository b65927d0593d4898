"""How gifts come to cases and leave them, in the transaction that holds or ends them.

Law: every held gift waits in one case; a case in which nothing waits any more ends. Whoever touches several cases takes
their common lock first (detector.lock_cases), so openers never deadlock and never open twins for one ring.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

import asyncpg
import msgspec

from detector import log
from detector.contract import Left
from detector.gathering import SPAN, Beside, Desk, Draft, Gathered, Open, gather
from detector.gift import Decision, Verdict, moment
from detector.log import SYSTEM, Told
from detector.store import SQL

ENCODE = msgspec.json.Encoder().encode
HOLD = "hold"
SAMPLE = "sample"


def drafts(
    decisions: Iterable[Decision], stopped: Iterable[tuple[Decision, str]], hold_s: int | None, at: datetime | None
) -> list[Draft]:
    """What was held, by the detector or in spite of its approval; a hold lasts `hold_s` from `at`, or its decision."""
    also = {one.id: reason for one, reason in stopped}
    held = [one for one in decisions if one.verdict is Verdict.HOLD or one.id in also]
    return [
        draft(
            one, HOLD, [*against(one), *([also[one.id]] if one.id in also else [])],
            None if hold_s is None else (at or moment(one.at)) + timedelta(seconds=hold_s),
        )
        for one in held
    ]  # fmt: skip


def against(one: Decision) -> list[str]:
    """What speaks against a gift now: a reason that was waived does not."""
    return [hit.reason for hit in one.hits if hit.waived_by is None]


def draft(one: Decision, kind: str, reasons: list[str], deadline: datetime | None) -> Draft:
    gift = one.gift
    return Draft(
        one.id, kind, gift.id, gift.sender, gift.recipient, gift.amount, gift.ip, gift.device, moment(one.at),
        one.verdict.word, reasons, one.score, deadline,
    )  # fmt: skip


async def move(
    conn: asyncpg.Connection, come: Sequence[Draft], left: Sequence[Left], also: Sequence[Told] = (),
    beside: Sequence[str] = (),
) -> None:  # fmt: skip
    """Let gifts come to their cases and others leave theirs. The last locks that a transaction takes.

    The cases in which the gifts `beside` wait become one, and what comes joins it. The log hears of it, and of `also`,
    in one link."""
    if not come and not left and not beside:
        await log.append(conn, also)
        return
    desk = await lock(conn, come, [*(one.gift for one in left), *beside])
    near = await found_beside(conn, beside)
    now = max([*(one.at for one in come), *(one.at for one in left), *(one.at for one in near)], default=None)
    if now is None:  # none of them waits any more
        await log.append(conn, also)
        return
    gathered = gather(come, desk, near)
    gone, said = await leave(conn, left)  # first: a gift that was judged anew and is held again comes anew
    told = await enter(conn, gathered, now)
    touched = {gathered.last(case) for case in [*gone, *gathered.merged, *(case for _, case in gathered.joined)]}
    ends = await recount(conn, touched, now)
    await log.append(conn, [*also, *told, *said, *ends])


async def of(conn: asyncpg.Connection, gifts: Sequence[str]) -> dict[str, str]:
    """The case in which each of these gifts waits."""
    return {row["gift_id"]: row["case_id"] for row in await conn.fetch(SQL["cases_of"], gifts)}


async def found_beside(conn: asyncpg.Connection, beside: Sequence[str]) -> list[Beside]:
    rows = await conn.fetch(SQL["cases_beside"], beside) if beside else []
    return [Beside(Open(case, *rest), "o:" + sender, at) for sender, at, case, *rest in rows]


async def lock(conn: asyncpg.Connection, come: Sequence[Draft], also: Sequence[str]) -> Desk:
    """The open cases that share a key with what comes, locked with those in which `also` wait."""
    keys = sorted({key for one in come if one.kind == HOLD for key in one.keys})
    since = min((one.at for one in come), default=None)
    desk = Desk()
    rows = await conn.fetch(
        SQL["cases_lock"], keys, also, since - SPAN if since else None
    )  # fmt: skip
    for key, at, case, opened_at, gifts, busy in rows:
        desk.cases.setdefault(case, Open(case, opened_at, gifts, busy))
        desk.note(key, case, at)
    return desk


async def enter(conn: asyncpg.Connection, gathered: Gathered, now: datetime) -> list[Told]:
    """Write what was gathered: open, gather, join; one event a case."""
    homes: dict[str, list[Draft]] = {gathered.last(case): [] for case in gathered.merged}
    if not gathered.joined and not homes:
        return []
    for one, case in gathered.joined:
        homes.setdefault(gathered.last(case), []).append(one)
    opened = {one.id: one for one in gathered.opened}
    kinds = [gifts[0].kind for case, gifts in homes.items() if case in opened]
    fresh = [opened[case] for case in homes if case in opened]
    await conn.execute(SQL["cases_open"], [one.id for one in fresh], kinds, [one.opened_at for one in fresh])
    old = [case for case in gathered.merged if case not in opened]
    if old:
        await conn.execute(SQL["cases_merge"], old, [gathered.last(case) for case in old], now)
    rows = [{**msgspec.structs.asdict(one), "case_id": case} for case, gifts in homes.items() for one in gifts]
    await conn.execute(SQL["case_gifts_add"], ENCODE(rows).decode())
    if gathered.full:
        await conn.execute(SQL["case_keys_drop"], gathered.full)
    return [
        *(Told("case.ended", case, SYSTEM, {"into": gathered.last(case)}) for case in old),
        *(
            Told("case.opened" if case in opened else "case.joined", case, SYSTEM, {
                "gifts": [one.gift_id for one in gifts], **absorbed(case, old, gathered),
            })
            for case, gifts in homes.items()
        ),
    ]  # fmt: skip


def absorbed(case: str, old: Sequence[str], gathered: Gathered) -> dict[str, list[str]]:
    taken = [one for one in old if gathered.last(one) == case]
    return {"cases": taken} if taken else {}


async def leave(conn: asyncpg.Connection, left: Sequence[Left]) -> tuple[set[str], list[Told]]:
    """Gifts that ended without a ruling leave; what was proposed about them lapses. The cases, and what to tell."""
    if not left:
        return set(), []
    columns = [one.gift for one in left], [one.standing for one in left], [one.at for one in left]
    gone = await conn.fetch(SQL["case_gifts_leave"], *columns)
    lapsed = await conn.fetch(SQL["rulings_lapse"], [row["decision_id"] for row in gone])
    told = [left_event(row) for row in gone] + [lapsed_event(row) for row in lapsed]
    return {row["case_id"] for row in gone}, told


def left_event(row: asyncpg.Record) -> Told:
    kind = "gift.hold_expired" if row["standing"] == "lapsed" else "gift.left"
    return Told(kind, row["gift_id"], SYSTEM, {"case": row["case_id"], "standing": row["standing"]})


def lapsed_event(row: asyncpg.Record) -> Told:
    return Told("ruling.lapsed", row["case_id"], SYSTEM, {"ruling": row["id"], "author": row["author"]})


async def tidy(pool: asyncpg.Pool) -> int:
    """Let claims and proposals lapse whose time has passed, a case at a time; how many cases."""
    found = await pool.fetch(SQL["cases_lapsing"])
    for (case,) in found:
        async with pool.acquire() as conn, conn.transaction():
            await lapse(conn, case)
    return len(found)


async def lapse(conn: asyncpg.Connection, case: str) -> None:
    row = await conn.fetchrow(SQL["case_lock"], case)
    assert row is not None, f"case {case} was found a moment ago, and cases are kept"
    told = []
    if row["claimed_by"] and row["claimed_until"] <= row["now"]:
        await conn.execute(SQL["case_claim_lapse"], case)
        told.append(Told("case.claim_lapsed", case, SYSTEM, {"of": row["claimed_by"]}))
    lapsed = await conn.fetch(SQL["rulings_lapse_due"], case)
    told += [lapsed_event(one) for one in lapsed]
    if lapsed and row["ended_at"] is None:
        told += await recount(conn, [case], row["now"])
    await log.append(conn, told)


async def recount(conn: asyncpg.Connection, cases: Iterable[str], now: datetime) -> list[Told]:
    """Sum up cases anew; those in which nothing waits any more end."""
    ended = await conn.fetch(SQL["cases_recount"], sorted(cases), now)
    return [Told("case.ended", row[0], SYSTEM, {}) for row in ended]
