"""What of the spec is in a key: all that can change a step's result, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.model.columns import ColumnType
from pipeline.runs.plan.recipes import STEPS
from pipeline.spec.schema.spec import Spec
from pipeline.steps.features import needs_of
from pipeline.steps.transform import compile_transform

COLUMNS: dict[str, ColumnType] = {"x": "float", "h": "float", "t": "str", "y": "float"}
BASE: dict[str, Any] = {
    "model": {"name": "m", "trainer": "ridge", "target": "y"},
    "data": {"files": "{p}.csv", "columns": {**COLUMNS, "h": {"type": "float", "range": [0, 24]}}},
}
DATA = BASE["data"]
SHORTER = {**COLUMNS, "h": {"type": "float", "range": [0, 12]}}


def spec(sections: dict[str, Any]) -> Spec:
    return Spec.model_validate(BASE | sections)


def changed(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    settings = [{step: what.settings(spec(each)) for step, what in STEPS.items()} for each in (before, after)]
    return {step for step in STEPS if settings[0][step] != settings[1][step]}


SAME_FOR_TRANSFORM: list[tuple[dict[str, Any], dict[str, Any], set[str]]] = [
    ({"normalize": {"*": "standard"}}, {"normalize": {"*": "min_max"}}, {"normalize"}),
    ({"normalize": {"x": "none"}}, {"normalize": {"*": "standard", "x": "min_max"}}, {"normalize"}),
    ({"clean": {"missing": {"x": "mean"}}}, {"clean": {"missing": {"x": 0}}}, {"normalize"}),
    ({"clean": {"missing": {"x": 0}}}, {"clean": {"missing": {"x": 1}}}, {"normalize"}),
    ({"clean": {"missing": {"t": "a"}}}, {"clean": {"missing": {"t": "b"}}}, {"normalize"}),
    (
        {"clean": {"outliers": {"x": {"by": "quantile", "bounds": [0.1, 0.9]}}}},
        {"clean": {"outliers": {"x": {"by": "iqr"}}}},
        {"normalize"},
    ),
    (
        {"clean": {"outliers": {"x": {"by": "zscore", "factor": 2}}}},
        {"clean": {"outliers": {"x": {"by": "zscore", "action": "drop"}}}},
        {"normalize"},
    ),
    (
        {"clean": {"outliers": {"x": {"by": "range", "bounds": [0, 1], "action": "drop"}}}},
        {"clean": {"outliers": {"x": {"by": "range", "bounds": [0, 2], "action": "drop"}}}},
        {"clean"},
    ),
    ({"transform": {"t": "one_hot"}}, {"transform": {"t": {"kind": "ordinal", "max_categories": 5}}}, {"normalize"}),
    ({"transform": {"t": "tfidf"}}, {"transform": {"t": {"kind": "tfidf", "max_features": 5}}}, {"normalize"}),
    ({"clean": {"duplicates": "drop"}}, {"clean": {"duplicates": {"keep": "last"}}}, {"clean", "normalize"}),
]


@pytest.mark.parametrize(("before", "after", "steps"), SAME_FOR_TRANSFORM)
def test_what_transform_does_not_read_transforms_nothing_anew(
    before: dict[str, Any], after: dict[str, Any], steps: set[str]
) -> None:
    assert changed(before, after) == steps
    made = [(compile_transform(each, COLUMNS), each) for each in map(spec, (before, after))]
    (one, first), (other, second) = made
    assert one.model.SerializeToString(deterministic=True) == other.model.SerializeToString(deterministic=True)
    assert (one.names, one.sources, one.required) == (other.names, other.sources, other.required)
    assert [each.words for each in one.words] == [each.words for each in other.words]
    assert needs_of(first, one) == needs_of(second, other)


@pytest.mark.parametrize(
    ("before", "after", "steps"),
    [
        # a rule of one's own shields a column from the one for all
        (
            {"clean": {"missing": {"*": "drop"}}},
            {"clean": {"missing": {"*": "drop", "x": "mean"}}},
            {"clean", "transform", "normalize"},
        ),
        (
            {"normalize": {"*": "robust"}},
            {"normalize": {"*": "robust", "x": "standard"}},
            {"transform", "normalize"},
        ),
        ({"clean": {"missing": {"x": "mean"}}}, {"clean": {"missing": {"x": "median"}}}, {"transform", "normalize"}),
        (
            {"transform": {"t": "tfidf"}, "clean": {"missing": {"t": "a"}}},
            {"transform": {"t": "tfidf"}, "clean": {"missing": {"t": "b"}}},
            {"transform", "normalize"},
        ),
        # two expressions that agree on all rows that there are need not agree on those to come
        (
            {"data": DATA | {"derive": {"z": "clip(x, 0, 10)"}}},
            {"data": DATA | {"derive": {"z": "clip(x, 0, 20)"}}},
            {"transform", "normalize"},
        ),
        # the length of a turn, which `transform` takes from the contract
        (
            {"transform": {"h": "cyclic"}},
            {"transform": {"h": "cyclic"}, "data": DATA | {"columns": SHORTER}},
            {"clean", "transform", "normalize"},
        ),
        # a slice by a derived column that is no feature
        (
            {"data": DATA | {"derive": {"z": "x > 1"}}, "features": {"drop": ["z"]}, "evaluate": {"slices": ["z"]}},
            {"data": DATA | {"derive": {"z": "x > 2"}}, "features": {"drop": ["z"]}, "evaluate": {"slices": ["z"]}},
            {"transform", "normalize", "evaluate"},
        ),
        # what the step never reads
        ({"model": BASE["model"] | {"early_stopping": {}}}, {"model": BASE["model"]}, {"train"}),
        ({"data": DATA | {"columns": SHORTER}}, {"data": DATA | {"columns": COLUMNS}}, {"clean"}),
    ],
)  # fmt: skip
def test_a_key_changes_with_what_the_step_reads(before: dict[str, Any], after: dict[str, Any], steps: set[str]) -> None:
    assert changed(before, after) == steps


def test_the_order_of_derived_columns_counts_since_it_is_that_of_the_features() -> None:
    made = [spec({"data": DATA | {"derive": dict.fromkeys(names, "x + 1")}}) for names in ("uv", "vu")]
    one, other = (STEPS["transform"].settings(each) for each in made)
    assert one != other
