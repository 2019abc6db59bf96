"""What the last run of each step looked like: the source of a plan's reasons and estimates.

These are hints of this machine: the plan is the same without them, only less well explained. All partitions of a step
share their method (settings, code, libraries), which is kept once; keys and digests are cut to what tells them apart.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.runs.plan.reasons import KEPT_CHARS, Before, Took
from pipeline.runs.plan.recipes import Recipe

_NOTHING: Mapping[str, Any] = {"methods": {}, "steps": {}}


@dataclass(frozen=True)
class Ran:
    """One step that has just run, for one partition or for all."""

    recipe: Recipe
    partition: str | None
    seconds: float
    cpu_s: float
    peak_bytes: int


class History:
    """The last time of each step and partition of a model."""

    def __init__(self, content: Mapping[str, Any]) -> None:
        self._methods, self._steps = content["methods"], content["steps"]
        self._known = {name.partition("/")[0] for name in self._steps}
        self._typical: dict[str, Took | None] = {}

    def knows(self, step: str) -> bool:
        """Tell whether a step ever ran here, for whichever partition."""
        return step in self._known

    def last(self, step: str, partition: str | None) -> Before | None:
        """Return what is known of the last time; None if there was none."""
        entry = self._steps.get(_name(step, partition))
        if entry is None:
            return None
        return Before(took=Took(**entry["took"]), **entry["recipe"], **self._methods[entry["method"]])

    def typical(self, step: str) -> Took | None:
        """Return what a step took in the middle of all partitions; None if it never ran here."""
        if step not in self._typical:
            took = [each["took"] for name, each in self._steps.items() if name.partition("/")[0] == step]
            middle = {name: sorted(each[name] for each in took)[len(took) // 2] for name in (took or [{}])[0]}
            self._typical[step] = Took(**middle) if took else None
        return self._typical[step]


def read_history(state: Path, model: str) -> History:
    """Read what is known of a model; nothing if nothing ran yet."""
    return History(_read(_path(state, model)))


def remember(state: Path, model: str, ran: Iterable[Ran]) -> None:
    """Add steps that ran; several processes may do so at once."""
    path = _path(state, model)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        content = _add(_read(path), ran)
        draft = path.with_suffix(f".{os.getpid()}")
        draft.write_text(json.dumps(content), "utf-8")
        draft.replace(path)


def _add(before: Mapping[str, Any], ran: Iterable[Ran]) -> dict[str, Any]:
    methods, steps = dict(before["methods"]), dict(before["steps"])
    for each in ran:
        method = each.recipe.method
        methods[method.digest[:KEPT_CHARS]] = {
            "settings": method.settings,
            "modules": {name: digest[:KEPT_CHARS] for name, digest in method.modules.items()},
            "libraries": method.libraries,
        }
        steps[_name(method.step, each.partition)] = {
            "method": method.digest[:KEPT_CHARS],
            "recipe": {
                "key": each.recipe.key[:KEPT_CHARS],
                "inputs": {name: digest[:KEPT_CHARS] for name, digest in each.recipe.inputs.items()},
            },
            "took": {"seconds": each.seconds, "cpu_s": each.cpu_s, "peak_bytes": each.peak_bytes},
        }
    needed = {each["method"] for each in steps.values()}
    return {"methods": {name: methods[name] for name in needed}, "steps": steps}


def _read(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return _NOTHING
    return content if isinstance(content, dict) and _NOTHING.keys() <= content.keys() else _NOTHING


def _name(step: str, partition: str | None) -> str:
    return f"{step}/{partition or 'all'}"


def _path(state: Path, model: str) -> Path:
    return state / "history" / f"{model}.json"
