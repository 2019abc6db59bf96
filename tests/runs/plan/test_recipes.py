from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from pipeline.runs.plan.code import code_of, is_neutral
from pipeline.runs.plan.recipes import STEPS, method_digest, methods_of
from pipeline.spec.schema.spec import Spec

BASE: dict[str, Any] = {
    "model": {"name": "m", "trainer": "ridge", "target": "y"},
    "data": {"files": "{p}.csv", "columns": {"x": "float", "y": "float"}},
}

PARTS = {
    "clean": ("steps.clean.reading", "steps.clean.repair"),
    "transform": ("steps.transform", "steps.splitting", "steps.encoder", "model.sentences"),
    "normalize": ("steps.normalize",),
    "train": ("steps.train",),
    "evaluate": ("steps.evaluate.evaluating", "steps.evaluate.card", "steps.evaluate.plots", "steps.gate"),
}

OF_THE_SCHEMA = {"pipeline.model.missing", "pipeline.model.task"}
"""What the types of the spec import, and a step that does not import it itself never needs."""


def spec(**sections: Any) -> Spec:
    return Spec.model_validate(BASE | sections)


@pytest.mark.parametrize("step", STEPS)
def test_a_recipe_covers_all_code_that_the_step_imports(step: str) -> None:
    roots = PARTS[step]
    code = (
        "import importlib, sys\n"
        f"for root in {roots!r}: importlib.import_module('pipeline.' + root)\n"
        "print('\\n'.join(name for name in sys.modules if name.startswith('pipeline.')))"
    )
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    neutral = {name for name in told if is_neutral(name)} | OF_THE_SCHEMA
    assert set(told) - neutral <= set(code_of(STEPS[step].code))


@pytest.mark.parametrize(
    ("change", "steps"),
    [
        ({"data": BASE["data"] | {"max_quarantined": 0.5}}, {"clean"}),
        ({"clean": {"missing": {"x": "mean"}}}, {"transform", "normalize"}),
        ({"clean": {"missing": {"x": "drop"}}}, {"clean", "transform", "normalize"}),
        ({"clean": {"outliers": {"x": {"by": "iqr"}}}}, {"transform", "normalize"}),
        ({"normalize": {"x": "robust"}}, {"transform", "normalize"}),
        ({"split": {"test": 0.5}}, {"transform"}),
        ({"model": BASE["model"] | {"params": {"alpha": 2}}}, {"train", "evaluate"}),
        ({"evaluate": {"gate": {"rmse": {"at_most": 1}}}}, {"evaluate"}),
        ({"deploy": {"port": 9}}, set()),
        ({"schedule": {"cron": "0 3 * * *"}}, set()),
        ({"tasks": {"retries": 5}}, set()),
        ({"environment": {"platform": "kubernetes"}}, set()),
    ],
)
def test_a_changed_key_changes_the_recipes_of_the_steps_that_read_it(change: dict[str, Any], steps: set[str]) -> None:
    before, after = spec(), spec(**change)
    assert {step for step in STEPS if methods_of(before)[step].digest != methods_of(after)[step].digest} == steps


def test_the_method_of_a_model_does_not_depend_on_how_it_is_judged_or_served() -> None:
    assert method_digest(spec()) == method_digest(spec(evaluate={"bootstrap": 10}, deploy={"port": 1}))
    assert method_digest(spec()) != method_digest(spec(normalize={"*": "min_max"}))
