"""Rulings: what becomes of the gifts of a case, and by whose word.

Laws: a gift is ruled on once, and whoever comes second is told who did what when; from the four-eyes amount on, one
person proposes and another answers (law 13). Locks: transfers → orgs → keys → the case → the log's head.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import asyncpg

from detector import case_terms, case_work, cases, labels, log, store
from detector.case_shapes import Rule
from detector.case_work import Person
from detector.contract import Act, Books, Label, Stood
from detector.errors import CaseConflict, CaseUnknown, LabelConflict, Malformed, TwoPeople
from detector.gift import stamp
from detector.log import Told
from detector.policy import ReviewTerms
from detector.store import SQL

STANDING: dict[Act, str] = {"release": "released", "block": "blocked", "return": "returned"}
LABELS: dict[Act, bool] = {"release": False, "block": True}
SOURCE = "ruling"
# A proposal on gifts whose ledger tells no deadline does not wait for ever.
UNTOLD = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Scene:
    """A case and some of its gifts, locked, with how their transfers stand."""

    case: Any
    gifts: Sequence[Any]
    stood: dict[str, Stood]

    @property
    def decisions(self) -> list[str]:
        return [one["decision_id"] for one in self.gifts]

    @property
    def amount(self) -> int:
        return sum(one["amount"] for one in self.gifts)


async def rule(conn: asyncpg.Connection, books: Books, case: str, asked: Rule, who: Person, terms: ReviewTerms) -> None:
    """Rule on gifts of a case, or propose it where that takes two. Raises CaseConflict where somebody was first."""
    rows = await conn.fetch(SQL["case_gifts"], case)
    gifts = chosen(case, asked, rows)
    orgs = frozen_orgs(asked, gifts) if asked.act == "freeze" else []
    scene = await enter(conn, books, case, gifts, orgs)
    held_by(scene.case, who, asked.version)
    await rulable(conn, scene, asked.act)
    alone = await conn.fetchval(SQL["ruled_alone"], case, who.name, asked.act)
    counted = scene.amount + alone
    proposed = asked.act != "freeze" and counted >= terms.four_eyes
    name, now = f"rl_{os.urandom(8).hex()}", scene.case["now"]
    deadline = min((one["deadline"] for one in scene.gifts if one["deadline"]), default=now + UNTOLD)
    status = "proposed" if proposed else "done"
    amounts = scene.amount, counted, terms.four_eyes
    await conn.execute(
        SQL["ruling_add"], name, case, asked.act, *amounts, asked.why, orgs, status, who.name, now, deadline
    )
    await conn.execute(SQL["ruling_gifts_add"], name, scene.decisions)
    body = {"ruling": name, "act": asked.act, "gifts": ids(scene.gifts), "amount": scene.amount, "orgs": orgs}
    told = Told(f"ruling.{status}", case, who.name, {**body, "why": asked.why, "at": stamp(now)})
    await carry_out(conn, books, scene, asked.act, orgs, name, who, [told], done=not proposed)


async def confirm(conn: asyncpg.Connection, books: Books, case: str, ruling: str, who: Person) -> None:
    """Do what another person proposed."""
    row = await proposal(conn, case, ruling)
    gifts = await conn.fetch(SQL["ruling_gifts"], ruling)
    scene = await enter(conn, books, case, gifts, row["orgs"])
    row = await answerable(conn, case, ruling, who, scene.case["now"])
    await rulable(conn, scene, row["act"], ruling)
    await conn.execute(SQL["ruling_answer"], ruling, "done", who.name, scene.case["now"], None)
    answered = {"ruling": ruling, "act": row["act"], "author": row["author"], "at": stamp(scene.case["now"])}
    told = Told("ruling.confirmed", case, who.name, answered)
    await carry_out(conn, books, scene, row["act"], row["orgs"], ruling, who, [told], done=True)


async def refuse(conn: asyncpg.Connection, case: str, ruling: str, why: str, who: Person) -> None:
    """Refuse what another person proposed; its gifts wait as before."""
    await proposal(conn, case, ruling)
    locked = await case_work.lock(conn, case)
    row = await answerable(conn, case, ruling, who, locked["now"])
    await conn.execute(SQL["ruling_answer"], ruling, "refused", who.name, locked["now"], why)
    body = {"ruling": ruling, "act": row["act"], "author": row["author"], "why": why, "at": stamp(locked["now"])}
    told = [Told("ruling.refused", case, who.name, body)]
    await log.append(conn, told + await cases.recount(conn, [case], locked["now"]))


def chosen(case: str, asked: Rule, rows: Sequence[Any]) -> list[Any]:
    """The gifts that a ruling names, each as it came last; by default all that wait."""
    if asked.gifts is None:
        return [one for one in rows if one["standing"] == "waiting"]
    latest = {one["gift_id"]: one for one in rows}
    strange = [name for name in asked.gifts if name not in latest]
    if strange or not asked.gifts:
        named = ", ".join(strange) or "none"
        raise Malformed(f"gifts of case {case} must be named; not in it: {named}; leave gifts out for all that wait")
    return [latest[name] for name in dict.fromkeys(asked.gifts)]


def frozen_orgs(asked: Rule, gifts: Sequence[Any]) -> list[str]:
    """The orgs to freeze: parties of the gifts, by default who sent them."""
    if asked.orgs is None:
        return sorted({one["sender"] for one in gifts})
    parties = {party for one in gifts for party in (one["sender"], one["recipient"])}
    strange = sorted(set(asked.orgs) - parties)
    if strange or not asked.orgs:
        raise Malformed(f"orgs {', '.join(strange) or 'none'}: name parties of the case's gifts")
    return sorted(set(asked.orgs))


async def enter(conn: asyncpg.Connection, books: Books, case: str, gifts: Sequence[Any], orgs: Sequence[str]) -> Scene:
    """Take every lock that a ruling needs, in the order of the house, then read the gifts again."""
    stood = await books.lock(conn, sorted(ids(gifts)), orgs, await case_terms.identity(conn))
    judged = await conn.fetch(SQL["label_gifts"], [f"{name}.1" for name in ids(gifts)])
    await store.lock(conn, sorted({key for row in judged for key in labels.keys_of(row)}))
    row = await case_work.lock(conn, case)
    wanted = {one["decision_id"] for one in gifts}
    here = [one for one in await conn.fetch(SQL["case_gifts"], case) if one["decision_id"] in wanted]
    if len(here) != len(wanted):
        raise CaseConflict(f"gifts of case {case} were gathered into another case meanwhile; read it again")
    if not here:
        raise CaseConflict(f"nothing waits in case {case}")
    return Scene(row, here, stood)


def held_by(row: Any, who: Person, version: int | None) -> None:
    """A ruling needs one's claim; a lead rules on any case."""
    if version is not None and version != row["version"]:
        raise case_work.moved(row, version)
    if who.lead:
        return
    until = row["claimed_until"]
    if row["claimed_by"] == who.name and until > row["now"]:
        return
    if row["claimed_by"] == who.name:
        raise CaseConflict(f"your claim on case {row['id']} lapsed on {stamp(until)}; claim it again")
    if row["claimed_by"] is not None and until > row["now"]:
        raise CaseConflict(f"{row['claimed_by']} claimed case {row['id']} until {stamp(until)}")
    raise CaseConflict(f"claim case {row['id']} before you rule on it")


