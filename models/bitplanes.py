"""Many rows down all trees at once, 64 of them in one machine word.

`x <= threshold` over 64 rows is 64 bits, and so is "the row comes to this node". A node's word AND its
comparison's word is the left child's; what remains is the right child's. All trees go down together, a level at
a time, and every row ends in one leaf of each tree. Which one is read off bit by bit: bit j of a row's leaf
number is set where the row reaches a leaf whose number has bit j.
"""

from dataclasses import dataclass

import numpy as np

from models.forest import Bools, Floats, Forest, Ints, Leaves

Words = np.ndarray[tuple[int, ...], np.dtype[np.uint64]]
WORD = 64


@dataclass(frozen=True, slots=True)
class Comparisons:
    """Every `x <= threshold` that is asked, once: its column, and its threshold as often as a word has rows.

    NumPy compares two full arrays twice as fast as it spreads one value over 64.
    """

    column: Ints
    threshold: Floats

    def words(self, columns: Floats) -> Words:
        """One word a comparison, for columns (columns, 64)."""
        truths = columns.take(self.column, axis=0) <= self.threshold
        return np.packbits(truths.reshape(-1), bitorder="little").view(np.uint64)


@dataclass(frozen=True, slots=True)
class Level:
    """The splits at one depth: the node's own place among all words, and its comparison's among all bits.

    Their left children's words go to [left, right) and the right children's to [right, end).
    """

    node: Ints
    comparison: Ints
    left: int
    right: int
    end: int


@dataclass(frozen=True, slots=True)
class BitPlanes:
    """`slots` (leaf numbers, trees): where each leaf's word is; the last word of all is empty, for what is no leaf."""

    comparisons: Comparisons
    levels: tuple[Level, ...]
    words: int
    slots: Ints

    def leaves(self, both: Floats) -> Leaves:
        """The leaf of each tree that each row reaches: (trees, rows, made up to whole words); `both` as in trees.py."""
        count = -(-len(both) // WORD)
        columns = np.zeros((count, both.shape[1], WORD))
        for part, rows in zip(columns, np.split(both, range(WORD, len(both), WORD)), strict=True):
            part[:, : len(rows)] = rows.T
        reached = self._descend(np.stack([self.comparisons.words(part) for part in columns], axis=1))
        numbers = np.zeros(self.slots.shape[1] * count * WORD, dtype=np.uint8)
        for bit, plane in enumerate(_planes(reached.take(self.slots, axis=0))):
            numbers |= np.unpackbits(plane.reshape(-1).view(np.uint8), bitorder="little") << np.uint8(bit)
        return numbers.reshape(self.slots.shape[1], -1)

    def _descend(self, bits: Words) -> Words:
        """Which rows reach which node."""
        reached = np.empty((self.words, bits.shape[1]), dtype=np.uint64)
        reached[: self.slots.shape[1]] = ~np.uint64(0)
        reached[-1] = 0
        for level in self.levels:
            node = reached.take(level.node, axis=0)
            left = reached[level.left : level.right]
            np.bitwise_and(node, bits.take(level.comparison, axis=0), out=left)
            np.bitwise_xor(node, left, out=reached[level.right : level.end])
        return reached


def _planes(slots: Words) -> list[Words]:
    """Of words (leaf numbers, trees, …), for each bit of a leaf number the rows whose leaf has it."""
    leaves, rest = slots.shape[0], slots.shape[1:]
    bits = leaves.bit_length() - 1
    halves = [slots.reshape(leaves >> (bit + 1), 2, 1 << bit, *rest)[:, 1] for bit in range(bits)]
    return [np.bitwise_or.reduce(half, axis=(0, 1)) for half in halves]


def bit_planes(forest: Forest, width: int) -> BitPlanes:
    """Lay out comparisons, levels and leaves."""
    roots, nodes = _one_run(forest, width)
    comparisons, asks = _comparisons(nodes.column, nodes.threshold, nodes.left >= 0)
    slots = 1 << max(len(tree.leaves) - 1 for tree in forest).bit_length()
    leaves = np.full((slots, len(forest)), len(nodes.left), dtype=np.intp)
    here, start, levels = roots, 0, []
    while len(here):
        inner = nodes.left[here] >= 0
        ends = here[~inner]
        leaves[nodes.rank[ends], nodes.tree[ends]] = start + np.flatnonzero(~inner)
        split, node = here[inner], start + np.flatnonzero(inner)
        start += len(here)
        if len(split):
            levels.append(Level(node, asks[split], start, start + len(split), start + 2 * len(split)))
        here = np.concatenate([nodes.left[split], nodes.right[split]])
    return BitPlanes(comparisons, tuple(levels), len(nodes.left) + 1, leaves)


@dataclass(frozen=True, slots=True)
class _Nodes:
    """The nodes of all trees in one run. `rank` is a leaf's number in its tree, and -1 at a split."""

    left: Ints
    right: Ints
    column: Ints
    threshold: Floats
    tree: Ints
    rank: Ints


def _one_run(forest: Forest, width: int) -> tuple[Ints, _Nodes]:
    """Where each tree begins, and all nodes. A null that goes left is asked for in the second half of the columns."""
    sizes = [len(tree.left) for tree in forest]
    starts = np.cumsum([0, *sizes[:-1]], dtype=np.intp)
    ranks = [np.full(size, -1, dtype=np.intp) for size in sizes]
    for rank, tree in zip(ranks, forest, strict=True):
        rank[tree.leaves] = np.arange(len(tree.leaves))
    shifted = [
        (np.where(tree.left >= 0, tree.left + start, -1), tree.right + start)
        for tree, start in zip(forest, starts, strict=True)
    ]
    return starts, _Nodes(
        left=np.concatenate([left for left, _ in shifted]),
        right=np.concatenate([right for _, right in shifted]),
        column=np.concatenate([tree.column + width * tree.null_left for tree in forest]),
        threshold=np.concatenate([tree.threshold for tree in forest]),
        tree=np.repeat(np.arange(len(forest)), sizes),
        rank=np.concatenate(ranks),
    )


def _comparisons(column: Ints, threshold: Floats, split: Bools) -> tuple[Comparisons, Ints]:
    """Every question once, and which one each node asks."""
    asked = np.stack([column[split], threshold[split]], axis=1)
    questions, which = np.unique(asked, axis=0, return_inverse=True)
    asks = np.zeros(len(column), dtype=np.intp)
    asks[split] = which.reshape(-1)
    return Comparisons(questions[:, 0].astype(np.intp), np.repeat(questions[:, 1:], WORD, axis=1)), asks
