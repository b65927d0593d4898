"""The trees of a Treelite checkpoint as plain arrays. Law: what cannot be evaluated exactly is refused here.

A tree compares one column with one threshold at each split: `x <= threshold` goes left; a null goes where the
split says. Leaves are counted from left to right.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from models.errors import ArtifactRefused

if TYPE_CHECKING:
    import treelite

Floats = np.ndarray[Any, np.dtype[np.float64]]
Ints = np.ndarray[Any, np.dtype[np.intp]]
Leaves = np.ndarray[Any, np.dtype[np.uint8]]
Bools = np.ndarray[Any, np.dtype[np.bool_]]

# Leaves of one tree that a machine word can tell apart.
LEAVES = 64
TREES = 5_000

# Treelite's number for `<=` (enum Operator of include/treelite/enum/operator.h).
LESS_OR_EQUAL = 3
BINARY = 0  # kBinaryClf of enum TaskType


@dataclass(frozen=True, slots=True)
class Tree:
    """One tree: node 0 is the root, and every array but `leaves` has one element a node."""

    left: Ints  # -1 at a leaf
    right: Ints
    column: Ints
    threshold: Floats
    null_left: Bools
    value: Floats
    count: Floats  # training rows that came by
    leaves: Ints  # from left to right


Forest = tuple[Tree, ...]


def forest(checkpoint: bytes, width: int) -> tuple[Forest, float]:
    """The trees of a checkpoint and the baseline of their margin, for rows of `width` columns.

    Only give it bytes whose hash holds: Treelite reads a checkpoint as it is, in C++.
    """
    import treelite  # here, since it brings SciPy along, which no command but one that loads a model needs

    try:
        model = treelite.Model.deserialize_bytes(checkpoint)
    except treelite.TreeliteError as fault:
        raise ArtifactRefused("malformed", f"Treelite cannot read the checkpoint: {fault}") from fault
    if fault_of_header := _misfit(model, width):
        raise ArtifactRefused("malformed", f"the checkpoint {fault_of_header}")
    all_trees = tuple(_tree(model.get_tree_accessor(number), number, width) for number in range(model.num_tree))
    return all_trees, float(model.get_header_accessor().get_field("base_scores")[0])


def _misfit(model: treelite.Model, width: int) -> str | None:
    """Why the model as a whole is none that we evaluate, if so."""
    header = model.get_header_accessor()
    faults = {
        f"has {model.num_tree} trees; at most {TREES} are read": not 1 <= model.num_tree <= TREES,
        f"was made for {model.num_feature} columns, not {width}": model.num_feature != width,
        f"holds {model.input_type} thresholds, not float64": model.input_type != "float64",
        f"holds {model.output_type} leaves, not float64": model.output_type != "float64",
        "is no binary classifier": header.get_field("task_type")[0] != BINARY,
        "averages its trees": bool(header.get_field("average_tree_output")[0]),
        "has a baseline that is no number": not np.isfinite(header.get_field("base_scores")).all(),
    }
    return next((fault for fault, found in faults.items() if found), None)


def _tree(fields: Any, number: int, width: int) -> Tree:
    """Tree `number`, copied out of Treelite's memory and checked."""

    def read(name: str, kind: type) -> Any:
        return np.array(fields.get_field(name), dtype=kind)

    left, right, column = read("cleft", np.intp), read("cright", np.intp), read("split_index", np.intp)
    threshold, value, count = (read(name, np.float64) for name in ("threshold", "leaf_value", "data_count"))
    inner = left >= 0
    children = np.sort(np.concatenate([left[inner], right[inner]]))
    faults = {
        "has nodes that do not make a tree": not np.array_equal(children, np.arange(1, len(left))),
        "splits on a column that there is not": bool(((column[inner] < 0) | (column[inner] >= width)).any()),
        "splits on categories": bool(fields.get_field("has_categorical_split")[0]),
        "compares by something else than <=": bool((read("cmp", np.int8)[inner] != LESS_OR_EQUAL).any()),
        "has a threshold that is NaN": bool(np.isnan(threshold[inner]).any()),
        "has a leaf that is no number": not np.isfinite(value[~inner]).all(),
        "does not say how many rows its nodes saw": len(count) != len(left) or bool((count <= 0).any()),
        f"has more than {LEAVES} leaves": int((~inner).sum()) > LEAVES,
    }
    if found := [fault for fault, is_so in faults.items() if is_so]:
        raise ArtifactRefused("malformed", f"tree {number} of the checkpoint {found[0]}")
    leaves = np.array(_left_to_right(left.tolist(), right.tolist()), dtype=np.intp)
    return Tree(left, right, column, threshold, read("default_left", np.bool_), value, count, leaves)


def _left_to_right(left: list[int], right: list[int]) -> list[int]:
    """The tree's leaves, the leftmost first."""
    leaves, ahead = [], [0]
    while ahead:
        node = ahead.pop()
        if left[node] < 0:
            leaves.append(node)
        else:
            ahead += [right[node], left[node]]
    return leaves
