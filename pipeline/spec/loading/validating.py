"""From plain data to a `Spec`; every mistake of form becomes one finding in plain words."""

from __future__ import annotations

import re
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from pipeline.messages import closest, count, describe, join, quote, suggest
from pipeline.spec.findings import Finding, KeyPath
from pipeline.spec.schema.section import Section
from pipeline.spec.schema.spec import Spec


def validate(data: Mapping[str, Any]) -> tuple[Spec | None, list[Finding]]:
    """Read a spec from plain data.

    Returns
    -------
    spec : Spec or None
        None if there are findings.
    findings : list of Finding
        Every mistake of form: keys, types, ranges. What keys say about each other is checked in ``checking``.
    """
    try:
        return Spec.model_validate(data), []
    except ValidationError as error:
        details = error.errors(include_url=False)
    return None, [*_explain_all(details, data)]


def _explain_all(details: Iterable[ErrorDetails], data: Mapping[str, Any]) -> Iterator[Finding]:
    chosen = _choose_branches(details, data)
    for path, group in groupby(sorted(chosen, key=lambda each: _sortable(each[0])), key=lambda each: each[0]):
        errors = [error for _, error in group]
        of_keys = [error for error in errors if error["type"] in _OF_KEYS]
        yield from (_OF_KEYS[error["type"]](path, error) for error in of_keys)
        of_value = [error for error in errors if error["type"] not in _OF_KEYS]
        if of_value:
            yield _explain_value(path, of_value, data)


def _sortable(path: KeyPath) -> tuple[tuple[bool, int, str], ...]:
    return tuple((isinstance(part, str), part if isinstance(part, int) else 0, str(part)) for part in path)


def _choose_branches(details: Iterable[ErrorDetails], data: Mapping[str, Any]) -> list[tuple[KeyPath, ErrorDetails]]:
    """Keep, where a value may have several forms, only the errors of the form that was meant.

    Pydantic reports each form of a union, with the form's name in the location. An error inside a form means that
    the value has that shape; then the errors about the other shapes say nothing.
    """
    located = [(*_locate(error["loc"], data), error) for error in details]
    inside = {
        fork for fork, path, error in located if fork is not None and (path != fork or error["type"] == "missing")
    }
    return [
        (path, error)
        for fork, path, error in located
        if fork not in inside or path != fork or error["type"] == "missing"
    ]


def _locate(loc: Sequence[str | int], data: Any) -> tuple[KeyPath | None, KeyPath]:
    """Find where a location lies in the data: the first place where it leaves them, and the deepest that exists."""
    path: KeyPath = ()
    fork: KeyPath | None = None
    for part in loc:
        exists = part in data if isinstance(data, Mapping) else isinstance(data, list) and _is_index(part, data)
        if exists:
            path, data = (*path, part), data[part]
        elif fork is None:
            fork = path
    return fork, path


def _is_index(part: str | int, items: list[Any]) -> bool:
    return isinstance(part, int) and part < len(items)


def _explain_extra(path: KeyPath, error: ErrorDetails) -> Finding:
    *parent, key = path
    names = _keys_at(tuple(parent))
    expected = suggest(key, names, f"one of {', '.join(names)}")
    if closest(key, names) is None and (home := _home_of(str(key), error["input"])):
        expected = f"it under {quote(home)}"
    return Finding(path, f"the unknown key {quote(str(key))}", expected, at="key")


def _explain_missing(path: KeyPath, error: ErrorDetails) -> Finding:
    key = error["loc"][-1]
    if isinstance(key, int):
        return Finding(path, describe(error["input"]), "a list of 2")
    description = next((field.description for name, field in _fields_at(path) if name == key), None) or ""
    return Finding(path, f"no key {quote(key)}", f"it: {_first_sentence(description)}", at="key")


def _first_sentence(description: str) -> str:
    sentence = re.split(r"\. |;", description, maxsplit=1)[0].rstrip(".")
    return sentence[:1].lower() + sentence[1:]


_OF_KEYS: Mapping[str, Callable[[KeyPath, ErrorDetails], Finding]] = {
    "extra_forbidden": _explain_extra,
    "missing": _explain_missing,
}


def _explain_value(path: KeyPath, errors: Sequence[ErrorDetails], data: Any) -> Finding:
    value = data
    for part in path:
        value = value[part]
    choices = [choice for error in errors for choice in _choices(path, error)]
    forms = dict.fromkeys(form for error in errors if (form := _form(path, error)))
    scalars = [form for form in _SCALARS if form in forms and not (form == "a whole number" and "a number" in forms)]
    others = [form for form in forms if form not in _SCALARS]
    words = [*map(quote, choices), *scalars, *others]
    expected = suggest(value, choices, join(words)) if choices else join(words)
    return Finding(path, describe(value), expected)


