"""Support vector machines and nearest neighbours as ONNX, in double precision."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import combinations
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from pipeline.steps.train.graph import Graph
from pipeline.steps.train.results import Array


class NotConvertibleError(Exception):
    """No graph is known for this model; it is released in its native format."""


def _linear(graph: Graph, products: str, _: str, model: Any) -> str:  # noqa: ARG001  (one signature for the table)
    return products


def _radial(graph: Graph, products: str, rows: str, model: Any) -> str:
    """exp(−γ ‖x − s‖²), with ‖x − s‖² = ‖x‖² + ‖s‖² − 2 x·s."""
    squares = graph.add("ReduceSumSquare", rows, graph.shape(1), keepdims=1)
    doubled = graph.add("Mul", products, graph.constant(-2.0))
    lengths = graph.constant((model.support_vectors_**2).sum(axis=1)[None, :])
    distances = graph.add("Add", graph.add("Add", squares, doubled), lengths)
    return graph.add("Exp", graph.add("Mul", distances, graph.constant(-_gamma(model))))


def _affine(graph: Graph, products: str, model: Any) -> str:
    return graph.add("Add", graph.add("Mul", products, graph.constant(_gamma(model))), graph.constant(model.coef0))


def _polynomial(graph: Graph, products: str, _: str, model: Any) -> str:
    return graph.add("Pow", _affine(graph, products, model), graph.constant(float(model.degree)))


def _sigmoid(graph: Graph, products: str, _: str, model: Any) -> str:
    return graph.add("Tanh", _affine(graph, products, model))


def _gamma(model: Any) -> float:
    return float(model._gamma)  # noqa: SLF001  (the number behind gamma="scale")


KERNELS: Mapping[str, Callable[[Graph, str, str, Any], str]] = {
    "linear": _linear,
    "rbf": _radial,
    "poly": _polynomial,
    "sigmoid": _sigmoid,
}


def add_support_vectors(graph: Graph, model: Any, classes: int) -> str:
    """Add the decision function of an SVR or SVC, as (rows, 1), or (rows, classes) for more than two classes."""
    rows = graph.doubles()
    products = graph.add("MatMul", rows, graph.constant(model.support_vectors_.T))
    kernel = KERNELS[model.kernel](graph, products, rows, model)
    if classes <= 2:
        weighted = graph.add("MatMul", kernel, graph.constant(model.dual_coef_.T))
        return graph.add("Add", weighted, graph.constant(model.intercept_))
    return _one_versus_rest(graph, _one_versus_one(graph, kernel, model, classes), classes)


def _one_versus_one(graph: Graph, kernel: str, model: Any, classes: int) -> str:
    """Add the decision of each pair of classes; libsvm keeps the coefficients of a pair in two places."""
    ends = np.concatenate([[0], np.cumsum(model.n_support_)])
    pairs = list(combinations(range(classes), 2))
    weights = np.zeros((len(model.support_vectors_), len(pairs)))
    for column, (first, second) in enumerate(pairs):
        for own, other in ((first, second - 1), (second, first)):
            part = slice(ends[own], ends[own + 1])
            weights[part, column] = model.dual_coef_[other, part]
    return graph.add("Add", graph.add("MatMul", kernel, graph.constant(weights)), graph.constant(model.intercept_))


def _one_versus_rest(graph: Graph, decisions: str, classes: int) -> str:
    """Add votes plus confidences that break ties, as scikit-learn's ``decision_function_shape="ovr"``."""
    pairs = list(combinations(range(classes), 2))
    first, second = np.zeros((2, len(pairs), classes))
    for row, (one, other) in enumerate(pairs):
        first[row, one] = second[row, other] = 1
    lost = graph.cast(graph.add("Less", decisions, graph.constant(0.0)), "double")
    votes = graph.add(
        "Add", graph.add("MatMul", lost, graph.constant(second - first)), graph.constant(first.sum(axis=0))
    )
    sums = graph.add("MatMul", decisions, graph.constant(first - second))
    bound = graph.add("Mul", graph.add("Add", graph.add("Abs", sums), graph.constant(1.0)), graph.constant(3.0))
    return graph.add("Add", votes, graph.add("Div", sums, bound))


