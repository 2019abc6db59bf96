"""What differs between an object on a cluster and what it should be; pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Object = Mapping[str, Any]

_OURS = ("labels", "annotations")
_DECIDING = ("f:spec", "f:data")
"""What of an object decides how it works, as the server writes it where it says who owns what."""


@dataclass(frozen=True)
class Difference:
    """One value that is not what it should be.

    Attributes
    ----------
    where : str
        The object, such as ``Deployment/flight-delay``.
    path : str
        Such as ``spec.replicas``.
    found, expected
        None where there is none.
    who : str
        Who has set what nobody asked for, where the server knows.
    """

    where: str
    path: str
    found: Any
    expected: Any
    who: str = ""

    def __str__(self) -> str:
        by = f" (set by {self.who})" if self.who else ""
        where = f"{self.where}: {self.path}" if self.path else self.where
        return f"{where}: found {_say(self.found)}{by}; expected {_say(self.expected)}"


def compare(found: Object | None, applied: Object, manager: str) -> list[Difference]:
    """Compare an object as it is with what the server says it would be.

    Parameters
    ----------
    found : mapping or None
        None if it is not there.
    applied : mapping
        The answer to applying it, perhaps in a dry run.
    manager : str
        Our own name as the owner of fields.
    """
    where = f"{applied['kind']}/{applied['metadata']['name']}"
    if found is None:
        return [Difference(where, "", None, "a new object")]
    now, then = flatten(_deciding(found)), flatten(_deciding(applied))
    paths = [path for path in {**now, **then} if now.get(path) != then.get(path)]
    changed = [Difference(where, path, now.get(path), then.get(path)) for path in paths]
    return [*changed, *(Difference(where, path, "a value", None, who) for path, who in strangers(applied, manager))]


def strangers(found: Object, manager: str) -> Iterator[tuple[str, str]]:
    """Yield the fields that somebody else has set, with who and when; an autoscaler's number of pods is left out."""
    for entry in _foreign(found, manager):
        fields = {key: entry["fieldsV1"][key] for key in _DECIDING if key in entry["fieldsV1"]}
        for path in flatten(_readable(fields)):
            yield path, f"{entry['manager']}, {entry.get('time', 'some day')}"


def adopt(found: Object, manager: str) -> list[dict[str, Any]] | None:
    """Take ownership of what others have set, so that applying without it removes it.

    Returns
    -------
    list or None
        The object's new ``metadata.managedFields``; None if there is nothing to adopt.
    """
    foreign = list(_foreign(found, manager))
    if not foreign:
        return None
    kept, ours = [], None
    for entry in found["metadata"]["managedFields"]:
        fields = entry["fieldsV1"]
        if entry in foreign:
            fields = {key: value for key, value in fields.items() if key not in _DECIDING}
        if entry["manager"] == manager and entry["operation"] == "Apply":
            ours = entry
        elif fields:
            kept.append({**entry, "fieldsV1": fields})
    union: Object = ours["fieldsV1"] if ours else {}
    for entry in foreign:
        union = _merge(union, {key: entry["fieldsV1"][key] for key in _DECIDING if key in entry["fieldsV1"]})
    named = ours or {"operation": "Apply", "apiVersion": found["apiVersion"], "fieldsType": "FieldsV1"}
    return [*kept, {**named, "manager": manager, "fieldsV1": union}]


def flatten(value: Any, path: str = "") -> dict[str, Any]:
    """List every leaf by its path; an item of a list that has a name is identified by it."""
    if isinstance(value, Mapping) and value:
        parts = [(f"{path}.{key}" if path else str(key), each) for key, each in value.items()]
    elif isinstance(value, list) and value:
        parts = [(f"{path}[{_name(each, n)}]", each) for n, each in enumerate(value)]
    else:
        return {path: value}
    return {key: leaf for inner, each in parts for key, leaf in flatten(each, inner).items()}


def _name(item: Any, position: int) -> Any:
    return item.get("name", position) if isinstance(item, Mapping) else position


def _deciding(value: Object) -> dict[str, Any]:
    """Leave out what the server keeps for itself."""
    rest = {key: each for key, each in value.items() if key not in {"metadata", "status", "apiVersion", "kind"}}
    metadata = value["metadata"]
    return {**rest, "metadata": {key: metadata[key] for key in _OURS if key in metadata}}


def _foreign(found: Object, manager: str) -> Iterator[Any]:
    for entry in found["metadata"].get("managedFields", ()):
        ours = entry["manager"] == manager and entry["operation"] == "Apply"
        if not ours and "subresource" not in entry and any(key in entry["fieldsV1"] for key in _DECIDING):
            yield entry


def _readable(fields: Object) -> dict[str, Any]:
    """Turn the server's marks (``f:spec``, ``k:{"name":"server"}``) into a path's parts."""
    return {_part(key): _readable(each) for key, each in fields.items() if key != "."}


def _part(key: str) -> str:
    kind, _, rest = key.partition(":")
    if kind == "f":
        return rest
    value = json.loads(rest)
    return ",".join(map(str, value.values())) if isinstance(value, Mapping) else str(value)


def _merge(one: Object, other: Object) -> dict[str, Any]:
    return {**one, **{key: _merge(one.get(key, {}), each) for key, each in other.items()}}


def _say(value: Any) -> str:
    return "nothing" if value is None else str(value)
