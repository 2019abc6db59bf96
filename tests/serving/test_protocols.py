"""Other servers' protocols, by their own clients where there are some."""

from __future__ import annotations

import http.client
import io
import json
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet as pq

from pipeline.model.signature import Input, Signature
from tests.serving.bundles import GREETING, is_equal_graph, sum_graph, write_bundle
from tests.serving.conftest import Live, Start
from tests.serving.test_server import call

PAIR = Signature("regression", (Input("a", "float"), Input("n", "int", nullable=False)), None, {"a": 1.0, "n": 2})


@pytest.fixture(scope="module")
def pair(start: Start, tmp_path_factory: pytest.TempPathFactory) -> Live:
    """Serve a + n."""
    return start(write_bundle(tmp_path_factory.mktemp("b") / "pair", signature=PAIR, graph=sum_graph(2), model="pair"))


@pytest.fixture(scope="module")
def greeting(start: Start, tmp_path_factory: pytest.TempPathFactory) -> Live:
    folder = tmp_path_factory.mktemp("b") / "greeting"
    return start(write_bundle(folder, signature=GREETING, graph=is_equal_graph("hello"), model="greeting"))


def infer(live: Live, model: str, **request: Any) -> tuple[int, dict[str, str], Any]:
    return call(live, "POST", f"/v2/models/{model}/infer", request)


def tensor(name: str, datatype: str, data: list[Any], shape: list[int] | None = None) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape or [len(data)], "data": data}


# In a process of its own: the client brings gevent, which has no place in the tests' process.
TRITON = """
import sys, numpy as np, tritonclient.http as triton
client = triton.InferenceServerClient(sys.argv[1])
assert client.is_server_live() and client.is_server_ready()
assert client.is_model_ready(sys.argv[2]) and client.is_model_ready(sys.argv[2], "1.0.0")
assert not client.is_model_ready("nothing")
inputs = []
for each in client.get_model_metadata(sys.argv[2])["inputs"]:
    values = {"FP64": np.array([0.5, np.nan]), "INT64": np.array([1, 2]), "BYTES": np.array(["Hello", "bye"], object)}
    given = triton.InferInput(each["name"], [2], each["datatype"])
    given.set_data_from_numpy(values[each["datatype"]], binary_data=sys.argv[3] == "binary")
    inputs.append(given)
names = [each["name"] for each in client.get_model_metadata(sys.argv[2])["outputs"]]
outputs = [triton.InferRequestedOutput(name, binary_data=sys.argv[3] == "binary") for name in names]
result = client.infer(sys.argv[2], inputs, outputs=outputs, request_id="mine")
assert result.get_response()["id"] == "mine"
for name in names:
    print(result.as_numpy(name).tolist())
"""


@pytest.mark.parametrize("form", ["binary", "json"])
def test_tritons_own_client_is_answered(greeting: Live, form: str) -> None:
    command = [sys.executable, "-W", "ignore", "-c", TRITON, f"127.0.0.1:{greeting.port}", "greeting", form]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    labels = "[b'yes', b'no']" if form == "binary" else "['yes', 'no']"
    assert ended.stdout.splitlines() == [labels, "[[0.25, 0.75], [0.75, 0.25]]"]


def test_a_model_describes_its_tensors(pair: Live) -> None:
    assert call(pair, "GET", "/v2/models/pair/versions/1.0.0")[2] == {
        "name": "pair",
        "versions": ["1.0.0"],
        "platform": "onnxruntime_onnx",
        "inputs": [
            {"name": "a", "datatype": "FP64", "shape": [-1]},
            {"name": "n", "datatype": "INT64", "shape": [-1]},
        ],
        "outputs": [{"name": "prediction", "datatype": "FP64", "shape": [-1]}],
    }


@pytest.mark.parametrize(
    "inputs",
    [
        [tensor("a", "FP64", [0.5, 1]), tensor("n", "INT64", [1, 2])],
        [tensor("n", "INT32", [[1], [2]], [2, 1]), tensor("a", "FP32", [0.5, 1])],
        [tensor("input-0", "FP64", [0.5, 1, 1, 2], [2, 2])],
        [tensor("input-0", "FP64", [[0.5, 1], [1, 2]], [2, 2])],
    ],
    ids=["columns", "other types and order", "one flat tensor", "one nested tensor"],
)
def test_tensors_are_predicted(pair: Live, inputs: list[Any]) -> None:
    status, headers, answer = infer(pair, "pair", inputs=inputs)
    assert status == 200, answer
    assert answer["outputs"] == [{"name": "prediction", "datatype": "FP64", "shape": [2], "data": [1.5, 3.0]}]
    assert headers["x-prediction-id"] == answer["parameters"]["prediction_id"]


