"""A model in MLflow's registry predicts what the server of the release does, without Modelrail."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.model.signature import Input, Signature
from pipeline.runs.delivery_steps import private_columns
from pipeline.runs.tracking.model_files import write_model
from pipeline.spec.schema.spec import Spec
from tests.serving.bundles import LINE, seal, sum_graph, write_bundle
from tests.serving.test_parity import RULES, Both, boundary_records, records

ASK = """
import json, sys
for name in ("pipeline", "modelrail", "msgspec", "onnx", "skops", "sklearn"):
    sys.modules[name] = None  # as if it were not installed
import mlflow.pyfunc, pandas as pd

def answer(ask):
    frame = pd.DataFrame(ask["rows"], index=range(7, 7 + len(ask["rows"])))
    for name, how in ask["types"].items():
        if how == "time":
            frame[name] = pd.to_datetime(frame[name], format="ISO8601", utc=True)
        else:
            frame[name] = frame[name].astype(how)
    try:
        found = model.predict(frame.assign(unused=1), params=ask["params"] or None)
    except ValueError as error:
        return {"error": str(error)}
    if not hasattr(found, "columns"):
        return {"values": found.tolist()}
    assert list(found.index) == list(frame.index), found
    return {"names": list(found.columns), "values": found.to_numpy().tolist()}

model = mlflow.pyfunc.load_model(sys.argv[1])
print(json.dumps([answer(each) for each in json.load(open(sys.argv[2]))]))
"""
SERVE = """
import json, sys
import mlflow.pyfunc
from mlflow.pyfunc.scoring_server import init
from starlette.testclient import TestClient

client = TestClient(init(mlflow.pyfunc.load_model(sys.argv[1])))
print(json.dumps(client.post("/invocations", json=json.load(open(sys.argv[2]))).json()))
"""


def make(folder: Path, bundle: Path, **more: Any) -> Path:
    model = folder / "registered"
    model.mkdir()
    write_model(model, bundle, {"run_id": "r1", "utc_time_created": "2026-01-01 00:00:00", "model_uuid": "u1"}, **more)
    return model


def run(script: str, model: Path, given: Any) -> Any:
    """Run a script in a process of its own, with the model's folder and a file of what it is given."""
    file = model.parent / "given.json"
    file.write_text(json.dumps(given))
    command = [sys.executable, "-c", script, str(model), str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=model.parent)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def question(rows: Sequence[Any], types: Mapping[str, str] | None = None, **params: Any) -> dict[str, Any]:
    return {"rows": rows, "types": types or {}, "params": params}


TYPED = {"date": "time", "clock": "time", "word": "category", "size": "Int64", "flag": "boolean", "plain": "Float64"}


@pytest.mark.parametrize(("target", "columns"), [("group", [*RULES, "told"]), ("amount", list(RULES))])
def test_a_model_in_the_registry_predicts_as_the_server_does(tmp_path: Path, target: str, columns: list[str]) -> None:
    both = Both("decision_tree", target, columns, tmp_path, {"fill": "median", "indicator": True})
    model = make(tmp_path, tmp_path / "bundle")
    asked = [{name: row[name] for name in both.names} for row in (*records()[:60], *boundary_records())]
    values, outputs = both.served_side(asked)
    asks = [question(asked), question(asked[:60], TYPED)]
    if both.classes is not None:
        asks.append(question(asked[:60], TYPED, probabilities=True))
    whole, typed, *shares = run(ASK, model, asks)
    assert whole == {"values": outputs}
    assert typed["values"] == outputs[:60]
    for found in shares:
        assert found["names"] == ["prediction", *(f"probability_{each}" for each in both.classes or ())]
        assert [row[0] for row in found["values"]] == outputs[:60]
        assert [row[1:] for row in found["values"]] == values[:60].astype(float).tolist()


NUMBERS = Signature(
    "regression",
    (
        Input("a", "float", missing_values=(-999,)),
        Input("n", "int", nullable=False),
        Input("flag", "bool"),
        Input("when", "datetime", format="%d.%m.%Y"),
    ),
    None,
    {"a": 0.5, "n": 3, "flag": True, "when": "02.01.1970"},
)
ROW = {"a": 1, "n": 2, "flag": True, "when": "02.01.1970"}


@pytest.fixture
def numbers(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "bundle", signature=NUMBERS, graph=sum_graph(4))