async def rulable(conn: asyncpg.Connection, scene: Scene, act: Act, ruling: str | None = None) -> None:
    """Whether each gift can still be ruled on, and so."""
    said = await conn.fetch(SQL["rulings_of"], scene.decisions)
    by_id = {row["id"]: row for row in said}
    for one in scene.gifts:
        if one["standing"] != "waiting":
            raise CaseConflict(gone(one, by_id.get(one["ruling"])))
        until = one["deadline"]
        if until is not None and until <= scene.case["now"]:
            raise CaseConflict(f"gift {one['gift_id']} passed its deadline on {stamp(until)}: it returns to its sender")
        stood = scene.stood.get(one["gift_id"])
        if stood and stood.status != "held" and one["kind"] == "hold":
            raise CaseConflict(f"gift {one['gift_id']} is {stood.status} already; read the case again")
        if stood and stood.status == "held" and one["kind"] == "sample":
            raise CaseConflict(f"gift {one['gift_id']} was held meanwhile: rule on it in the case that it waits in")
        if stood and stood.stops and act == "release" and stood.status == "held":
            stops = " and ".join(stood.stops)
            raise CaseConflict(f"gift {one['gift_id']} cannot be released while {stops}; mend that first, or return it")
    open_ = [row for row in said if row["status"] == "proposed" and row["id"] != ruling]
    if open_ and act != "freeze":
        one = open_[0]
        did = f"{one['author']} proposed on {stamp(one['at'])} to {one['act']} gift {one['gift_id']}"
        raise CaseConflict(f"{did} (ruling {one['id']}): confirm or refuse that first")


