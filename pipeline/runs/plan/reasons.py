"""Why a step must run: what differs from its last time, exactly."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.runs.plan.recipes import Method, Recipe
from pipeline.spec.comparing import compare

_MOST = 3
KEPT_CHARS = 12
"""Of keys and digests, where hints are kept: they tell them apart."""
NEVER = "it never ran here"
NEW = "a new partition"
WAITING = "its input is computed first"
MISSING = "its artifact is missing from the store"


@dataclass(frozen=True)
class Took:
    """What a step took, for one partition or for all."""

    seconds: float
    cpu_s: float
    peak_bytes: float


@dataclass(frozen=True)
class Before:
    """A step's last time, on this machine or in the live release.

    Attributes
    ----------
    settings : dict
        Path in the spec → its value then.
    key, inputs, modules, libraries
        As the recipe has them; None where they are not known. Keys and digests may be cut off at their end.
    since : str
        What is compared with, such as ``late@v1.0.0``; empty for the last time on this machine.
    took : Took or None
        On this machine.
    """

    settings: Mapping[str, Any]
    key: str | None = None
    inputs: Mapping[str, str] | None = None
    modules: Mapping[str, str] | None = None
    libraries: Mapping[str, str] | None = None
    since: str = ""
    took: Took | None = None


def explain(recipe: Recipe, before: Before | None, *, known: bool) -> str:
    """Say why a step whose artifact is not in the store must run.

    Parameters
    ----------
    known : bool
        Whether anything is known of the step's other partitions.
    """
    if before is None:
        return NEW if known else NEVER
    if before.key is not None and recipe.key.startswith(before.key):
        return MISSING
    found = [*_inputs(recipe, before), *_settings(recipe.method, before), *_code(recipe, before)]
    since = f" since {before.since}" if before.since else ""
    if found:
        return "; ".join(found) + since
    if before.inputs is None:
        return f"its input, its code or a library changed{since}, or this store lacks it"
    return f"{MISSING}, or its code changed{since}"


def explain_waiting(method: Method | None, before: Before | None) -> str:
    """Say why a step waits for its input; what changed in the spec is told as well, for that counts whatever comes."""
    changed = list(_settings(method, before)) if method and before else []
    since = f" since {before.since}" if changed and before and before.since else ""
    return "; ".join([WAITING, *changed]) + since


def _inputs(recipe: Recipe, before: Before) -> Iterator[str]:
    if before.inputs is None:
        return
    now, then = recipe.inputs, before.inputs
    changed = [name for name, digest in now.items() if name in then and not digest.startswith(then[name])]
    added, gone = ([name for name in one if name not in other] for one, other in ((now, then), (then, now)))
    verbs = {"changed": _partitions(changed), "came": _partitions(added), "went": _partitions(gone)}
    told = ", ".join(f"{_list(names)} {verb}" for verb, names in verbs.items() if names)
    if recipe.method.step == "clean":
        yield from ["the data changed"] if "data" in changed else [f"the data of {told}"] if told else []
    elif recipe.method.step != "normalize":
        yield from (_INPUTS.get(name, f"{name} changed") for name in changed)
    else:
        if told:
            yield f"the features of {told}"
        if "columns" in changed:
            yield _INPUTS["columns"]


def _partitions(inputs: list[str]) -> list[str]:
    return [name.partition("/")[2] for name in inputs if "/" in name]


_INPUTS = {
    "rows": "its rows changed",
    "columns": "the types of the columns changed",
    "split": "the times that part training, validation and test moved",
    "normalize/all": "the training matrix changed",
    "model": "the model changed",
    "champion": "the release it is compared with changed",
}


def _settings(method: Method, before: Before) -> Iterator[str]:
    changes = [each for path, value in method.settings.items()
               for each in compare(before.settings.get(path), value, path)]  # fmt: skip
    if changes:
        yield f"the spec changed: {_list([str(each) for each in changes], '; ')}"


def _code(recipe: Recipe, before: Before) -> Iterator[str]:
    method = recipe.method
    if before.modules is not None:
        new, old = _unsaid(method.modules, before.modules), _unsaid(before.modules, method.modules)
        changed = list(dict.fromkeys([*new, *old]))
        if changed:
            yield f"the code changed: {_list([_file(name) for name in changed])}"
    if before.libraries is not None:
        then = before.libraries
        upgraded = [f"{name} {then.get(name, '?')} → {version}" for name, version in method.libraries.items()
                    if then.get(name) != version]  # fmt: skip
        if upgraded:
            yield f"a library changed: {_list(upgraded)}"


def _unsaid(modules: Mapping[str, str], others: Mapping[str, str]) -> list[str]:
    """Name the modules that say what none of the others says; one that was only moved is not among them."""
    said = {digest[:KEPT_CHARS] for digest in others.values()}
    return [name for name, digest in modules.items() if digest[:KEPT_CHARS] not in said]


def _file(module: str) -> str:
    return module.replace(".", "/") + ".py"


def _list(items: list[str], separator: str = ", ") -> str:
    """List the first few, and say how many more there are."""
    more = f" and {len(items) - _MOST} more" if len(items) > _MOST else ""
    return separator.join(items[:_MOST]) + more
