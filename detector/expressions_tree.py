"""Lockgate's own syntax tree of an expression; every node that these functions make is well typed.

A tree has no way to say what the allow-list leaves out. Where int meets float both become float (`as_type`),
so that both executors do the very same arithmetic. Arithmetic and abs() are always float: an int beyond 2^53
is rounded there, but not in comparisons of int with int.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

INT64 = range(-(2**63), 2**63)


class ColumnType(enum.Enum):
    """What a column holds; any column may also hold nulls."""

    INT = "int"
    FLOAT = "float"
    STR = "str"
    BOOL = "bool"


INT, FLOAT, STR, BOOL = ColumnType.INT, ColumnType.FLOAT, ColumnType.STR, ColumnType.BOOL
MIRRORED = {"=": "=", "<>": "<>", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
OPPOSITE = {"=": "<>", "<>": "=", "is null": "is not null", "is not null": "is null"}


class Unfit(Exception):
    """Why an expression is refused; `parse` adds which expression it was."""


@dataclass(frozen=True, slots=True)
class Node:
    """One step: its kind, its type (None: always null), its operands, a column's name or literal's value."""

    kind: str
    type: ColumnType | None
    parts: tuple[Node, ...] = ()
    value: Any = None

    def __str__(self) -> str:
        if self.kind in ("column", "literal"):
            shown = self.value if self.kind == "column" else repr(self.value)
        else:
            shown = f"… {self.kind} …"
        return f"`{shown}` ({self.type.value if self.type else 'null'})"


def size(node: Node) -> int:
    return 1 + sum(map(size, node.parts))


def literal(value: int | float | str | bool | None) -> Node:
    if isinstance(value, float):
        if not math.isfinite(value):
            raise Unfit("a number literal is not finite: write one below 1.8e308")
        return Node("literal", FLOAT, value=value + 0.0)  # + 0.0 makes -0.0 plain zero
    if isinstance(value, bool):
        return Node("literal", BOOL, value=value)
    if isinstance(value, int) and value not in INT64:
        raise Unfit(f"the integer {value} does not fit 64 bits: write it as a float, {float(value):e}")
    return Node("literal", None if value is None else INT if isinstance(value, int) else STR, value=value)


def as_type(node: Node, wanted: ColumnType, user: str) -> Node:
    """The node as an operand of type `wanted`; `user` is who wants it, for the message."""
    if node.type is wanted:
        return node
    if node.type is None:
        return Node("literal", wanted)
    if (node.type, wanted) != (INT, FLOAT):
        cure = "; compare it with something to get a bool" if wanted is BOOL else ""
        raise Unfit(f"{user} takes {'a number' if wanted is FLOAT else wanted.value}, not {node}{cure}")
    return literal(float(node.value)) if node.kind == "literal" else Node("to float", FLOAT, (node,))


def unified(nodes: Sequence[Node], user: str) -> tuple[Node, ...]:
    """The nodes as one common type, nulls adopting it."""
    if not nodes:
        raise Unfit(f"{user} takes at least one operand")
    types = {node.type for node in nodes if node.type is not None}
    if types == {INT, FLOAT}:
        return tuple(as_type(node, FLOAT, user) for node in nodes)
    if len(types) > 1:
        raise Unfit(f"{user} mixes {' with '.join(map(str, nodes))}: give all of them one type")
    common = next(iter(types), None)
    return tuple(as_type(node, common, user) if common else node for node in nodes)


def comparison(op: str, left: Node, right: Node) -> Node:
    left, right = unified((left, right), f"`{op}`")
    if left.type is None:
        return Node("literal", BOOL)
    if left.type is BOOL and op not in ("=", "<>"):
        raise Unfit(f"`{op}` does not order bools: {left}; use = or <>")
    if left.kind == "literal":  # the executors' fast path wants the literal on the right
        op, left, right = MIRRORED[op], right, left
    return Node(op, BOOL, (left, right))


def logic(op: str, operands: Sequence[Node]) -> Node:
    """AND or OR of any number of operands; nested ones of its kind are spliced in, so chains stay flat."""
    parts: list[Node] = []
    for operand in operands:
        parts.extend(operand.parts if operand.kind == op else [as_type(operand, BOOL, op.upper())])
    return Node(op, BOOL, tuple(parts))


def negation(node: Node) -> Node:
    if node.kind in OPPOSITE:
        return Node(OPPOSITE[node.kind], BOOL, node.parts)
    return Node("not", BOOL, (as_type(node, BOOL, "NOT"),))


def arithmetic(op: str, left: Node, right: Node) -> Node:
    return Node(op, FLOAT, (as_type(left, FLOAT, f"`{op}`"), as_type(right, FLOAT, f"`{op}`")))


def absolute(node: Node) -> Node:
    return Node("abs", FLOAT, (as_type(node, FLOAT, "ABS"),))


def is_null(node: Node) -> Node:
    return Node("is null", BOOL, (node,))


def member(node: Node, values: Sequence[Any]) -> Node:
    """IN over the non-null literals of a list; Polars' tree adds `OR null` where the list holds a null."""
    if not values or node.type is None:
        return Node("literal", BOOL)
    left, *items = unified((node, *map(literal, values)), "IN")
    return Node("in", BOOL, (left,), tuple(dict.fromkeys(item.value for item in items)))


def coalesce(*nodes: Node) -> Node:
    parts = unified(nodes, "COALESCE")
    return Node("coalesce", parts[0].type, parts)


def extreme(kind: str, *nodes: Node) -> Node:
    """LEAST or GREATEST of numbers; nulls are skipped, as in Polars and PostgreSQL; all null gives null."""
    parts = unified(nodes, kind.upper())
    if parts[0].type not in (INT, FLOAT, None):
        raise Unfit(f"{kind.upper()} takes numbers, not {parts[0]}")
    return Node(kind, parts[0].type, parts)


def choice(condition: Node, then: Node, otherwise: Node) -> Node:
    parts = unified((then, otherwise), "CASE")
    return Node("case", parts[0].type, (as_type(condition, BOOL, "CASE WHEN"), *parts))


def text_test(kind: str, node: Node, pattern: Node) -> Node:
    return Node(kind, BOOL, (as_type(node, STR, kind.upper()), as_type(pattern, STR, kind.upper())))


def length(node: Node) -> Node:
    return Node("length", INT, (as_type(node, STR, "LENGTH"),))
