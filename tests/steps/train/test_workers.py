"""Networks that several processes learn together."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.errors import TransientError
from pipeline.model.graphs import run
from pipeline.spec.schema.spec import Model
from pipeline.steps.train.neural import learning
from pipeline.steps.train.neural.network import Batch
from pipeline.steps.train.neural.shards import bounds, shards
from pipeline.steps.train.results import NO_SUPPORT, Matrix, Support, Trained
from pipeline.steps.train.training import train
from tests.extras import NETWORKS, OWN, suited

torch = pytest.mark.extra("torch")
BOTH = [pytest.param(name, marks=pytest.mark.extra(name)) for name in ("torch", "tensorflow")]
RARELY_KERAS = [BOTH[0], pytest.param("tensorflow", marks=[pytest.mark.extra("tensorflow"), pytest.mark.rare])]
"""Keras takes twice as long to start as PyTorch, in each of the processes; what is its own is tested with both."""
MOMENTUM = {"optimizer": "sgd", "momentum": 0.9, "clip_norm": 1.0, "weight_decay": 0.01}
TOLERANCE = 1e-4
"""Largest difference of a value or probability from what one process gives."""


def wave(rows: int = 403) -> Matrix:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(rows, 4)).astype(np.float32)
    y = np.sin(x[:, 0]) + x[:, 1] * x[:, 2]
    return Matrix(x[:363], y[:363].astype(np.float64), x[363:], y[363:].astype(np.float64), tuple("abcd"))


def sides(matrix: Matrix) -> Matrix:
    labels = [
        np.where(each > 0, "up", "down").astype(object) for each in (matrix.train_target, matrix.validation_target)
    ]
    return Matrix(matrix.train, labels[0], matrix.validation, labels[1], matrix.columns)


def teach(
    matrix: Matrix,
    workers: int,
    trainer: str = "torch_mlp",
    task: Any = "regression",
    support: Support = NO_SUPPORT,
    **more: Any,
) -> Trained:
    params = {"layers": [16], "epochs": 8, "learning_rate": 0.01, **more, "workers": workers}
    weight = "balanced" if task == "classification" else None
    return train(
        matrix, Model(name="m", trainer=trainer, params=params, seed=3, class_weight=weight), task, support=support
    )


def predict(trained: Trained, matrix: Matrix, output: str = "prediction") -> Any:
    assert trained.estimator_graph is not None
    return run(trained.estimator_graph, {"matrix": matrix.validation})[output]


@pytest.mark.parametrize(("rows", "workers"), [(10, 2), (1, 3), (8, 3), (32, 1)])
def test_each_row_of_a_batch_goes_to_one_worker(rows: int, workers: int) -> None:
    limits = [bounds(rows, 4, workers, rank) for rank in range(workers)]
    for batch, start in enumerate(range(0, rows, 4)):
        found = [place for each in limits for place in range(*each[batch])]
        assert found == list(range(start, min(start + 4, rows)))


@pytest.mark.parametrize("weights", [None, np.array([1, 2, 3, 4, 5, 6, 7], np.float32)])
def test_the_shares_of_a_batch_add_up_to_its_mean_loss(weights: Any) -> None:
    losses = np.arange(7, dtype=np.float32)
    made = shards(Batch(np.zeros((7, 2), np.float32), losses, weights), 4, 2)
    for batch, start in enumerate((0, 4)):
        rows = slice(start, start + 4)
        mean = np.average(losses[rows], weights=None if weights is None else weights[rows])
        parts = [(each.rows.target * each.shares)[each.parts[batch]].sum() for each in made]
        assert sum(parts) == pytest.approx(mean)
        assert {each.sizes[batch] for each in made} == {len(losses[rows])}


@pytest.mark.parametrize(
    ("framework", "params"),
    [
        pytest.param("torch", {}, marks=torch),
        pytest.param("torch", MOMENTUM, marks=torch),
        pytest.param("tensorflow", MOMENTUM, marks=pytest.mark.extra("tensorflow")),
    ],
)
def test_two_workers_learn_what_one_process_learns_and_repeat_it_to_the_bit(
    framework: str, params: dict[str, Any]
) -> None:
    matrix = wave()
    alone, together, again = (teach(matrix, workers, f"{framework}_mlp", **params) for workers in (1, 2, 2))
    assert np.abs(predict(alone, matrix) - predict(together, matrix)).max() < TOLERANCE
    assert together.history == again.history
    assert predict(together, matrix).tobytes() == predict(again, matrix).tobytes()
    assert [each["loss"] for each in together.history] == pytest.approx(
        [each["loss"] for each in alone.history], rel=1e-4
    )
    assert "learnt by 2 processes on this machine" in together.notes


@pytest.mark.parametrize("framework", RARELY_KERAS)
def test_two_workers_learn_the_same_vectors_of_words(framework: str) -> None:
    trainer = f"{framework}_text"
    matrix, params = suited(wave(), trainer), NETWORKS[trainer] | {"epochs": 4, "filters": [4]}
    found = [predict(teach(matrix, workers, trainer, **params), matrix) for workers in (1, 2)]
    assert np.abs(found[0] - found[1]).max() < TOLERANCE


@pytest.mark.parametrize("framework", RARELY_KERAS)
def test_weighted_classes_and_three_workers_give_what_one_process_gives(framework: str) -> None:
    matrix, trainer = sides(wave()), f"{framework}_mlp"
    found = [
        predict(teach(matrix, workers, trainer, task="classification"), matrix, "probabilities") for workers in (1, 3)
    ]
    assert np.abs(found[0] - found[1]).max() < TOLERANCE


@pytest.mark.parametrize("framework", RARELY_KERAS)
@pytest.mark.parametrize("kind", ["cnn", "custom"])
def test_every_kind_of_network_has_workers(framework: str, kind: str) -> None:
    trainer = f"{framework}_{kind}"
    params = {**NETWORKS[trainer], "epochs": 4, "learning_rate": 0.01}
    if kind == "custom":  # what is dropped is each worker's own
        source = OWN[framework].replace("layers.Dropout(0.1), ", "")
        params["module"] = {"file": "network.py", "source": source}
    matrix, found = wave(), []
    for workers in (1, 2):
        settings = Model(name="m", trainer=trainer, params={**params, "workers": workers}, seed=3)
        found.append(predict(train(matrix, settings, "regression"), matrix))
    assert np.abs(found[0] - found[1]).max() < TOLERANCE


def _loses(monkeypatch: pytest.MonkeyPatch, epochs: list[int]) -> list[int]:
    """Kill a worker in the middle of those epochs, when it has its rows; gives the killed."""
    from pipeline.steps.train.neural.workers import SharedNetwork

    killed: list[int] = []
    tries: list[int] = []
    dealt = SharedNetwork._dealt

    def deal(self: Any, group: Any, pieces: Any) -> Any:
        tries.append(1)
        for shard in dealt(self, group, pieces):
            if len(tries) in epochs:
                worker, _ = self._crew._started[0]
                os.kill(worker.pid, signal.SIGKILL)
                killed.append(worker.pid)
            yield shard

    monkeypatch.setattr(SharedNetwork, "_dealt", deal)
    return killed


@pytest.mark.parametrize("framework", BOTH)
def test_a_killed_worker_is_started_anew_and_the_model_is_the_same_to_the_bit(
    framework: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    matrix, trainer = wave(), f"{framework}_mlp"
    whole = teach(matrix, 2, trainer)
    killed = _loses(monkeypatch, [3])
    mended = teach(matrix, 2, trainer)
    assert len(killed) == 1
    assert predict(mended, matrix).tobytes() == predict(whole, matrix).tobytes()
    assert mended.history == whole.history
    assert "workers were lost 1 times, and started anew" in mended.notes
    assert not Path(f"/proc/{killed[0]}").exists()


@pytest.mark.parametrize("framework", RARELY_KERAS)
def test_a_training_with_workers_goes_on_from_its_checkpoint_to_the_same_bytes(
    framework: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learning, "EVERY_S", 0.0)
    matrix, trainer, kept = wave(), f"{framework}_mlp", list[bytes]()
    whole = teach(matrix, 2, trainer, support=Support(save=lambda _, content: kept.append(content)))
    resumed = teach(matrix, 2, trainer, support=Support(load=lambda _: kept[3]))
    assert len(kept) == 8
    assert predict(resumed, matrix).tobytes() == predict(whole, matrix).tobytes()
    assert resumed.history == whole.history


@torch
def test_a_worker_lost_again_and_again_ends_the_training_with_how_it_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    _loses(monkeypatch, [1, 2, 3])
    with pytest.raises(TransientError, match=r"found 3 losses of workers in one epoch, the last with the exit code -9"):
        teach(wave(), 2)
