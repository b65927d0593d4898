"""What each column adds to a margin: path-dependent TreeSHAP (Lundberg et al., 2018), exact and additive.

The game of one leaf is a product: its value times, for each column on its path, either whether the row passes all
splits on that column (if the column is known) or the share of training rows that do (if not). The Shapley value of
column i in such a product is

    value · (passes_i − share_i) · ∫₀¹ ∏_{j≠i} (share_j + (passes_j − share_j) t) dt

and a Gauss–Legendre rule with half as many points as a path has columns takes that integral exactly. So all leaves
of all trees are one array expression. Off the hot path: some 10 ms a row with 300 trees of 31 leaves.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from models.forest import Bools, Floats, Forest, Ints, Tree
from models.trees import Trees


@dataclass(frozen=True, slots=True)
class Paths:
    """The paths to all leaves (leaves, columns of the longest), filled up with columns that every row passes."""

    value: Floats
    column: Ints
    above: Floats  # passes if above < x <= upto, or null and null_passes; NaN where there is no lower bound
    upto: Floats
    null_passes: Bools
    share: Floats

    def base(self) -> float:
        """The mean margin of the training rows, without the baseline."""
        return float(np.sum(self.value * np.prod(self.share, axis=1)))

    def contributions(self, row: Floats) -> Floats:
        """What each column of the row adds to `base`."""
        x = row.take(self.column)
        passes = np.where(np.isnan(x), self.null_passes, ~(x <= self.above) & (x <= self.upto))
        gain = passes - self.share
        points, weights = np.polynomial.legendre.leggauss(1 + self.share.shape[1] // 2)
        integral = np.zeros_like(gain)
        for point, weight in zip((points + 1) / 2, weights / 2, strict=True):
            factors = self.share + gain * point
            integral += weight * np.prod(factors, axis=1, keepdims=True) / factors
        terms = self.value[:, None] * gain * integral
        found = np.zeros(len(row))
        np.add.at(found, self.column.reshape(-1), terms.reshape(-1))
        return found


@dataclass(frozen=True, slots=True)
class _Step:
    """All splits of one path on one column."""

    column: int
    above: float = np.nan
    upto: float = np.inf
    null_passes: bool = True
    share: float = 1.0


@lru_cache(maxsize=4)
def paths_of(trees: Trees) -> Paths:
    """The paths of trees; those of the models last explained are remembered."""
    return paths(trees.forest)


def paths(forest: Forest) -> Paths:
    """The paths of all trees."""
    found = [path for tree in forest for path in _paths(tree)]
    longest = max(1, max(len(steps) for _, steps in found))
    filled = [[*steps, *[_Step(0)] * (longest - len(steps))] for _, steps in found]
    return Paths(
        value=np.array([value for value, _ in found]),
        column=np.array([[step.column for step in steps] for steps in filled], dtype=np.intp),
        above=np.array([[step.above for step in steps] for steps in filled]),
        upto=np.array([[step.upto for step in steps] for steps in filled]),
        null_passes=np.array([[step.null_passes for step in steps] for steps in filled]),
        share=np.array([[step.share for step in steps] for steps in filled]),
    )


def _paths(tree: Tree) -> list[tuple[float, list[_Step]]]:
    """Each leaf's value, and its path with one step a column."""
    found: list[tuple[float, list[_Step]]] = []
    ahead: list[tuple[int, dict[int, _Step]]] = [(0, {})]
    while ahead:
        node, steps = ahead.pop()
        if tree.left[node] < 0:
            found.append((float(tree.value[node]), list(steps.values())))
            continue
        column = int(tree.column[node])
        step = steps.get(column, _Step(column))
        ahead += [(child, steps | {column: _narrow(tree, node, child, step)}) for child in _children(tree, node)]
    return found


def _children(tree: Tree, node: int) -> tuple[int, int]:
    return int(tree.left[node]), int(tree.right[node])


def _narrow(tree: Tree, node: int, child: int, step: _Step) -> _Step:
    """The step once the path also goes from `node` to `child`."""
    left, threshold = child == tree.left[node], float(tree.threshold[node])
    return _Step(
        step.column,
        above=step.above if left else float(np.fmax(step.above, threshold)),
        upto=min(step.upto, threshold) if left else step.upto,
        null_passes=step.null_passes and bool(tree.null_left[node]) == left,
        share=step.share * float(tree.count[child] / tree.count[node]),
    )
