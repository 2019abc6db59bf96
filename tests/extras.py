"""Tests over tables of trainers, some of which need an extra."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pipeline.spec.catalogue.trainers import TRAINERS
from pipeline.steps.train.results import Matrix

OWN = {
    "torch": """
import torch
from torch import nn

class Residual(nn.Module):
    def __init__(self, inputs, outputs, width):
        super().__init__()
        self.first, self.second = nn.Linear(inputs, width), nn.Linear(width, width)
        self.norm, self.last = nn.LayerNorm(width), nn.Linear(width, outputs)

    def forward(self, rows):
        hidden = nn.functional.gelu(self.first(rows))
        return self.last(hidden + self.norm(torch.tanh(self.second(hidden))))

def build(inputs, outputs, width=8):
    return Residual(inputs, outputs, width)
""",
    "tensorflow": """
import keras

def build(inputs, outputs, width=8):
    layers = keras.layers
    return keras.Sequential([
        keras.Input((inputs,)), layers.Dense(width, activation="relu"), layers.Dropout(0.1), layers.Dense(width),
        layers.Activation("tanh"), layers.Dense(outputs),
    ])
""",
}
"""Networks of a user's own."""

NETWORKS: Mapping[str, Mapping[str, Any]] = {
    f"{framework}_{kind}": {"layers": [8], "epochs": 60, "learning_rate": 0.02} | own
    for framework in ("torch", "tensorflow")
    for kind, own in {"mlp": {}, "cnn": {"shape": [1, 2, 2], "filters": [4]}, "text": {"vocabulary": 130}}.items()
} | {
    f"{framework}_custom": {"module": {"file": "network.py", "source": source}, "epochs": 60, "learning_rate": 0.02}
    for framework, source in OWN.items()
}
"""Parameters with which a network is trained in about a second."""
BOOSTERS: Mapping[str, Mapping[str, Any]] = {name: {"n_estimators": 10} for name in ("xgboost", "lightgbm")}


def suited(rows: Matrix, trainer: str) -> Matrix:
    """Return rows as a trainer reads them: for a network that reads texts, a word for each quarter of a column."""
    if TRAINERS[trainer].reads != "words":
        return rows
    first = 2 + 32 * np.arange(rows.train.shape[1], dtype=np.float32)
    words = [np.clip((each * 4).round() + 16, 0, 31) + first for each in (rows.train, rows.validation)]
    return replace(rows, train=words[0], validation=words[1])


IN_PROCESS = {name: info for name, info in TRAINERS.items() if info.extra != "isolation"}
"""Trainers of this process; the others, in environments of their own, have ``training/test_containers.py``."""


def with_extras(cases: Iterable[Any]) -> list[Any]:
    """Mark the cases, tuples that begin with a trainer or its name alone, whose trainer needs an extra."""
    return [_marked(case if isinstance(case, tuple) else (case,)) for case in cases]


def _marked(case: tuple[Any, ...]) -> Any:
    extra = TRAINERS[case[0]].extra
    return pytest.param(*case, marks=pytest.mark.extra(extra)) if extra else pytest.param(*case)
