"""The models that are served: one table, fitted by Modelrail and, with the same parameters, by every peer."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from sklearn.datasets import make_classification

from benchmarks.environments import install
from benchmarks.measuring import environment
from benchmarks.project import MODELRAIL, call, commit

PEERS = Path(__file__).resolve().parent / "peers"
COLUMNS, ROWS = 10, 5_000
MODELS: Mapping[str, str] = {
    "logistic": "{name: logistic, trainer: logistic_regression, target: y}",
    "forest": "{name: forest, trainer: random_forest, target: y, params: {n_estimators: 100, max_depth: 10}}",
}
_SPEC = """
version: 1
model: %s
data:
  files: data/{part}.csv
  columns: {row: int, x0: float, x1: float, x2: float, x3: float, x4: float, x5: float, x6: float, x7: float,
            x8: float, x9: float, y: {type: bool, nullable: false}}
  key: [row]
features: {drop: [row]}
normalize: {"*": standard}
split: {test: 0.2}
evaluate: {metrics: [accuracy], gate: {accuracy: {at_least: 0.6}}}
"""


def make_table(path: Path) -> Sequence[Sequence[float]]:
    """Write ten columns of numbers and a target; give the rows that are asked for."""
    rows, target = make_classification(ROWS, COLUMNS, n_informative=6, random_state=0)
    rows = np.round(rows, 6)
    header = ",".join(["row", *(f"x{number}" for number in range(COLUMNS)), "y"])
    lines = [
        f"{number},{','.join(map(str, row))},{bool(label)}"
        for number, (row, label) in enumerate(zip(rows.tolist(), target, strict=True))
    ]
    path.write_text("\n".join([header, *lines, ""]))
    return list(rows[:1_000].tolist())


def make_releases(project: Path, table: Path, models: Sequence[str]) -> None:
    """Release models by `modelrail run`; the bundle of each is then in ``PROJECT/NAME``."""
    (project / "models").mkdir(parents=True)
    (project / "data").mkdir()
    (project / "data" / "all.csv").write_bytes(table.read_bytes())
    (project / ".gitignore").write_text(".modelrail/\n")
    for name in models:
        (project / "models" / f"{name}.yaml").write_text(_SPEC % MODELS[name])
    commit(project, "Models", initial=True)
    for name in models:
        command = (MODELRAIL, "run", f"models/{name}.yaml")
        subprocess.run(command, cwd=project, env=environment(), check=True, stdout=subprocess.DEVNULL)
        (release,) = (project / ".modelrail" / "releases" / name).iterdir()
        release.rename(project / name)


def prepare_peer(peer: str, cache: Path, table: Path, folder: Path) -> None:
    """Make a peer's virtual environment, once, and its models, which are then in ``FOLDER/NAME``."""
    install(cache / peer, PEERS / peer / "requirements.txt")
    call(cache / peer / "bin" / "python", PEERS / "prepare.py", peer, table, folder)
