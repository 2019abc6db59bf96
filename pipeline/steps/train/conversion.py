"""From a fitted model to its ONNX graph.

The graphs are written here instead of by skl2onnx: its import alone costs 0.3 s, its forests 2 s and more, and its
float32 thresholds and kernels can change a prediction. These compute in double precision: only the final rounding
differs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx

from pipeline.model.task import Task
from pipeline.spec.catalogue.trainers import NETWORK_EXTRAS, TRAINERS
from pipeline.steps.train.graph import Graph
from pipeline.steps.train.kernels import NotConvertibleError, add_neighbors, add_support_vectors
from pipeline.steps.train.results import Array
from pipeline.steps.train.trees import Tree, add_ensemble, grown_tree, histogram_tree, only

_Converter = Callable[[Graph, Any, int], str]


def convert(trainer: str, task: Task, model: Any, columns: int, classes: int) -> onnx.ModelProto:
    """Write the graph of a fitted model.

    Parameters
    ----------
    model : object
        What the trainer fitted (``Fitted.estimator``).
    columns, classes : int
        Number of features, and of classes (0 in regression).

    Raises
    ------
    NotConvertibleError
        There is no graph for this model.
    """
    graph = Graph(columns)
    result = CONVERTERS[trainer](graph, model, classes)
    if task == "regression":
        return graph.finish_regression(result)
    return graph.finish_classification(result, classes)


def ensemble_trees(trainer: str, model: Any, classes: int) -> list[Tree]:
    """Return the trees of a model in scikit-learn's order; none if it has no trees."""
    reader = _READERS.get(trainer)
    return reader(model, classes) if reader else []


def _one_tree(model: Any, classes: int) -> list[Tree]:
    return [grown_tree(model.tree_, range(max(classes, 1)), 1.0)]


def _forest(model: Any, classes: int) -> list[Tree]:
    share = 1 / len(model.estimators_)
    return [grown_tree(each.tree_, range(max(classes, 1)), share) for each in model.estimators_]


def _boosted(model: Any, _: int) -> list[Tree]:
    return [
        grown_tree(each.tree_, [target], model.learning_rate)
        for stage in model.estimators_
        for target, each in enumerate(stage)
    ]


def _histogram(model: Any, _: int) -> list[Tree]:
    stages = model._predictors  # noqa: SLF001  (scikit-learn has no public name for the trees)
    return [histogram_tree(each.nodes, target) for stage in stages for target, each in enumerate(stage)]


_READERS: Mapping[str, Callable[[Any, int], list[Tree]]] = {
    "decision_tree": _one_tree,
    "random_forest": _forest,
    "extra_trees": _forest,
    "gradient_boosting": _boosted,
    "hist_gradient_boosting": _histogram,
    "xgboost": lambda model, _: list(model.trees),
    "lightgbm": lambda model, _: list(model.trees),
}


def _convert_votes(trainer: str) -> _Converter:
    def add(graph: Graph, model: Any, classes: int) -> str:
        trees = ensemble_trees(trainer, model, classes)
        if classes != 2:
            return add_ensemble(graph, trees, np.zeros(max(classes, 1)))
        # Of two classes, one is enough to add up; a leaf with one value needs no list of them.
        positive = add_ensemble(graph, [only(tree, 1) for tree in trees], np.zeros(1))
        return graph.both_classes(graph.cast(positive, "double"))

    return add


def _convert_boosting(graph: Graph, model: Any, classes: int) -> str:
    start = model._raw_predict_init(np.zeros((1, graph.columns), np.float32))[0]  # noqa: SLF001
    scores = add_ensemble(graph, _boosted(model, classes), start)
    # With the exponential loss, a score is half the log odds.
    return _link(graph, graph.cast(scores, "double"), classes, factor=2.0 if model.loss == "exponential" else 1.0)


def _convert_histogram(graph: Graph, model: Any, classes: int) -> str:
    start = model._baseline_prediction.ravel()  # noqa: SLF001
    scores = graph.cast(add_ensemble(graph, _histogram(model, classes), start), "double")
    if not classes and model.loss in {"poisson", "gamma"}:
        return graph.add("Exp", scores)
    return _link(graph, scores, classes)


def _link(graph: Graph, scores: str, classes: int, factor: float = 1.0) -> str:
    """From scores to probabilities; scores of a regression stay."""
    if not classes:
        return scores
    if classes > 2:
        return graph.add("Softmax", scores, axis=1)
    scaled = scores if factor == 1 else graph.add("Mul", scores, graph.constant(factor))
    return graph.both_classes(graph.add("Sigmoid", scaled))


