"""Recipes: all that decides what a step makes, and the key that is its hash.

A recipe is the step's code and libraries, its part of the spec, and the digests of its inputs' content.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pipeline.spec.schema import Spec

Settings = dict[str, Any]


@dataclass(frozen=True)
class Step:
    """What the key of a step is made of, besides its inputs.

    Attributes
    ----------
    code : tuple of str
        Modules and packages below ``pipeline/`` that decide the result.
    libraries : tuple of str
        Distributions that decide it.
    settings : callable
        Spec → the values that decide it, by their dotted path.
    """

    code: tuple[str, ...]
    libraries: tuple[str, ...]
    settings: Callable[[Spec], Settings]


@dataclass(frozen=True)
class Method:
    """How a step works, whatever its inputs: its code, its libraries and its part of the spec."""

    step: str
    code: str
    libraries: Mapping[str, str]
    settings: Settings

    @cached_property
    def digest(self) -> str:
        """Hash of the method."""
        return digest_of([self.step, self.code, self.libraries, self.settings])


@dataclass(frozen=True)
class Recipe:
    """All that decides what a step makes: its method, and the digests of its inputs."""

    method: Method
    inputs: Mapping[str, str]

    @property
    def key(self) -> str:
        """Hash of the recipe: the artifact's address."""
        return digest_of([self.method.digest, self.inputs])

    def to_json(self) -> dict[str, Any]:
        """Give the form that an artifact's manifest keeps."""
        method = self.method
        return {
            "code": method.code,
            "libraries": method.libraries,
            "settings": {path: digest_of(value)[:16] for path, value in method.settings.items()},
            "inputs": self.inputs,
        }


def _pick(paths: str) -> Callable[[Spec], Settings]:
    def settings(spec: Spec) -> Settings:
        return {path: _value(spec, path) for path in paths.split()}

    return settings


def _value(spec: Spec, path: str) -> Any:
    value: Any = spec
    for name in path.split("."):
        value = getattr(value, name)
    return _plain(value)


def _plain(value: Any) -> Any:
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


def _clean_settings(spec: Spec) -> Settings:
    """Leave out the rules that the model's graph applies: changing them must not read the data anew."""
    missing = {
        column: _plain(rule)
        for column, rule in spec.clean.missing.items()
        if rule.fill in ("drop", "interpolate", "forward_fill")
    }
    outliers = {
        column: _plain(rule)
        for column, rule in spec.clean.outliers.items()
        if (rule.by, rule.action) == ("range", "drop")
    }
    read = _pick(
        "data.format data.encoding data.delimiter data.columns data.extra_columns "
        "data.max_quarantined data.key clean.duplicates clean.text clean.sample"
    )
    return read(spec) | {"clean.missing": missing, "clean.outliers": outliers}


STEPS: Mapping[str, Step] = {
    "clean": Step(
        ("frames.py", "text.py", "reading", "reading.py", "cleaning", "splitting.py"),
        ("numpy", "pandas", "pyarrow", "pandera"),
        _clean_settings,
    ),
    "transform": Step(
        ("frames.py", "spec/expressions.py", "graphs.py", "splitting.py", "transformation"),
        ("datasketches", "numpy", "onnxruntime"),
        _pick("model.target data.derive data.key features transform normalize split clean.missing clean.outliers"),
    ),
    "normalize": Step(
        ("frames.py", "graphs.py", "normalization"),
        ("datasketches", "numpy", "onnxruntime"),
        _pick("clean.duplicates clean.missing clean.outliers transform normalize"),
    ),
    "train": Step(
        ("graphs.py", "signature.py", "spec/catalogue.py", "training"),
        ("onnxruntime", "scikit-learn", "skl2onnx"),
        _pick(
            "model.trainer model.name model.params model.target model.task model.class_weight "
            "model.early_stopping model.search model.seed evaluate.metrics"
        ),
    ),
    "evaluate": Step(
        ("spec/catalogue.py", "evaluation"),
        ("matplotlib", "numpy", "onnxruntime"),
        _pick("evaluate.metrics evaluate.slices evaluate.bootstrap model.name model.task model.seed"),
    ),
}


def method_of(step: str, spec: Spec) -> Method:
    """Gather all that decides how a step works."""
    what = STEPS[step]
    return Method(step, _code_digest(what.code), {name: version(name) for name in what.libraries}, what.settings(spec))


def method_digest(spec: Spec) -> str:
    """Hash the spec's and the code's part in a model, without the data's."""
    return digest_of([method_of(step, spec).digest for step in ("clean", "transform", "normalize", "train")])


def digest_of(value: Any) -> str:
    """Hash a JSON-able value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


@cache
def _code_digest(places: tuple[str, ...]) -> str:
    root = Path(__file__).parent
    found = (root / place for place in places)
    files = [file for each in found for file in (sorted(each.rglob("*.py")) if each.is_dir() else [each])]
    content = ((file.relative_to(root).as_posix(), file.read_bytes()) for file in files)
    return digest_of([[name, hashlib.sha256(data).hexdigest()] for name, data in content])[:16]
