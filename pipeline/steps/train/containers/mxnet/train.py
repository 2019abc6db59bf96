# mypy: ignore-errors
"""Trains a perceptron in MXNet, or reads a model that MXNet has saved, and writes it as ONNX.

It runs in the environment of ``requirements.txt``, in a folder as
`pipeline.steps.train.containers.exchange` describes it.
"""

import json
from pathlib import Path

import mxnet as mx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from mxnet import autograd, gluon
from mxnet import onnx as exporter

# Layers that end a network and need the truth as a second input, and what they give without it.
OUTPUTS = {
    "SoftmaxOutput": ("softmax", {"axis": "-1"}),
    "LogisticRegressionOutput": ("sigmoid", {}),
    "LinearRegressionOutput": ("identity", {}),
    "MAERegressionOutput": ("identity", {}),
}
SOFTMAX = {"softmax", "SoftmaxActivation", "SoftmaxOutput"}


def read_rows(name, job):
    """Return features, target and weights of a file."""
    table = pq.read_table(name)
    features = np.stack([table[each].to_numpy() for each in job["features"]], axis=1).astype(np.float32)
    weights = table[job["weight"]].to_numpy() if job["weight"] else np.ones(len(features))
    return features, table[job["target"]].to_numpy(), weights.astype(np.float32).reshape(-1, 1)


def build_network(params, outputs):
    """Return the perceptron, not initialized yet."""
    network = gluon.nn.HybridSequential()
    for size in params["layers"]:
        network.add(gluon.nn.Dense(size))
        if params["activation"] != "identity":
            network.add(gluon.nn.Activation(params["activation"]))
        if params["dropout"]:
            network.add(gluon.nn.Dropout(params["dropout"]))
    network.add(gluon.nn.Dense(outputs))
    return network


def learn(job, train, validation, scale):
    """Train the perceptron; give it, and its losses."""
    params, classes = job["params"], job["classes"]
    mx.random.seed(job["seed"])
    order = np.random.RandomState(job["seed"])
    network = build_network(params, len(classes) if classes else 1)
    network.initialize(mx.init.Xavier())
    network.hybridize()
    loss = gluon.loss.SoftmaxCrossEntropyLoss() if classes else gluon.loss.L2Loss()
    settings = {"learning_rate": params["learning_rate"]}
    network(mx.nd.zeros((2, len(job["features"]))))
    steps = gluon.Trainer(network.collect_params(), params["optimizer"], settings)
    history = []
    for epoch in range(1, params["epochs"] + 1):
        rows = order.permutation(len(train[0]))
        total = sum(step(network, loss, steps, train, scale, part) for part in split(rows, params["batch_size"]))
        history.append(
            {"step": epoch, "loss": total / len(rows), "validation_loss": judge(network, loss, validation, scale)}
        )
        with Path("losses.jsonl").open("a") as file:
            file.write(json.dumps(history[-1]) + "\n")
    return network, history


def split(rows, size):
    """Return batches of rows."""
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def step(network, loss, steps, rows, scale, part):
    """Learn from a batch; give the sum of its losses."""
    features, target, weights = (each[part] for each in rows)
    with autograd.record():
        found = loss(network(mx.nd.array(features)), mx.nd.array((target - scale[0]) / scale[1]), mx.nd.array(weights))
    found.backward()
    steps.step(len(part))
    return float(found.sum().asscalar())


def judge(network, loss, rows, scale):
    """Return the mean loss of rows; null if there are none."""
    features, target, weights = rows
    if not len(features):
        return None
    found = loss(network(mx.nd.array(features)), mx.nd.array((target - scale[0]) / scale[1]), mx.nd.array(weights))
    return float(found.mean().asscalar())


def symbol_of(network, scale, classes):
    """Return a trained network as a symbol that gives values or probabilities, and its parameters."""
    scores = network(mx.sym.var("matrix"))
    symbol = mx.sym.softmax(scores, axis=-1) if classes else scores * scale[1] + scale[0]
    return symbol, {name: each.data() for name, each in network.collect_params().items()}


def read_saved(job):
    """Return a model that MXNet has saved, as a symbol that gives values or probabilities, and its parameters."""
    params = job["params"]
    described = json.loads(Path(params["symbol"]).read_text("utf-8"))
    last = described["nodes"][described["heads"][0][0]]["op"]
    for node in described["nodes"]:
        if node["op"] in OUTPUTS:
            node["op"], node["attrs"] = OUTPUTS[node["op"]]
            node["inputs"] = node["inputs"][:1]
    symbol = mx.sym.load_json(json.dumps(described))
    weights = {name.split(":")[-1]: value for name, value in mx.nd.load(params["weights"]).items()}
    open_inputs = [name for name in symbol.list_arguments() if name not in weights]
    if len(open_inputs) != 1:
        raise SystemExit(
            f"{params['symbol']}: found the inputs {open_inputs} without values in {params['weights']}; expected one"
        )
    matrix = mx.sym.var("matrix")
    given = mx.sym.reshape(matrix, shape=(-1, *params["shape"])) if params["shape"] else matrix
    symbol = symbol(**{open_inputs[0]: given})
    if job["classes"] and last not in SOFTMAX:
        symbol = mx.sym.softmax(symbol, axis=-1)
    wanted = {*symbol.list_arguments(), *symbol.list_auxiliary_states()}
    return symbol, {name: value for name, value in weights.items() if name in wanted}


def predict(symbol, weights, features):
    """Return what MXNet itself predicts."""
    bound = symbol.simple_bind(mx.cpu(), matrix=features.shape, grad_req="null")
    arguments = {*symbol.list_arguments()}
    bound.copy_params_from(
        {name: value for name, value in weights.items() if name in arguments},
        {name: value for name, value in weights.items() if name not in arguments},
    )
    return bound.forward(is_train=False, matrix=mx.nd.array(features))[0].asnumpy()


def export(symbol, weights, columns):
    """Write ``model.onnx``."""
    exporter.export_model(
        symbol,
        weights,
        in_shapes=[(2, columns)],
        in_types=[np.float32],
        onnx_file_path="model.onnx",
        dynamic=True,
        dynamic_input_shapes=[(None, columns)],
    )


def main():
    """Do what ``job.json`` asks for."""
    job = json.loads(Path("job.json").read_text("utf-8"))
    train, validation = read_rows("train.parquet", job), read_rows("validation.parquet", job)
    history = []
    if job["params"]["symbol"]:
        symbol, weights = read_saved(job)
    else:
        scale = (0.0, 1.0) if job["classes"] else (float(train[1].mean()), float(train[1].std()) or 1.0)
        network, history = learn(job, train, validation, scale)
        symbol, weights = symbol_of(network, scale, job["classes"])
    export(symbol, weights, len(job["features"]))
    if len(validation[0]):
        found = predict(symbol, weights, validation[0]).reshape(len(validation[0]), -1)
        pq.write_table(
            pa.table({str(place): found[:, place] for place in range(found.shape[1])}), "predictions.parquet"
        )
    last = history[-1] if history else {}
    metrics = {name: last[name] for name in ("loss", "validation_loss") if last.get(name) is not None}
    Path("metrics.json").write_text(json.dumps(metrics))


main()