def _affine(graph: Graph, rows: str, weights: Array, intercept: Any) -> str:
    """Add ``rows @ weights + intercept``; weights of shape (columns, outputs)."""
    bias = np.broadcast_to(np.asarray(intercept, np.float64), (weights.shape[1],))
    return graph.add("Add", graph.add("MatMul", rows, graph.constant(weights)), graph.constant(bias))


def _convert_line(graph: Graph, model: Any, _: int) -> str:
    return _affine(graph, graph.doubles(), model.weights[:, None], model.intercept)


def _add_coefficients(graph: Graph, model: Any) -> str:
    return _affine(graph, graph.doubles(), np.atleast_2d(model.coef_).T, model.intercept_)


def _convert_linear(graph: Graph, model: Any, classes: int) -> str:
    return _link(graph, _add_coefficients(graph, model), classes)


def _convert_calibrated(graph: Graph, model: Any, classes: int) -> str:
    """Platt's sigmoid over the decision function; more than two classes are normalized to a sum of 1."""
    inner = model.calibrated_classifiers_[0]
    slopes = np.array([each.a_ for each in inner.calibrators])
    offsets = np.array([each.b_ for each in inner.calibrators])
    margins = _decision(graph, inner.estimator, classes)
    scaled = graph.add("Add", graph.add("Mul", margins, graph.constant(-slopes)), graph.constant(-offsets))
    chances = graph.add("Sigmoid", scaled)
    if classes == 2:
        return graph.both_classes(chances)
    total = graph.add("ReduceSum", chances, graph.shape(1), keepdims=1)
    return graph.add("Div", chances, total)


def _decision(graph: Graph, model: Any, classes: int) -> str:
    return (
        add_support_vectors(graph, model, classes) if hasattr(model, "dual_coef_") else _add_coefficients(graph, model)
    )


def _convert_margins(graph: Graph, model: Any, classes: int) -> str:
    return _convert_calibrated(graph, model, classes) if classes else _decision(graph, model, 0)


def _convert_neighbors(graph: Graph, model: Any, classes: int) -> str:
    codes = model._y  # noqa: SLF001  (the training targets)
    targets = np.eye(classes)[codes] if classes else np.asarray(codes, np.float64).reshape(len(codes), -1)
    return add_neighbors(graph, model, targets)


_ACTIVATIONS: Mapping[str, str] = {"relu": "Relu", "tanh": "Tanh", "logistic": "Sigmoid", "exp": "Exp"}


def _convert_network(graph: Graph, model: Any, classes: int) -> str:
    value = graph.doubles()
    for depth, (weights, intercept) in enumerate(zip(model.coefs_, model.intercepts_, strict=True), start=1):
        value = _affine(graph, value, weights, intercept)
        activation = _ACTIVATIONS.get(model.activation if depth < len(model.coefs_) else "")
        value = graph.add(activation, value) if activation else value
    if classes:
        return _link(graph, value, classes)
    output = _ACTIVATIONS.get(model.out_activation_)
    return graph.add(output, value) if output else value


def _convert_boosted(graph: Graph, model: Any, classes: int) -> str:
    scores = graph.cast(add_ensemble(graph, model.trees, model.base), "double")
    return graph.add("Exp", scores) if model.link == "exp" else _link(graph, scores, classes)


def _convert_neural(graph: Graph, model: Any, classes: int) -> str:
    from pipeline.steps.train.neural.conversion import convert_network  # only where it is used

    return convert_network(graph, model, classes)


def _add_stranger(graph: Graph, model: Any, _: int) -> str:
    added: str = model.add(graph)
    return added


CONVERTERS: Mapping[str, _Converter] = {
    "linear_regression": _convert_line,
    "least_squares": _convert_linear,
    "ridge": _convert_margins,
    "lasso": _convert_linear,
    "elastic_net": _convert_linear,
    "logistic_regression": _convert_linear,
    "decision_tree": _convert_votes("decision_tree"),
    "random_forest": _convert_votes("random_forest"),
    "extra_trees": _convert_votes("extra_trees"),
    "gradient_boosting": _convert_boosting,
    "hist_gradient_boosting": _convert_histogram,
    "k_neighbors": _convert_neighbors,
    "svm": _convert_margins,
    "linear_svm": _convert_margins,
    "mlp": _convert_network,
    "xgboost": _convert_boosted,
    "lightgbm": _convert_boosted,
    "container": _add_stranger,
    "mxnet": _add_stranger,
    **{name: _convert_neural for name, info in TRAINERS.items() if info.extra in NETWORK_EXTRAS},
}

__all__ = ["NotConvertibleError", "convert", "ensemble_trees"]
