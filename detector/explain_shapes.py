"""The shape of an explanation over HTTP: why one decision fell as it did, and what would have changed it.

Times are RFC 3339 texts in UTC, amounts integer micro-credits, scores 0..1 with high = more suspicious.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct


class Cause(Struct):
    """A limit, rule, list entry or model threshold that fired, and the values it saw."""

    by: str
    name: str
    verdict: str
    description: str | None
    false_alarms: str | None
    seen: dict[str, Any]


class Contribution(Struct):
    """How far one feature moved the score, in log-odds (trees) or surprise (tails); positive = more suspicious."""

    feature: str
    value: float | None
    contribution: float
    words: str


class ModelSaid(Struct):
    """The model's part. `note` says why there is none, or how to read it."""

    model: str | None
    score: float | None
    hold_at: float | None
    block_at: float | None
    contributions: list[Contribution]
    note: str


class Turn(Struct):
    """The smallest change of one thing that turns the verdict; `to` is None where none was found."""

    what: Literal["amount", "time", "counterpart"]
    was: str
    to: str | None
    verdict: str | None
    words: str


class Past(Struct):
    """One gift in the parties' timeline; `role` says which party of the explained gift it concerns, and how."""

    id: str
    at: str
    sender: str
    recipient: str
    amount: int
    verdict: str
    fraud: bool | None
    role: str


class Edge(Struct):
    """Gifts from one org to another: how many, how much, how many of them were held or blocked."""

    sender: str
    recipient: str
    gifts: int
    amount: int
    stopped: int


class Node(Struct):
    """An org near the gift: `step` is its distance from the parties, `listed` the list it is on."""

    id: str
    step: int
    frauds: int
    listed: str | None = None


class Graph(Struct):
    """The neighbourhood two steps out; `cut` where it was too wide to show whole."""

    nodes: list[Node]
    edges: list[Edge]
    cut: bool


class Alike(Struct):
    """A past case like this one, and how it was ruled."""

    case: str
    at: str
    likeness: float
    reasons: list[str]
    acts: dict[str, int]


class Explanation(Struct):
    """Why one decision fell as it did, and what would have changed it. Computed when asked.

    `replayed`: taken again from the record, the decision is itself to the bit (law 11), so that its turns may be
    believed; None where it cannot be taken again. `replay_note` says so in words.
    """

    gift: str
    decision: str
    at: str
    verdict: str
    generation: int
    causes: list[Cause]
    model: ModelSaid
    turns: list[Turn]
    timeline: list[Past]
    graph: Graph
    alike: list[Alike]
    replayed: bool | None = None
    replay_note: str = ""
