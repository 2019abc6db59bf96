"""Nothing that the package loads tells its makers what runs on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

# What suppresses it anyway, wherever tests run.
_HIDING = ("CI", "ORT_DISABLE_TELEMETRY", "MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK", "PYTEST_CURRENT_TEST")
_RUN_A_GRAPH = """
import pipeline.model.graphs
import onnx, onnxruntime
from onnx import helper as make
value = lambda name: make.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None])
graph = make.make_graph([make.make_node("Identity", ["x"], ["y"])], "g", [value("x")], [value("y")])
model = make.make_model(graph, opset_imports=[make.make_opsetid("", 17)], ir_version=9)
onnxruntime.InferenceSession(model.SerializeToString())
"""


def test_a_graph_leaves_no_identifier_of_the_machine(tmp_path: Path) -> None:
    """ONNX Runtime names the machine in a file before it sends anything."""
    environment = {name: value for name, value in os.environ.items() if name not in _HIDING}
    environment |= {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    subprocess.run([sys.executable, "-c", _RUN_A_GRAPH], env=environment, check=True)
    assert not [each for each in tmp_path.rglob("*") if "Microsoft" in each.parts]


def test_mlflow_sends_nothing() -> None:
    environment = {name: value for name, value in os.environ.items() if name not in _HIDING}
    script = "import pipeline; from mlflow.telemetry.utils import is_telemetry_disabled as off; assert off()"
    subprocess.run([sys.executable, "-c", script], env=environment, check=True)
