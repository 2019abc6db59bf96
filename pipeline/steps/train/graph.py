"""The graph of an estimator: from ``matrix`` to the outputs that every trainer has."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, compose, helper

from pipeline.model import graphs
from pipeline.steps.train.results import Array

INPUT = "matrix"


class Graph(graphs.Graph):
    """A graph under construction that starts at the matrix and computes in double precision."""

    def __init__(self, columns: int) -> None:
        super().__init__("estimator")
        self.columns = columns
        self.input(INPUT, "float", columns)

    def append(self, node: onnx.NodeProto) -> None:
        """Add a node that was made elsewhere."""
        self._nodes.append(node)

    def splice(self, model: onnx.ModelProto) -> str:
        """Add the nodes of a model that reads the matrix too, and give the name of its only output."""
        inner = compose.add_prefix(model, "own_", rename_inputs=False)
        self._constants |= {("own", (), each.name.encode()): each for each in inner.graph.initializer}
        for node in inner.graph.node:
            self.append(node)
        return str(inner.graph.output[0].name)

    def shape(self, *sizes: int) -> str:
        """Return the name of a constant list of integers, such as axes."""
        return self.constant(sizes, "int64")

    def doubles(self) -> str:
        """Return the matrix in double precision."""
        return self.cast(INPUT, "double")

    def both_classes(self, positive: str) -> str:
        """Return (rows, 2) from the probability of the second class, (rows, 1)."""
        return self.join([self.add("Sub", self.constant(1.0), positive), positive])

    def finish_regression(self, values: str) -> onnx.ModelProto:
        """End with ``prediction`` from values with one value a row."""
        self._give("prediction", self.add("Reshape", self.cast(values, "float"), self.shape(-1)), TensorProto.FLOAT)
        return self.build()

    def finish_classification(self, probabilities: str, classes: int) -> onnx.ModelProto:
        """End with ``label`` and ``probabilities`` from probabilities of shape (rows, classes).

        The label is the class of the highest probability as it is given out (float32), the first of equals.
        """
        single = self.cast(probabilities, "float")
        self._give("label", self.add("ArgMax", single, axis=1, keepdims=0), TensorProto.INT64)
        self.output("probabilities", single, "float", classes)
        return self.build()

    def _give(self, name: str, value: str, element: Any) -> None:
        """Make a value the graph's output, one a row."""
        self.append(helper.make_node("Identity", [value], [name]))
        self._outputs.append(helper.make_tensor_value_info(name, element, ["N"]))


def label_of(probabilities: Array) -> Array:
    """Return the class of the highest float32 probability, the first of equals: what the graph's ``label`` is."""
    return np.asarray(np.argmax(probabilities.astype(np.float32), axis=1))