_SCALARS = ("a number", "a whole number", "a text", "true or false")


def _choices(path: KeyPath, error: ErrorDetails) -> list[str]:
    if error["type"] != "literal_error":
        return []
    # `drop` is short for a mapping of defaults, so the schema's types don't show it.
    extra = ["drop"] if path == ("clean", "duplicates") else []
    quoted = error["ctx"]["expected"].replace(" or ", ", ").split(", ")
    return [*(word.strip("'") for word in quoted), *extra]


def _form(path: KeyPath, error: ErrorDetails) -> str | None:
    """Say what one error expects of the value's form; None for a choice of words."""
    kind, context = error["type"], error.get("ctx", {})
    if kind == "literal_error":
        return None
    if path == ("version",):
        return "1, the only version that this Modelrail reads"
    if path == ("model", "name") and kind == "string_pattern_mismatch":
        return "a letter, then at most 62 letters, digits, '_' or '-'"
    if path[0] == "split" and kind in _OF_EXTENTS:
        return _OF_EXTENTS[kind]
    if kind == "model_type":
        return f"a mapping with keys of {join(_keys_of_class(context['class_name']), 'and')}"
    return _FORMS[kind](context)


_OF_EXTENTS: Mapping[str, str | None] = {
    "string_type": None,  # a number out of bounds is one that is no text either
    "string_pattern_mismatch": "a share such as 20%, or a span of time such as 2 months",
}


def _bounded(words: str, key: str) -> Callable[[Mapping[str, Any]], str]:
    return lambda context: f"{words} {context[key]:g}"


_FORMS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "bool_type": lambda _: "true or false",
    "int_type": lambda _: "a whole number",
    "float_type": lambda _: "a number",
    "string_type": lambda _: "a text",
    "dict_type": lambda _: "a mapping",
    "list_type": lambda _: "a list, in square brackets",
    "tuple_type": lambda _: "a list of 2",
    "datetime_type": lambda _: "a time in ISO 8601, such as 2013-10-01 or 2013-10-01T12:00:00Z",
    "value_error": lambda _: "a time in ISO 8601, such as 2013-10-01 or 2013-10-01T12:00:00Z",
    "greater_than": _bounded("a number above", "gt"),
    "greater_than_equal": _bounded("a number of at least", "ge"),
    "less_than": _bounded("a number below", "lt"),
    "less_than_equal": _bounded("a number of at most", "le"),
    "too_short": lambda context: f"at least {count(context['min_length'], 'entry')}",
    "too_long": lambda context: f"a list of {context['max_length']}",
    "string_pattern_mismatch": lambda context: f"a text of the form {context['pattern']}",
    "string_too_short": lambda _: "one character",
    "string_too_long": lambda _: "one character",
}


def _keys_of_class(name: str) -> list[str]:
    return next(list(each.model_fields) for each in _all_sections(Spec) if each.__name__ == name)


def _all_sections(section: type[Section]) -> Iterator[type[Section]]:
    yield section
    for field in section.model_fields.values():
        for inner in _sections_in(field.annotation):
            yield from _all_sections(inner)


def _home_of(key: str, value: Any) -> str | None:
    """Find the section of the spec that has a key that was written elsewhere."""
    homes = [
        f"{name}.{key}"
        for name, field in Spec.model_fields.items()
        for inner in _sections_in(field.annotation)
        if key in inner.model_fields
    ]
    return homes[0] if len(homes) == 1 and not isinstance(value, Mapping) else None


def _keys_at(path: KeyPath) -> list[str]:
    return list(dict.fromkeys(name for name, _ in _fields_at(path)))


def _fields_at(path: KeyPath) -> list[tuple[str, FieldInfo]]:
    """List the keys that the schema knows at a path."""
    annotations: list[Any] = [Spec]
    for part in path:
        annotations = [inner for each in annotations for inner in _step(each, part)]
    return [pair for each in annotations for section in _sections_in(each) for pair in section.model_fields.items()]


def _step(annotation: Any, part: str | int) -> Iterator[Any]:
    """Go one key or index deeper into a type."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if isinstance(annotation, type) and issubclass(annotation, Section):
        if part in annotation.model_fields:
            yield annotation.model_fields[str(part)].annotation
    elif origin is dict:
        yield arguments[1]
    elif origin is list:
        yield arguments[0]
    elif origin in _TRANSPARENT:
        for each in arguments:
            yield from _step(each, part)


_TRANSPARENT = (Union, types.UnionType, Annotated)


def _sections_in(annotation: Any) -> Iterator[type[Section]]:
    if isinstance(annotation, type) and not get_args(annotation):
        if issubclass(annotation, Section):
            yield annotation
    elif get_origin(annotation) is not Literal:
        for each in get_args(annotation):
            yield from _sections_in(each)
