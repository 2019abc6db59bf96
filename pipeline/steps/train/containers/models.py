"""The ONNX file of a stranger: looked at, run, and made a part of our graph."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto, helper, inliner, version_converter

from pipeline.errors import TrainingError
from pipeline.model.graphs import ML_OPSET, OPSET, open_session
from pipeline.model.onnx_operators import find_unsafe
from pipeline.steps.train.graph import INPUT, Graph
from pipeline.steps.train.mapping import blocks
from pipeline.steps.train.results import Array, Floats

_PREFERRED = ("probabilities", "prediction")
_PROBABILITY_SLACK = 1e-3


@dataclass(frozen=True, eq=False)
class Stranger:
    """A model that was made elsewhere, for the conversion.

    Attributes
    ----------
    model : onnx.ModelProto
        With one input, ``matrix``, one output, and the operators of our version.
    original : bytes
        As it was given.
    """

    model: onnx.ModelProto
    original: bytes
    output: str
    classes: int

    def add(self, graph: Graph) -> str:
        """Add its nodes, which give values, or probabilities of shape (rows, classes), in double precision."""
        return graph.cast(graph.splice(self.model), "double")

    def predict(self, features: Array) -> Floats:
        """Run it as it was given; values (rows,), or probabilities (rows, classes)."""
        session = open_session(self.original)
        given = session.get_inputs()[0].name
        parts = [np.asarray(session.run([self.output], {given: part})[0], np.float64) for part in blocks(features)]
        return np.concatenate([each if self.classes else each.reshape(-1) for each in parts])


def read_stranger(content: bytes, columns: int, classes: int, rows: Array) -> Stranger:
    """Check a model, and bring it into our form.

    Parameters
    ----------
    columns, classes : int
        Number of features, and of classes (0 in regression).
    rows : ndarray of float32, shape (rows, columns)
        What it is tried on.

    Raises
    ------
    TrainingError
        It is no model that a release may consist of, or gives something else.
    """
    model = _parse(content)
    given, output = _input(model, columns), _output(model)
    stranger = Stranger(_ours(model, given, output), content, output, classes)
    _try(stranger, rows)
    return stranger


def _parse(content: bytes) -> onnx.ModelProto:
    try:
        model = onnx.load_model_from_string(content)
        _refuse_unsafe(content)
        onnx.checker.check_model(model, full_check=True)
    except (DecodeError, onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise TrainingError(f"found model.onnx, which is no valid ONNX ({_first_line(error)})") from error
    if model.graph.sparse_initializer:
        raise TrainingError("found model.onnx with sparse tensors; expected dense ones")
    return inliner.inline_local_functions(model) if model.functions else model


def _refuse_unsafe(content: bytes) -> None:
    if unsafe := find_unsafe(content):
        raise TrainingError(f"found model.onnx with {unsafe[0]}; expected {unsafe[1]}")


def _input(model: onnx.ModelProto, columns: int) -> str:
    constants = {each.name for each in model.graph.initializer}  # older exporters list them as inputs too
    given = [each for each in model.graph.input if each.name not in constants]
    expected = f"one input, float32 of shape (rows, {columns})"
    if len(given) != 1:
        raise TrainingError(f"found model.onnx with {len(given)} inputs; expected {expected}")
    kind = given[0].type.tensor_type
    sizes = [each.dim_value if each.HasField("dim_value") else None for each in kind.shape.dim]
    if kind.elem_type != TensorProto.FLOAT or len(sizes) != 2 or sizes[0] or sizes[1] not in (columns, None, 0):
        shown = f"{TensorProto.DataType.Name(kind.elem_type).lower()} of shape {tuple(each or 'any' for each in sizes)}"
        raise TrainingError(f"found model.onnx with the input '{given[0].name}', {shown}; expected {expected}")
    return str(given[0].name)


def _output(model: onnx.ModelProto) -> str:
    names = [each.name for each in model.graph.output]
    chosen = names if len(names) == 1 else [name for name in _PREFERRED if name in names]
    if len(chosen) != 1:
        listed = ", ".join(f"'{name}'" for name in names[:5]) or "none"
        raise TrainingError(
            f"found model.onnx with the outputs {listed}; expected one, or one named probabilities or prediction"
        )
    return str(chosen[0])


def _ours(model: onnx.ModelProto, given: str, output: str) -> onnx.ModelProto:
    """Bring a model to our version of the operators, our input and one output."""
    versions = {"" if each.domain == "ai.onnx" else each.domain: each.version for each in model.opset_import}
    learned = versions.get("ai.onnx.ml", ML_OPSET)
    if versions.get("", OPSET) > OPSET or learned > ML_OPSET:
        raise TrainingError(
            f"found model.onnx with operators of version {versions.get('', OPSET)} (ai.onnx.ml: {learned}); expected "
            f"at most {OPSET} ({ML_OPSET})"
        )
    found = onnx.ModelProto()
    found.CopyFrom(model)
    if versions.get("", OPSET) < OPSET:
        found = _convert(found, versions[""])
    constants = {each.name for each in found.graph.initializer}
    kind = next(each.type for each in found.graph.input if each.name == given)
    outputs = [each for each in found.graph.output if each.name == output]
    nodes = [helper.make_node("Identity", [INPUT], [given])] if given != INPUT else []
    nodes += [*found.graph.node]
    del found.graph.node[:], found.graph.input[:], found.graph.output[:]
    found.graph.node.extend(nodes)
    found.graph.input.append(onnx.ValueInfoProto(name=INPUT, type=kind))
    found.graph.output.extend(outputs)
    if INPUT in constants:
        raise TrainingError(f"found model.onnx with a tensor named '{INPUT}'; expected another name")
    return found


def _convert(model: onnx.ModelProto, version: int) -> onnx.ModelProto:
    try:
        return version_converter.convert_version(model, OPSET)
    except RuntimeError as error:
        raise TrainingError(
            f"found model.onnx with operators of version {version}, which have no form in version {OPSET} "
            f"({_first_line(error)}); expected version {OPSET}"
        ) from error


def _try(stranger: Stranger, rows: Array) -> None:
    """Run it on one row, on two and on all that there are to try."""
    wanted = (stranger.classes,) if stranger.classes else ()
    for count in (1, 2, len(rows)):
        tried = np.ascontiguousarray(rows[:count])
        found = _run(stranger, tried)
        shape = (len(tried), *wanted)
        if found.shape != shape and not (not wanted and found.shape == (len(tried), 1)):
            expected = f"{shape}" if wanted else f"{shape} or {(len(tried), 1)}"
            raise TrainingError(
                f"found model.onnx to give the shape {found.shape} for {len(tried)} rows; expected {expected}"
            )
        if not np.isfinite(found).all():
            raise TrainingError("found model.onnx to give values that are no finite numbers; expected finite ones")
        if wanted and _unlike_probabilities(found):
            raise TrainingError("found model.onnx to give scores; expected probabilities, whose sum is 1 in each row")


def _run(stranger: Stranger, rows: Array) -> Array:
    try:
        session = open_session(stranger.model)
        return np.asarray(session.run([stranger.output], {INPUT: rows})[0])
    except Exception as error:  # onnxruntime has no error of its own
        raise TrainingError(f"found that model.onnx cannot be run ({_first_line(error)}); expected it to") from error


def _unlike_probabilities(found: Array) -> bool:
    gap = np.abs(found.sum(axis=1, dtype=np.float64) - 1)
    return bool((gap > _PROBABILITY_SLACK).any() or (found < 0).any())


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:300]
