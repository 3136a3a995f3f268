"""The leaf of each tree that a row reaches.

`MaskedTrees` asks the questions of all nodes of all trees at once. A bit of a word stands for a leaf, from left to
right. A node whose answer is "right" clears the bits of the leaves on its left. When all nodes have answered, the
lowest bit that is still set is the leaf that a walk from the root reaches. (Lucchese et al., "QuickScorer: A Fast
Algorithm to Rank Documents with Additive Ensembles of Regression Trees", SIGIR 2015.)

`WalkedTrees` takes a step in all trees at once, as often as the deepest tree needs it. This takes any trees.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from airflow_provider_mlops.serving.models.compiled.elementwise import Floats

MAX_MASKED_LEAVES = 64
_CHUNK = 32
"""Number of rows whose answers are held at once: more do not fit into the processor's cache."""
_MAX_EDGES = 4096


@dataclass(frozen=True)
class Tree:
    """A fitted tree, its nodes in any order with the root first.

    Parameters
    ----------
    feature, threshold, left, right
        Of each node; `left` is -1 for a leaf. A row goes left if its value is at most the threshold.
    missing_left
        Whether a missing value goes left.
    """

    feature: NDArray[np.intp]
    threshold: Floats
    left: NDArray[np.intp]
    right: NDArray[np.intp]
    missing_left: NDArray[np.bool_]

    def leaves(self) -> list[tuple[int, list[tuple[int, bool]]]]:
        """Return the leaves from left to right, each with the nodes on its path and whether the path goes right."""
        found: list[tuple[int, list[tuple[int, bool]]]] = []
        waiting: list[tuple[int, list[tuple[int, bool]]]] = [(0, [])]
        while waiting:
            node, path = waiting.pop()
            if self.left[node] < 0:
                found.append((node, path))
                continue
            waiting.append((int(self.right[node]), [*path, (node, True)]))
            waiting.append((int(self.left[node]), [*path, (node, False)]))
        return found


class Leaves(Protocol):
    """Finds leaves. They are numbered through all trees."""

    nodes: list[NDArray[np.intp]]
    """Per tree, the node of each of its leaves."""

    def of(self, features: NDArray[Any]) -> NDArray[np.intp]:
        """Return the leaf of each row in each tree, of shape (rows, trees)."""


class MaskedTrees:
    """Trees with at most 64 leaves each.

    Parameters
    ----------
    trees
        The trees.
    dtype
        Type of the features that `of` gets. Thresholds are rounded down to it, which changes no comparison.
    """

    def __init__(self, trees: Sequence[Tree], dtype: type) -> None:
        features: list[int] = []
        thresholds: list[float] = []
        missing_left: list[bool] = []
        masks: list[int] = []
        starts: list[int] = []
        self.nodes: list[NDArray[np.intp]] = []
        most = 0
        for tree in trees:
            starts.append(len(features))
            leaves = tree.leaves()
            most = max(most, len(leaves))
            self.nodes.append(np.array([node for node, _ in leaves], dtype=np.intp))
            cleared: dict[int, int] = {}
            for bit, (_, path) in enumerate(leaves):
                for node, goes_right in path:
                    cleared[node] = cleared.get(node, 0) | (0 if goes_right else 1 << bit)
            for node, bits in cleared.items():
                features.append(int(tree.feature[node]))
                thresholds.append(float(tree.threshold[node]))
                missing_left.append(bool(tree.missing_left[node]))
                masks.append(~bits & (2**64 - 1))
            if not cleared:
                # A tree that is a single leaf asks one question, whose answer changes nothing.
                features.append(0)
                thresholds.append(0.0)
                missing_left.append(True)
                masks.append(2**64 - 1)
        word: Any = np.uint32 if most <= 32 else np.uint64
        self._features = np.array(features, dtype=np.intp)
        self._thresholds = _rounded_down(np.array(thresholds), dtype)[:, None]
        self._missing_right = ~np.array(missing_left)[:, None]
        self._masks = np.array(masks, dtype=np.uint64).astype(word)[:, None]
        self._all = word(np.iinfo(word).max)
        self._starts = np.array(starts, dtype=np.intp)
        sizes = [len(nodes) for nodes in self.nodes]
        self._offsets = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.intp)

    def of(self, features: NDArray[Any]) -> NDArray[np.intp]:
        """Return the leaf of each row in each tree, of shape (rows, trees)."""
        if len(features) <= _CHUNK:
            return self._of(features)
        return np.concatenate([self._of(features[start : start + _CHUNK]) for start in range(0, len(features), _CHUNK)])

    def _of(self, features: NDArray[Any]) -> NDArray[np.intp]:
        values = features.T.take(self._features, axis=0)
        # NaN goes right at first.
        goes_left = values <= self._thresholds
        missing = np.isnan(features)
        if missing.any():
            goes_left |= np.isnan(values) & ~self._missing_right
        words = np.where(goes_left, self._all, self._masks)
        words = np.bitwise_and.reduceat(words, self._starts, axis=0)
        lowest = words & (~words + self._all.dtype.type(1))
        bits: NDArray[np.intp] = np.frexp(lowest.astype(np.float64))[1].T - 1 + self._offsets
        return bits


