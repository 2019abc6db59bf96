"""Recipes: all that decides what a step makes, and the key that is its hash.

A recipe is the step's code and libraries, its part of the spec, and the digests of its inputs' content.
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from pipeline.extras import EXTRAS
from pipeline.home import CHECKOUT
from pipeline.spec.catalogue.tasks import extras_of
from pipeline.spec.schema.spec import Spec
from pipeline.spec.shipped_programs import shipped_digests

Settings = dict[str, Any]

# What they hold reaches a recipe as values, or does not touch results.
_NEUTRAL = ("pipeline.errors", "pipeline.messages", "pipeline.home", "pipeline.spec.findings", "pipeline.spec.schema")
_IMPORT = re.compile(r"^ *(?:from|import) +(pipeline[\w.]*)(?: +import +(\([^)]*\)|.*))?", re.MULTILINE)


@dataclass(frozen=True)
class Step:
    """What the key of a step is made of, besides its inputs.

    Attributes
    ----------
    code : tuple of str
        Modules and packages below ``pipeline`` that decide the result, with all that they import from there.
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
    """How a step works, whatever its inputs: its code, its libraries and its part of the spec.

    Attributes
    ----------
    modules : dict
        Module → digest of its source; ``code`` is the hash of them all.
    """

    step: str
    code: str
    libraries: Mapping[str, str]
    settings: Settings
    modules: Mapping[str, str] = field(default_factory=dict, repr=False)

    @cached_property
    def digest(self) -> str:
        """Hash of the method."""
        return digest_of([self.step, self.code, self.libraries, self.settings])


@dataclass(frozen=True)
class Recipe:
    """All that decides what a step makes: its method, and the digests of its inputs."""

    method: Method
    inputs: Mapping[str, str]

    @cached_property
    def key(self) -> str:
        """Hash of the recipe: the artifact's address."""
        return digest_of([self.method.digest, self.inputs])

    def to_json(self) -> dict[str, Any]:
        """Return the form that an artifact's manifest keeps."""
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
        "data.format data.encoding data.delimiter data.images data.columns data.extra_columns "
        "data.max_quarantined data.key clean.duplicates clean.text clean.sample"
    )
    return read(spec) | {"clean.missing": missing, "clean.outliers": outliers}


def _normalize_settings(spec: Spec) -> Settings:
    """Count the seed only where something random is fitted."""
    read = _pick("clean.duplicates clean.missing clean.outliers transform normalize")
    drawn = any(rule.kind == "word2vec" for rule in spec.transform.values())
    return read(spec) | ({"model.seed": spec.model.seed} if drawn else {})


def _train_settings(spec: Spec) -> Settings:
    """Count the metrics only where a search chooses by them."""
    read = _pick(
        "model.trainer model.params model.target model.task model.class_weight model.early_stopping model.search "
        "model.seed clean.text data.columns data.derive"
    )
    further: Settings = {"evaluate.metrics": spec.evaluate.metrics} if spec.model.search else {}
    if shipped := shipped_digests(spec.model.trainer):
        further["model.program"] = shipped
    return read(spec) | further


STEPS: Mapping[str, Step] = {
    "clean": Step(
        ("runs.work.partitions", "steps.clean.reading", "steps.clean.repair"),
        ("numpy", "pandas", "pyarrow", "pandera"),
        _clean_settings,
    ),
    "transform": Step(
        ("runs.work.features", "steps.transform", "steps.splitting", "steps.encoder", "model.sentences"),
        ("numpy", "onnxruntime"),
        _pick(
            "model.target data.derive data.key features transform normalize split clean.duplicates clean.missing "
            "clean.outliers"
        ),
    ),
    "normalize": Step(
        ("runs.work.features", "steps.normalize"),
        ("numpy", "onnxruntime"),
        _normalize_settings,
    ),
    "train": Step(
        ("runs.work.training", "steps.train"),
        ("numpy", "onnxruntime", "scikit-learn"),
        _train_settings,
    ),
    "evaluate": Step(
        ("runs.work.evaluation", "runs.work.scoring", "steps.evaluate", "steps.gate"),
        ("matplotlib", "numpy", "onnxruntime"),
        _pick("evaluate model monitoring"),
    ),
}


EXTRA_SECTIONS: Mapping[str, tuple[str, ...]] = {
    "clean": ("data",),
    "normalize": ("transform",),
    "train": ("model",),
    "evaluate": ("data",),
}
"""Step → sections of the spec that may ask it for an extra."""


