"""The spec as a JSON Schema (draft 2020-12) for editors, which then complete, describe and check while one types."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, get_args

from pipeline.model.columns import ColumnType
from pipeline.spec.catalogue.metrics import METRICS
from pipeline.spec.catalogue.parameters import FILE, IMAGE, MODULE, VERSION, parameters_of, set_elsewhere
from pipeline.spec.catalogue.trainers import TRAINERS, trainer_names
from pipeline.spec.schema.spec import Spec

Schema = dict[str, Any]


def json_schema() -> Schema:
    """Build the schema of a spec.

    It accepts every form that loading does: shorthands, and names in any case. What one key says about another is
    left to ``modelrail check``, except for the parameters of each trainer.
    """
    schema: Schema = _without_titles(Spec.model_json_schema())
    parts = schema["$defs"]
    _allow_shorthands(parts)
    _name_choices(parts)
    parts["Model"]["allOf"] = [_rule_of_params(trainer) for trainer in TRAINERS]
    kinds = parts["Transformer"]["properties"]["kind"]["enum"]
    schema["properties"]["transform"]["additionalProperties"] = {
        "anyOf": [{"enum": kinds}, {"$ref": "#/$defs/Transformer"}]
    }
    for section in schema["properties"].values():
        if "$ref" in section:
            section.pop("default", None)
            section["description"] = parts[section["$ref"].rsplit("/", 1)[-1]]["description"]
    schema["properties"]["version"] = {"const": 1, "default": 1, "description": "Version of this format."}
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Modelrail's spec of a model"}
    return head | schema


def _without_titles(schema: Any) -> Any:
    """Leave out the titles that pydantic makes of the keys' names; a property called `title` stays."""
    if isinstance(schema, list):
        return [_without_titles(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: _without_titles(value) for key, value in schema.items() if key != "title" or not isinstance(value, str)
    }


def _allow_shorthands(parts: Schema) -> None:
    data, clean, split = (parts[name]["properties"] for name in ("Data", "Clean", "Split"))
    data["columns"]["additionalProperties"] = {
        "anyOf": [{"enum": list(get_args(ColumnType))}, {"$ref": "#/$defs/Column"}]
    }
    # A text may be a fill or a constant, so the fills are only offered.
    fills = parts["Missing"]["properties"]["fill"]["enum"]
    words = [fill for fill in fills if fill != "constant"]
    scalar = {"type": ["string", "number", "boolean"]}
    clean["missing"]["additionalProperties"] = {"anyOf": [{"enum": words}, scalar, {"$ref": "#/$defs/Missing"}]}
    deeds = parts["Action"]["properties"]["do"]["enum"]
    actions = parts["Monitoring"]["properties"]["actions"]
    actions["additionalProperties"] = {"anyOf": [{"enum": deeds}, {"$ref": "#/$defs/Action"}]}
    duplicates = {"anyOf": [{"enum": ["keep", "drop"]}, {"$ref": "#/$defs/Duplicates"}]}
    clean["duplicates"] = _described(clean["duplicates"], duplicates)
    for key in ("validation_from", "test_from"):
        moment = {"anyOf": [{"type": "string", "pattern": r"^\d{4}-?\d{2}-?\d{2}"}, {"type": "null"}]}
        split[key] = _described(split[key], moment)
    for placed in parts["Run"]["properties"].values():
        if placed.get("$ref", "").endswith("/Placement"):
            placed["anyOf"] = [{"enum": ["process", "pod"]}, {"$ref": placed.pop("$ref")}]


def _described(old: Schema, new: Schema) -> Schema:
    """Replace a property's type, and keep what is said about it."""
    return {key: old[key] for key in ("default", "description") if key in old} | new


def _name_choices(parts: Schema) -> None:
    model, environment = parts["Model"]["properties"], parts["Environment"]["properties"]
    trainers = [{"enum": list(TRAINERS)}, {"pattern": _any_spelling(trainer_names()), "type": "string"}]
    model["trainer"] = _described(model["trainer"], {"anyOf": [*trainers, {"type": "null"}]})
    platforms = environment["platform"]["enum"]
    forms = [{"enum": platforms}, {"pattern": _any_case(platforms), "type": "string"}]
    environment["platform"] = _described(environment["platform"], {"anyOf": forms})
    metric = {"enum": list(METRICS)}
    evaluate = parts["Evaluate"]["properties"]
    evaluate["metrics"]["items"] = metric
    evaluate["gate"]["propertyNames"] = metric
    parts["Monitoring"]["properties"]["metrics"]["items"] = {"enum": [*METRICS, "loss"]}
    search = parts["Search"]["properties"]
    search["metric"] = _described(search["metric"], {"anyOf": [metric, {"type": "null"}]})


def _any_case(names: Iterable[str]) -> str:
    """Write a regular expression for names in any case, which JSON Schema has no flag for."""
    return f"^({'|'.join(''.join(map(_letter, name)) for name in names)})$"


def _any_spelling(names: Iterable[str]) -> str:
    """Write a regular expression for names in any case, with ``_``, ``-`` and spaces wherever."""
    spellings = ("[_ -]*".join(map(_letter, name)) for name in names)
    return f"^[_ -]*({'|'.join(spellings)})[_ -]*$"


def _letter(letter: str) -> str:
    return f"[{letter.lower()}{letter.upper()}]" if letter.isalpha() else re.escape(letter)


def _rule_of_params(trainer: str) -> Schema:
    """Say which parameters a trainer takes, where the spec names it."""
    names = [name for name, (key, _) in trainer_names().items() if key == trainer]
    params = {"properties": dict(_params(trainer)), "additionalProperties": False}
    return {
        "if": {"properties": {"trainer": {"type": "string", "pattern": _any_spelling(names)}}, "required": ["trainer"]},
        "then": {"properties": {"params": params}},
    }


def _params(trainer: str) -> Iterable[tuple[str, Schema]]:
    per_task = [parameters_of(trainer, task) for task in sorted(TRAINERS[trainer].tasks)]
    elsewhere = set_elsewhere(trainer)
    for name in dict.fromkeys(name for params in per_task for name in params):
        if name in elsewhere:
            continue
        known = [params[name] for params in per_task if name in params]
        forms = [_form(rule) for param in known for rule in param["accepts"]]
        unique = [form for i, form in enumerate(forms) if form not in forms[:i]]
        yield name, {"anyOf": unique, "default": known[0]["default"]}


def _form(rule: Mapping[str, Any]) -> Schema:
    """Translate one rule of ``trainers.json``."""
    kind = rule["kind"]
    if kind == "option":
        return {"enum": rule["values"]}
    if kind in _TEXTS:
        return {"type": "string", "pattern": f"^{_TEXTS[kind]}$"}
    if kind == "files":
        return {"type": "array", "items": {"type": "string", "pattern": f"^{FILE}$"}}
    if kind == "words":
        return {"type": "array", "minItems": 1, "items": {"type": "string", "minLength": 1}}
    if kind == "sizes":
        return {"type": "array", "items": {"type": "integer", "minimum": 1}}
    if kind in _SIMPLE:
        return {"type": _SIMPLE[kind]}
    closed = rule["closed"]
    low = "minimum" if closed in {"left", "both"} else "exclusiveMinimum"
    high = "maximum" if closed in {"right", "both"} else "exclusiveMaximum"
    bounds = {low: rule["low"], high: rule["high"]}
    return {"type": kind} | {key: bound for key, bound in bounds.items() if bound is not None}


_TEXTS: Mapping[str, str] = {"file": FILE, "image": IMAGE, "module": MODULE, "version": VERSION}
_SIMPLE: Mapping[str, str] = {"none": "null", "boolean": "boolean", "list": "array", "mapping": "object"}
