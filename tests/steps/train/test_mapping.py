"""Rows in files: the same rows, in the same order, and the same models as with rows in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.errors import DataError, ModelrailError
from pipeline.spec.schema.spec import Model
from pipeline.steps.train import mapping
from pipeline.steps.train.mapping import Span, block_rows, blocks, few_rows, gather, map_rows, places_of, take_rows
from pipeline.steps.train.neural.network import Batch
from pipeline.steps.train.neural.pieces import Pieces
from pipeline.steps.train.results import Array, Matrix, Scorer, Trained
from pipeline.steps.train.training import train

PIECES = "pipeline.steps.train.neural.pieces"


def mapped(features: Array, folder: Path) -> Array:
    found = map_rows(*features.shape, folder)
    found[:] = features
    return found


def in_files(matrix: Matrix, folder: Path) -> Matrix:
    return replace(matrix, train=mapped(matrix.train, folder), validation=mapped(matrix.validation, folder))


@pytest.mark.parametrize("spans", [[(0, 1000)], [(900, 1000), (0, 7), (500, 501)], [(3, 4)]])
def test_spans_are_gathered_in_an_order_from_a_file_as_from_memory(tmp_path: Path, spans: list[Span]) -> None:
    features = np.random.default_rng(0).random((1000, 5), dtype=np.float32)
    places = places_of(spans)
    order = np.random.default_rng(1).permutation(len(places))
    found = gather(mapped(features, tmp_path), spans, order)
    np.testing.assert_array_equal(found, features[places[order]])
    np.testing.assert_array_equal(found, gather(features, spans, order))
    assert type(found) is np.ndarray  # of its own: the file may go


@pytest.mark.parametrize("rows", [1, 63, 64, 65, 1000])
def test_an_epoch_has_every_row_once_in_whole_batches_from_all_over(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    monkeypatch.setattr(f"{PIECES}.BLOCK_BYTES", 1024)  # 64 rows of 4 columns
    monkeypatch.setattr(f"{PIECES}.READ_BYTES", 64)  # 4 rows
    features = np.arange(rows * 4, dtype=np.float32).reshape(rows, 4)
    batch = Batch(features, np.arange(rows), None)
    pieces = Pieces(batch, 16, (0, 1))
    found = list(pieces)
    assert len(found) == pieces.count == -(-rows // 64)
    assert {len(each.target) for each in found[:-1]} <= {64}
    order = np.concatenate([each.target for each in found])
    np.testing.assert_array_equal(np.sort(order), np.arange(rows))
    np.testing.assert_array_equal(np.concatenate([each.features for each in found]), features[order])
    again, other = (np.concatenate([each.target for each in Pieces(batch, 16, (0, epoch))]) for epoch in (1, 2))
    np.testing.assert_array_equal(order, again)
    assert rows == 1 or (order != other).any()
    if rows == 1000:  # neither do neighbours follow each other, nor does a piece come from one place
        assert np.mean(np.abs(np.diff(order)) == 1) < 0.05
        assert min(np.ptp(each.target) for each in found) > 500


def test_blocks_and_places_are_the_same_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapping, "MAX_BLOCK_ROWS", 16)
    features = np.random.default_rng(0).random((100, 3), dtype=np.float32)
    kept = mapped(features, tmp_path)
    assert [len(each) for each in blocks(kept)] == [16] * 6 + [4]
    np.testing.assert_array_equal(np.concatenate([*blocks(kept)]), features)
    places = np.array([99, 0, 17, 17, *range(40, 60)])
    taken = take_rows(kept, places)
    assert isinstance(taken, np.memmap)
    np.testing.assert_array_equal(taken, features[places])
    np.testing.assert_array_equal(few_rows(kept, places), features[places])


def test_a_block_has_so_many_bytes_but_at_least_a_row() -> None:
    assert block_rows(1024) == 16_384
    assert block_rows(2) == 65_536
    assert block_rows(10**9) == 1
    assert block_rows(100, 4000) == 10


def test_the_file_has_no_name_so_nothing_can_be_left_of_it(tmp_path: Path) -> None:
    rows = map_rows(10, 3, tmp_path)
    rows[:] = 7
    assert list(tmp_path.iterdir()) == []
    assert rows.sum() == 210
    assert map_rows(0, 3, tmp_path).shape == (0, 3)


def test_a_disk_without_room_is_told_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ModelrailError, match=r"train: found no room for 4000000\.0 GB of rows in "):
        map_rows(10**12, 1000, tmp_path)
    assert list(tmp_path.iterdir()) == []


def measure(truth: Array, found: Array) -> float:
    return float(np.mean((truth - found) ** 2))


NEURAL: dict[str, Any] = {"layers": [8], "epochs": 3, "learning_rate": 0.02, "batch_size": 16}
TORCH, TENSORFLOW = (pytest.mark.extra(name) for name in ("torch", "tensorflow"))
MODELS = [
    pytest.param("values", {"trainer": "linear_regression"}, id="descent"),
    pytest.param("values", {"trainer": "linear_regression", "early_stopping": {"patience": 2}}, id="descent stopped"),
    pytest.param("values", {"trainer": "torch_mlp", "params": NEURAL}, marks=TORCH, id="torch"),
    pytest.param(
        "texts",
        {"trainer": "torch_mlp", "params": NEURAL | {"dropout": 0.3}, "class_weight": "balanced"},
        marks=TORCH,
        id="torch classes",
    ),
    pytest.param(
        "flag",
        {"trainer": "torch_cnn", "params": NEURAL | {"shape": [1, 2, 2], "filters": [2], "pool": 1, "noise": 0.1}},
        marks=TORCH,
        id="torch varied",
    ),
    pytest.param(
        "values",
        {
            "trainer": "torch_mlp",
            "params": NEURAL,
            "search": {"trials": 3, "method": "halving", "space": {"learning_rate": [0.1, 0.01, 0.001]}},
        },
        marks=TORCH,
        id="torch searched",
    ),
    *(
        pytest.param(kind, {"trainer": name, **more}, marks=pytest.mark.extra("boosting"), id=f"{name} {kind}")
        for name in ("xgboost", "lightgbm")
        for kind, more in (("values", {"early_stopping": {"patience": 3}}), ("texts", {"class_weight": "balanced"}))
    ),
    pytest.param("texts", {"trainer": "tensorflow_mlp", "params": NEURAL}, marks=TENSORFLOW, id="tensorflow"),
]


@pytest.mark.parametrize(("kind", "model"), MODELS)
def test_a_model_learns_the_same_from_files_as_from_memory_bit_for_bit(
    matrix: Callable[..., Matrix], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, model: dict[str, Any]
) -> None:
    for place in ("pipeline.steps.train.mapping", PIECES):
        monkeypatch.setattr(f"{place}.BLOCK_BYTES", 1024)  # 64 rows: several pieces
    monkeypatch.setattr(f"{PIECES}.READ_BYTES", 128)
    monkeypatch.setattr(f"{PIECES}._JUDGED_BYTES", 512)
    settings = Model.model_validate({"name": "m", "seed": 3} | model)
    task: Any = "regression" if kind == "values" else "classification"

    def learn(rows: Matrix) -> Trained:
        return train(rows, settings, task, scorer=Scorer("mse", measure))

    rows = matrix(kind, 400)
    memory, files = learn(rows), learn(in_files(rows, tmp_path))
    assert files.history == memory.history
    assert files.trials == memory.trials
    assert files.estimator_graph is not None
    assert files.estimator_graph == memory.estimator_graph
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("where", ["train", "validation"])
def test_a_value_that_cannot_be_learnt_is_found_in_any_block(
    matrix: Callable[..., Matrix], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    monkeypatch.setattr(mapping, "MAX_BLOCK_ROWS", 16)
    rows = in_files(matrix("values"), tmp_path)
    getattr(rows, where)[-1, 2] = np.inf
    with pytest.raises(DataError, match="found infinite values in 'c'"):
        train(rows, Model(name="m", trainer="linear_regression"), "regression")


@pytest.mark.extra("torch")
def test_the_loss_of_validation_rows_in_pieces_is_that_of_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.steps.train.neural.layers import dense_layers, initial_weights
    from pipeline.steps.train.neural.learning import judge
    from pipeline.steps.train.neural.torch_network import TorchNetwork, build_module
    from pipeline.steps.train.task import effective_params

    params = effective_params("torch_mlp", "classification", {})
    layers = dense_layers(4, [8], 3, params)
    network = TorchNetwork(build_module(layers, initial_weights(layers, 0)), params, "cpu")
    random = np.random.default_rng(0)
    features = random.normal(size=(1001, 4)).astype(np.float32)
    rows = Batch(features, random.integers(0, 3, 1001), random.random(1001).astype(np.float32))
    whole = judge(network, rows)
    assert whole == network.judge(rows)
    monkeypatch.setattr(f"{PIECES}._JUDGED_BYTES", 16 * 100)
    assert judge(network, rows) == pytest.approx(whole, rel=1e-6)
