"""The five steps as DVC's stages: ``python steps.py STEP``, files in, files out."""

from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path
from typing import Any

import bare
import pandas as pd

WORK = Path("work")


def clean() -> None:
    bare.clean(Path()).to_parquet(WORK / "clean.parquet")


def features() -> None:
    save(bare.make_features(pd.read_parquet(WORK / "clean.parquet")), "features")


def train() -> None:
    save(bare.train(load("features")), "model")


def evaluate() -> None:
    model, losses = load("model")
    results = bare.evaluate(model, load("features"), losses)
    save(results, "results")
    Path("metrics.json").write_text(json.dumps(results.metrics))


def register() -> None:
    model, losses = load("model")
    bare.register(model, load("features"), losses, load("results"), Path("mlflow"))


def save(value: Any, name: str) -> None:
    (WORK / f"{name}.pkl").write_bytes(pickle.dumps(value, protocol=5))


def load(name: str) -> Any:
    return pickle.loads((WORK / f"{name}.pkl").read_bytes())  # noqa: S301 - our own file


if __name__ == "__main__":
    WORK.mkdir(exist_ok=True)
    Path("mlflow").mkdir(exist_ok=True)
    {each.__name__: each for each in (clean, features, train, evaluate, register)}[sys.argv[1]]()