# scikit-learn's metrics as the exponent of Minkowski's.
_EXPONENTS: Mapping[str, float] = {
    "euclidean": 2,
    "l2": 2,
    "manhattan": 1,
    "cityblock": 1,
    "l1": 1,
    "chebyshev": np.inf,
    "infinity": np.inf,
}


def _exponent(model: Any) -> float:
    if model.metric == "minkowski":
        return float(model.p)
    if model.metric in _EXPONENTS:
        return float(_EXPONENTS[model.metric])
    raise NotConvertibleError(f"the metric {model.metric}")


def add_neighbors(graph: Graph, model: Any, targets: Array) -> str:
    """Add the mean target of the nearest training rows, weighted as the model says.

    Parameters
    ----------
    targets : ndarray of float64, shape (training rows, outputs)
        Values, or one column a class with 1 for the row's own.
    """
    body = _Body()
    distances = body.distances(np.asarray(model._fit_X, np.float64), _exponent(model))  # noqa: SLF001
    result = body.mean(distances, targets, model.n_neighbors, by_distance=model.weights == "distance")
    rows = graph.doubles()
    # Row by row, so that memory grows with the training rows only.
    return graph.add("Scan", rows, body=body.finish(result, graph.columns, targets.shape[1]), num_scan_inputs=1)


class _Body:
    """What is done with one row, as the body of a Scan."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def _constant(self, value: Any, dtype: Any = np.float64) -> str:
        name = f"neighbor_constant_{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(np.asarray(value, dtype)), name))
        return name

    def _add(self, operator: str, *inputs: str, outputs: tuple[str, ...] = (), **attributes: Any) -> str:
        names = list(outputs) or [f"neighbor_value_{len(self._nodes)}"]
        self._nodes.append(helper.make_node(operator, list(inputs), names, **attributes))
        return names[0]

    def distances(self, points: Array, exponent: float) -> str:
        gaps = self._add("Abs", self._add("Sub", self._constant(points), "row"))
        axis = self._constant([1], np.int64)
        if np.isinf(exponent):
            return self._add("ReduceMax", gaps, axis, keepdims=0)
        if exponent == 1:
            return self._add("ReduceSum", gaps, axis, keepdims=0)
        if exponent == 2:
            return self._add("ReduceL2", gaps, axis, keepdims=0)
        powers = self._add("Pow", gaps, self._constant(exponent))
        return self._add("Pow", self._add("ReduceSum", powers, axis, keepdims=0), self._constant(1 / exponent))

    def mean(self, distances: str, targets: Array, count: int, *, by_distance: bool) -> str:
        self._add("TopK", distances, self._constant([count], np.int64), outputs=("near", "index"), largest=0)
        values = self._add("Gather", self._constant(targets), "index")
        weights = self._weights() if by_distance else self._constant(np.ones(count))
        total = self._add("ReduceSum", weights, self._constant([0], np.int64), keepdims=1)
        return self._add("Div", self._add("MatMul", weights, values), total)

    def _weights(self) -> str:
        """1 / distance; where a neighbour lies on the row, only such neighbours count, as in scikit-learn."""
        same = self._add("Equal", "near", self._constant(0.0))
        ones = self._add("Cast", same, to=TensorProto.DOUBLE)
        some = self._add("ReduceMax", ones, self._constant([0], np.int64), keepdims=1)
        inverse = self._add("Reciprocal", self._add("Add", "near", ones))
        return self._add("Where", self._add("Cast", some, to=TensorProto.BOOL), ones, inverse)

    def finish(self, result: str, columns: int, outputs: int) -> onnx.GraphProto:
        self._add("Identity", result, outputs=("output",))
        source = helper.make_tensor_value_info("row", TensorProto.DOUBLE, [columns])
        target = helper.make_tensor_value_info("output", TensorProto.DOUBLE, [outputs])
        return helper.make_graph(self._nodes, "neighbors", [source], [target], self._constants)