def test_values_are_taken_as_frames_hold_them(numbers: Path) -> None:
    changes: list[tuple[dict[str, Any], dict[str, str]]] = [
        ({}, {}),
        ({"a": "1"}, {"a": "float64"}),
        ({"n": 2.0}, {}),
        ({"flag": 1}, {}),
        ({"flag": 1.0}, {}),
        ({"flag": "true"}, {"flag": "bool"}),
        ({"when": "1970-01-02"}, {"when": "time"}),
        ({"when": "1970-01-02T09:00:00+09:00"}, {"when": "time"}),
    ]
    asks = [question([ROW | change], types) for change, types in changes]
    assert [each.get("values") for each in run(ASK, make(numbers.parent, numbers), asks)] == [[86404.0]] * len(asks)


def test_what_does_not_fit_is_named_by_row_and_column(numbers: Path) -> None:
    wrong: dict[str, dict[str, Any]] = {
        "row 1, column 'n': found null; expected a value (the column is not nullable)": {"n": None},
        "row 1, column 'n': found the number 2.5; expected a whole number below 2**53": {"n": 2.5},
        "row 1, column 'flag': found the text 'yes'; expected true or false": {"flag": "yes"},
        "row 1: found values too large to compute with; expected values like those the model was trained on": {
            "a": -999
        },
    }
    asks = [question([ROW, ROW | change]) for change in wrong.values()]
    assert [each.get("error") for each in run(ASK, make(numbers.parent, numbers), asks)] == list(wrong)


def test_the_registry_shows_signature_example_and_requirements(tmp_path: Path, numbers: Path) -> None:
    from mlflow.models import Model

    folder = make(tmp_path, numbers)
    model = Model.load(folder)
    assert model.signature.inputs.input_names() == ["a", "n", "flag", "when"]
    assert [str(each) for each in model.signature.outputs] == ["'prediction': double (required)"]
    assert model.load_input_example(str(folder)).to_dict("records") == [NUMBERS.example]
    assert model.metadata["inputs"][1]["type"] == "int"
    required = (folder / "requirements.txt").read_text().split()
    assert [each.partition("==")[0] for each in required] == ["mlflow", "numpy", "onnxruntime", "pandas"]


def test_mlflows_own_server_answers_like_ours(tmp_path: Path, numbers: Path) -> None:
    folder = make(tmp_path, numbers)
    example = json.loads((folder / "serving_input_example.json").read_bytes())
    assert run(SERVE, folder, example) == {"predictions": [0.5 + 3 + 1 + 86400]}


def test_private_values_are_in_no_file(tmp_path: Path) -> None:
    text = {"trim": True}
    inputs = (Input("x", "float", nullable=False), Input("name", "str", text=text), Input("id", "str", nullable=False))
    signature = replace(LINE, inputs=inputs, example={"x": 41.5, "name": "Miller", "id": "K-77"})
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / "signature.json").write_text(json.dumps(signature.to_json()))
    (bundle / "model.onnx").write_bytes(b"")
    (bundle / "model.sig").write_text("{}")
    (bundle / "reference.json").write_text('["Miller", 41.5]')
    seal(bundle)
    folder = make(tmp_path, bundle, private=["x", "name", "id", "other"])
    for path in folder.rglob("*"):
        content = b"" if path.is_dir() or path.suffix == ".py" else path.read_bytes()
        assert [each for each in (b"41.5", b"Miller", b"K-77") if each in content] == [], path
    assert json.loads((folder / "input_example.json").read_bytes())["data"] == [[0.0, None, "private"]]
    assert not (folder / "model.sig").exists()
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    assert set(json.loads(before["release.json"])["files"]) == {"model.onnx", "signature.json", "model.sig"}
    kept = json.loads(before["release.json"])["files"]["signature.json"]
    assert kept != json.loads((bundle / "release.json").read_bytes())["files"]["signature.json"]


def test_the_private_columns_are_those_that_captures_hide() -> None:
    spec = Spec.model_validate(
        {
            "model": {"name": "m"},
            "deploy": {"capture": {"share": 0.1, "to": "s3://b", "private": {"name": "hash", "id": "drop"}}},
        }
    )
    found = private_columns(spec, {"MODELRAIL_SERVE_CAPTURE_PRIVATE": "a=b=drop"})
    assert found == ["a=b", "id", "name"]


def test_a_model_that_onnx_cannot_express_says_that_it_needs_modelrail(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / "signature.json").write_text(json.dumps(LINE.to_json()))
    (bundle / "estimator.skops").write_bytes(b"")
    seal(bundle)
    folder = make(tmp_path, bundle)
    expected = r"found no Modelrail .*expected it, since this model has no graph of ONNX alone"
    with pytest.raises(AssertionError, match=expected):
        run(ASK, folder, [question([{"x": 1.0}])])
    assert "modelrail==" in (folder / "requirements.txt").read_text()
