"""The JSON Schema and the reference: current, right, and as tolerant as loading."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.home import CHECKOUT
from pipeline.spec.catalogue.trainers import TRAINERS
from pipeline.spec.checking import check
from pipeline.spec.loading.loading import load_spec, with_defaults
from pipeline.spec.loading.validating import validate
from pipeline.spec.reference.publishing import json_schema, publish, schema_text, spec_markdown
from pipeline.spec.schema.spec import Spec

jsonschema = pytest.importorskip("jsonschema")


@pytest.fixture(scope="module")
def validator() -> Any:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize(
    ("file", "text"),
    [("models/model.schema.json", schema_text()), ("docs/spec.md", spec_markdown())],
    ids=["schema", "reference"],
)
def test_what_is_published_is_current(file: str, text: str) -> None:
    assert (CHECKOUT / file).read_text(encoding="utf-8") == text, "run python -m pipeline.spec.reference.publishing"


def test_publish_writes_both_files(tmp_path: Path) -> None:
    assert [path.relative_to(tmp_path).as_posix() for path in publish(tmp_path)] == [
        "models/model.schema.json",
        "docs/spec.md",
    ]
    assert json.loads((tmp_path / "models/model.schema.json").read_text(encoding="utf-8")) == json_schema()


def test_the_example_of_the_reference_is_a_valid_spec() -> None:
    path = CHECKOUT / "pipeline" / "spec" / "reference" / "example.yaml"
    spec = load_spec(path).spec
    assert spec.model_fields_set >= set(Spec.model_fields) - {"version"}
    assert path.read_text(encoding="utf-8") in spec_markdown()


def test_every_key_is_described() -> None:
    schema = json_schema()
    parts = {"": schema, **schema["$defs"]}
    bare = [
        f"{name}.{key}"
        for name, part in parts.items()
        for key, value in part["properties"].items()
        if not value.get("description")
    ]
    assert bare == []
    assert [name for name, part in parts.items() if not part.get("description")] == []


def _spec(**sections: Any) -> dict[str, Any]:
    return {"model": {"name": "m"}, **sections}


SPECS: list[tuple[dict[str, Any], bool]] = [
    (_spec(), True),
    (_spec(environment={"platform": "AWS"}), True),
    (_spec(environment={"platform": "Local"}), True),
    (_spec(environment={"platform": "moon"}), False),
    (_spec(model={"name": "m", "trainer": "Random Forest"}), True),
    (_spec(model={"name": "m", "trainer": "SVC", "task": "classification"}), True),
    (_spec(model={"name": "m", "trainer": "HistGradientBoostingRegressor", "params": {"max_iter": 5}}), True),
    (_spec(model={"name": "m", "trainer": "random_forrest"}), False),
    (_spec(model={"name": "m", "trainer": "ridge", "params": {"alhpa": 1}}), False),
    (_spec(model={"name": "m", "trainer": "Ridge", "task": "regression", "params": {"alpha": -1}}), False),
    (_spec(model={"name": "m", "trainer": "ridge", "task": "regression", "params": {"alpha": 1}}), True),
    (_spec(model={"name": "a b"}), False),
    (_spec(modle={}), False),
    ({}, False),
    (_spec(version=1), True),
    (_spec(version=2), False),
    (
        _spec(
            model={"name": "m", "target": "y"},
            data={"files": "x.csv", "columns": {"y": "float", "x": {"type": "int", "range": [0, None]}}},
        ),
        True,
    ),
    (_spec(data={"columns": {"x": "flaot"}}), False),
    (_spec(clean={"duplicates": "drop"}), True),
    (_spec(clean={"duplicates": {"keep": "last"}}), True),
    (_spec(clean={"duplicates": "all"}), False),
    (_spec(clean={"missing": {"x": 0, "*": "median"}}), True),
    (_spec(clean={"missing": {"x": {"fill": "mean", "indicator": True}}}), True),
    (_spec(clean={"missing": {"x": [1]}}), False),
    (_spec(transform={"x": "log"}), True),
    (_spec(transform={"x": {"kind": "bins", "count": 3}}), True),
    (_spec(transform={"x": "lgo"}), False),
    (_spec(features={"interactions": [["x", "x"]]}), True),
    (_spec(split={"test_from": 5}), False),
    (_spec(evaluate={"metrics": ["rmse"], "gate": {"rmse": {"at_most": 1}}}), True),
    (_spec(evaluate={"metrics": ["accuracie"]}), False),
    (_spec(evaluate={"metrics": ["rmse"], "gate": {"rsme": {"at_most": 1}}}), False),
    (_spec(monitoring={"metrics": ["accuracy", "loss"]}), True),
]


@pytest.mark.parametrize(("data", "right"), SPECS, ids=[json.dumps(data) for data, _ in SPECS])
def test_editors_and_loading_accept_the_same(data: dict[str, Any], right: object, validator: Any) -> None:
    spec, _ = validate(data)
    loads = spec is not None and check(with_defaults(spec)) == []
    assert (validator.is_valid(data), loads) == (right, right)


def test_the_reference_lists_every_trainer() -> None:
    text = spec_markdown()
    assert [name for name in TRAINERS if f"| `{name}` |" not in text] == []
