"""Building, joining and running ONNX graphs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import onnx
import onnxruntime
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from pipeline.errors import TrainingError

OPSET, ML_OPSET, IR_VERSION = 21, 3, 10

Element = Literal["double", "float", "string", "bool", "int64"]
_ELEMENTS: Mapping[Element, int] = {
    "double": TensorProto.DOUBLE,
    "float": TensorProto.FLOAT,
    "string": TensorProto.STRING,
    "bool": TensorProto.BOOL,
    "int64": TensorProto.INT64,
}

_LANES = 8  # doubles in the widest register (AVX-512), and a multiple of those in narrower ones


class Graph:
    """A graph that grows node by node; values are known by their names.

    All tensors are matrices with a row for each record, so that one node serves all columns of a kind.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.inputs: dict[str, onnx.ValueInfoProto] = {}
        self._nodes: list[NodeProto] = []
        self._constants: dict[tuple[str, tuple[int, ...], bytes], TensorProto] = {}
        self._outputs: list[onnx.ValueInfoProto] = []

    def input(self, name: str, element: Element, columns: int | str) -> str:
        """Declare an input of ``columns`` columns; a name stands for a number that may differ from call to call."""
        self.inputs[name] = helper.make_tensor_value_info(name, _ELEMENTS[element], ["N", columns])
        return name

    def output(self, name: str, value: str, element: Element, columns: int) -> None:
        """Make a value an output of the graph, as ``name``."""
        # Values are named by a counter, and one of them may be wanted under several names.
        self._nodes.append(helper.make_node("Identity", [value], [name]))
        self._outputs.append(helper.make_tensor_value_info(name, _ELEMENTS[element], ["N", columns]))

    def constant(self, values: Any, element: Element = "double") -> str:
        """Add a constant and return its name; equal constants are stored once."""
        is_text = element == "string"
        array = np.asarray(values, dtype=object if is_text else helper.tensor_dtype_to_np_dtype(_ELEMENTS[element]))
        content = "\0".join(array.ravel()).encode() if is_text else array.tobytes()
        # Bytes are compared, not values: NaN equals itself then, and -0.0 is kept apart from 0.0.
        key = (element, array.shape, content)
        if key not in self._constants:
            self._constants[key] = numpy_helper.from_array(array, f"c{len(self._constants)}")
        name: str = self._constants[key].name
        return name

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add a node and return the name of its only output."""
        result = f"v{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, list(inputs), [result], **attributes))
        return result

    def split_words(self, value: str) -> str:
        """Split string[N, 1], words joined by single spaces, into string[N, L] with "" after the last."""
        flat = self.add("Reshape", value, self.constant([-1], "int64"))
        words, count = f"v{len(self._nodes)}", f"n{len(self._nodes)}"
        self._nodes.append(helper.make_node("StringSplit", [flat], [words, count], delimiter=" "))
        return words

    def cast(self, value: str, element: Element) -> str:
        """Convert a value to another type."""
        return self.add("Cast", value, to=_ELEMENTS[element])

    def take(self, value: str, columns: Sequence[int], width: int | None = None) -> str:
        """Take columns by position; ``width`` (how many there are) saves the node where all are taken in order."""
        if width is not None and list(columns) == list(range(width)):
            return value
        return self.add("Gather", value, self.constant(list(columns), "int64"), axis=1)

    def join(self, values: Sequence[str]) -> str:
        """Put matrices side by side."""
        return values[0] if len(values) == 1 else self.add("Concat", *values, axis=1)

    def approximate(self, operator: str, value: str, columns: int) -> str:
        """Apply a function that runtimes approximate, such as Sin, so that a row gets the same bits in any batch.

        The runtime computes whole SIMD registers in one way and the few values left over in another, whose last bit
        can differ. A row as wide as a number of registers leaves nothing over.
        """
        padded = -(-columns // _LANES) * _LANES
        # Repeated columns fill the row up: a constant would have to be expanded to the number of rows first.
        wide = self.take(value, [column % columns for column in range(padded)], columns)
        return self.take(self.add(operator, wide), range(columns), padded)

    def build(self) -> ModelProto:
        """Build the finished, checked model."""
        graph = helper.make_graph(
            self._nodes, self.name, list(self.inputs.values()), self._outputs, list(self._constants.values())
        )
        return _finish(graph, {"": OPSET, "ai.onnx.ml": ML_OPSET})


def _finish(graph: onnx.GraphProto, opsets: Mapping[str, int], functions: Sequence[Any] = ()) -> ModelProto:
    imports = [helper.make_opsetid(domain, version) for domain, version in sorted(opsets.items())]
    model = helper.make_model(
        graph, opset_imports=imports, ir_version=IR_VERSION, producer_name="modelrail", functions=functions
    )
    onnx.checker.check_model(model)
    return model


def compose(first: ModelProto, second: ModelProto) -> ModelProto:
    """Join two models: outputs of ``first`` feed the inputs of ``second`` that have the same name.

    The result has the inputs of ``first``, then those of ``second`` that ``first`` does not give, and the outputs of
    ``second``; other outputs of ``first`` are left out.

    Raises
    ------
    TrainingError
        The models need different versions of one operator set.
    """
    opsets = _opsets(first)
    for domain, version in _opsets(second).items():
        if opsets.setdefault(domain, version) != version:
            raise TrainingError(
                f"compose: {second.graph.name!r} uses version {version} of the operators of {domain or 'ai.onnx'!r}; "
                f"expected {opsets[domain]}, as {first.graph.name!r} does"
            )
    inner = _with_prefix(second, _free_prefix(first))
    given = {value.name for value in first.graph.output}
    inputs = [*first.graph.input, *(value for value in inner.graph.input if value.name not in given)]
    graph = helper.make_graph(
        [*first.graph.node, *inner.graph.node],
        f"{first.graph.name}+{second.graph.name}",
        inputs,
        list(inner.graph.output),
        [*first.graph.initializer, *inner.graph.initializer],
        sparse_initializer=[*first.graph.sparse_initializer, *inner.graph.sparse_initializer],
    )
    return _finish(graph, opsets, [*first.functions, *inner.functions])


def _opsets(model: ModelProto) -> dict[str, int]:
    return {"" if each.domain == "ai.onnx" else each.domain: each.version for each in model.opset_import}


def _free_prefix(model: ModelProto) -> str:
    names = {name for node in model.graph.node for name in [*node.output, node.name]}
    names |= {tensor.name for tensor in model.graph.initializer}
    return next(p for p in (f"s{i}_" for i in range(len(names) + 1)) if not any(n.startswith(p) for n in names))


def _with_prefix(model: ModelProto, prefix: str) -> ModelProto:
    from onnx.compose import add_prefix

    # The values inside must not clash; inputs and outputs keep the names by which models are joined and asked.
    kept: ModelProto = add_prefix(model, prefix, rename_inputs=False, rename_outputs=False)
    return kept


def open_session(model: ModelProto | bytes) -> onnxruntime.InferenceSession:
    """Load a model for this thread alone, so that results do not depend on how work is shared out."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.load_model_format", "ONNX")  # whatever mark the bytes begin with
    content = model if isinstance(model, bytes) else model.SerializeToString()
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def run(model: ModelProto, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Run a model once; inputs that it does not have are left out."""
    session = open_session(model)
    wanted = {value.name for value in session.get_inputs()}
    names = [value.name for value in session.get_outputs()]
    given = {name: value for name, value in inputs.items() if name in wanted}
    return dict(zip(names, session.run(names, given), strict=True))
