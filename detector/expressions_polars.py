"""From Polars' syntax tree of a text to our own: the allow-list.

Polars parses (`pl.sql_expr`) and shows its tree as JSON. What has no entry in the tables below is refused by
name, so a new Polars can add forms but never let one through.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import partial
from typing import Any

import polars as pl

from detector.expressions_tree import (
    BOOL,
    ColumnType,
    Node,
    Unfit,
    absolute,
    arithmetic,
    choice,
    coalesce,
    comparison,
    extreme,
    is_null,
    length,
    literal,
    logic,
    member,
    negation,
    text_test,
)

DEPTH = 40
# 200 nodes and a long IN list take a fifth of this; chained BETWEENs of a long sum take any multiple.
SERIALIZED_BYTES = 500_000

COMPARISONS = {"Eq": "=", "Lt": "<", "LtEq": "<=", "Gt": ">", "GtEq": ">="}
ARITHMETIC = {"Plus": "+", "Minus": "-", "Mul": "*", "Div": "/", "Add": "+", "Sub": "-"}
BINARY: dict[str, Callable[[Node, Node], Node]] = {
    **{name: partial(comparison, op) for name, op in COMPARISONS.items()},
    **{name: partial(arithmetic, op) for name, op in ARITHMETIC.items()},
}
FUNCTIONS: dict[str, Callable[..., Node]] = {
    **{f"Sql.Binary.{name}": make for name, make in BINARY.items()},
    "Boolean.Not": negation,
    "Boolean.IsNull": is_null,
    "Boolean.IsNotNull": lambda node: negation(is_null(node)),
    "Abs": absolute,
    "Coalesce": coalesce,
    "MinHorizontal": partial(extreme, "least"),
    "MaxHorizontal": partial(extreme, "greatest"),
    "StringExpr.StartsWith": partial(text_test, "starts_with"),
    "StringExpr.EndsWith": partial(text_test, "ends_with"),
    "StringExpr.Contains.literal.True,strict.False": partial(text_test, "contains"),
    "StringExpr.LenChars": length,
}
IS_IN = "Sql.IsIn.nulls_equal.False"
PATTERN = "StringExpr.Contains.literal.False"


def tree_of(text: str, columns: Mapping[str, ColumnType]) -> Node:
    """The well-typed tree of a text that `guarded` let through."""
    try:
        serialized = pl.sql_expr(text).meta.serialize(format="json")
        if len(serialized) > SERIALIZED_BYTES:
            raise Unfit("too large a tree: split it into several rules, write BETWEEN of a long sum as comparisons")
        return read(json.loads(serialized), columns, 1)
    except pl.exceptions.PolarsError as error:
        raise Unfit(f"not understood: {str(error).splitlines()[0][:200]}") from error
    except pl.exceptions.PanicException as error:  # Rust's panic is a BaseException
        raise Unfit("Polars cannot read it: write it more simply") from error
    except RecursionError as error:
        raise Unfit(f"nested over {DEPTH} deep: split the rule") from error


def read(piece: Any, columns: Mapping[str, ColumnType], depth: int) -> Node:
    """One piece of Polars' tree, `{shape: content}`, as a node."""
    if depth > DEPTH:
        raise Unfit(f"nested over {DEPTH} deep: split the rule")
    content: Any
    shape, content = next(iter(piece.items())) if isinstance(piece, dict) else (piece, None)
    below = partial(read, columns=columns, depth=depth + 1)
    match shape:
        case "Column" if content in columns:  # a lone keyword is a column to Polars
            return Node("column", columns[content], value=content)
        case "Literal":
            return literal(literal_value(content))
        case "BinaryExpr" if content["op"] in ("And", "Or"):
            return logic(content["op"].lower(), [below(side) for side in chain(piece, content["op"])])
        case "BinaryExpr" if content["op"] in BINARY:
            return BINARY[content["op"]](below(content["left"]), below(content["right"]))
        case "Ternary":
            return choice(*(below(content[part]) for part in ("predicate", "truthy", "falsy")))
        case "Cast" if content["dtype"] == {"Literal": "Boolean"}:
            return boolean(below(content["expr"]))
        case "Function":
            return function(content, below)
    named = content if shape == "Column" else content["op"] if shape == "BinaryExpr" else shape
    raise Unfit(f"`{named}` is not something that rules may do here")


def boolean(node: Node) -> Node:
    """Polars casts NOT's operand, and a null in an IN list, to bool: only what is bool already may stay."""
    if node.type not in (BOOL, None):
        raise Unfit(f"NOT takes bool, not {node}; compare it with something to get a bool")
    return Node("literal", BOOL) if node.type is None else node


def chain(piece: Any, op: str) -> list[Any]:
    """The operands of `a AND b AND c …`, which Polars nests to the left, read without recursion."""
    operands = []
    while isinstance(piece, dict) and piece.get("BinaryExpr", {}).get("op") == op:
        operands.append(piece["BinaryExpr"]["right"])
        piece = piece["BinaryExpr"]["left"]
    return [piece, *reversed(operands)]


def function(content: Any, below: Callable[[Any], Node]) -> Node:
    name = function_name(content["function"])
    if name == IS_IN:
        return member(below(content["input"][0]), list_values(content["input"][1]))
    if name.startswith(PATTERN):
        raise Unfit("this LIKE needs a regular expression, which is left out: use 'x%', '%x' or '%x%', joined by AND")
    if name not in FUNCTIONS:
        raise Unfit(f"`{name}` is not something that rules may do")
    return FUNCTIONS[name](*map(below, content["input"]))


def function_name(content: Any) -> str:
    """Polars' function with all of its options, as one flat name."""
    if isinstance(content, dict):
        return ",".join(f"{name}.{function_name(option)}" for name, option in content.items())
    return str(content)


def literal_value(content: Any) -> Any:
    match content:
        case {"Dyn": {"Int": int(value)}} | {"Dyn": {"Float": float(value)}}:
            return value
        case {"Dyn": {"Float": None}}:  # JSON has no infinity
            return float("inf")
        case {"Scalar": {"String": str(value)}} | {"Scalar": {"Boolean": bool(value)}}:
            return value
        case {"Scalar": {"Null": "Null"}}:
            return None
        case {"Scalar": {"Decimal": [int(digits), int(), int(scale)]}}:
            return digits / 10**scale if scale else digits  # int / int is rounded correctly
    raise Unfit(f"a literal of type {function_name(content).split('.')[1]} is not something that rules may do")


def list_values(piece: Any) -> list[Any]:
    """The non-null values of an IN list; Polars shows them as a series' bytes, so Polars reads them back."""
    if not isinstance(piece, dict) or "Series" not in piece.get("Literal", {}):
        raise Unfit("IN takes a list of literals")
    expression = pl.Expr.deserialize(io.StringIO(json.dumps(piece)), format="json")
    values = pl.select(expression).to_series().explode().drop_nulls()
    if isinstance(values.dtype, pl.Decimal):
        return [int(value) if values.dtype.scale == 0 else float(value) for value in map(Decimal, values)]
    return values.to_list()
