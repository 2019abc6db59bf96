"""Training a network beside a bare script of its framework: ``python -m benchmarks.networks [--workers [torch]]``.

Both learn the same synthetic rows with the same layers, batches, epochs, optimizer and loss, in one process each, in
turn; the framework's import is not counted, nor ``torch._dynamo``, which PyTorch itself imports at the first optimizer
(1.3 s on an idle machine, 5 s on a busy one). Modelrail's time includes its validation loss each epoch, the conversion
to ONNX and the check of parity. It needs the extras ``torch`` and ``tensorflow``.

``--workers`` measures instead how long two workers on this machine take beside one process, for a small network and a
large one; what the second worker takes to start and to load its framework counts, what it takes of the CPU is not seen.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from time import perf_counter, process_time
from typing import Any

import numpy as np

from benchmarks.measuring import say_machine

ROWS, COLUMNS, EPOCHS, BATCH, LAYERS, RATE = 50_000, 30, 10, 128, (128, 64), 1e-3


MODULES = {
    "torch": ("pipeline.training.neural.torch_network", "torch._dynamo"),
    "tensorflow": ("pipeline.training.neural.keras_network",),
}


class Watch:
    """Measures wall and CPU time from when it is made."""

    def __init__(self) -> None:
        self.wall, self.cpu = perf_counter(), process_time()

    def read(self) -> list[float]:
        """Give both, in seconds."""
        return [perf_counter() - self.wall, process_time() - self.cpu]


def make_rows() -> tuple[Any, Any]:
    random = np.random.default_rng(0)
    features = random.normal(size=(ROWS, COLUMNS)).astype(np.float32)
    target = np.sin(features[:, 0]) + features[:, 1] * features[:, 2] + random.normal(0, 0.1, ROWS)
    return features, target.astype(np.float32)


def train_torch() -> list[float]:
    """Train as PyTorch's tutorials do, with the rows in memory."""
    import torch
    import torch._dynamo
    from torch import nn

    features, target = map(torch.from_numpy, make_rows())
    watch = Watch()
    sizes = (COLUMNS, *LAYERS)
    hidden = [each for pair in zip(sizes, LAYERS, strict=False) for each in (nn.Linear(*pair), nn.ReLU())]
    model = nn.Sequential(*hidden, nn.Linear(LAYERS[-1], 1))
    optimizer, loss_of = torch.optim.Adam(model.parameters(), lr=RATE), nn.MSELoss()
    for _ in range(EPOCHS):
        order = torch.randperm(ROWS)
        for start in range(0, ROWS, BATCH):
            chosen = order[start : start + BATCH]
            loss = loss_of(model(features[chosen])[:, 0], target[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return watch.read()


def train_keras() -> list[float]:
    """Train by ``fit``."""
    from pipeline.training.neural.quiet_keras import keras

    features, target = make_rows()
    watch = Watch()
    hidden = [keras.layers.Dense(size, activation="relu") for size in LAYERS]
    model = keras.Sequential([keras.Input((COLUMNS,)), *hidden, keras.layers.Dense(1)])
    model.compile(optimizer=keras.optimizers.Adam(RATE), loss="mse")
    model.fit(features, target, batch_size=BATCH, epochs=EPOCHS, verbose=0)
    return watch.read()


def train_modelrail(framework: str, **more: Any) -> Callable[[], list[float]]:
    def train_here() -> list[float]:
        from pipeline.spec.schema import Model
        from pipeline.training.results import Matrix
        from pipeline.training.training import train

        for module in MODULES[framework]:
            import_module(module)
        features, target = make_rows()
        names = tuple(f"x{place}" for place in range(COLUMNS))
        matrix = Matrix(features, target.astype(np.float64), features[:5000], target[:5000].astype(np.float64), names)
        params = {"layers": list(LAYERS), "epochs": EPOCHS, "batch_size": BATCH, "learning_rate": RATE, **more}
        watch = Watch()
        trained = train(matrix, Model(name="m", trainer=f"{framework}_mlp", params=params), "regression")
        took = watch.read()
        print(json.dumps({"parity": trained.parity.max_difference}), file=sys.stderr)
        return took

    return train_here


CONTENDERS: Mapping[str, Callable[[], list[float]]] = {
    "bare torch": train_torch,
    "modelrail torch": train_modelrail("torch"),
    "bare keras": train_keras,
    "modelrail tensorflow": train_modelrail("tensorflow"),
}

LARGE = {"layers": [1024, 1024], "batch_size": 1024, "epochs": 5}
CASES: Mapping[str, Mapping[str, Any]] = {
    "small, one process": {},
    "small, two workers": {"workers": 2},
    "large, one process": LARGE,
    "large, one process, one thread": LARGE,
    "large, two workers": {**LARGE, "workers": 2},
}
WORKERS: Mapping[str, Callable[[], list[float]]] = {
    f"{framework}, {name}": train_modelrail(framework, **params)
    for framework in MODULES
    for name, params in CASES.items()
}
BESIDE = (("modelrail torch", "bare torch"), ("modelrail tensorflow", "bare keras"))
BESIDE_WORKERS = (
    ("small, two workers", "small, one process"),
    ("large, two workers", "large, one process"),
    ("large, two workers", "large, one process, one thread"),
)


def workers_of(framework: str) -> tuple[Mapping[str, Callable[[], list[float]]], Sequence[tuple[str, str]]]:
    """Give the contenders of a framework, and which are held beside which."""
    own = {name: each for name, each in WORKERS.items() if name.startswith(framework)}
    return own, [(f"{framework}, {ours}", f"{framework}, {theirs}") for ours, theirs in BESIDE_WORKERS]


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
    parser.add_argument("--workers", nargs="?", const="torch", choices=tuple(MODULES))
    asked = parser.parse_args()
    if asked.only:
        print(json.dumps({**CONTENDERS, **WORKERS}[asked.only]()))
        return
    say_machine()
    contenders, beside = workers_of(asked.workers) if asked.workers else (CONTENDERS, BESIDE)
    taken: dict[str, list[list[float]]] = {name: [] for name in contenders}
    notes = dict.fromkeys(contenders, "")
    for _ in range(asked.runs):
        for name, each in taken.items():
            seconds, notes[name] = measure(name)
            each.append(seconds)
    medians = {name: [statistics.median(kind) for kind in zip(*each, strict=True)] for name, each in taken.items()}
    for name, (wall, cpu) in medians.items():
        print(f"{name:30} {wall:7.2f} s wall {cpu:7.2f} s CPU{notes[name]}")
    for own, bare in beside:
        wall, cpu = (mine / other for mine, other in zip(medians[own], medians[bare], strict=True))
        print(f"{own} / {bare}: {wall:.2f} wall, {cpu:.2f} CPU")


if __name__ == "__main__":
    main()
