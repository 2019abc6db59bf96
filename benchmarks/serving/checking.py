"""How long the check of a release's ONNX file takes: a forest of a million nodes, beside what opening it takes.

The forest has its numbers as tensors, as the trainers write them, or in the attributes, as other converters do.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from pipeline.model.onnx_operators import find_unsafe

_NODES, _OF_A_TREE, _TIMES = 1_000_000, 1_023, 7


def main() -> None:
    """Print CPU seconds, medians."""
    for as_tensors in (True, False):
        content = make_forest(as_tensors=as_tensors)
        check = cpu_s(lambda content=content: find_unsafe(content))  # type: ignore[misc]
        opened = cpu_s(lambda content=content: onnxruntime.InferenceSession(content))  # type: ignore[misc]
        kind = "tensors" if as_tensors else "attributes"
        megabytes = len(content) / 1e6
        print(f"{kind}: {megabytes:.0f} MB, check {check:.3f} s, opened {opened:.2f} s, ratio {check / opened:.2f}")


def cpu_s(call: Callable[[], object]) -> float:
    """Return the median CPU time of some calls."""
    found = []
    for _ in range(_TIMES):
        began = time.process_time()
        call()
        found.append(time.process_time() - began)
    return statistics.median(found)


def make_forest(*, as_tensors: bool) -> bytes:
    """Make a model of complete trees."""
    trees, random = _NODES // _OF_A_TREE, np.random.default_rng(0)
    number = np.tile(np.arange(_OF_A_TREE), trees)
    tree, leaf = np.repeat(np.arange(trees), _OF_A_TREE), number >= _OF_A_TREE // 2
    integers = {
        "nodes_treeids": tree,
        "nodes_nodeids": number,
        "nodes_featureids": np.where(leaf, 0, random.integers(0, 10, len(number))),
        "nodes_truenodeids": np.where(leaf, 0, 2 * number + 1),
        "nodes_falsenodeids": np.where(leaf, 0, 2 * number + 2),
        "target_treeids": tree[leaf],
        "target_nodeids": number[leaf],
        "target_ids": np.zeros(int(leaf.sum()), np.int64),
    }
    doubles = {"nodes_values": random.random(len(number)), "target_weights": random.random(int(leaf.sum()))}
    shown = {
        name + "_as_tensor" * as_tensors: numpy_helper.from_array(each, name) if as_tensors else each.tolist()
        for name, each in doubles.items()
    }
    modes = {"nodes_modes": np.where(leaf, "LEAF", "BRANCH_LEQ").tolist()}
    attributes = {name: each.tolist() for name, each in integers.items()} | shown | modes
    kind = TensorProto.DOUBLE if as_tensors else TensorProto.FLOAT
    node = helper.make_node(
        "TreeEnsembleRegressor", ["numbers"], ["prediction"], domain="ai.onnx.ml", n_targets=1, **attributes
    )
    graph = helper.make_graph(
        [node],
        "forest",
        [helper.make_tensor_value_info("numbers", kind, [None, 10])],
        [helper.make_tensor_value_info("prediction", TensorProto.FLOAT, [None, 1])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("ai.onnx.ml", 3)], ir_version=8)
    return bytes(model.SerializeToString())


if __name__ == "__main__":
    main()
