"""The two executors of a tree: a Polars expression for whole histories, and nested closures for one row.

They agree to the bit, which takes care in three places. Every float, read from a column or calculated, is
`settled`: not finite is null, and zero has no sign (Polars skips adding a scalar 0.0, which would turn -0.0
into 0.0). Int meets float as float; the tree says so. And Polars divides by a scalar by multiplying with its
reciprocal, one bit off in a third of all cases; `calculated` hides from it that an operand is a scalar.
"""

from __future__ import annotations

import operator
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any

import polars as pl

from detector.expressions_tree import BOOL, FLOAT, INT, STR, Node

Row = Sequence[Any]
Closure = Callable[[Row], Any]

HIGH = sys.float_info.max
LOW = -HIGH
DTYPES: dict[Any, Any] = {INT: pl.Int64, FLOAT: pl.Float64, STR: pl.String, BOOL: pl.Boolean, None: pl.Null}


# --- whole histories ---


def polars_of(node: Node) -> pl.Expr:
    return POLARS[node.kind](node, *map(polars_of, node.parts))


def column(node: Node) -> pl.Expr:
    # The cast gives all-null columns and narrow integers the type that was declared.
    values = pl.col(node.value).cast(DTYPES[node.type])
    return settled(values) if node.type is FLOAT else values


def settled(values: pl.Expr) -> pl.Expr:
    return pl.when(values == 0.0).then(0.0).when(values.is_finite()).then(values)


def calculated(operation: Callable[[pl.Expr, pl.Expr], pl.Expr]) -> Callable[..., pl.Expr]:
    """The operation on a struct's fields; naming an operand itself twice would double the tree each time."""

    def expression(node: Node, left: pl.Expr, right: pl.Expr) -> pl.Expr:
        fields = pl.struct(left.alias("x"), right.alias("y")).struct
        value = fields.with_fields(operation(pl.field("x"), pl.field("y")).alias("x")).struct
        return value.with_fields(settled(pl.field("x")).alias("x")).struct.field("x")

    return expression


POLARS: dict[str, Callable[..., pl.Expr]] = {
    "column": column,
    "literal": lambda node: pl.lit(node.value, dtype=DTYPES[node.type]),
    "to float": lambda node, a: a.cast(pl.Float64),
    "and": lambda node, *parts: reduce(operator.and_, parts),
    "or": lambda node, *parts: reduce(operator.or_, parts),
    "not": lambda node, a: ~a,
    "=": lambda node, a, b: a == b,
    "<>": lambda node, a, b: a != b,
    "<": lambda node, a, b: a < b,
    "<=": lambda node, a, b: a <= b,
    ">": lambda node, a, b: a > b,
    ">=": lambda node, a, b: a >= b,
    "+": calculated(operator.add),
    "-": calculated(operator.sub),
    "*": calculated(operator.mul),
    "/": calculated(operator.truediv),
    "abs": lambda node, a: a.abs(),
    "is null": lambda node, a: a.is_null(),
    "is not null": lambda node, a: a.is_not_null(),
    "in": lambda node, a: a.is_in(list(node.value)),
    "coalesce": lambda node, *parts: pl.coalesce(*parts),
    "least": lambda node, *parts: pl.min_horizontal(*parts),
    "greatest": lambda node, *parts: pl.max_horizontal(*parts),
    "case": lambda node, condition, a, b: pl.when(condition).then(a).otherwise(b),
    "starts_with": lambda node, a, b: a.str.starts_with(b),
    "ends_with": lambda node, a, b: a.str.ends_with(b),
    "contains": lambda node, a, b: a.str.contains(b, literal=True),
    "length": lambda node, a: a.str.len_chars().cast(pl.Int64),
}


# --- one row at a time ---


def closure_of(node: Node, index: Mapping[str, int]) -> Closure:
    if node.kind == "column":
        at = index[node.value]
        return settled_item(at) if node.type is FLOAT else operator.itemgetter(at)
    if node.kind == "literal":
        return lambda row, value=node.value: value  # type: ignore[misc]
    if node.kind in COLUMN_LITERAL and node.parts[0].kind == "column" and node.parts[1].kind == "literal":
        # What most rules do most of the time: one closure in place of three.
        left, right = node.parts
        if right.value is not None:
            table = FLOAT_COLUMN_LITERAL if left.type is FLOAT else COLUMN_LITERAL
            return table[node.kind](index[left.value], right.value)
    return CLOSURES[node.kind](node, *(closure_of(part, index) for part in node.parts))


def settled_item(at: int) -> Closure:
    return lambda row: x + 0.0 if (x := row[at]) is not None and LOW <= x <= HIGH else None


