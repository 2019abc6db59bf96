"""Training from files beside training from memory: ``python -m benchmarks.memory [--gb 1.2] [--limit 900]``.

A matrix of random numbers is written as `normalize` writes it, then read and learnt in a process each, in turn, once
with its rows in memory and once with them in files. The imports are not counted; that everything is read, checked,
converted and compared with its graph is. ``--limit`` puts the second process into a control group of so many MB, as a
pod's limit does, which counts the system's cache too; it needs root. Bytes read and written are the disk's, for this
process. The network is small: the more a network does with a row, the less it matters where the rows are.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.measuring import say_machine
from pipeline.model.columns import Side
from pipeline.runs.work.clean_rows import SIDE
from pipeline.runs.work.files import write_frame
from pipeline.runs.work.matrix_files import MatrixFile
from pipeline.steps.features import TARGET
from pipeline.storage.artifacts import open_store

KEY = "1" * 64
_PIECE = 65_536
_LITTLE = 500_000_000
_GROUPS = Path("/sys/fs/cgroup")
_NETWORK = {"layers": [32], "batch_size": 512}
PARAMS: Mapping[str, Mapping[str, Any]] = {"torch_mlp": _NETWORK, "tensorflow_mlp": _NETWORK}
ROUNDS: Mapping[str, str] = {"torch_mlp": "epochs", "tensorflow_mlp": "epochs"}
MODULES: Mapping[str, tuple[str, ...]] = {
    "torch_mlp": ("pipeline.steps.train.neural.torch_network", "torch._dynamo"),
    "tensorflow_mlp": ("pipeline.steps.train.neural.keras_network",),
    "xgboost": ("xgboost",),
    "lightgbm": ("lightgbm",),
}


def write_matrix(place: Path, rows: int, columns: int) -> None:
    """Write what `normalize` would have made."""
    random, store = np.random.default_rng(0), open_store(str(place / "store"), place)
    target = []
    with store.draft() as folder:
        with MatrixFile(folder / "matrix.parquet", [str(each) for each in range(columns)]) as file:
            for start in range(0, rows, _PIECE):
                piece = random.standard_normal((min(_PIECE, rows - start), columns), dtype=np.float32)
                target.append(piece[:, 0] + piece[:, 1] * piece[:, 2])
                file.write(piece)
        sides = np.where(np.arange(rows) % 10, Side.TRAIN, Side.VALIDATION).astype(np.int8)
        write_frame(
            pd.DataFrame({SIDE: sides, TARGET: np.concatenate(target).astype(np.float64)}), folder / "rows.parquet"
        )
        store.publish(KEY, folder, {})


def learn(place: Path, trainer: str, rounds: int, *, from_files: bool) -> dict[str, Any]:
    """Read and learn, and say what it took."""
    from pipeline.runs.work.training_rows import read_rows
    from pipeline.spec.schema.spec import Model
    from pipeline.steps.train.training import train

    for name in MODULES.get(trainer, ()):
        import_module(name)
    artifact = open_store(str(place / "store"), place).find(KEY)
    if artifact is None:
        raise SystemExit("there is no matrix: the benchmark starts this itself")
    params = {**PARAMS.get(trainer, {}), ROUNDS.get(trainer, "n_estimators"): rounds}
    wall, cpu, waited = perf_counter(), process_time(), _waited_s()
    # told of little memory it takes files, told of endless memory none
    matrix = read_rows(artifact, trainer, params, place, _LITTLE if from_files else sys.maxsize)
    read_s = perf_counter() - wall
    trained = train(matrix, Model(name="m", trainer=trainer, params=params), "regression")
    return {
        "wall_s": perf_counter() - wall,
        "read_s": read_s,
        "cpu_s": process_time() - cpu,
        "loss": trained.history[-1]["loss"],
        "waited_s": _waited_s() - waited,
        **_disk(),
    }


def _waited_s() -> float:
    """Say how long this process was ready to work and had no CPU: on a busy machine that is no cost of its own."""
    return int(Path("/proc/self/schedstat").read_text().split()[1]) / 1e9


def _disk() -> dict[str, float]:
    lines = (line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return {f"{name}_gb": int(value) / 1e9 for name, value in lines if name in {"read_bytes", "write_bytes"}}


@contextlib.contextmanager
def limited(megabytes: int | None) -> Iterator[Path | None]:
    """Make a control group with a limit of memory."""
    if megabytes is None:
        yield None
        return
    first = (_GROUPS / "memory").is_dir()
    group = (_GROUPS / "memory" if first else _GROUPS) / f"modelrail-{os.getpid()}"
    group.mkdir()
    try:
        (group / ("memory.limit_in_bytes" if first else "memory.max")).write_text(str(megabytes * 10**6))
        yield group
    finally:
        group.rmdir()


def measure(place: Path, asked: argparse.Namespace, where: str) -> None:
    command = [sys.executable, "-m", "benchmarks.memory", "--only", where, "--place", str(place)]
    command += ["--trainer", asked.trainer, "--rounds", str(asked.rounds)]
    with limited(asked.limit if where == "files" else None) as group:

        def enter() -> None:
            if group is not None:
                (group / "cgroup.procs").write_text(str(os.getpid()))

        done = subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=enter)
    if done.returncode:
        print(f"{where:8} ended with {done.returncode}: {done.stderr[-500:]}", flush=True)
        return
    found = json.loads(done.stdout.splitlines()[-1])
    print(
        f"{where:8} {found['wall_s']:7.1f} s  (reading {found['read_s']:.1f} s; without a CPU "
        f"{found['waited_s']:.1f} s)  CPU {found['cpu_s']:.1f} s  disk "
        f"{found['read_bytes_gb']:.2f} GB read, {found['write_bytes_gb']:.2f} GB written  loss {found['loss']:.9f}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gb", type=float, default=1.2)
    parser.add_argument("--columns", type=int, default=100)
    parser.add_argument("--trainer", default="torch_mlp")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--limit", type=int, help="MB that the process with rows in files may use")
    parser.add_argument("--where", nargs="+", default=["memory", "files"])
    parser.add_argument("--only", help=argparse.SUPPRESS)
    parser.add_argument("--place", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.only:
        print(json.dumps(learn(asked.place, asked.trainer, asked.rounds, from_files=asked.only == "files")))
        return
    say_machine(["numpy"])
    with tempfile.TemporaryDirectory(dir=asked.place) as folder:
        rows = int(asked.gb * 1e9 / 4 / asked.columns)
        write_matrix(Path(folder), rows, asked.columns)
        print(
            f"{rows:,} rows of {asked.columns} columns, {asked.gb} GB; {asked.trainer}, {asked.rounds} rounds",
            flush=True,
        )
        for where in asked.where:
            measure(Path(folder), asked, where)


if __name__ == "__main__":
    main()
