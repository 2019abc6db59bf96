from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pipeline.serving.process.workers import child_environment
from tests.serving.bundles import GREETING, is_equal_graph, write_bundle
from tests.serving.conftest import Live, Start

BODY = b'{"inputs": [[0.14]]}'
REQUEST = b"POST /api/predict HTTP/1.1\r\nhost: x\r\ncontent-length: 20\r\n\r\n" + BODY


def call(live: Live, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, dict[str, str], Any]:
    with closing(http.client.HTTPConnection("127.0.0.1", live.port, timeout=20)) as connection:
        content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        connection.request(method, path, content, headers)
        response = connection.getresponse()
        text = response.read()
        is_json = response.headers["content-type"] == "application/json" and text
        return response.status, dict(response.headers), json.loads(text) if is_json else text.decode()


def predict(live: Live, body: Any) -> tuple[int, dict[str, str], Any]:
    return call(live, "POST", "/api/predict", body)


def connect(live: Live) -> socket.socket:
    return socket.create_connection(("127.0.0.1", live.port), timeout=20)


def connect_for_ever(live: Live) -> None:
    while True:
        connect(live).close()


def read_answers(connection: socket.socket, count: int) -> bytes:
    received = b""
    while received.count(b'"outputs"') < count or not received.endswith(b"}"):
        chunk = connection.recv(65536)
        if not chunk:
            break
        received += chunk
    return received


def test_a_row_is_predicted_with_its_version_and_id(line: Live) -> None:
    status, headers, answer = predict(line, {"inputs": [[0.14]]})
    assert status == 200
    assert answer == {"outputs": [1.28], "model": "line", "version": "1.0.0", "id": answer["id"]}
    assert headers["x-model-version"] == "1.0.0"
    assert headers["x-prediction-id"] == answer["id"]


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [([], []), ([{"x": 1}], [3.0]), ([[0], [1.0]], [1.0, 3.0]), ([[i] for i in range(20_000)], None)],
    ids=["none", "record", "two", "off the event loop"],
)
def test_any_number_of_rows_is_predicted(line: Live, inputs: list[Any], outputs: list[float] | None) -> None:
    status, _, answer = predict(line, {"inputs": inputs})
    assert status == 200
    assert answer["outputs"] == (outputs if outputs is not None else [2.0 * i + 1 for i in range(20_000)])


@pytest.mark.parametrize(
    ("body", "expected_status", "message"),
    [
        (b"{", 400, "the body is not JSON"),
        (b'{"inputs": [["\xff"]]}', 400, "the body is not UTF-8"),
        (b"[" * 200_000, 400, "nested too deeply"),
        (b'{"inputs": [["1"]]}', 422, "row 0, column 'x': found the text '1'; expected a number"),
        (b" " * (16 * 2**20 + 1), 413, "found a body of more than 16777216 bytes; expected at most that"),
    ],
    ids=["malformed", "not utf-8", "deep", "misfit", "large"],
)
def test_a_bad_body_is_refused_in_json(line: Live, body: bytes, expected_status: int, message: str) -> None:
    status, headers, answer = predict(line, body)
    assert status == expected_status
    assert message in answer["error"]
    assert headers["x-prediction-id"] == answer["id"]


def test_of_a_repeated_key_the_last_one_counts(line: Live) -> None:
    assert predict(line, b'{"inputs": [{"x": 1, "x": 2}]}')[2]["outputs"] == [5.0]
    assert predict(line, b'{"inputs": [{"x": 1, "x": "2"}]}')[0] == 422
    assert predict(line, b'{"inputs": [[1]], "inputs": [[2], [3]]}')[2]["outputs"] == [5.0, 7.0]


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("/api/predict", b'{"inputs": [[1], [1, 2], []]}', "row 1: found 2 values; expected an array of 1: x; row 2"),
        ("/api/predict", b'{"inputs": [[1], {"x": 2}]}', "row 1: found an object; expected an array of 1: x"),
        ("/api/predict", b'{"inputs": [{"x": 1}, {}]}', "row 1, column 'x': found no such key; expected a value"),
        ("/invocations", b'{"dataframe_split": {"columns": ["x"], "data": [[1], [1, 2]]}}', "row 1: found an array"),
        ("/invocations", b'{"instances": [[1], 2]}', "row 1: found the number 2; expected an array of 1: x"),
    ],
)
def test_ragged_rows_are_each_named(line: Live, path: str, body: bytes, message: str) -> None:
    status, _, answer = call(line, "POST", path, body)
    assert (status, message in answer["error"]) == (422, True), answer


