"""The tree of where credits came from and where they went. Pure: rows in, tree out.

Law 9: every credit leads to the purchase it came from, through any chain of gifts. Law 1 holds at every grant: what it
was and what came back to it is what is unspent, waits in the lock, was used up, was gifted on or went back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from ledger.views import revocation_view, stamp

MOST = 500
FATES = ("unspent", "in_lock", "consumed", "expired", "revoked", "gifted", "went_back")


class Rows(NamedTuple):
    """What was read, in one snapshot."""

    kind: str
    name: str
    now: datetime
    focus: frozenset[str]
    grants: Sequence[Any]
    transfers: Mapping[str, Any]
    waiting: Sequence[Any]
    revocations: Sequence[Any]


class Waiting(NamedTuple):
    """So much of a grant in the lock."""

    transfer: str
    recipient: str
    status: str
    until: datetime
    amount: int


class Gift(NamedTuple):
    """How a grant came to its org: by a gift, or repaid by the recipient of one that was reversed."""

    transfer: str
    repaid: bool


class Node(NamedTuple):
    """A grant in the tree. `cut` of its slices, worth `cut_amount` when they were made, are not shown."""

    id: str
    org: str
    parent: str | None
    depth: int
    origin: str
    at: datetime
    expires_at: datetime
    amount: int
    came_back: int
    fates: dict[str, int]
    gift: Gift | None
    waiting: tuple[Waiting, ...]
    in_focus: bool
    cut: int
    cut_amount: int


class Tree(NamedTuple):
    """Nodes in the order in which they are told: each grant before what was cut from it."""

    kind: str
    name: str
    now: datetime
    nodes: list[Node]
    revocations: list[Any]

    @property
    def totals(self) -> dict[str, int]:
        """What became of all credits shown, each counted where it is now; and how much went to slices not shown."""
        where = [name for name in FATES if name not in ("gifted", "went_back")]
        sums = {name: sum(node.fates[name] for node in self.nodes) for name in where}
        return {**sums, "not_shown": sum(node.cut_amount for node in self.nodes)}


def build(rows: Rows) -> Tree:
    """The tree of what was read. A grant whose parent was not read stands at the top."""
    read = {row["id"]: row for row in rows.grants}
    waiting = by(rows.waiting, "grant_id")
    slices = by(rows.grants, "parent_id")
    nodes: list[Node] = []
    tops = [row for row in rows.grants if row["parent_id"] not in read]
    # A chain may be longer than Python's stack is deep.
    stack = [(row, 0) for row in reversed(in_order(tops))]
    while stack:
        row, depth = stack.pop()
        mine = in_order(slices.get(row["id"], ()))
        nodes.append(node(rows, row, depth, mine, waiting.get(row["id"], ())))
        stack += [(one, depth + 1) for one in reversed(mine)]
    return Tree(rows.kind, rows.name, rows.now, nodes, list(rows.revocations))


def in_order(grants: Iterable[Any]) -> list[Any]:
    return sorted(grants, key=lambda row: (row["created_at"], row["id"]))


def by(rows: Iterable[Any], name: str) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for row in rows:
        found.setdefault(row[name], []).append(row)
    return found


def node(rows: Rows, row: Any, depth: int, slices: Sequence[Any], waiting: Sequence[Any]) -> Node:
    transfer = rows.transfers.get(row["transfer_id"])
    return Node(
        row["id"],
        row["org_id"],
        row["parent_id"],
        depth,
        row["origin"],
        row["created_at"],
        row["expires_at"],
        row["amount"],
        row["came_back"],
        fates(row, rows.now),
        Gift(transfer["id"], row["org_id"] == transfer["sender"]) if transfer else None,
        tuple(Waiting(one["id"], one["recipient"], one["status"], one["until"], one["amount"]) for one in waiting),
        row["id"] in rows.focus,
        row["slices"] - len(slices),
        row["gifted"] - sum(one["amount"] for one in slices),
    )


def fates(row: Any, now: datetime) -> dict[str, int]:
    """What became of a grant's credits. What expired counts as expired, written off or not."""
    late = row["available"] if row["expires_at"] <= now else 0
    return {
        "unspent": row["available"] - late,
        "in_lock": row["reserved"],
        "consumed": row["consumed"],
        "expired": row["expired"] + late,
        "revoked": row["revoked"],
        "gifted": row["gifted"],
        "went_back": row["went_back"],
    }


def view(tree: Tree) -> dict[str, Any]:
    """The tree as JSON: a flat list, each grant before what was cut from it, since a chain may be long."""
    return {
        "kind": tree.kind,
        "id": tree.name,
        "as_of": stamp(tree.now),
        "totals": tree.totals,
        "grants": [node_view(one) for one in tree.nodes],
        "revocations": [revocation_view(one) for one in tree.revocations],
    }


def node_view(one: Node) -> dict[str, Any]:
    return {
        "id": one.id,
        "org": one.org,
        "parent_id": one.parent,
        "depth": one.depth,
        "origin": one.origin,
        "created_at": stamp(one.at),
        "expires_at": stamp(one.expires_at),
        "transfer_id": one.gift.transfer if one.gift else None,
        "repaid": bool(one.gift and one.gift.repaid),
        "amount": one.amount,
        "came_back": one.came_back,
        **one.fates,
        "waiting": [{**waits._asdict(), "until": stamp(waits.until)} for waits in one.waiting],
        "asked_for": one.in_focus,
        "not_shown": {"grants": one.cut, "amount": one.cut_amount},
    }
