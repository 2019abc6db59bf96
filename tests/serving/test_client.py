from __future__ import annotations

import json
import math
import shlex
import socket
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import DataError, DeploymentError, TransientError
from pipeline.serving.client import abbreviate, curl_line, predict
from pipeline.serving.process.workers import listen
from tests.serving.bundles import GREETING, is_equal_graph, write_bundle
from tests.serving.conftest import Live, Start


@pytest.mark.parametrize(
    ("records", "outputs"),
    [({"x": 0.14}, (1.28,)), ([0.14], (1.28,)), ([{"x": 0}, {"x": 1}], (1.0, 3.0)), ([[0], [1]], (1.0, 3.0)), ([], ())],
)
def test_one_record_or_several_are_predicted(line: Live, records: Any, outputs: tuple[float, ...]) -> None:
    answer = predict(line.address, records)
    assert answer.outputs == outputs
    assert (answer.model, answer.version, answer.id.partition(":")[0]) == ("line", "1.0.0", "line@v1.0.0")


def test_probabilities_are_given_when_asked_for(start: Start, tmp_path: Path) -> None:
    live = start(write_bundle(tmp_path / "b", signature=GREETING, graph=is_equal_graph("hello")))
    answer = predict(live.address, {"word": "hello"}, probabilities=True)
    assert (answer.outputs, answer.probabilities) == (("yes",), ((0.25, 0.75),))
    assert answer.classes == ("no", "yes")


def test_the_curl_line_asks_the_same(line: Live) -> None:
    words = shlex.split(curl_line(line.address, {"x": 0.14}))
    assert words[0] == "curl"
    assert json.loads(subprocess.run(words, capture_output=True, check=True).stdout)["outputs"] == [1.28]


def test_a_record_that_is_too_long_for_a_line_is_fetched_from_the_server(start: Start, tmp_path: Path) -> None:
    long = {"word": "hello" * 2000}
    signature = replace(GREETING, example=long)
    live = start(write_bundle(tmp_path / "b", signature=signature, graph=is_equal_graph(long["word"])))
    line = curl_line(live.address, long)
    assert len(line) < 400
    answer = subprocess.run(["bash", "-c", line], capture_output=True, check=True).stdout
    assert json.loads(answer)["outputs"] == ["yes"]


def test_a_record_is_shown_without_the_bulk_of_an_image() -> None:
    assert abbreviate({"x": 1.5, "kind": "a", "image": "iVBO" * 100}) == {
        "x": 1.5, "kind": "a", "image": "iVBO" * 10 + "… (400 characters)"
    }  # fmt: skip
    assert abbreviate([1, "y" * 300]) == [1, "y" * 300]


def test_the_curl_line_is_safe_for_the_shell() -> None:
    record = {"name": 'O\'Hara $(ls) `ls` "é"'}
    assert json.loads(shlex.split(curl_line("http://127.0.0.1:1", record))[-1]) == {"inputs": [record]}


@pytest.mark.parametrize("value", ["text", None, math.nan])
def test_a_record_that_does_not_fit_is_a_data_error(line: Live, value: Any) -> None:
    with pytest.raises(DataError, match=r"row 0, column 'x': found .*; expected a"):
        predict(line.address, {"x": value})


def test_nobody_listening_is_worth_another_try() -> None:
    with listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(
        TransientError, match=f"127.0.0.1:{port}: found Connection refused; expected a prediction server"
    ):
        predict(f"http://127.0.0.1:{port}", {"x": 1})


def test_a_silent_server_is_worth_another_try() -> None:
    with listen("127.0.0.1", 0) as listener, pytest.raises(TransientError, match=r"found no answer within 0\.1 s"):
        predict(f"http://127.0.0.1:{listener.getsockname()[1]}", {"x": 1}, timeout_s=0.1)


def test_another_kind_of_server_is_told_apart() -> None:
    import threading

    def answer(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\nno")

    with listen("127.0.0.1", 0) as listener:
        thread = threading.Thread(target=answer, args=(listener,))
        thread.start()
        with pytest.raises(DeploymentError, match="found status 404 without JSON; expected a prediction server"):
            predict(f"http://127.0.0.1:{listener.getsockname()[1]}", {"x": 1})
        thread.join()


def test_an_address_without_a_scheme_is_refused() -> None:
    with pytest.raises(DeploymentError, match=r"found the address '127\.0\.0\.1:8080'; expected one such as http"):
        predict("127.0.0.1:8080", {"x": 1})
