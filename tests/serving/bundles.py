"""Small real bundles, written by hand."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from pipeline.model.reference import REFERENCE, Reference, write_reference
from pipeline.model.signature import Input, Signature

LINE = Signature("regression", (Input("x", "float", nullable=False),), None, {"x": 0.5})


def write_bundle(
    folder: Path,
    *,
    version: str = "1.0.0",
    slope: float = 2.0,
    signature: Signature = LINE,
    graph: onnx.ModelProto | None = None,
    model: str = "line",
    reference: Reference | None = None,
) -> Path:
    """Write a bundle; by default one that predicts slope · x + 1, without a reference."""
    folder.mkdir(parents=True)
    onnx.save_model(graph or line_graph(slope), folder / "model.onnx")
    (folder / "signature.json").write_text(json.dumps(signature.to_json()))
    if reference is not None:
        (folder / REFERENCE).write_bytes(write_reference(reference))
    seal(folder, version, model)
    return folder


def seal(folder: Path, version: str = "1.0.0", model: str = "line", **more: Any) -> None:
    """Write release.json for what is in the folder."""
    files = {each.name: hashlib.sha256(each.read_bytes()).hexdigest() for each in folder.iterdir()}
    files.pop("release.json", None)
    record = {"model": model, "version": version, "files": files, "tag": f"{model}@v{version}", "data_commit": "abc"}
    (folder / "release.json").write_text(json.dumps(record | more))


def make_model(nodes: Sequence[Any], inputs: Sequence[Any], outputs: Sequence[Any], tensors: Sequence[Any] = ()) -> Any:
    graph = helper.make_graph(list(nodes), "g", list(inputs), list(outputs), list(tensors))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def numbers_input(width: int) -> Any:
    return helper.make_tensor_value_info("numbers", TensorProto.DOUBLE, [None, width])


def texts_input(width: int) -> Any:
    return helper.make_tensor_value_info("texts", TensorProto.STRING, [None, width])


def prediction_output(kind: int = TensorProto.FLOAT) -> Any:
    return helper.make_tensor_value_info("prediction", kind, [None])


def line_graph(slope: float) -> onnx.ModelProto:
    """Return slope · x + 1 in float64, given as float32."""
    tensors = [
        numpy_helper.from_array(np.array([slope]), "slope"),
        numpy_helper.from_array(np.array([1.0]), "one"),
        numpy_helper.from_array(np.array([-1]), "flat"),
    ]
    nodes = [
        helper.make_node("Mul", ["numbers", "slope"], ["scaled"]),
        helper.make_node("Add", ["scaled", "one"], ["moved"]),
        helper.make_node("Cast", ["moved"], ["single"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["single", "flat"], ["prediction"]),
    ]
    return make_model(nodes, [numbers_input(1)], [prediction_output()], tensors)


def sum_graph(width: int) -> onnx.ModelProto:
    """Sum of all numbers, in float64, so that a test sees them exactly."""
    axes = [numpy_helper.from_array(np.array([1]), "axes")]
    nodes = [helper.make_node("ReduceSum", ["numbers", "axes"], ["prediction"], keepdims=0)]
    return make_model(nodes, [numbers_input(width)], [prediction_output(TensorProto.DOUBLE)], axes)


def is_equal_graph(word: str) -> onnx.ModelProto:
    """Class 1 if the only text is `word`, else class 0, with probabilities 0.25 and 0.75."""
    tensors = [
        numpy_helper.from_array(np.array([word], dtype=object), "word"),
        numpy_helper.from_array(np.array([-1]), "flat"),
        numpy_helper.from_array(np.array([[0.25, 0.75]], dtype=np.float32), "yes"),
        numpy_helper.from_array(np.array([[0.75, 0.25]], dtype=np.float32), "no"),
    ]
    nodes = [
        helper.make_node("Equal", ["texts", "word"], ["equal"]),
        helper.make_node("Cast", ["equal"], ["number"], to=TensorProto.INT64),
        helper.make_node("Reshape", ["number", "flat"], ["label"]),
        helper.make_node("Where", ["equal", "yes", "no"], ["probabilities"]),
    ]
    outputs = [
        helper.make_tensor_value_info("label", TensorProto.INT64, [None]),
        helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 2]),
    ]
    graph = make_model(nodes, [texts_input(1)], outputs, tensors)
    graph.opset_import[0].version = 19  # Equal of text
    return graph


GREETING = Signature(
    "classification", (Input("word", "str", text={"trim": True, "case": "lower"}),), ("no", "yes"), {"word": "hello"}
)
