"""Tree ensembles as ONNX.

Thresholds and leaves stay in double precision. A float32 feature is on the same side of a double threshold in the graph
as in scikit-learn, so no row takes another branch, also not those at the thresholds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from pipeline.steps.train.graph import Graph
from pipeline.steps.train.results import Array


@dataclass(frozen=True)
class Tree:
    """One tree as arrays with an entry for each node; node 0 is the root.

    Attributes
    ----------
    feature, left, right : ndarray of int64, shape (nodes,)
        Column that is compared; where a row goes if its value is ≤ the threshold, and if not.
    threshold : ndarray of float64, shape (nodes,)
    missing_left : ndarray of bool, shape (nodes,)
        Whether a missing value goes left.
    leaf : ndarray of bool, shape (nodes,)
    value : ndarray of float64, shape (nodes, targets)
        What a leaf adds to each target.
    targets : tuple of int
        The targets that `value` is for.
    """

    feature: Array
    left: Array
    right: Array
    threshold: Array
    missing_left: Array
    leaf: Array
    value: Array
    targets: tuple[int, ...]


def grown_tree(tree: Any, targets: Sequence[int], scale: float) -> Tree:
    """Read a tree of scikit-learn's ``sklearn.tree``; leaves are multiplied by `scale`."""
    leaf = tree.children_left < 0
    return Tree(
        np.where(leaf, 0, tree.feature),
        np.where(leaf, 0, tree.children_left),
        np.where(leaf, 0, tree.children_right),
        np.where(leaf, 0.0, tree.threshold),
        tree.missing_go_to_left.astype(bool),
        leaf,
        tree.value[:, 0, : len(targets)] * scale,
        tuple(targets),
    )


def histogram_tree(nodes: Any, target: int) -> Tree:
    """Read a tree of scikit-learn's histogram gradient boosting."""
    leaf = nodes["is_leaf"].astype(bool)
    return Tree(
        np.where(leaf, 0, nodes["feature_idx"]).astype(np.int64),
        np.where(leaf, 0, nodes["left"]).astype(np.int64),
        np.where(leaf, 0, nodes["right"]).astype(np.int64),
        np.where(leaf, 0.0, nodes["num_threshold"]),
        nodes["missing_go_to_left"].astype(bool),
        leaf,
        nodes["value"][:, None],
        (target,),
    )


def only(tree: Tree, target: int) -> Tree:
    """Return a tree that adds to one of its targets, which is then the only one."""
    place = tree.targets.index(target)
    return replace(tree, value=tree.value[:, place : place + 1], targets=(0,))


def thresholds_by_column(trees: Iterable[Tree], columns: int) -> list[Array]:
    """Return the distinct thresholds of each column, ascending."""
    trees = list(trees)
    inner = [~tree.leaf for tree in trees]
    feature = np.concatenate([tree.feature[keep] for tree, keep in zip(trees, inner, strict=True)])
    threshold = np.concatenate([tree.threshold[keep] for tree, keep in zip(trees, inner, strict=True)])
    order = np.lexsort((threshold, feature))
    bounds = np.searchsorted(feature[order], np.arange(columns + 1))
    return [np.unique(threshold[order][low:high]) for low, high in pairwise(bounds)]


def add_ensemble(graph: Graph, trees: Sequence[Tree], base: Array) -> str:
    """Add the sum of the trees' leaves plus `base` (one number a target), as (rows, targets).

    ONNX: ``ai.onnx.ml.TreeEnsembleRegressor`` version 3.
    """
    output = "estimator_trees"
    attributes = {**_nodes(trees), **_leaves(trees)}
    tensors = {"base_values_as_tensor": np.asarray(base, np.float64)}
    tensors |= {name: value for name, value in attributes.items() if value.dtype == np.float64}
    node = onnx.NodeProto(
        op_type="TreeEnsembleRegressor", domain="ai.onnx.ml", input=[graph.doubles()], output=[output]
    )
    for name, array in sorted(tensors.items()):
        node.attribute.append(onnx.AttributeProto(name=name, type="TENSOR", t=numpy_helper.from_array(array, name)))
    for name, array in sorted(attributes.items()):
        if name not in tensors:
            node.attribute.append(onnx.AttributeProto(name=name, type="INTS", ints=array.tolist()))
    leaf = np.concatenate([tree.leaf for tree in trees])
    modes = np.where(leaf, b"LEAF", b"BRANCH_LEQ").tolist()
    node.attribute.append(onnx.AttributeProto(name="nodes_modes", type="STRINGS", strings=modes))
    node.attribute.append(onnx.AttributeProto(name="n_targets", type="INT", i=len(base)))
    graph.append(node)
    return output


def _nodes(trees: Sequence[Tree]) -> dict[str, Array]:
    sizes = [len(tree.leaf) for tree in trees]
    return {
        "nodes_treeids": np.repeat(np.arange(len(trees)), sizes),
        "nodes_nodeids": np.concatenate([np.arange(size) for size in sizes]),
        "nodes_featureids": np.concatenate([tree.feature for tree in trees]),
        "nodes_truenodeids": np.concatenate([tree.left for tree in trees]),
        "nodes_falsenodeids": np.concatenate([tree.right for tree in trees]),
        "nodes_missing_value_tracks_true": np.concatenate([tree.missing_left for tree in trees]).astype(np.int64),
        "nodes_values_as_tensor": np.concatenate([tree.threshold for tree in trees]).astype(np.float64),
    }


def _leaves(trees: Sequence[Tree]) -> dict[str, Array]:
    ids = [np.flatnonzero(tree.leaf) for tree in trees]
    counts = [len(each) * len(tree.targets) for each, tree in zip(ids, trees, strict=True)]
    return {
        "target_treeids": np.repeat(np.arange(len(trees)), counts),
        "target_nodeids": np.concatenate(
            [np.repeat(each, len(tree.targets)) for each, tree in zip(ids, trees, strict=True)]
        ),
        "target_ids": np.concatenate([np.tile(tree.targets, len(each)) for each, tree in zip(ids, trees, strict=True)]),
        "target_weights_as_tensor": np.concatenate(
            [tree.value[each].ravel() for each, tree in zip(ids, trees, strict=True)]
        ).astype(np.float64),
    }
