"""Rules and derived features as SQL expressions: read once, checked, then run over histories and rows.

The law kept here: both executors give the same bits (tests/detector/test_expressions.py).

    text        →   guarded       →   pl.sql_expr    →   read             →   polars_of: a history
    "x > 5e8"       short, known      Polars' tree       our typed tree       closure_of: one row

The language: AND OR NOT, = <> < <= > >=, + - * /, IS [NOT] NULL, BETWEEN, IN (literals), LIKE 'x%' '%x'
'%x%', CASE WHEN, IF, COALESCE, LEAST, GREATEST, ABS, LENGTH, STARTS_WITH, ENDS_WITH; columns, numbers,
strings, booleans, NULL. Logic is three-valued: a comparison with null is null, as is division by zero or any
float that is not finite.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from detector.errors import ExpressionRefused
from detector.expressions_polars import tree_of
from detector.expressions_run import closure_of, polars_of
from detector.expressions_text import guarded
from detector.expressions_tree import ColumnType, Node, Unfit, size

__all__ = ["ColumnType", "Expression", "Node", "parse"]

NODES = 200


@dataclass(frozen=True, slots=True)
class Expression:
    """A checked expression: its text, tree and result type, and the columns that its text mentions."""

    text: str
    tree: Node
    type: ColumnType
    columns: frozenset[str]

    def to_polars(self) -> pl.Expr:
        """For frames that hold the columns under their names; without a column, `select` gives one row."""
        return polars_of(self.tree)

    def compile(self, index: Mapping[str, int]) -> Callable[[Sequence[Any]], Any]:
        """A function of one row; `index` says where in the row each column is."""
        return closure_of(self.tree, index)


def parse(text: str, columns: Mapping[str, ColumnType]) -> Expression:
    """The expression that a text means; ExpressionRefused names the offending piece and the cure."""
    try:
        safe, mentioned = guarded(text, columns)
        tree = tree_of(safe, {name: columns[name] for name in mentioned})
        if (nodes := size(tree)) > NODES:
            raise Unfit(f"{nodes} operations and operands: at most {NODES}, split it into several rules")
        if tree.type is None:
            raise Unfit("the result is always null: write a condition")
    except Unfit as unfit:
        raise ExpressionRefused(text, str(unfit)) from unfit
    return Expression(text, tree, tree.type, mentioned)
