from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from pipeline.model.signature import Input, Signature
from pipeline.serving.http.application import Application
from pipeline.serving.inference.fleet import Fleet, serve
from pipeline.serving.observing.metrics import IN_FLIGHT, Meters
from pipeline.serving.scoring.model import load_model
from pipeline.serving.settings import Settings
from tests.serving.bundles import make_model, numbers_input, prediction_output, write_bundle

BODY = b'{"inputs": [[1]]}'


@pytest.fixture
def log() -> Iterator[int]:
    """Yield a place for log lines."""
    descriptor = os.memfd_create("log")
    yield descriptor
    os.close(descriptor)


def fleet(bundle: Path, meters: Meters) -> Fleet:
    return Fleet([serve(load_model(bundle), meters)])


def make(bundle: Path, log: int, settings: Settings | None = None, meters: Meters | None = None) -> Application:
    meters = meters or Meters(None, 0, {})
    return Application(fleet(bundle, meters), meters, settings, log)


def part(body: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


def scope(headers: Sequence[tuple[bytes, bytes]] = ()) -> dict[str, Any]:
    return {"type": "http", "method": "POST", "path": "/api/predict", "headers": headers}


async def ask(
    application: Application, parts: Sequence[dict[str, Any]], headers: Sequence[tuple[bytes, bytes]] = ()
) -> tuple[int, dict[bytes, bytes], Any]:
    """Send the parts of a request and then nothing more; give what was answered."""
    waiting, sent = list(parts), []

    async def receive() -> dict[str, Any]:
        return waiting.pop(0) if waiting else await asyncio.get_running_loop().create_future()

    async def send(message: Any) -> None:
        sent.append(message)

    await application(scope(headers), receive, send)
    if not sent:
        return 0, {}, None
    return sent[0]["status"], dict(sent[0]["headers"]), json.loads(sent[1]["body"])


def lines(log: int) -> list[dict[str, Any]]:
    return [json.loads(each) for each in os.pread(log, 10**6, 0).splitlines()]


def test_a_body_that_does_not_arrive_in_time_is_refused(tmp_path: Path, log: int) -> None:
    application = make(write_bundle(tmp_path / "b"), log, Settings(body_timeout_s=0.01))
    status, headers, answer = asyncio.run(ask(application, [part(b"{", more=True)]))
    assert (status, headers[b"connection"]) == (408, b"close")
    assert answer["error"] == "found an incomplete body; expected it within 0.01 s"


@pytest.mark.parametrize(
    ("parts", "headers"),
    [
        ([part(b" " * 11)], []),
        ([part(b" " * 6, more=True), part(b" " * 5)], []),
        ([part(b" " * 9, more=True)] * 5, []),
        ([part(b"", more=True)], [(b"content-length", b"41")]),
    ],
    ids=["whole", "in parts", "endless", "declared"],
)
def test_a_body_beyond_the_limit_is_refused(tmp_path: Path, log: int, parts: Any, headers: Any) -> None:
    application = make(write_bundle(tmp_path / "b"), log, Settings(max_body_bytes=10))
    status, _, answer = asyncio.run(ask(application, parts, headers))
    assert status == 413
    assert answer["error"] == "found a body of more than 10 bytes; expected at most that (send fewer rows)"


def test_a_caller_that_leaves_is_logged_and_no_longer_in_flight(tmp_path: Path, log: int) -> None:
    meters = Meters(None, 0, {})
    application = make(write_bundle(tmp_path / "b"), log, meters=meters)
    assert asyncio.run(ask(application, [part(b"{", more=True), {"type": "http.disconnect"}])) == (0, {}, None)
    assert [each["http.response.status_code"] for each in lines(log)] == [499]
    assert memoryview(meters.of("line", "1.0.0").read()).cast("d")[IN_FLIGHT] == 0


def test_rows_that_the_graph_cannot_compute_are_a_500_without_a_word_of_its_inside(tmp_path: Path, log: int) -> None:
    """The graph gathers from a table of two; another index fails while it runs."""
    table = [numpy_helper.from_array(np.array([1.0, 2.0]), "table"), numpy_helper.from_array(np.array([-1]), "flat")]
    nodes = [
        helper.make_node("Cast", ["numbers"], ["index"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "index"], ["found"]),
        helper.make_node("Reshape", ["found", "flat"], ["prediction"]),
    ]
    graph = make_model(nodes, [numbers_input(1)], [prediction_output(TensorProto.DOUBLE)], table)
    signature = Signature("regression", (Input("x", "float"),), None, {"x": 1.0})
    application = make(write_bundle(tmp_path / "b", signature=signature, graph=graph), log)
    status, _, answer = asyncio.run(ask(application, [part(b'{"inputs": [[7]]}')]))
    assert (status, answer["error"]) == (500, "the model could not predict these rows")
    assert "Gather" in lines(log)[0]["error.message"]


def test_a_swap_is_seen_by_the_next_request(tmp_path: Path, log: int) -> None:
    meters = Meters(None, 0, {})
    old, new = (write_bundle(tmp_path / str(n), version=f"{n}.0.0", slope=float(n)) for n in (2, 3))
    application = make(old, log, meters=meters)
    before = asyncio.run(ask(application, [part(BODY)]))[2]
    application.swap(fleet(new, meters))
    after = asyncio.run(ask(application, [part(BODY)]))[2]
    assert (before["outputs"], before["version"], after["outputs"], after["version"]) == (
        [3.0],
        "2.0.0",
        [4.0],
        "3.0.0",
    )
    assert set(meters.known) == {("line", "2.0.0", "live"), ("line", "3.0.0", "live")}


def test_a_request_in_flight_ends_with_the_model_it_began_with(tmp_path: Path, log: int) -> None:
    old, new = (write_bundle(tmp_path / str(n), version=f"{n}.0.0", slope=float(n)) for n in (2, 3))
    application = make(old, log)

    async def swap_in_the_middle() -> Any:
        asking = asyncio.create_task(ask(application, [part(BODY[:5], more=True), part(BODY[5:])]))
        await asyncio.sleep(0)
        application.swap(fleet(new, Meters(None, 0, {})))
        return (await asking)[2]

    assert asyncio.run(swap_in_the_middle())["version"] == "2.0.0"


def test_while_it_drains_callers_are_asked_to_reconnect(tmp_path: Path, log: int) -> None:
    application = make(write_bundle(tmp_path / "b"), log)
    application.draining = True
    status, headers, _ = asyncio.run(ask(application, [part(BODY)]))
    assert (status, headers[b"connection"]) == (200, b"close")


def test_a_log_that_cannot_be_written_stops_no_prediction(tmp_path: Path) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    application = make(write_bundle(tmp_path / "b"), full)
    assert asyncio.run(ask(application, [part(BODY)]))[0] == 200
    os.close(full)