def gone(gift: Any, ruling: Any) -> str:
    """How a gift left its case: who did what, when."""
    name, when = gift["gift_id"], stamp(gift["left_at"])
    if ruling is not None:
        by = f"{ruling['author']} and {ruling['second']}" if ruling["second"] else ruling["author"]
        return f"{by} {gift['standing']} gift {name} on {when} (ruling {ruling['id']})"
    told = {
        "lapsed": f"gift {name} passed its deadline and went back to its sender on {when}",
        "cancelled": f"the sender cancelled gift {name} on {when}",
    }
    return told.get(gift["standing"], f"gift {name} was {gift['standing']} by its ledger on {when}")


async def proposal(conn: asyncpg.Connection, case: str, ruling: str) -> asyncpg.Record:
    row = await conn.fetchrow(SQL["ruling"], ruling, case)
    if row is None:
        raise CaseUnknown(f"no ruling {ruling!r} in case {case!r}")
    return row


async def answerable(conn: asyncpg.Connection, case: str, ruling: str, who: Person, now: Any) -> asyncpg.Record:
    """The proposal under its case's lock, if this person may answer it now."""
    row = await proposal(conn, case, ruling)
    if row["author"].lower() == who.name.lower():
        raise TwoPeople(f"you proposed ruling {ruling}: another person confirms or refuses it, whatever the role")
    if row["status"] != "proposed":
        answer = {"done": "confirmed"}.get(row["status"], row["status"])
        by = f" by {row['second']} on {stamp(row['second_at'])}" if row["second"] else ""
        raise CaseConflict(f"ruling {ruling} of {row['author']} ({row['act']}) was {answer}{by}")
    if row["deadline"] <= now:
        raise CaseConflict(f"ruling {ruling} of {row['author']} lapsed with its deadline on {stamp(row['deadline'])}")
    return row


async def carry_out(
    conn: asyncpg.Connection, books: Books, scene: Scene, act: Act, orgs: Sequence[str], ruling: str, who: Person,
    told: list[Told], *, done: bool,
) -> None:  # fmt: skip
    """Let the gifts leave as ruled: labels first, then credits, the case, and the log."""
    now = scene.case["now"]
    if done and act == "freeze":
        there = await books.freeze(conn, orgs)
        if not there:
            raise CaseConflict(f"no org {', '.join(orgs)} here: its own ledger must freeze it")
        told += [Told("org.frozen", org, who.name, {"ruling": ruling}) for org in there]
    elif done:
        told += await teach(conn, scene, act, who)
        told += await books.carry_out(conn, act, ids(scene.gifts), now, who.name)
        await conn.execute(SQL["case_gifts_rule"], scene.decisions, STANDING[act], ruling, now)
        kind = "gift.released" if act == "release" else "gift.ruled_out"
        told += [Told(kind, name, who.name, {"ruling": ruling, "act": act}) for name in ids(scene.gifts)]
    told += await cases.recount(conn, [scene.case["id"]], now)
    await log.append(conn, told)


async def teach(conn: asyncpg.Connection, scene: Scene, act: Act, who: Person) -> list[Told]:
    """A release says good, a block says fraud; a return says nothing. What is known as fraud is not released."""
    if act not in LABELS:
        return []
    said = [(name, Label(name, LABELS[act], SOURCE)) for name in ids(scene.gifts)]
    answers = await labels.note(conn, said, who.name)
    for answer in answers:
        if isinstance(answer, LabelConflict) and act == "release":
            raise CaseConflict(f"{answer.detail}; return or block it instead")
    return labels.events(said, answers, who.name)


def ids(gifts: Sequence[Any]) -> list[str]:
    return [one["gift_id"] for one in gifts]