COLUMN_LITERAL: dict[str, Callable[[int, Any], Closure]] = {
    "=": lambda at, y: lambda row: None if (x := row[at]) is None else x == y,
    "<>": lambda at, y: lambda row: None if (x := row[at]) is None else x != y,
    "<": lambda at, y: lambda row: None if (x := row[at]) is None else x < y,
    "<=": lambda at, y: lambda row: None if (x := row[at]) is None else x <= y,
    ">": lambda at, y: lambda row: None if (x := row[at]) is None else x > y,
    ">=": lambda at, y: lambda row: None if (x := row[at]) is None else x >= y,
}
FLOAT_COLUMN_LITERAL: dict[str, Callable[[int, float], Closure]] = {
    "=": lambda at, y: lambda row: x == y if (x := row[at]) is not None and LOW <= x <= HIGH else None,
    "<>": lambda at, y: lambda row: x != y if (x := row[at]) is not None and LOW <= x <= HIGH else None,
    "<": lambda at, y: lambda row: x < y if (x := row[at]) is not None and LOW <= x <= HIGH else None,
    "<=": lambda at, y: lambda row: x <= y if (x := row[at]) is not None and LOW <= x <= HIGH else None,
    ">": lambda at, y: lambda row: x > y if (x := row[at]) is not None and LOW <= x <= HIGH else None,
    ">=": lambda at, y: lambda row: x >= y if (x := row[at]) is not None and LOW <= x <= HIGH else None,
}


def strict(function: Callable[..., Any]) -> Callable[..., Closure]:
    """A closure maker for what is null as soon as one operand is."""

    def one(node: Node, f: Closure) -> Closure:
        return lambda row: None if (x := f(row)) is None else function(x)

    def two(node: Node, f: Closure, g: Closure) -> Closure:
        return lambda row: None if (x := f(row)) is None or (y := g(row)) is None else function(x, y)

    return lambda node, *parts: (one if len(parts) == 1 else two)(node, *parts)


def calculation(function: Callable[[float, float], float]) -> Callable[..., Closure]:
    def make(node: Node, f: Closure, g: Closure) -> Closure:
        def calculate(row: Row) -> float | None:
            if (x := f(row)) is None or (y := g(row)) is None:
                return None
            value = function(x, y)
            return value + 0.0 if LOW <= value <= HIGH else None

        return calculate

    return make


def kleene(deciding: bool) -> Callable[..., Closure]:
    """AND (False decides) and OR (True decides); stops at the operand that decides."""

    def make(node: Node, head: Closure, *others: Closure) -> Closure:
        def decide(row: Row) -> Any:
            result = head(row)
            if result is deciding:  # before the loop, since a rule's first operand mostly decides
                return deciding
            for part in others:
                value = part(row)
                if value is deciding:
                    return deciding
                if value is None:
                    result = None
            return result

        return decide

    return make


def first_known(node: Node, *parts: Closure) -> Closure:
    return lambda row: next((x for part in parts if (x := part(row)) is not None), None)


def of_known(function: Callable[[list[Any]], Any]) -> Callable[..., Closure]:
    def make(node: Node, *parts: Closure) -> Closure:
        def pick(row: Row) -> Any:
            known = [x for part in parts if (x := part(row)) is not None]
            return function(known) if known else None

        return pick

    return make


def membership(node: Node, f: Closure) -> Closure:
    values = frozenset(node.value)
    return lambda row: None if (x := f(row)) is None else x in values


CLOSURES: dict[str, Callable[..., Closure]] = {
    "to float": strict(float),
    "and": kleene(False),
    "or": kleene(True),
    "not": strict(operator.not_),
    "=": strict(operator.eq),
    "<>": strict(operator.ne),
    "<": strict(operator.lt),
    "<=": strict(operator.le),
    ">": strict(operator.gt),
    ">=": strict(operator.ge),
    "+": calculation(operator.add),
    "-": calculation(operator.sub),
    "*": calculation(operator.mul),
    "/": calculation(lambda x, y: x / y if y else HIGH * 2),
    "abs": strict(abs),
    "is null": lambda node, f: lambda row: f(row) is None,
    "is not null": lambda node, f: lambda row: f(row) is not None,
    "in": membership,
    "coalesce": first_known,
    "least": of_known(min),
    "greatest": of_known(max),
    "case": lambda node, condition, f, g: lambda row: f(row) if condition(row) else g(row),
    "starts_with": strict(str.startswith),
    "ends_with": strict(str.endswith),
    "contains": strict(operator.contains),
    "length": strict(len),
}
