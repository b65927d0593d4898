"""One row down all trees at once, as in QuickScorer (Lucchese et al., SIGIR 2015).

Every split is asked, whether the row passes it or not. One that fails strikes out the leaves on its left, and
the first leaf left standing is the one that the row reaches: in a word of 64 leaves, the lowest bit that is set.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from models.forest import Floats, Forest, Ints, Leaves, Tree


@dataclass(frozen=True, slots=True)
class BitVectors:
    """Element (rank, tree) is one split; a tree with fewer splits is filled up with splits that strike nothing."""

    column: Ints
    threshold: Floats
    stay: np.ndarray[tuple[int, int], np.dtype[Any]]  # the leaves that stand when the row goes right: 32 or 64 bits

    def leaves(self, both: Floats) -> Leaves:
        """The leaf of each tree that the row reaches; `both` as in trees.py."""
        goes_left = (both.take(self.column) <= self.threshold).astype(self.stay.dtype)
        standing = np.bitwise_and.reduce(self.stay | np.negative(goes_left), axis=0)
        found: Leaves = np.bitwise_count(~standing & (standing - 1))
        return found


def bit_vectors(forest: Forest, width: int) -> BitVectors:
    """Lay out every split of every tree."""
    ranks = max(1, max(len(tree.leaves) for tree in forest) - 1)
    column = np.zeros((ranks, len(forest)), dtype=np.intp)
    threshold = np.full((ranks, len(forest)), np.inf)
    bits = 32 if ranks < 32 else 64
    everything = (1 << bits) - 1
    stay = np.full((ranks, len(forest)), everything, dtype=f"uint{bits}")
    for number, tree in enumerate(forest):
        splits = np.flatnonzero(tree.left >= 0)
        column[: len(splits), number] = tree.column[splits] + width * tree.null_left[splits]
        threshold[: len(splits), number] = tree.threshold[splits]
        struck = _struck(tree)
        stay[: len(splits), number] = [everything - struck[split] for split in splits.tolist()]
    return BitVectors(column, threshold, stay)


def _struck(tree: Tree) -> dict[int, int]:
    """Of each split, the leaves under its left child, as bits."""
    under = {leaf: 1 << rank for rank, leaf in enumerate(tree.leaves.tolist())}
    left, right = tree.left.tolist(), tree.right.tolist()
    struck: dict[int, int] = {}
    for node in reversed(_from_the_root(left, right)):
        struck[node] = under[left[node]]
        under[node] = under[left[node]] | under[right[node]]
    return struck


def _from_the_root(left: list[int], right: list[int]) -> list[int]:
    """The splits, each after its parent."""
    found, ahead = [], [0]
    while ahead:
        node = ahead.pop()
        if left[node] >= 0:
            found.append(node)
            ahead += [left[node], right[node]]
    return found
