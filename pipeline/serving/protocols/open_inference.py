"""The Open Inference Protocol V2, as KServe and Triton speak it: metadata, and ``infer``.

A column of the signature is an input of shape [rows]; one tensor of shape [rows, columns] holds all of them, in the
signature's order. Nothing is missing but what is null, NaN or an empty text. The output ``probabilities`` names its
classes by its parameter ``classes``, a JSON array in a text: parameters of the protocol are single values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from pipeline.model.signature import Signature
from pipeline.serving.protocols.tensors import read_tensor, write_binary
from pipeline.serving.rows.bodies import parse
from pipeline.serving.rows.columns import Column, read_columns
from pipeline.serving.rows.faults import Fault, RejectedError, describe, shorten
from pipeline.serving.rows.records import rejected
from pipeline.serving.scoring.answers import Reply, encode
from pipeline.serving.scoring.questions import Question, Scores
from pipeline.serving.scoring.served import ServedModel

EXTENSIONS = ("binary_tensor_data",)
_LENGTH = b"inference-header-content-length"
_DATATYPES: Mapping[str, str] = {
    "float": "FP64", "int": "INT64", "bool": "BOOL", "str": "BYTES", "datetime": "BYTES",
    "image": "BYTES",
}  # fmt: skip
_CLASS_TYPES: Mapping[type, str] = {bool: "BOOL", int: "INT64", float: "FP64", str: "BYTES"}


def metadata(model: ServedModel, versions: Sequence[str]) -> dict[str, Any]:
    """Describe a model, as ``GET /v2/models/M`` does."""
    inputs = [{"name": each.name, "datatype": _DATATYPES[each.type], "shape": [-1]} for each in model.signature.inputs]
    outputs = [
        {"name": name, "datatype": kind, "shape": [-1, *width]} for name, kind, width in _outputs(model.signature)
    ]
    return {
        "name": model.model,
        "versions": list(versions),
        "platform": "onnxruntime_onnx",
        "inputs": inputs,
        "outputs": outputs,
    }


def _outputs(signature: Signature) -> list[tuple[str, str, list[int]]]:
    if signature.classes is None:
        return [("prediction", "FP64", [])]
    kinds = {type(each) for each in signature.classes}
    kind = _CLASS_TYPES.get(kinds.pop(), "BYTES") if len(kinds) == 1 else "BYTES"
    return [("label", kind, []), ("probabilities", "FP64", [len(signature.classes)])]


def read_inference(model: ServedModel, body: bytes | bytearray, headers: Mapping[bytes, bytes]) -> Question:
    """Read the body of ``infer``."""
    length = headers.get(_LENGTH)
    if length is not None and (not length.isdigit() or len(length) > 19 or int(length) > len(body)):
        raise RejectedError(
            400,
            f"Inference-Header-Content-Length: found {length.decode('latin-1')[:20]}; expected the"
            f" length of the JSON, at most {len(body)}",
        )
    end = len(body) if length is None else int(length)
    request = parse(body[:end])
    if not isinstance(request, dict) or not isinstance(request.get("inputs"), list):
        raise rejected([Fault(describe(request), 'an object with an array of tensors under "inputs"')])
    columns = _columns(model.signature, request["inputs"], memoryview(body)[end:])
    wanted = _wanted(model.signature, request)
    given = request.get("id")
    answer = partial(_answer, request_id=given if isinstance(given, str) else None, wanted=wanted)
    return Question(answer, rows=read_columns(model.reader, columns))


def _columns(signature: Signature, tensors: Sequence[Any], binary: memoryview) -> dict[str, Column]:
    columns: dict[str, Column] = {}
    start, names = 0, [each.name for each in signature.inputs]
    for tensor in tensors:
        name, shape, values, start = read_tensor(tensor, binary, start)
        if name in columns:
            raise rejected([Fault("the same input twice", "each once", column=shorten(name))])
        width = shape[1] if len(shape) == 2 else 1
        if len(tensors) == 1 and width == len(names) and (width > 1 or name not in names):
            return {column: values[position::width] for position, column in enumerate(names)}
        if width != 1:
            expected = f"the shape [rows], or one tensor with all {len(names)} columns"
            raise rejected([Fault(f"the shape {list(shape)}", expected, column=shorten(name))])
        columns[name] = values
    return columns


def _wanted(signature: Signature, request: Mapping[str, Any]) -> dict[str, bool]:
    """Read which outputs are asked for, by default all, and whether in binary."""
    known = [name for name, _, _ in _outputs(signature)]
    binary = _flag(request.get("parameters"), "binary_data_output")
    asked = request.get("outputs") or []
    if not isinstance(asked, list):
        raise rejected([Fault(f"'outputs' is {describe(asked)}", "an array of objects with a 'name'")])
    wanted: dict[str, bool] = {}
    for each in asked:
        name = each.get("name") if isinstance(each, dict) else None
        if name not in known:
            raise rejected([Fault(f"the output {describe(name)}", f"one of {', '.join(known)}")])
        own = each.get("parameters")
        wanted[name] = _flag(own, "binary_data") if isinstance(own, dict) and "binary_data" in own else binary
    return wanted or dict.fromkeys(known, binary)


def _flag(parameters: Any, name: str) -> bool:
    return isinstance(parameters, dict) and parameters.get(name) is True


def _answer(scores: Scores, request_id: str | None, wanted: Mapping[str, bool]) -> Reply:
    outputs, blobs = [], []
    for name, kind, width in _outputs(scores.model.signature):
        if name not in wanted:
            continue
        values = _values(scores, name, kind, width)
        output: dict[str, Any] = {"name": name, "datatype": kind, "shape": [len(scores.outputs), *width]}
        parameters: dict[str, Any] = {"classes": scores.model.class_list} if width else {}
        if wanted[name]:
            blobs.append(write_binary(values, kind))
            parameters["binary_data_size"] = len(blobs[-1])
        if parameters:
            output["parameters"] = parameters
        if not wanted[name]:
            output["data"] = np.asarray(values).ravel().tolist() if width else list(values)
        outputs.append(output)
    body = encode(
        {
            "model_name": scores.model.model,
            "model_version": scores.model.version,
            "id": request_id or scores.prediction_id,
            "outputs": outputs,
            "parameters": {"prediction_id": scores.prediction_id},
        }
    )
    if not blobs:
        return Reply(200, body)
    headers = ((_LENGTH, b"%d" % len(body)),)
    return Reply(200, b"".join([body, *blobs]), headers, content_type=b"application/octet-stream")


def _values(scores: Scores, name: str, kind: str, width: Sequence[int]) -> Any:
    if name == "probabilities":
        given = scores.predictions.probabilities
        if given is None or not scores.outputs:
            return np.full((len(scores.outputs), *width), np.nan) if scores.outputs else np.empty((0, *width))
        return np.asarray(given, dtype=np.float64)
    return [str(each) for each in scores.outputs] if kind == "BYTES" else scores.outputs
