from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.runs.plan.last_runs import Ran, read_history, remember
from pipeline.runs.plan.reasons import Before, Took, explain
from pipeline.runs.plan.recipes import Method, Recipe
from pipeline.spec.comparing import compare

SETTINGS = {"data.columns": {"x": {"type": "float", "range": None}}, "clean.sample": 1.0}
LIBRARIES = {"numpy": "2.1"}
MODULES = {"pipeline.steps.clean.repair.partition": "a" * 64, "pipeline.steps.clean.repair.texts": "b" * 64}


def recipe(step: str = "clean", inputs: dict[str, str] | None = None, **changes: Any) -> Recipe:
    method = {"libraries": LIBRARIES, "settings": SETTINGS, "modules": MODULES} | changes
    return Recipe(Method(step, "c0de", **method), inputs or {"data": "d" * 40})


def before(**changes: Any) -> Before:
    facts: dict[str, Any] = {
        "settings": SETTINGS, "key": "k" * 12, "inputs": {"data": "d" * 12},
        "modules": {name: digest[:12] for name, digest in MODULES.items()}, "libraries": LIBRARIES,
    }  # fmt: skip
    return Before(**facts | changes)


@pytest.mark.parametrize(
    ("then", "reason"),
    [
        ({"key": recipe().key[:12]}, "its artifact is missing from the store"),
        ({"inputs": {"data": "e" * 12}}, "the data changed"),
        ({"settings": SETTINGS | {"clean.sample": 0.5}}, "the spec changed: clean.sample: 0.5 → 1.0"),
        (
            {"settings": SETTINGS | {"data.columns": {"y": {"type": "int"}}}},
            (
                'the spec changed: data.columns.y: {"type": "int"} → none; '
                'data.columns.x: none → {"type": "float", "range": null}'
            ),
        ),
        (
            {
                "modules": {
                    "pipeline.steps.clean.repair.partition": "f" * 12,
                    "pipeline.steps.clean.repair.gone": "0" * 12,
                }
            },
            (
                "the code changed: pipeline/steps/clean/repair/partition.py, pipeline/steps/clean/repair/texts.py, "
                "pipeline/steps/clean/repair/gone.py"
            ),
        ),
        ({"libraries": {"numpy": "2.0"}}, "a library changed: numpy 2.0 → 2.1"),
        (
            {"inputs": {"data": "e" * 12}, "settings": SETTINGS | {"clean.sample": 0.5}, "since": "m@v1.0.0"},
            "the data changed; the spec changed: clean.sample: 0.5 → 1.0 since m@v1.0.0",
        ),
        (
            {"key": None, "inputs": None, "modules": None, "libraries": None, "since": "m@v1.0.0"},
            "its input, its code or a library changed since m@v1.0.0, or this store lacks it",
        ),
    ],
)
def test_a_reason_names_all_that_differs(then: dict[str, Any], reason: str) -> None:
    assert explain(recipe(), before(**then), known=True) == reason


def test_a_step_that_never_ran_and_a_new_partition_are_told_apart() -> None:
    assert explain(recipe(), None, known=False) == "it never ran here"
    assert explain(recipe(), None, known=True) == "a new partition"


@pytest.mark.parametrize(
    ("step", "now", "then", "reason"),
    [
        ("transform", {"rows": "r", "columns": "c"}, {"rows": "x", "columns": "c"}, "its rows changed"),
        ("train", {"normalize/all": "m"}, {"normalize/all": "x"}, "the training matrix changed"),
        ("evaluate", {"model": "m", "rows": "r"}, {"model": "x", "rows": "y"}, "the model changed; its rows changed"),
        (
            "normalize",
            {f"transform/{month}": "t" for month in range(1, 8)},
            {"transform/0": "t", "transform/1": "t", "transform/2": "x"},
            "the features of 2 changed, 3, 4, 5 and 2 more came, 0 went",
        ),
    ],
)
def test_a_changed_input_is_named(step: str, now: dict[str, str], then: dict[str, str], reason: str) -> None:
    assert explain(recipe(step, now), before(inputs=then), known=True) == reason


def test_long_values_are_cut() -> None:
    (change,) = compare({"a": {"b": "x" * 100}}, {"a": {"b": 1}})
    assert str(change) == f"a.b: {'x' * 59}… → 1"


def test_what_ran_is_remembered_until_it_runs_again(tmp_path: Path) -> None:
    remember(tmp_path, "m", [Ran(recipe(), "2013-01", 1.0, 2.0, 3), Ran(recipe("train"), None, 4.0, 5.0, 6)])
    remember(tmp_path, "m", [Ran(recipe(inputs={"data": "e" * 40}), "2013-02", 7.0, 8.0, 9)])
    known = read_history(tmp_path, "m")
    first = known.last("clean", "2013-01")
    assert first is not None
    assert first.took == Took(1.0, 2.0, 3)
    assert explain(recipe(), first, known=True) == "its artifact is missing from the store"
    assert explain(recipe(libraries={"numpy": "2.2"}), first, known=True) == "a library changed: numpy 2.1 → 2.2"
    assert known.last("clean", "2013-03") is None
    assert known.knows("clean")
    assert not known.knows("evaluate")


@pytest.mark.parametrize("content", ["", "[]", '{"clean/2013-01": {"key": "k", "seconds": 1}}'])
def test_hints_that_cannot_be_read_are_no_hints(tmp_path: Path, content: str) -> None:
    (tmp_path / "history").mkdir()
    (tmp_path / "history" / "m.json").write_text(content)
    assert read_history(tmp_path, "m").last("clean", "2013-01") is None