def test_problems_are_given_as_data_too(line: Live) -> None:
    _, _, answer = predict(line, {"inputs": [[None]]})
    expected = "a value (the column is not nullable)"
    assert answer["problems"] == [{"found": "null", "expected": expected, "row": 0, "column": "x"}]


def test_a_huge_declared_body_is_refused_before_it_is_sent(line: Live) -> None:
    with connect(line) as connection:
        connection.sendall(b"POST /api/predict HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999\r\n\r\n{")
        assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")


def test_a_chunked_body_is_measured_while_it_streams(line: Live) -> None:
    with connect(line) as connection:
        connection.sendall(b"POST /api/predict HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        chunk = b"100000\r\n" + b" " * 2**20 + b"\r\n"
        for _ in range(17):
            connection.sendall(chunk)
        connection.sendall(b"0\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    ("method", "path", "expected_status", "message"),
    [
        ("GET", "/nothing", 404, "found no /nothing; expected one of /api/predict, "),
        ("GET", "/api/predict", 405, "/api/predict: found GET; expected POST"),
        ("POST", "/healthz", 405, "/healthz: found POST; expected GET, HEAD"),
    ],
)
def test_a_wrong_path_or_method_says_what_is_right(
    line: Live, method: str, path: str, expected_status: int, message: str
) -> None:
    status, _, answer = call(line, method, path)
    assert status == expected_status
    assert message in answer["error"]


def test_what_is_not_http_is_refused_in_json_too(line: Live) -> None:
    with connect(line) as connection:
        connection.sendall(b"what?\r\n\r\n")
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert json.loads(body) == {"error": "found no valid HTTP request; expected HTTP/1.1"}


def test_probes_and_version_answer(line: Live) -> None:
    assert call(line, "GET", "/healthz")[2] == {"status": "alive"}
    assert call(line, "GET", "/readyz")[2] == {"status": "ready"}
    expected = {"model": "line", "version": "1.0.0", "tag": "line@v1.0.0", "data_commit": "abc"}
    assert call(line, "GET", "/version")[2] == expected
    assert call(line, "HEAD", "/healthz")[0] == 200
    index = call(line, "GET", "/")[2]
    assert index["inputs"] == [{"name": "x", "type": "float", "nullable": False}]
    assert predict(line, index["example"])[2]["outputs"] == [2.0]


def test_classes_and_probabilities_are_answered(start: Start, tmp_path: Path) -> None:
    live = start(write_bundle(tmp_path / "b", signature=GREETING, graph=is_equal_graph("hello")))
    _, _, answer = predict(live, {"inputs": [{"word": " HELLO "}, [""]][:1], "probabilities": True})
    assert (answer["outputs"], answer["probabilities"]) == (["yes"], [[0.25, 0.75]])
    assert answer["classes"] == ["no", "yes"]
    assert not {"probabilities", "classes"} & predict(live, {"inputs": [["x"], [None]]})[2].keys()


def test_requests_are_counted_and_logged(start: Start, tmp_path: Path) -> None:
    live = start(write_bundle(tmp_path / "b"))
    _, _, answer = predict(live, {"inputs": [[1], [2]]})
    predict(live, b"{")
    metrics = call(live, "GET", "/metrics")[2]
    labels = 'model="line",track="live",version="1.0.0"'
    assert 'ml_inference_requests_total{model="line",status="200",track="live",version="1.0.0"} 1.0' in metrics
    assert 'ml_inference_requests_total{model="line",status="400",track="live",version="1.0.0"} 1.0' in metrics
    assert f"ml_inference_in_flight{{{labels}}} 0.0" in metrics
    assert f'ml_inference_duration_seconds_bucket{{le="0.00025",{labels}}}' in metrics
    assert f"ml_inference_duration_seconds_count{{{labels}}} 2.0" in metrics
    lines = [json.loads(each) for each in live.log.read_text().splitlines()]
    assert [(each["http.response.status_code"], each["modelrail.rows"]) for each in lines] == [(200, 2), (400, 0)]
    assert lines[0]["http.request.id"] == answer["id"]
    assert lines[0]["event.duration"] > 0
    assert "the body is not JSON" in lines[1]["error.message"]


def test_a_connection_is_kept_for_many_requests(line: Live) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", line.port, timeout=20)) as connection:
        for _ in range(50):
            connection.request("POST", "/api/predict", BODY)
            assert connection.getresponse().read().startswith(b'{"outputs":[1.28]')


def test_pipelined_requests_are_answered_in_order(line: Live) -> None:
    bodies = [b'{"inputs": [[%d]]}' % number for number in range(10)]
    head = b"POST /api/predict HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n"
    with connect(line) as connection:
        connection.sendall(b"".join(head % len(each) + each for each in bodies))
        received = read_answers(connection, 10)
    outputs = [json.loads(part.partition(b"]")[0] + b"]")[0] for part in received.split(b'"outputs":')[1:]]
    assert outputs == [2.0 * number + 1 for number in range(10)]


def test_a_caller_that_closes_its_sending_side_is_answered(line: Live) -> None:
    with connect(line) as connection:
        connection.sendall(REQUEST)
        connection.shutdown(socket.SHUT_WR)
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    assert b'"outputs":[1.28]' in received


def test_pipelined_requests_are_all_answered_after_a_half_close(line: Live) -> None:
    with connect(line) as connection:
        connection.sendall(REQUEST * 5)
        connection.shutdown(socket.SHUT_WR)
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    assert received.count(b'"outputs":[1.28]') == 5


def test_a_caller_that_sends_byte_by_byte_is_answered(line: Live) -> None:
    with connect(line) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in REQUEST:
            connection.sendall(bytes([byte]))
        assert b'"outputs":[1.28]' in read_answers(connection, 1)


def test_a_caller_that_leaves_in_the_middle_harms_nobody(line: Live) -> None:
    for _ in range(20):
        with connect(line) as connection:
            connection.sendall(REQUEST[:-5])
    assert predict(line, BODY)[0] == 200


def test_probes_answer_while_a_large_body_is_computed(line: Live) -> None:
    body = b'{"inputs": [' + b"[1.5]," * 1_500_000 + b"[1.5]]}"
    answers: list[int] = []
    caller = threading.Thread(target=lambda: answers.append(predict(line, body)[0]))
    began = time.perf_counter()
    caller.start()
    waits = []
    while caller.is_alive():
        started = time.perf_counter()
        assert call(line, "GET", "/readyz")[0] == 200
        waits.append(time.perf_counter() - started)
    caller.join()
    assert answers == [200]
    assert max(waits) < (time.perf_counter() - began) / 2


def test_sigterm_answers_what_is_in_flight_and_ends_with_success(start: Start, tmp_path: Path) -> None:
    live = start(write_bundle(tmp_path / "b"))
    assert predict(live, BODY)[0] == 200
    with connect(live) as connection:
        connection.sendall(REQUEST[:-5])
        assert call(live, "GET", "/readyz")[0] == 200  # the server has surely taken the other connection by now
        live.process.send_signal(signal.SIGTERM)
        with pytest.raises(OSError, match=r"refused|reset"):
            connect_for_ever(live)
        connection.sendall(REQUEST[-5:])
        assert b'"outputs":[1.28]' in read_answers(connection, 1)
    assert live.process.wait(10) == 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_caller_that_keeps_its_connection_loses_nothing_when_the_server_ends(
    start: Start, tmp_path: Path, workers: str
) -> None:
    live = start(write_bundle(tmp_path / "v1"), "--workers", workers)
    lost: list[Exception] = []
    answered = threading.Semaphore(0)

    def ask() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", live.port, timeout=20)
        with closing(connection):
            while True:
                try:
                    connection.request("POST", "/api/predict", BODY)
                    answer = connection.getresponse()
                    answer.read()
                    answered.release()
                    if answer.will_close:  # told to go: the next connection is another server's
                        return
                except (OSError, http.client.HTTPException) as error:
                    lost.append(error)
                    return

    callers = [threading.Thread(target=ask, daemon=True) for _ in range(8)]
    for each in callers:
        each.start()
    for _ in range(200):
        assert answered.acquire(timeout=20)
    live.process.send_signal(signal.SIGTERM)
    for each in callers:
        each.join(20)
        assert not each.is_alive()
    assert live.process.wait(20) == 0
    assert lost == []


def test_several_workers_share_port_and_counts(start: Start, tmp_path: Path) -> None:
    live = start(write_bundle(tmp_path / "b"), "--workers", "2")
    for _ in range(20):
        assert predict(live, BODY)[0] == 200
    counted = 'ml_inference_requests_total{model="line",status="200",track="live",version="1.0.0"} 20.0'
    assert counted in call(live, "GET", "/metrics")[2]
    live.process.terminate()
    assert live.process.wait(20) == 0


def test_a_bundle_that_cannot_be_served_ends_the_server_with_a_message(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pipeline.serving.process.server", "--bundle", str(tmp_path), "--port", "0"]
    ended = subprocess.run(command, capture_output=True, text=True, env=child_environment(), check=False)
    assert ended.returncode == 1
    assert ended.stderr == f"{tmp_path}/release.json: found no such file; expected a release bundle\n"
