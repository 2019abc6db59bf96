"""A trainer as a user may write it: least squares in NumPy, or one step towards classes; with ways to go wrong."""

import json
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pyarrow.parquet as pq
from onnx import TensorProto, helper, numpy_helper

job = json.loads(Path("job.json").read_text())
params = job["params"]
table = pq.read_table("train.parquet")
features = np.stack([table[name].to_numpy() for name in job["features"]], axis=1)
target = table[job["target"]].to_numpy()
assert features.dtype == np.float32
print("numpy", np.__version__, flush=True)

if params.get("fail") == "exit":
    sys.exit("no such luck")
if params.get("fail") == "kill":
    os.kill(os.getpid(), signal.SIGKILL)
if params.get("fail") == "sleep":
    if os.fork():
        time.sleep(600)
    time.sleep(600)  # the child too must end

features = np.nan_to_num(features)
rows = np.concatenate([features, np.ones((len(features), 1))], axis=1)
weights = np.sqrt(table[job["weight"]].to_numpy())[:, None] if job["weight"] else 1
goals = np.eye(len(job["classes"]))[target] * 4 if job["classes"] else target[:, None]
found = np.linalg.lstsq(rows * weights, goals * weights, rcond=None)[0].astype(np.float32)
nodes = [
    helper.make_node("IsNaN", ["x"], ["missing"]),
    helper.make_node("Where", ["missing", "zero", "x"], ["whole"]),
    helper.make_node("MatMul", ["whole", "w"], ["product"]),
    helper.make_node("Add", ["product", "b"], ["scores"]),
    helper.make_node("Softmax" if job["classes"] and params.get("softmax", True) else "Identity", ["scores"], ["y"]),
]
if params.get("fail") == "operator":
    nodes.append(helper.make_node("RandomUniformLike", ["y"], ["noise"]))
width = found.shape[1] + 1 if params.get("fail") == "shape" else found.shape[1]
constants = [numpy_helper.from_array(np.zeros(1, np.float32), "zero")]
constants += [numpy_helper.from_array(found[:-1], "w"), numpy_helper.from_array(found[-1:], "b")]
if params.get("fail") == "shape":
    nodes.append(helper.make_node("Concat", ["y", "y"], ["two"], axis=1))
graph = helper.make_graph(
    nodes,
    "own",
    [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", len(job["features"])])],
    [helper.make_tensor_value_info("two" if params.get("fail") == "shape" else "y", TensorProto.FLOAT, [None, None])],
    constants,
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
if params.get("fail") == "external":
    onnx.save_model(model, "model.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
elif params.get("fail") == "garbage":
    Path("model.onnx").write_bytes(b"no graph at all")
elif params.get("fail") != "nothing":
    Path("model.onnx").write_bytes(model.SerializeToString())
if params.get("fail") != "metrics":
    Path("metrics.json").write_text(
        json.dumps({"rows_seen": len(features), "numpy": float(".".join(np.__version__.split(".")[:2]))})
    )
with Path("losses.jsonl").open("w") as file:
    for step in range(1, 4):
        file.write(json.dumps({"step": step, "loss": 1 / step}) + "\n")
        file.flush()
if params.get("tell"):
    Path("environment.json").write_text(json.dumps(dict(os.environ)))
    print(json.dumps(dict(os.environ)))
