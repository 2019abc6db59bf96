"""Companion files: files that a trainer's parameters name. They lie next to the spec and are part of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.messages import quote
from pipeline.spec.catalogue.parameters import parameters_of
from pipeline.spec.catalogue.trainers import TRAINERS
from pipeline.spec.findings import Finding, KeyPath
from pipeline.spec.own_networks import find_mistakes
from pipeline.spec.requirement_files import find_unpinned
from pipeline.spec.schema.spec import Spec

_KINDS = frozenset({"file", "files", "module"})
EXCHANGED = frozenset(
    {
        *("train.parquet", "validation.parquet", "job.json"),
        *("model.onnx", "metrics.json", "losses.jsonl", "predictions.parquet"),
    }
)
"""Files that a command is given in its folder, or leaves there."""
_EXPECTED = {"module": "a Python file in the spec's folder"}


@dataclass(frozen=True)
class CompanionFile:
    """A file that a parameter names.

    Attributes
    ----------
    path : tuple
        Place in the spec, from the parameter's name on.
    kind : str
        How the parameter names it: ``file``, ``files`` or ``module``.
    """

    path: KeyPath
    name: str
    kind: str


def files_of(spec: Spec) -> list[str]:
    """List the paths of the files that a spec names, from its own folder."""
    return [each.name for each in _files(spec)]


def digests_of(spec: Spec) -> dict[str, str]:
    """Return the SHA-256 of each file that a spec names, as `pin_files` has read it."""
    return {each.name: _digest_of(spec.model.params[str(each.path[0])], each) for each in _files(spec)}


def _digest_of(pinned: Any, each: CompanionFile) -> str:
    value = pinned[each.path[1]] if each.kind == "files" else pinned
    return value.get("sha256") or hashlib.sha256(value["source"].encode()).hexdigest()


def _files(spec: Spec) -> Iterator[CompanionFile]:
    for parameter, kind in naming_parameters(spec).items():
        if parameter == "requirements" and own_image(spec):
            continue
        value = spec.model.params.get(parameter, _parameters(spec)[parameter]["default"])
        if kind == "files":
            yield from (CompanionFile((parameter, place), _name(each), kind) for place, each in enumerate(value))
        elif value is not None:
            yield CompanionFile((parameter,), _name(value), kind)


def own_image(spec: Spec) -> str | None:
    """Find the image that a command trains in; None if it trains in a virtual environment, or there is no command."""
    image = spec.model.params.get("image") if spec.model.trainer == "container" else None
    return image if isinstance(image, str) else None


def naming_parameters(spec: Spec) -> dict[str, str]:
    """List the parameters that name files, and how each does."""
    found = {}
    for name, rules in _parameters(spec).items():
        if kinds := {rule["kind"] for rule in rules["accepts"]} & _KINDS:
            found[name] = kinds.pop()
    return found


def _parameters(spec: Spec) -> Mapping[str, Mapping[str, Any]]:
    """Read the parameters of the spec's trainer; those that name files are the same for all of its tasks."""
    trainer = str(spec.model.trainer)
    return parameters_of(trainer, min(TRAINERS[trainer].tasks)) if trainer in TRAINERS else {}


def _name(value: Any) -> str:
    return str(value["file"] if isinstance(value, dict) else value)


def pin_files(spec: Spec, folder: Path) -> tuple[dict[str, Any], list[Finding]]:
    """Add each file's digest (or a module's text) to the parameters; return them, and what is wrong.

    Parameters
    ----------
    folder : Path
        The spec's.
    """
    pinned: dict[str, Any] = {}
    findings: list[Finding] = []
    for each in _files(spec):
        try:
            value = _pin(each, folder)
        except (OSError, UnicodeDecodeError) as error:
            found = f"{quote(each.name)}, which cannot be read beside the spec ({error.__class__.__name__})"
            expected = _EXPECTED.get(each.kind, "a file in the spec's folder")
            findings.append(Finding(("model", "params", *each.path), found, expected))
            continue
        if each.path == ("requirements",):
            findings += _check_requirements(each, folder)
        if each.kind == "module":
            findings += _check_network(spec, value)
        parameter = str(each.path[0])
        pinned[parameter] = [*pinned.get(parameter, []), value] if each.kind == "files" else value
    return {**spec.model.params, **pinned}, findings


def _pin(each: CompanionFile, folder: Path) -> dict[str, str]:
    content = (folder / each.name).read_bytes()
    if each.kind == "module":
        return {"file": each.name, "source": content.decode("utf-8")}
    return {"file": each.name, "sha256": hashlib.sha256(content).hexdigest()}


def _check_network(spec: Spec, module: Mapping[str, str]) -> Iterator[Finding]:
    arguments = spec.model.params.get("arguments")
    given = arguments if isinstance(arguments, dict) else {}
    for parameter, found, expected in find_mistakes(module["file"], module["source"], given):
        yield Finding(("model", "params", parameter), found, expected)


def _check_requirements(each: CompanionFile, folder: Path) -> Iterator[Finding]:
    unpinned = find_unpinned((folder / each.name).read_text("utf-8", "replace"))
    if unpinned:
        yield Finding(
            ("model", "params", *each.path),
            f"{quote(each.name)} with the line {quote(unpinned[0])}",
            "each line pinned and hashed, as 'uv pip compile --generate-hashes' writes them",
        )
