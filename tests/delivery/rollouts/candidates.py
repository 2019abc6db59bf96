"""Releases that are worse than slope · x + 1 for x from 0 to 1, each in its own way; and a client that never stops."""

from __future__ import annotations

import http.client
import json
import os
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.serving.bundles import line_graph, make_model, numbers_input, prediction_output

SLOPE = 2.0


def erring_graph(share: float = 0.05) -> onnx.ModelProto:
    """As the line, but without end for that share of the inputs: such a request is refused."""
    model = line_graph(SLOPE)
    tensors = {"bound": 1 - share, "endless": np.inf}
    model.graph.initializer.extend(numpy_helper.from_array(np.array([value]), name) for name, value in tensors.items())
    scale, move, cast, reshape = model.graph.node
    bad = helper.make_node("Greater", ["numbers", "bound"], ["is_bad"])
    choose = helper.make_node("Where", ["is_bad", "endless", "moved"], ["answered"])
    rest = [onnx.NodeProto.FromString(each.SerializeToString()) for each in (cast, reshape)]
    rest[0].input[0] = "answered"
    first = [onnx.NodeProto.FromString(each.SerializeToString()) for each in (scale, move)]
    del model.graph.node[:]
    model.graph.node.extend([*first, bad, choose, *rest])
    return model


def slow_graph(size: int = 500) -> onnx.ModelProto:
    """As the line, after some ten milliseconds of multiplications."""
    tensors = [
        numpy_helper.from_array(np.full((size, size), 1e-3, np.float32), "matrix"),
        numpy_helper.from_array(np.array([SLOPE]), "slope"),
        numpy_helper.from_array(np.array([1.0]), "one"),
        numpy_helper.from_array(np.array([0.0], np.float32), "nought"),
        numpy_helper.from_array(np.array([-1]), "flat"),
    ]
    nodes = [
        helper.make_node("ReduceSum", ["numbers"], ["total"], keepdims=0),
        helper.make_node("Cast", ["total"], ["single_total"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["matrix", "single_total"], ["first"]),
        helper.make_node("MatMul", ["first", "matrix"], ["second"]),
        helper.make_node("MatMul", ["second", "matrix"], ["third"]),
        helper.make_node("ReduceMax", ["third"], ["most"], keepdims=0),
        helper.make_node("Mul", ["most", "nought"], ["nothing"]),
        helper.make_node("Mul", ["numbers", "slope"], ["scaled"]),
        helper.make_node("Add", ["scaled", "one"], ["moved"]),
        helper.make_node("Cast", ["moved"], ["single"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["single", "nothing"], ["sum"]),
        helper.make_node("Reshape", ["sum", "flat"], ["prediction"]),
    ]
    return make_model(nodes, [numbers_input(1)], [prediction_output()], tensors)


@dataclass
class Client:
    """What a client that never stops was answered.

    Attributes
    ----------
    statuses : Counter
        Status → requests.
    dropped : list of str
        What went wrong with requests that were not answered.
    versions : Counter
        Version → requests that it answered with success.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    dropped: list[str] = field(default_factory=list)
    versions: Counter[str] = field(default_factory=Counter)


def _key() -> dict[str, str]:
    key = os.environ.get("MODELRAIL_API_KEY")
    return {"x-api-key": key} if key else {}


@contextmanager
def asking(address: Callable[[], str] | str, threads: int = 2) -> Iterator[Client]:
    """Ask about random numbers, some 300 times a second, until the block ends; each has a connection of its own."""
    client, over, lock = Client(), threading.Event(), threading.Lock()

    def ask() -> None:
        url = urlsplit(address if isinstance(address, str) else address())
        while not over.is_set():
            connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=30)
            try:
                connection.request("POST", "/api/predict", json.dumps({"inputs": [[random.random()]]}), _key())
                answer = connection.getresponse()
                body = answer.read()
                with lock:
                    client.statuses[answer.status] += 1
                    if answer.status == 200:
                        client.versions[json.loads(body)["version"].removeprefix("v")] += 1
            except (OSError, http.client.HTTPException) as error:
                with lock:
                    client.dropped.append(repr(error))
            finally:
                connection.close()
            over.wait(0.005)  # the processor is for what is tested

    running = [threading.Thread(target=ask, daemon=True) for _ in range(threads)]
    for each in running:
        each.start()
    try:
        yield client
    finally:
        over.set()
        for each in running:
            each.join()
