"""The interface in OpenAPI 3.1, with the schemas of the models that are served."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pipeline.model.signature import Input, Signature
from pipeline.serving.http.truths import MOST
from pipeline.serving.inference.fleet import Fleet
from pipeline.serving.rows.records import LARGEST_INTEGER

_VALUES: Mapping[str, dict[str, Any]] = {
    "float": {"type": "number"},
    "int": {"type": "integer", "minimum": -LARGEST_INTEGER, "maximum": LARGEST_INTEGER},
    "bool": {"type": "boolean"},
    "str": {"type": "string"},
    "datetime": {"type": "string"},
    "image": {"type": "string", "contentEncoding": "base64"},
}
_REFUSALS: Mapping[str, str] = {
    "400": "The body is malformed.",
    "401": "No credentials, or unknown ones.",
    "404": "No such model or version.",
    "405": "Another method; `Allow` names those that are answered.",
    "408": "The body did not arrive in time.",
    "413": "The body is too large.",
    "415": "The body is in a format that is not read here.",
    "422": "The rows do not fit the signature: row, column, what was found and what was expected.",
    "431": "The head is longer than 64 KiB.",
    "429": "Too many requests at work; come again after `Retry-After` seconds.",
    "500": "The model itself failed; the log says why, by the id.",
    "503": "Not answered in time; come again after `Retry-After` seconds.",
}
_REFUSAL = {"$ref": "#/components/schemas/Refusal"}
_ANY: dict[str, Any] = {"type": "object"}
_BYTES = {"schema": {"type": "string", "format": "binary"}}
_TABLES = ("application/vnd.apache.arrow.stream", "application/vnd.apache.parquet")
_PREDICTED = ("x-model-version", "x-prediction-id")
_SAID: Mapping[str, tuple[str, ...]] = {
    "401": ("www-authenticate",),
    "405": ("allow",),
    "429": ("retry-after",),
    "503": ("retry-after",),
}


def openapi(fleet: Fleet) -> dict[str, Any]:
    """Describe everything that this server answers."""
    model = fleet.default.live.model
    return {
        "openapi": "3.1.0",
        "info": {
            "title": model.model,
            "version": model.version,
            "description": f"Predictions of {model.model}, a {model.signature.task} model.",
        },
        "paths": {path: item for make in _PATHS for path, item in make(fleet).items()},
        "security": [{}, {"key": []}, {"token": []}],
        "components": {
            "schemas": {"Refusal": _refusal(), "Record": _record(model.signature), "Row": _row(model.signature)},
            "securitySchemes": {
                "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
                "token": {"type": "http", "scheme": "bearer"},
            },
        },
    }


def _predictions(fleet: Fleet) -> dict[str, Any]:
    signature = fleet.default.live.model.signature
    body = {
        "type": "object",
        "required": ["inputs"],
        "additionalProperties": False,
        "properties": {"inputs": _rows(), **_flags(signature)},
    }
    example = {"inputs": [signature.example]} if signature.example else None
    answer = {
        "type": "object",
        "required": ["outputs", "model", "version", "id"],
        "properties": {
            "outputs": {"type": "array", "items": _output(signature)},
            "model": {"type": "string"},
            "version": {"type": "string"},
            "id": {"type": "string"},
            "probabilities": {"type": "array", "items": {"type": "array", "items": {"type": "number"}}},
            "classes": {"type": "array", "description": "Of each row's probabilities, in their order."},
        },
    }
    free = {"type": "object", "required": ["outputs"], "properties": {"outputs": {"type": "array"}}}
    summary = "Predict rows by one of several models."
    return {
        "/api/predict": {"post": _with_tables(_operation("predict", "Predict rows.", body, answer, example))},
        **_named(fleet, "/api", "/predict", post=_with_tables(_operation("predict_by", summary, _ANY, free))),
    }


def _truths(fleet: Fleet) -> dict[str, Any]:
    entry = {
        "type": "object",
        "required": ["id", "truth"],
        "additionalProperties": False,
        "properties": {
            "id": {"type": "string", "description": "Of the prediction."},
            "row": {"type": "integer", "minimum": 0, "description": "Of that request, from 0."},
            "truth": _output(fleet.default.live.model.signature),
        },
    }
    body = {
        "type": "object",
        "required": ["truths"],
        "additionalProperties": False,
        "properties": {"truths": {"type": "array", "maxItems": MOST, "items": entry}},
    }
    numbers = {"counted": "Now.", "repeated": "They were before."}
    outcome = {
        "type": "object",
        "required": [*numbers, "unknown"],
        "properties": {
            **{name: {"type": "integer", "description": each} for name, each in numbers.items()},
            "unknown": {
                "type": "array",
                "items": {"type": "integer"},
                "description": "Places of those whose answer is not remembered, any more or at all.",
            },
        },
    }
    statuses = ("400", "401", "404", "405", "408", "413", "415", "422", "431")
    answered = {"description": "What became of them.", **_json(outcome)}
    operation = {
        "operationId": "truth",
        "summary": "Tell what came true of rows that were answered.",
        "requestBody": {"required": True, **_json(body)},
        "responses": {"200": answered, **{status: _refused(status) for status in statuses}},
    }
    return {"/api/truth": {"post": operation}}


def _invocations(fleet: Fleet) -> dict[str, Any]:
    rows = _rows()
    split = {
        "type": "object",
        "required": ["data"],
        "properties": {
            "columns": {"type": "array", "items": {"type": "string"}},
            "index": {"description": "Not read."},
            "data": {"type": "array", "items": {"type": "array"}},
        },
    }
    forms = {"dataframe_split": split, "dataframe_records": rows, "instances": rows, "inputs": {}}
    body = {
        "type": "object",
        "properties": {**forms, "params": {}},
        "additionalProperties": False,
        "oneOf": [{"required": [name]} for name in forms],
    }
    signature = fleet.default.live.model.signature
    answer = {
        "type": "object",
        "required": ["predictions"],
        "properties": {"predictions": {"type": "array", "items": _output(signature)}},
    }
    example = {"dataframe_records": [signature.example]} if signature.example else None
    return {"/invocations": {"post": _operation("invocations", "Predict, as MLflow does.", body, answer, example)}}


def _open_inference(fleet: Fleet) -> dict[str, Any]:
    tensor = {
        "type": "object",
        "required": ["name", "shape", "datatype"],
        "properties": {
            "name": {"type": "string"},
            "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
            "datatype": {"type": "string"},
            "data": {"type": "array"},
        },
    }
    body = {
        "type": "object",
        "required": ["inputs"],
        "properties": {"id": {"type": "string"}, "inputs": {"type": "array", "items": tensor}},
    }
    answer = {
        "type": "object",
        "required": ["model_name", "outputs"],
        "properties": {"model_name": {"type": "string"}, "outputs": {"type": "array", "items": tensor}},
    }
    infer = _operation("infer", "Predict tensors, in JSON or in binary.", body, answer)
    for content in (infer["requestBody"]["content"], infer["responses"]["200"]["content"]):
        content["application/octet-stream"] = _BYTES
    return {
        "/v2": {"get": _get("The server, in the Open Inference Protocol V2.")},
        "/v2/health/live": {"get": _get("The process is alive.", is_open=True)},
        "/v2/health/ready": {"get": _get("It takes requests.", "503", is_open=True)},
        **_named(fleet, "/v2", "", get=_get("Inputs and outputs of a model.", "404")),
        **_named(fleet, "/v2", "/ready", get=_get("The model takes requests.", "404", "503")),
        **_named(fleet, "/v2", "/infer", post=infer),
    }


def _probes(_fleet: Fleet) -> dict[str, Any]:
    return {
        "/healthz": {"get": _get("The process is alive.", is_open=True)},
        "/ping": {"get": _get("The process is alive.", is_open=True)},
        "/readyz": {"get": _get("It takes requests.", "503", is_open=True)},
        "/version": {"get": _get("Which release this is, and what it was made from.")},
        "/metrics": {"get": _get("For Prometheus.", kind="text/plain")},
        "/openapi.json": {"get": _get("This document.")},
        "/docs": {"get": _get("A page to try the model.", kind="text/html", is_open=True)},
        "/": {"get": _get("What is served here.")},
    }


_PATHS: tuple[Callable[[Fleet], dict[str, Any]], ...] = (_predictions, _truths, _invocations, _open_inference, _probes)


def _named(fleet: Fleet, api: str, action: str, **operations: dict[str, Any]) -> dict[str, Any]:
    """Describe the requests to a model by its name, and to one of its versions."""
    names = list(fleet.models)
    versions = sorted({each.model.version for each in fleet.releases})
    model, version = (
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "enum": values}}
        for name, values in (("model", names), ("version", versions))
    )
    of_version = {
        method: {
            **operation,
            **({"operationId": f"{each}_of_version"} if (each := operation.get("operationId")) else {}),
        }
        for method, operation in operations.items()
    }
    return {
        f"{api}/models/{{model}}{action}": {"parameters": [model], **operations},
        f"{api}/models/{{model}}/versions/{{version}}{action}": {"parameters": [model, version], **of_version},
    }


def _with_tables(operation: dict[str, Any]) -> dict[str, Any]:
    """Let an operation take Arrow and Parquet too, and answer in Arrow."""
    operation["requestBody"]["content"] |= dict.fromkeys(_TABLES, _BYTES)
    operation["responses"]["200"]["content"] |= {_TABLES[0]: _BYTES}
    return operation


def _operation(
    name: str, summary: str, body: dict[str, Any], answer: dict[str, Any], example: Any = None
) -> dict[str, Any]:
    content: dict[str, Any] = {"schema": body} | ({"example": example} if example else {})
    answered = {"description": "Predictions.", "headers": _headers(*_PREDICTED), **_json(answer)}
    return {
        "operationId": name,
        "summary": summary,
        "requestBody": {"required": True, "content": {"application/json": content}},
        "responses": {"200": answered, **{status: _refused(status) for status in _REFUSALS}},
    }


def _get(summary: str, *refusals: str, kind: str = "application/json", is_open: bool = False) -> dict[str, Any]:
    """Describe a request without a body; an open one is answered without credentials."""
    content = _json(_ANY) if kind.endswith("json") else {"content": {kind: {"schema": {"type": "string"}}}}
    statuses = [*refusals, "405", "431", *([] if is_open else ["401"])]
    responses = {"200": {"description": "Yes.", **content}, **{status: _refused(status) for status in statuses}}
    if "503" in refusals:
        responses["503"] = {"description": "Not now: it drains.", **_json(_ANY)}
    return {"summary": summary, "responses": responses} | ({"security": [{}]} if is_open else {})


def _refused(status: str) -> dict[str, Any]:
    headers = _headers(*_SAID.get(status, ()))
    return {"description": _REFUSALS[status], **_json(_REFUSAL)} | ({"headers": headers} if headers else {})


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"content": {"application/json": {"schema": schema}}}


def _headers(*names: str) -> dict[str, Any]:
    return {name: {"required": True, "schema": {"type": "string"}} for name in names}


def _rows() -> dict[str, Any]:
    forms = [{"$ref": "#/components/schemas/Record"}, {"$ref": "#/components/schemas/Row"}]
    return {"oneOf": [{"type": "array", "items": form} for form in forms]}


def _flags(signature: Signature) -> dict[str, Any]:
    return {"probabilities": {"type": "boolean"}} if signature.task == "classification" else {}


def _record(signature: Signature) -> dict[str, Any]:
    names = [each.name for each in signature.inputs]
    properties = {each.name: _value(each) for each in signature.inputs}
    return {"type": "object", "required": names, "properties": properties, "additionalProperties": False}


def _row(signature: Signature) -> dict[str, Any]:
    count = len(signature.inputs)
    values = [_value(each) for each in signature.inputs]
    return {"type": "array", "prefixItems": values, "items": False, "minItems": count, "maxItems": count}


def _value(column: Input) -> dict[str, Any]:
    schema = dict(_VALUES[column.type])
    if column.type == "datetime":
        schema |= {"description": column.format} if column.format else {"format": "date-time"}
    if column.nullable:
        schema["type"] = [schema["type"], "null"]
    return schema


def _output(signature: Signature) -> dict[str, Any]:
    return {"type": "number"} if signature.classes is None else {"enum": list(signature.classes)}


def _refusal() -> dict[str, Any]:
    fault = {
        "type": "object",
        "required": ["found", "expected"],
        "properties": {
            "found": {"type": "string"},
            "expected": {"type": "string"},
            "row": {"type": "integer"},
            "column": {"type": "string"},
        },
    }
    return {
        "type": "object",
        "required": ["error"],
        "properties": {
            "error": {"type": "string"},
            "id": {"type": "string"},
            "problems": {"type": "array", "items": fault},
        },
    }