def method_of(step: str, spec: Spec) -> Method:
    """Gather all that decides how a step works."""
    what = STEPS[step]
    modules = _modules(what.code)
    code = digest_of([[name, digest] for name, digest in modules.items()])[:16]
    libraries = {name: _versions()[name] for name in what.libraries}
    libraries |= {name: _versions().get(name, "") for name in _extra_libraries(step, spec)}
    return Method(step, code, libraries, what.settings(spec), modules)


def _extra_libraries(step: str, spec: Spec) -> list[str]:
    """Name what a step uses of the extras: those that its own section of the spec asks for."""
    sections = EXTRA_SECTIONS.get(step, ())
    return [name for path, _, extra in extras_of(spec) if path[0] in sections for name in EXTRAS[extra].decisive]


def method_digest(spec: Spec) -> str:
    """Hash the spec's and the code's part in a model, without the data's."""
    return digest_of([method_of(step, spec).digest for step in ("clean", "transform", "normalize", "train")])


def made_with(spec: Spec) -> dict[str, str]:
    """Return the versions of all that decides a model's results: Python, the platform, the libraries of every step."""
    return installed({name for step in STEPS for name in method_of(step, spec).libraries})


def installed(libraries: Iterable[str]) -> dict[str, str]:
    """Return the versions that are here: Python, the platform, and those of the libraries that are installed."""
    known = {name: _versions()[name] for name in sorted(libraries) if name in _versions()}
    return {"python": platform.python_version(), "platform": f"{sys.platform} {platform.machine()}", **known}


def methods_of(spec: Spec) -> dict[str, str]:
    """Give, for each step, what tells whether two machines work by the same code, libraries and settings."""
    return {step: method_of(step, spec).digest[:16] for step in STEPS}


def spec_digest(spec: Spec) -> str:
    """Hash a spec as it was read, to notice one that is edited while a run is going on."""
    return digest_of(spec.model_dump(mode="json"))


def digest_of(value: Any) -> str:
    """Hash a JSON-able value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


@cache
def _versions() -> dict[str, str]:
    """Return the version of every installed distribution, by the name of its folder.

    Asking ``importlib.metadata`` reads and parses a file for each: 60 ms for the few that are needed here.
    """
    folders = [place for place in map(Path, sys.path) if place.is_dir()]
    names = [each.name.removesuffix(".dist-info") for place in reversed(folders) for each in place.glob("*.dist-info")]
    return {name.lower().replace("_", "-"): version for name, _, version in (each.rpartition("-") for each in names)}


@cache
def _modules(roots: tuple[str, ...]) -> Mapping[str, str]:
    return {name: hashlib.sha256(_source(name)).hexdigest() for name in code_of(roots)}


def code_of(roots: tuple[str, ...]) -> list[str]:
    """List the modules below ``pipeline`` that some modules consist of and import, however indirectly."""
    found: set[str] = set()
    waiting = [name for root in roots for name in _whole(f"pipeline.{root}")]
    while waiting:
        name = waiting.pop()
        if name in found or name == "pipeline" or name.startswith(_NEUTRAL) or not _is_module(name):
            continue
        found.add(name)
        waiting.append(name.rpartition(".")[0])  # a package's own module runs before those in it
        if not name.startswith("pipeline.runs.work."):  # these call the steps, and much besides
            waiting += _imports(name)
    return sorted(found)


def _whole(name: str) -> list[str]:
    """Return a package with all its modules, or the module."""
    file = _file(name)
    inside = file.parent.glob("*.py") if file is not None and file.name == "__init__.py" else ()
    return [name, *(f"{name}.{each.stem}" for each in inside if each.stem != "__init__")]


def _imports(name: str) -> list[str]:
    """Find by their text what a module imports: parsing it would take longer than all the rest of a plan."""
    modules = []
    for module, names in _IMPORT.findall(_source(name).decode()):
        modules += [
            module,
            *(f"{module}.{each.split()[0]}" for each in names.replace("(", "").split(",") if each.strip()),
        ]
    return [each for each in modules if each != "pipeline"]


def _is_module(name: str) -> bool:
    return _file(name) is not None


def _source(name: str) -> bytes:
    file = _file(name)
    return file.read_bytes() if file else b""


@cache
def _file(name: str) -> Path | None:
    place = CHECKOUT.joinpath(*name.split("."))
    candidates = (place.with_suffix(".py"), place / "__init__.py")
    return next((each for each in candidates if each.exists()), None)