def test_probabilities_name_their_classes(greeting: Live) -> None:
    _, _, answer = infer(greeting, "greeting", inputs=[tensor("word", "BYTES", ["hello"])])
    label, shares = answer["outputs"]
    assert (label["data"], "parameters" in label) == (["yes"], False)
    assert shares["data"] == [0.25, 0.75]
    assert json.loads(shares["parameters"]["classes"]) == ["no", "yes"]


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([tensor("a", "FP64", [1])], "column 'n': found no such column; expected one of each"),
        ([tensor("a", "FP64", [1]), tensor("n", "INT64", [1, 2])], "found 1 in 'a', 2 in 'n'; expected columns of one"),
        ([tensor("a", "FP64", [1]), tensor("n", "INT64", [None])], "row 0, column 'n': found null; expected a value"),
        ([tensor("a", "FP64", ["x"]), tensor("n", "INT64", [1])], "column 'a': found the text 'x'; expected a number"),
        ([tensor("a", "FP99", [1])], "column 'a': found the datatype the text 'FP99'; expected one of BOOL"),
        ([tensor("a", "FP64", [1], [2])], "column 'a': found 1 values; expected 2, as the shape [2] says"),
        ([tensor("a", "FP64", [1], [1, 1, 1])], "expected [rows] or [rows, columns]"),
        ([tensor("a", "FP64", [1], [10**3000] * 2)], "column 'a': found the shape an array; expected [rows] or [rows"),
        ([5], "found the number 5; expected an object with 'name'"),
    ],
)
def test_a_misfit_names_row_and_column(pair: Live, inputs: list[Any], message: str) -> None:
    status, _, answer = infer(pair, "pair", inputs=inputs)
    assert (status, message in answer["error"]) == (422, True), answer


@pytest.mark.parametrize(
    ("length", "binary", "size", "expected"),
    [("0x1", b"", 8, 400), ("999999", b"", 8, 400), (None, b"\0" * 8, 9, 422), (None, b"\0" * 7, 7, 422)],
)
def test_a_binary_tensor_that_is_cut_off_is_refused(
    pair: Live, length: str | None, binary: bytes, size: int, expected: int
) -> None:
    described = {"name": "a", "datatype": "FP64", "shape": [1], "parameters": {"binary_data_size": size}}
    head = json.dumps({"inputs": [described]}).encode()
    headers = {"Inference-Header-Content-Length": length or str(len(head))}
    assert call(pair, "POST", "/v2/models/pair/infer", head + binary, **headers)[0] == expected


def test_a_binary_text_with_a_wild_length_is_refused(greeting: Live) -> None:
    binary = struct.pack("<I", 2**32 - 1) + b"x"
    described = {"name": "word", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": len(binary)}}
    head = json.dumps({"inputs": [described]}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))}
    status, _, answer = call(greeting, "POST", "/v2/models/greeting/infer", head + binary, **headers)
    assert (status, "found a text of 4294967295 bytes" in answer["error"]) == (422, True)


@pytest.mark.parametrize(
    "body",
    [
        {"dataframe_split": {"columns": ["n", "a"], "data": [[1, 0.5], [2, 1]]}},
        {"dataframe_split": {"columns": ["a", "n"], "index": [0, 1], "data": [[0.5, 1], [1, 2]]}},
        {"dataframe_records": [{"a": 0.5, "n": 1}, {"n": 2, "a": 1}]},
        {"instances": [[0.5, 1], [1, 2]]},
        {"instances": [{"a": 0.5, "n": 1}, {"a": 1, "n": 2}], "params": {}},
        {"inputs": [[0.5, 1], [1, 2]]},
        {"inputs": {"a": [0.5, 1], "n": [1, 2]}},
    ],
)
def test_mlflows_forms_are_predicted(pair: Live, body: Any) -> None:
    status, headers, answer = call(pair, "POST", "/invocations", body)
    assert (status, answer) == (200, {"predictions": [1.5, 3.0]})
    assert headers["x-prediction-id"].startswith("pair@v1.0.0:")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ([], "found an array; expected an object with one of dataframe_split"),
        ({}, "found no key; expected exactly one of"),
        ({"inputs": [], "instances": []}, "found 'inputs', 'instances'; expected exactly one of"),
        ({"dataframe_split": {"columns": ["a"], "data": [[1, 2]]}}, "row 0: found an array; expected an array of 1"),
        ({"dataframe_split": {"columns": ["a", "a"], "data": []}}, "found 'columns' that are not different names"),
        ({"instances": 5}, "found the number 5; expected an array of rows"),
        ({"inputs": {"a": 5}}, "column 'a': found the number 5; expected an array of values"),
    ],
)
def test_a_misfit_in_mlflows_forms_is_named(pair: Live, body: Any, message: str) -> None:
    status, _, answer = call(pair, "POST", "/invocations", body)
    assert (status, message in answer["error"]) == (422, True), answer


