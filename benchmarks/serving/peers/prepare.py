"""Fit both models with scikit-learn and store them as a peer wants them: ``python prepare.py PEER CSV FOLDER``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

ESTIMATORS = {
    "logistic": LogisticRegression(),
    "forest": RandomForestClassifier(n_estimators=100, max_depth=10, random_state=0),
}


def save_joblib(model: Any, _rows: Any, folder: Path) -> None:
    folder.mkdir(parents=True)
    joblib.dump(model, folder / "model.joblib")


def save_mlserver(model: Any, rows: Any, folder: Path) -> None:
    save_joblib(model, rows, folder)
    settings = {"name": "model", "implementation": "mlserver_sklearn.SKLearnModel"}
    (folder / "model-settings.json").write_text(json.dumps(settings | {"parameters": {"uri": "./model.joblib"}}))


def save_mlflow(model: Any, rows: Any, folder: Path) -> None:
    import mlflow

    signature = mlflow.models.infer_signature(rows, model.predict(rows))
    mlflow.sklearn.save_model(
        model,
        folder,
        signature=signature,
        pip_requirements=["scikit-learn"],
        skops_trusted_types=["sklearn.tree._tree.Tree"],
    )


SAVERS = {"fastapi": save_joblib, "bentoml": save_joblib, "mlserver": save_mlserver, "mlflow": save_mlflow}


def main(peer: str, table: str, folder: str) -> None:
    content = np.loadtxt(table, delimiter=",", skiprows=1, converters={-1: lambda text: text == "True"})
    rows, target = content[:, 1:-1], content[:, -1].astype(int)
    for name, estimator in ESTIMATORS.items():
        SAVERS[peer](make_pipeline(StandardScaler(), estimator).fit(rows, target), rows, Path(folder, name))


if __name__ == "__main__":
    main(*sys.argv[1:])
