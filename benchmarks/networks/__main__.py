"""Training a network beside a bare script of its framework: ``python -m benchmarks.networks [--kind text]``.

Both learn the same synthetic rows with the same layers, batches, epochs, optimizer and loss, in one process each, in
turn; the framework's import is not counted, nor ``torch._dynamo``, which PyTorch itself imports at the first optimizer
(1.3 s on an idle machine, 5 s on a busy one). Modelrail's time includes its validation loss each epoch, the conversion
to ONNX and the check of parity. It needs the extras ``torch`` and ``tensorflow``.

``--workers [torch]`` measures instead how long two workers on this machine take beside one process, for a small network
and a large one; what the second worker takes to start and to load its framework counts, what it takes of the CPU is not
seen.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module
from time import perf_counter, process_time
from typing import Any

import numpy as np

from benchmarks.measuring import say_machine
from benchmarks.networks.kinds import KINDS, Kind

BATCH, RATE = 128, 1e-3


MODULES = {
    "torch": ("pipeline.steps.train.neural.torch_network", "torch._dynamo"),
    "tensorflow": ("pipeline.steps.train.neural.keras_network",),
}


class Watch:
    """Measures wall and CPU time from when it is made."""

    def __init__(self) -> None:
        self.wall, self.cpu = perf_counter(), process_time()

    def read(self) -> list[float]:
        """Return both, in seconds."""
        return [perf_counter() - self.wall, process_time() - self.cpu]


def train_torch(kind: Kind) -> list[float]:
    """Train as PyTorch's tutorials do, with the rows in memory."""
    import torch
    import torch._dynamo
    from torch import nn

    features, target = map(torch.from_numpy, kind.rows())
    watch = Watch()
    model, is_class = kind.torch(), target.dtype == torch.int64
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    loss_of = nn.CrossEntropyLoss() if is_class else nn.MSELoss()
    for _ in range(kind.params["epochs"]):
        order = torch.randperm(len(target))
        for start in range(0, len(target), BATCH):
            chosen = order[start : start + BATCH]
            outputs = model(features[chosen])
            loss = loss_of(outputs if is_class else outputs[:, 0], target[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return watch.read()


def train_keras(kind: Kind) -> list[float]:
    """Train by ``fit``."""
    from pipeline.steps.train.neural.quiet_keras import keras

    features, target = kind.rows()
    watch = Watch()
    model = kind.keras()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True) if target.dtype == np.int64 else "mse"
    model.compile(optimizer=keras.optimizers.Adam(RATE), loss=loss)
    model.fit(features, target, batch_size=BATCH, epochs=kind.params["epochs"], verbose=0)
    return watch.read()


def train_modelrail(framework: str, kind: str = "mlp", **more: Any) -> list[float]:
    from pipeline.spec.schema.spec import Model
    from pipeline.steps.train.results import Matrix
    from pipeline.steps.train.training import train

    for module in MODULES[framework]:
        import_module(module)
    own = KINDS[kind]
    features, target = own.rows()
    is_class = target.dtype == np.int64
    target = np.array([f"c{each}" for each in target], object) if is_class else target.astype(np.float64)
    held_out = len(features) // 10
    matrix = Matrix(features, target, features[:held_out], target[:held_out], tuple(own.names))
    params = {"batch_size": BATCH, "learning_rate": RATE, **own.params, **more}
    model = Model(name="m", trainer=f"{framework}_{kind.partition(',')[0]}", params=params)
    watch = Watch()
    trained = train(matrix, model, "classification" if is_class else "regression")
    took = watch.read()
    print(json.dumps({"parity": trained.parity.max_difference}), file=sys.stderr)
    return took


def contenders_of(kind: str) -> dict[str, Callable[[], list[float]]]:
    """Return who trains a kind of network."""
    return {
        f"bare torch, {kind}": partial(train_torch, KINDS[kind]),
        f"modelrail torch, {kind}": partial(train_modelrail, "torch", kind),
        f"bare keras, {kind}": partial(train_keras, KINDS[kind]),
        f"modelrail tensorflow, {kind}": partial(train_modelrail, "tensorflow", kind),
    }


LARGE = {"layers": [1024, 1024], "batch_size": 1024, "epochs": 5}
CASES: Mapping[str, Mapping[str, Any]] = {
    "small, one process": {},
    "small, two workers": {"workers": 2},
    "large, one process": LARGE,
    "large, one process, one thread": LARGE,
    "large, two workers": {**LARGE, "workers": 2},
}
WORKERS: dict[str, Callable[[], list[float]]] = {
    f"{framework}, {name}": partial(train_modelrail, framework, **params)
    for framework in MODULES
    for name, params in CASES.items()
}
BESIDE_WORKERS = (
    ("small, two workers", "small, one process"),
    ("large, two workers", "large, one process"),
    ("large, two workers", "large, one process, one thread"),
)


def workers_of(framework: str) -> tuple[Mapping[str, Callable[[], list[float]]], Sequence[tuple[str, str]]]:
    """Return the contenders of a framework, and which are held beside which."""
    own = {name: each for name, each in WORKERS.items() if name.startswith(framework)}
    return own, [(f"{framework}, {ours}", f"{framework}, {theirs}") for ours, theirs in BESIDE_WORKERS]


def kind_of(kind: str) -> tuple[Mapping[str, Callable[[], list[float]]], Sequence[tuple[str, str]]]:
    """Return the contenders of a kind of network, and which are held beside which."""
    contenders = contenders_of(kind)
    names = list(contenders)
    return contenders, [(names[1], names[0]), (names[3], names[2])]


def measure(name: str) -> tuple[list[float], str]:
    command = [sys.executable, "-m", "benchmarks.networks", "--only", name]
    one = dict.fromkeys(("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1")
    environment = os.environ | (one if name.endswith("one thread") else {})
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    said = [line for line in done.stderr.splitlines() if line.startswith('{"parity"')]
    return json.loads(done.stdout.splitlines()[-1]), f"  parity {json.loads(said[0])['parity']:.1e}" if said else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only")
    parser.add_argument("--kind", default="mlp", choices=tuple(KINDS))
    parser.add_argument("--workers", nargs="?", const="torch", choices=tuple(MODULES))
    asked = parser.parse_args()
    if asked.only:
        everybody = WORKERS | {name: each for kind in KINDS for name, each in contenders_of(kind).items()}
        print(json.dumps(everybody[asked.only]()))
        return
    say_machine()
    contenders, beside = workers_of(asked.workers) if asked.workers else kind_of(asked.kind)
    taken: dict[str, list[list[float]]] = {name: [] for name in contenders}
    notes = dict.fromkeys(contenders, "")
    for _ in range(asked.runs):
        for name, each in taken.items():
            seconds, notes[name] = measure(name)
            each.append(seconds)
    medians = {name: [statistics.median(kind) for kind in zip(*each, strict=True)] for name, each in taken.items()}
    for name, (wall, cpu) in medians.items():
        print(f"{name:40} {wall:7.2f} s wall {cpu:7.2f} s CPU{notes[name]}")
    for own, bare in beside:
        wall, cpu = (mine / other for mine, other in zip(medians[own], medians[bare], strict=True))
        print(f"{own} / {bare}: {wall:.2f} wall, {cpu:.2f} CPU")


if __name__ == "__main__":
    main()