ARROW, PARQUET = "application/vnd.apache.arrow.stream", "application/vnd.apache.parquet"


def as_arrow(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def as_parquet(table: pa.Table) -> bytes:
    file = io.BytesIO()
    pq.write_table(table, file)
    return file.getvalue()


@pytest.mark.parametrize(("kind", "write"), [(ARROW, as_arrow), (PARQUET, as_parquet)])
def test_a_table_is_predicted(pair: Live, kind: str, write: Any) -> None:
    table = pa.table({"n": pa.array(range(50_000), pa.int32()), "a": np.full(50_000, 0.5)})
    connection = http.client.HTTPConnection("127.0.0.1", pair.port, timeout=20)
    connection.request("POST", "/api/predict", write(table), {"content-type": kind})
    response = connection.getresponse()
    assert (response.status, response.headers["content-type"]) == (200, ARROW)
    with pa.ipc.open_stream(response.read()) as reader:
        answer = reader.read_all()
    connection.close()
    assert answer.column("prediction").to_pylist() == [number + 0.5 for number in range(50_000)]
    assert answer.schema.metadata[b"version"] == b"1.0.0"
    assert call(pair, "POST", "/api/predict", write(table[:1]), **{"content-type": kind, "accept": "application/json"})[
        2
    ]["outputs"] == [0.5]


@pytest.mark.parametrize(
    ("body", "expected", "message"),
    [
        (b"no table", 400, "the body is not the table it says it is"),
        (as_arrow(pa.table({"a": [1.0]})), 422, "column 'n': found no such column"),
        (as_arrow(pa.table({"a": [1.0], "n": pa.array([None], pa.int64())})), 422, "row 0, column 'n': found null"),
        (as_arrow(pa.table({"a": [float("inf")], "n": [1]})), 422, "row 0, column 'a': found Infinity"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(pair: Live, body: bytes, expected: int, message: str) -> None:
    status, _, answer = call(pair, "POST", "/api/predict", body, **{"content-type": ARROW})
    assert (status, message in answer["error"]) == (expected, True), answer


def damaged(body: bytes) -> Iterator[bytes]:
    """Yield a body cut off at each place, and with each byte changed in turn."""
    for place in range(len(body)):
        yield body[:place]
        yield body[:place] + bytes([body[place] ^ 0xFF]) + body[place + 1 :]


WORDS = pa.table({"word": pa.array(["a", "b", "a"]).dictionary_encode()})


@pytest.mark.parametrize(
    ("kind", "body"),
    [(ARROW, as_arrow(WORDS)), (PARQUET, as_parquet(WORDS)), (ARROW, as_arrow(pa.table({"word": ["é", None]})))],
    ids=["arrow", "parquet", "plain"],
)
def test_a_damaged_table_is_refused_and_kills_nobody(greeting: Live, kind: str, body: bytes) -> None:
    """One that was not validated first made PyArrow look for a dictionary that is not there, and the process end."""
    headers = {"content-type": kind, "accept": "application/json"}
    statuses = set()
    with closing(http.client.HTTPConnection("127.0.0.1", greeting.port, timeout=20)) as connection:
        for each in damaged(body):
            connection.request("POST", "/api/predict", each, headers)
            response = connection.getresponse()
            response.read()
            statuses.add(response.status)
    assert {200, 400} <= statuses <= {200, 400, 413, 422}
    assert greeting.process.poll() is None


@pytest.mark.parametrize("write", [as_arrow, as_parquet])
def test_a_column_of_times_that_no_calendar_has_is_named(start: Start, tmp_path: Path, write: Any) -> None:
    signature = Signature("regression", (Input("at", "datetime"),))
    live = start(write_bundle(tmp_path / "b", signature=signature, graph=sum_graph(1)))
    body = write(pa.table({"at": pa.array([10**17], pa.timestamp("ms"))}))
    kind = ARROW if write is as_arrow else PARQUET
    status, _, answer = call(live, "POST", "/api/predict", body, **{"content-type": kind})
    assert (status, answer["problems"][0]["column"]) == (422, "at")
    assert "found values of timestamp[ms] that cannot be read (" in answer["error"]
    assert "expected numbers, texts in UTF-8, and times of the years 1 to 9999" in answer["error"]


def test_the_interface_describes_itself(pair: Live) -> None:
    described = call(pair, "GET", "/openapi.json")[2]
    assert described["components"]["schemas"]["Record"]["required"] == ["a", "n"]
    assert {"/api/predict", "/invocations", "/v2/models/{model}/infer"} <= set(described["paths"])
    status, headers, page = call(pair, "GET", "/docs")
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "http://" not in page
    assert "https://" not in page
