"""The breast cancer and the diabetes example: patients that scikit-learn ships, part by part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.ui.examples.repository import is_complete, write_example
from pipeline.ui.examples.tables import commit_parts

PARTS = 4


def make_breast_cancer(folder: Path) -> Path:
    """Make the repository of 569 tumours, measured on images of fine needle aspirates (Wisconsin, 1995)."""
    from sklearn.datasets import load_breast_cancer

    return _make("breast-cancer", folder, load_breast_cancer, "benign")


def make_diabetes(folder: Path) -> Path:
    """Make the repository of 442 diabetes patients, and how far the disease had gone a year later (Efron, 2004)."""
    from sklearn.datasets import load_diabetes

    return _make("diabetes", folder, lambda: load_diabetes(scaled=False), "progression")


def _make(example: str, folder: Path, load: Any, target: str) -> Path:
    folder = folder.absolute()
    if not is_complete(example, folder, PARTS):
        found = load()
        header = [str(name).replace(" ", "_") for name in found.feature_names]
        rows = [
            [*(f"{value:.12g}" for value in row), f"{goal:g}"]
            for row, goal in zip(found.data.tolist(), found.target.tolist(), strict=True)
        ]
        write_example(folder, commit_parts("patient", [*header, target], rows, PARTS))
    return folder
