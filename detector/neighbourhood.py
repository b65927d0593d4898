"""Who is near a gift: the orgs two steps out, what went between them, and what is known of them. Law: bounded in width.

A step takes from each org its largest ties alone, so that a hub costs what a family does; where one was too wide to
show whole, `cut` says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import asyncpg

from detector import store
from detector.explain_shapes import Edge, Graph, Node, Past
from detector.gift import stamp

BEFORE, AFTER = timedelta(days=30), timedelta(days=7)
MOST_GIFTS = (200, 50)  # of each org and role that are read, at the first step and at the second
MOST_TIES = (12, 3)  # counterparts of each org that are followed
MOST_NODES = 60
EARLIER, LATER = 12, 5  # gifts of each party in each role that a timeline shows
Parties = tuple[str, str]
Ties = dict[Parties, Edge]


async def timeline(
    conn: asyncpg.Connection, parties: Parties, at: datetime, gift: str, client: str | None
) -> list[Past]:
    """What both parties sent and were sent around a moment, the gift among it."""
    rows = await conn.fetch(store.SQL["timeline"], *parties, at, EARLIER, LATER, client)
    return [past(row, gift) for row in rows]


def past(row: Mapping[str, Any], gift: str) -> Past:
    told = [row[name] for name in ("id", "sender", "recipient", "amount", "verdict", "fraud")]
    name, sender, recipient, amount, verdict, fraud = told
    role = "this gift" if name == gift else row["role"]
    return Past(name, stamp(row["at"]), sender, recipient, amount, verdict, fraud, role)


async def graph(conn: asyncpg.Connection, parties: Parties, at: datetime, client: str | None) -> Graph:
    """The neighbourhood of the parties of a gift."""
    steps: dict[str, int] = dict.fromkeys(parties, 0)
    ties: Ties = {}
    cut = False
    front: Sequence[str] = parties
    for most_gifts, most_ties in zip(MOST_GIFTS, MOST_TIES, strict=True):
        rows = await conn.fetch(store.SQL["neighbours"], list(front), at - BEFORE, at + AFTER, most_gifts, client)
        ties |= {(row["sender"], row["recipient"]): edge(row) for row in rows if tie(row) not in ties}
        front, left_out = step(ties.values(), front, steps, most_ties)
        cut = cut or left_out or any(row["full"] for row in rows)
    known = {row["org"]: row for row in await conn.fetch(store.SQL["orgs_known"], list(steps))}
    nodes = [Node(org, far, known[org]["frauds"], known[org]["list"]) for org, far in steps.items()]
    return Graph(nodes, among(steps, ties.values()), cut)


def tie(row: Mapping[str, Any]) -> Parties:
    return row["sender"], row["recipient"]


def edge(row: Mapping[str, Any]) -> Edge:
    return Edge(*tie(row), row["gifts"], row["amount"], row["stopped"])


def step(ties: Iterable[Edge], front: Sequence[str], steps: dict[str, int], most: int) -> tuple[list[str], bool]:
    """One step out: the new orgs with the largest ties to each org of the front, and whether any were left out."""
    beyond: dict[str, dict[str, None]] = {org: {} for org in front}
    for one in sorted(ties, key=weight):
        for org, other in ((one.sender, one.recipient), (one.recipient, one.sender)):
            if org in beyond and other not in steps:
                beyond[org][other] = None
    found = dict.fromkeys(other for near in beyond.values() for other in list(near)[:most])
    room = max(0, MOST_NODES - len(steps))
    out = list(found)[:room]
    left_out = len(found) > room or any(len(near) > most for near in beyond.values())
    steps |= dict.fromkeys(out, 1 + max((steps[org] for org in front), default=0))
    return out, left_out


def weight(edge: Edge) -> tuple[int, int, str, str]:
    """Ties with stopped gifts first, then the largest."""
    return -edge.stopped, -edge.amount, edge.sender, edge.recipient


def among(steps: Mapping[str, int], ties: Iterable[Edge]) -> list[Edge]:
    """The ties among the orgs that were reached, the heaviest first."""
    return sorted((one for one in ties if one.sender in steps and one.recipient in steps), key=weight)