class WalkedTrees:
    """Trees of any size.

    Parameters
    ----------
    trees
        The trees.
    dtype
        Type of the features that `of` gets. Thresholds are rounded down to it, which changes no comparison.
    """

    def __init__(self, trees: Sequence[Tree], dtype: type) -> None:
        sizes = [len(tree.feature) for tree in trees]
        self.nodes = [np.arange(size, dtype=np.intp) for size in sizes]
        self._roots = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.intp)
        self._depth = max(len(path) for tree in trees for _, path in tree.leaves())
        is_leaf = np.concatenate([tree.left < 0 for tree in trees])
        self._features = np.where(is_leaf, 0, np.concatenate([tree.feature for tree in trees]))
        self._thresholds = _rounded_down(np.concatenate([tree.threshold for tree in trees]), dtype)
        self._missing_left = np.concatenate([tree.missing_left for tree in trees])
        own = np.arange(len(is_leaf), dtype=np.intp)
        # A leaf leads to itself. Of each node, the right child comes first, since False is 0.
        self._children = np.empty(2 * len(own), dtype=np.intp)
        for place, children in enumerate(([tree.right for tree in trees], [tree.left for tree in trees])):
            numbered = [one + root for one, root in zip(children, self._roots, strict=True)]
            self._children[place::2] = np.where(is_leaf, own, np.concatenate(numbered))

    def of(self, features: NDArray[Any]) -> NDArray[np.intp]:
        """Return the leaf of each row in each tree, of shape (rows, trees)."""
        count, width = features.shape
        cells = features.reshape(-1)
        first_cells = np.repeat(np.arange(count, dtype=np.intp) * width, len(self._roots))
        has_missing = np.isnan(features).any()
        nodes = np.tile(self._roots, count)
        for _ in range(self._depth):
            values = cells.take(self._features.take(nodes) + first_cells)
            goes_left = values <= self._thresholds.take(nodes)
            if has_missing:
                goes_left |= np.isnan(values) & self._missing_left.take(nodes)
            nodes = self._children.take(2 * nodes + goes_left)
        return nodes.reshape(count, -1)


def find_leaves(trees: Sequence[Tree], dtype: type) -> Leaves:
    """Return the faster table for the trees."""
    leaves = max(int((tree.left < 0).sum()) for tree in trees)
    return MaskedTrees(trees, dtype) if leaves <= MAX_MASKED_LEAVES else WalkedTrees(trees, dtype)


def edges(trees: Sequence[Tree], width: int, dtype: type) -> NDArray[Any] | None:
    """Return rows that reach every leaf of every tree over a threshold that is hit exactly, if there are not too many.

    Of the values that lead to a leaf, a row has the largest: the threshold itself where the path goes left. If it
    only goes right, a row has the smallest one: the next number after the threshold.
    """
    rows: list[NDArray[Any]] = []
    for tree in trees:
        for _, path in tree.leaves():
            if len(rows) == _MAX_EDGES:
                return np.array(rows, dtype=dtype)
            row: NDArray[Any] = np.zeros(width, dtype=dtype)
            bounded: set[int] = set()
            for node, goes_right in path:
                feature = int(tree.feature[node])
                threshold = _rounded_down(tree.threshold[node : node + 1], dtype)[0]
                if not goes_right:
                    # Thresholds of nodes further down are lower on the way left.
                    row[feature] = min(row[feature], threshold) if feature in bounded else threshold
                    bounded.add(feature)
            for node, goes_right in path:
                feature = int(tree.feature[node])
                if goes_right and feature not in bounded:
                    after = np.nextafter(_rounded_down(tree.threshold[node : node + 1], dtype)[0], dtype(np.inf))
                    row[feature] = max(row[feature], after) if row[feature] else after
            if np.isfinite(row).all():
                rows.append(row)
    return np.array(rows, dtype=dtype) if rows else None


def _rounded_down(thresholds: Floats, dtype: type) -> NDArray[Any]:
    """Return the largest numbers of a type that are at most the thresholds."""
    with np.errstate(over="ignore"):
        rounded: NDArray[Any] = thresholds.astype(dtype)
    return np.where(rounded > thresholds, np.nextafter(rounded, dtype(-np.inf)), rounded).astype(dtype)
