"""Recipes: all that decides what a step makes, and the key that is its hash.

A recipe is the step's code and libraries, its part of the spec, and the digests of its inputs' content.
"""

from __future__ import annotations

import hashlib
import json
import platform
import sys
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from pipeline.extras import EXTRAS
from pipeline.runs.plan.code import digests_of
from pipeline.runs.plan.settings import (
    Settings,
    clean_settings,
    evaluate_settings,
    normalize_settings,
    train_settings,
    transform_settings,
)
from pipeline.spec.catalogue.tasks import extras_of
from pipeline.spec.schema.spec import Spec


@dataclass(frozen=True)
class Step:
    """What the key of a step is made of, besides its inputs.

    Attributes
    ----------
    code : tuple of str
        Modules and packages below ``pipeline`` that do the step's work, with all that they import from there.
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
        Module → digest of what it says; ``code`` is the hash of them all.
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


STEPS: Mapping[str, Step] = {
    "clean": Step(("runs.work.partitions",), ("numpy", "pandas", "pyarrow", "pandera"), clean_settings),
    "transform": Step(("runs.work.features",), ("numpy", "onnxruntime"), transform_settings),
    "normalize": Step(("runs.work.matrix",), ("numpy", "onnxruntime"), normalize_settings),
    "train": Step(("runs.work.training", "steps.train"), ("numpy", "onnxruntime", "scikit-learn"), train_settings),
    "evaluate": Step(("runs.work.evaluation",), ("matplotlib", "numpy", "onnxruntime"), evaluate_settings),
}


EXTRA_SECTIONS: Mapping[str, tuple[str, ...]] = {
    "clean": ("data",),
    "normalize": ("transform",),
    "train": ("model",),
    "evaluate": ("data",),
}
"""Step → sections of the spec that may ask it for an extra."""


_KNOWN: deque[tuple[Spec, Mapping[str, Method]]] = deque(maxlen=4)
"""Specs of this process, of which a step asks again and again, and their methods; a spec is never changed."""


def methods_of(spec: Spec) -> Mapping[str, Method]:
    """Gather all that decides how each step works; once for a spec."""
    methods = next((each for known, each in _KNOWN if known is spec), None)
    if methods is None:
        methods = _gather(spec)
        _KNOWN.append((spec, methods))
    return methods


def _gather(spec: Spec) -> Mapping[str, Method]:
    """Gather what `methods_of` returns.

    Of the code counts what its modules say, not how they are named: so a key outlives the move of a module.
    """
    modules = {step: digests_of(what.code) for step, what in STEPS.items()}
    wanted = [(path[0], extra) for path, _, extra in extras_of(spec)]
    settings = {step: what.settings(spec) for step, what in STEPS.items()}
    return {
        step: Method(
            step,
            digest_of(sorted(set(modules[step].values())))[:16],
            {name: _versions()[name] for name in what.libraries} | _extra_libraries(step, wanted),
            settings[step],
            modules[step],
        )
        for step, what in STEPS.items()
    }


def _extra_libraries(step: str, wanted: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return what a step uses of the extras, with versions: those that its own section of the spec asks for."""
    extras = [extra for section, extra in wanted if section in EXTRA_SECTIONS.get(step, ())]
    return {name: _versions().get(name, "") for extra in extras for name in EXTRAS[extra].decisive}


def method_digest(spec: Spec) -> str:
    """Hash the spec's and the code's part in a model, without the data's."""
    methods = methods_of(spec)
    steps = [methods[step].digest for step in ("clean", "transform", "normalize", "train")]
    return digest_of([*steps, spec.split.model_dump(mode="json")])


def made_with(spec: Spec) -> dict[str, str]:
    """Return the versions of all that decides a model's results: Python, the platform, the libraries of every step."""
    return installed({name for method in methods_of(spec).values() for name in method.libraries})


def installed(libraries: Iterable[str]) -> dict[str, str]:
    """Return the versions that are here: Python, the platform, and those of the libraries that are installed."""
    known = {name: _versions()[name] for name in sorted(libraries) if name in _versions()}
    return {"python": platform.python_version(), "platform": f"{sys.platform} {platform.machine()}", **known}


def method_digests(spec: Spec) -> dict[str, str]:
    """Return, for each step, what tells whether two machines work by the same code, libraries and settings."""
    return {step: method.digest[:16] for step, method in methods_of(spec).items()}


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
