from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.errors import TrainingError
from pipeline.model.graphs import run
from pipeline.spec.schema.spec import Model
from pipeline.steps.train.neural.layers import dense_layers, image_layers, multiplications, text_layers
from pipeline.steps.train.neural.schedules import SCHEDULES, rate_at
from pipeline.steps.train.results import Matrix, Support, Trained
from pipeline.steps.train.training import train
from tests.extras import NETWORKS

BOTH = [pytest.param(name, marks=pytest.mark.extra(name)) for name in ("torch", "tensorflow")]
QUICK: dict[str, Any] = {"layers": [8], "epochs": 20, "learning_rate": 0.02}


def teach(framework: str, matrix: Matrix, task: Any, support: Support | None = None, **params: Any) -> Trained:
    settings = Model(name="m", trainer=f"{framework}_mlp", params=QUICK | params, seed=3)
    return train(matrix, settings, task, support=support)


def line(rows: int = 100) -> Matrix:
    generator = np.random.default_rng(0)
    x = generator.uniform(0, 1, (rows, 1)).astype(np.float32)
    y = (2 * x[:, 0] + 1 + generator.normal(0, 0.1, rows)).astype(np.float64)
    cut = rows * 9 // 10
    return Matrix(x[:cut], y[:cut], x[cut:], y[cut:], ("x",))


def test_multiplications_of_a_row_are_counted() -> None:
    params = {"kernel": 3, "pool": 2, "filters": [4], "layers": [5], "activation": "relu", "dropout": 0.0}
    assert multiplications(dense_layers(3, [5, 7], 2, params)) == 3 * 5 + 5 * 7 + 7 * 2
    convolution, dense = 8 * 8 * (2 * 4 * 3 * 3), 4 * 4 * 4 * 5 + 5 * 1
    assert multiplications(image_layers((2, 8, 8), 1, params)) == convolution + dense
    reads = text_layers(10, 99, 1, params | {"embedding": 6, "pooling": "max"})
    assert multiplications(reads) == 10 * (6 * 4 * 3) + 4 * 5 + 5 * 1


@pytest.mark.parametrize("framework", BOTH)
def test_the_line_of_the_tutorial_is_learnt(framework: str) -> None:
    trained = teach(framework, line(), "regression", layers=[], loss="mse", optimizer="adam", epochs=200)
    assert trained.estimator_graph is not None
    answer = run(trained.estimator_graph, {"matrix": np.array([[0.5]], np.float32)})["prediction"][0]
    assert abs(answer - 2) < 0.15
    assert trained.parity.holds


PARAMS = [
    ("values", {"activation": "sigmoid", "optimizer": "sgd", "momentum": 0.9, "schedule": "cosine"}),
    ("values", {"activation": "tanh", "loss": "huber", "huber_delta": 0.5, "optimizer": "rmsprop"}),
    ("values", {"activation": "gelu", "layers": [16, 8], "schedule": "linear", "warmup_epochs": 3}),
    ("values", {"activation": "identity", "scale_target": False, "clip_norm": 1.0, "schedule": "step"}),
    ("texts", {"activation": "relu", "dropout": 0.3, "weight_decay": 0.01, "schedule": "exponential"}),
    ("texts", {"activation": "gelu", "batch_size": 1000, "precision": "mixed"}),
]


@pytest.mark.parametrize("framework", BOTH)
@pytest.mark.parametrize(("kind", "params"), PARAMS)
def test_every_option_learns_and_keeps_parity(matrix, framework: str, kind: str, params: dict[str, Any]) -> None:
    trained = teach(framework, matrix(kind), "regression" if kind == "values" else "classification", **params)
    assert trained.parity.holds
    assert trained.history[-1]["loss"] < trained.history[0]["loss"]
    assert trained.history[-1]["validation_loss"] < trained.history[0]["validation_loss"]
    assert any("trained on the CPU" in note for note in trained.notes)
    assert any("mixed needs a GPU" in note for note in trained.notes) == (params.get("precision") == "mixed")


def squares(rows: int = 240, side: int = 8) -> Matrix:
    """Bright squares in the upper or in the lower half, on noise."""
    generator = np.random.default_rng(4)
    images = generator.uniform(0, 0.5, (rows, 2, side, side)).astype(np.float32)
    low = generator.random(rows) < 0.5
    for image, is_low in zip(images, low, strict=True):
        y, x = generator.integers(0, side // 2 - 2), generator.integers(0, side - 3)
        image[:, y + is_low * side // 2 :, x:][:, :3, :3] += 1
    names = tuple(f"photo[{c},{y},{x}]" for c, y, x in np.ndindex(2, side, side))
    flat, target, cut = images.reshape(rows, -1), np.where(low, "low", "high").astype(object), rows * 3 // 4
    return Matrix(flat[:cut], target[:cut], flat[cut:], target[cut:], names)


@pytest.mark.parametrize("framework", BOTH)
def test_a_convolutional_network_learns_from_pixels_and_keeps_parity(framework: str) -> None:
    params = {"filters": [4, 8], "layers": [16], "epochs": 25, "learning_rate": 0.01, "shift": 1, "noise": 0.01}
    settings = Model(name="m", trainer=f"{framework}_cnn", params=params | {"activation": "gelu", "flip": True}, seed=1)
    rows = squares()
    trained = train(rows, settings, "classification")
    assert trained.parity.holds
    assert trained.estimator_graph is not None
    found = run(trained.estimator_graph, {"matrix": rows.validation})["label"]
    assert trained.classes is not None
    assert np.mean(np.array(trained.classes, dtype=object)[found] == rows.validation_target) > 0.9


@pytest.mark.extra("torch", "tensorflow")
def test_both_frameworks_see_the_same_image() -> None:
    rows = squares()
    params = {"filters": [4], "layers": [8], "epochs": 2, "kernel": 5}
    graphs = [train(rows, Model(name="m", trainer=f"{each}_cnn", params=params), "classification").estimator_graph
              for each in ("torch", "tensorflow")]  # fmt: skip
    found = [run(graph, {"matrix": rows.validation})["probabilities"] for graph in graphs if graph is not None]
    np.testing.assert_allclose(found[0], found[1], atol=2e-3)


REFUSED = [
    (
        "cnn",
        {},
        ["a", "b", "c", "d"],
        "found the feature 'a', which is no pixel; expected only the pixels of one image",
    ),
    (
        "cnn",
        {},
        ["p[0,0,0]", "p[0,0,1]", "p[0,1,0]", "q[0,1,1]"],
        "found pixels of p, q; expected all the pixels of one",
    ),
    ("cnn", {"shape": [1, 3, 3]}, ["a", "b", "c", "d"], "found the shape [1, 3, 3] for 4 features"),
    ("cnn", {"shape": [1, 2, 2]}, ["a", "b", "c", "d"], "found 2 pools of 2 for an image of 2 × 2"),
    ("cnn", {"shape": [1, 2, 2], "kernel": 2}, ["a", "b", "c", "d"], "found a kernel of 2; expected an odd one"),
    ("text", {}, ["a", "b", "c", "d"], "found the feature 'a', which is no word of a text; expected only one text"),
    ("text", {}, ["p@0", "p@1", "q@0", "q@1"], "found words of p, q; expected those of one text (features.select)"),
    ("text", {"kernel": 2}, ["p@0", "p@1", "p@2", "p@3"], "found a kernel of 2; expected an odd one"),
]


@pytest.mark.extra("torch")
@pytest.mark.parametrize(("kind", "params", "columns", "message"), REFUSED)
def test_what_is_no_image_or_no_text_is_refused(
    matrix, kind: str, params: dict[str, Any], columns: list[str], message: str
) -> None:
    rows = replace(matrix("flag"), columns=tuple(columns))
    with pytest.raises(TrainingError, match=re.escape(message)):
        train(rows, Model(name="m", trainer=f"torch_{kind}", params=params), "classification")


def sayings(rows: int = 400, length: int = 9) -> Matrix:
    """Texts of up to ``length`` words, good where word 7 follows word 5, and some with both the other way round."""
    generator = np.random.default_rng(6)
    words = generator.integers(8, 30, (rows, length)).astype(np.float32)
    good = generator.random(rows) < 0.5
    for text, is_good in zip(words, good, strict=True):
        place = generator.integers(0, length - 1)
        text[place : place + 2] = (5, 7) if is_good else (7, 5)
        text[generator.integers(place + 2, length + 1) :] = 0
    target, cut = np.where(good, "good", "bad").astype(object), rows * 3 // 4
    return Matrix(words[:cut], target[:cut], words[cut:], target[cut:], tuple(f"said@{i}" for i in range(length)))


READING = {"embedding": 16, "layers": [16], "epochs": 30, "learning_rate": 0.01}


@pytest.mark.parametrize("framework", BOTH)
@pytest.mark.parametrize("pooling", ["max", "mean"])
def test_a_network_reads_the_order_of_words_and_keeps_parity(framework: str, pooling: str) -> None:
    params = READING | {"filters": [16], "pooling": pooling, "activation": "gelu", "dropout": 0.1}
    rows = sayings()
    trained = train(rows, Model(name="m", trainer=f"{framework}_text", params=params, seed=1), "classification")
    assert trained.parity.holds
    assert trained.estimator_graph is not None
    assert trained.classes == ("bad", "good")
    found = run(trained.estimator_graph, {"matrix": rows.validation})["label"]
    assert np.mean((found == 1) == (rows.validation_target == "good")) > 0.95


@pytest.mark.extra("torch", "tensorflow")
@pytest.mark.parametrize("own", [{"filters": [8, 4], "kernel": 5, "pooling": "max"}, {"clip_norm": 0.5}])
def test_both_frameworks_read_the_same(own: dict[str, Any]) -> None:
    rows, params = sayings(), READING | {"optimizer": "sgd", "epochs": 3, "learning_rate": 0.5} | own
    graphs = [train(rows, Model(name="m", trainer=f"{each}_text", params=params), "classification").estimator_graph
              for each in ("torch", "tensorflow")]  # fmt: skip
    found = [run(graph, {"matrix": rows.validation})["probabilities"] for graph in graphs if graph is not None]
    np.testing.assert_allclose(found[0], found[1], atol=1e-5)


@pytest.mark.parametrize("framework", BOTH)
def test_what_stands_after_a_text_counts_nowhere_and_new_words_are_alike(framework: str) -> None:
    rows, answers = sayings(), []
    wide = replace(
        rows,
        train=np.pad(rows.train, ((0, 0), (0, 30))),
        validation=np.pad(rows.validation, ((0, 0), (0, 30))),
        columns=tuple(f"said@{i}" for i in range(39)),
    )
    for each in (rows, wide):
        params = READING | {"filters": [8], "activation": "tanh", "pooling": "max", "epochs": 3}
        trained = train(each, Model(name="m", trainer=f"{framework}_text", params=params), "classification")
        asked = each.validation.copy()
        asked[:9, 0] = (1, 30, 31, 1e6, -1, -7, 1, 1, 1)  # numbers that no training row has
        asked[:9, 1:] = 0
        asked[9] = 0
        assert trained.estimator_graph is not None
        answers.append(run(trained.estimator_graph, {"matrix": asked})["probabilities"])
    np.testing.assert_allclose(answers[0], answers[1], atol=1e-4)
    assert np.ptp(answers[0][:9], axis=0).max() == 0
    assert np.isfinite(answers[0]).all()


@pytest.mark.parametrize("framework", BOTH)
@pytest.mark.parametrize(("kind", "task"), [("values", "regression"), ("texts", "classification")])
def test_a_network_of_ones_own_learns_and_keeps_parity(matrix, framework: str, kind: str, task: Any) -> None:
    params = NETWORKS[f"{framework}_custom"] | {"arguments": {"width": 12}, "epochs": 30}
    settings = Model(name="m", trainer=f"{framework}_custom", params=params, seed=5)
    trained = train(matrix(kind), settings, task)
    assert trained.parity.holds
    assert trained.history[-1]["loss"] < trained.history[0]["loss"]
    again = train(matrix(kind), settings, task)
    assert again.history == trained.history


@pytest.mark.extra("tensorflow")
@pytest.mark.parametrize("name", ["relu", "sigmoid", "tanh", "gelu", "linear"])
def test_a_network_of_ones_own_in_keras_may_have_every_activation_that_ours_have(matrix, name: str) -> None:
    layers = f"[layers.Dense(8, activation='{name}'), layers.Activation('{name}'), layers.Dense(outputs)]"
    source = f"from keras import *\ndef build(inputs, outputs):\n    return Sequential({layers})\n"
    params = {"module": {"file": "network.py", "source": source}, "epochs": 2}
    settings = Model(name="m", trainer="tensorflow_custom", params=params)
    assert train(matrix("values"), settings, "regression").parity.holds


OWN_FAULTS = [
    ("torch", "x = (", "network.py:1: found SyntaxError"),
    ("torch", "", "network.py: found no function 'build'; expected one"),
    ("torch", "def build(inputs, outputs):\n    return 1 / 0", "network.py:2: found ZeroDivisionError: division"),
    ("torch", "def build(inputs, outputs):\n    return 7", "found int from build; expected a torch.nn.Module"),
    ("torch", "import torch\ndef build(inputs, outputs):\n    return torch.nn.Linear(inputs, 9)",
     "found (2, 9) for two rows of 4 features; expected the shape (2, 1)"),
    ("tensorflow", "def build(inputs, outputs):\n    return 7", "found int from build; expected a keras.Sequential"),
    ("tensorflow", "import keras\ndef build(inputs, outputs):\n    return keras.Sequential([keras.layers.Dense(2)])",
     "found the shape (None, 2) of its output; expected (None, 1)"),
    ("tensorflow", "from keras import *\nbuild = lambda *_: Sequential([layers.Dense(1), layers.Softmax()])",
     "found the layer Softmax; expected"),
    ("tensorflow", "from keras import *\nbuild = lambda *_: Sequential([layers.ReLU(max_value=6), layers.Dense(1)])",
     "found the activation ReLU with max_value 6; expected one of relu, sigmoid, tanh, gelu"),
    ("tensorflow", "from keras import *\nbuild = lambda *_: Sequential([layers.Dense(1, activation='selu')])",
     "found the activation selu; expected one of relu, sigmoid, tanh, gelu"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("framework", "source", "message"),
    [pytest.param(*each, marks=pytest.mark.extra(each[0])) for each in OWN_FAULTS],
)
def test_what_is_wrong_with_a_network_of_ones_own_is_told(matrix, framework: str, source: str, message: str) -> None:
    params = {"module": {"file": "network.py", "source": source}}
    with pytest.raises(TrainingError, match=re.escape(message)):
        train(matrix("values"), Model(name="m", trainer=f"{framework}_custom", params=params), "regression")


BRANCHES = """
from torch import nn

class Doubting(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.first, self.second = nn.Linear(inputs, outputs), nn.Linear(inputs, outputs)

    def forward(self, rows):
        return self.first(rows) if rows.abs().sum() == 0 else 100 + self.second(rows)

build = Doubting
"""


@pytest.mark.extra("torch")
def test_a_network_of_ones_own_that_branches_on_values_is_told_why_its_graph_differs(matrix) -> None:
    params = {"module": {"file": "network.py", "source": BRANCHES}, "epochs": 1}
    with pytest.raises(TrainingError, match="expected a network whose steps do not depend on its values, or a smaller"):
        train(matrix("values"), Model(name="m", trainer="torch_custom", params=params), "regression")


@pytest.mark.extra("torch", "tensorflow")
@pytest.mark.parametrize("optimizer", ["adam", "rmsprop", "sgd"])
def test_both_frameworks_learn_the_same(matrix, optimizer: str) -> None:
    rows = matrix("values")
    params = {"optimizer": optimizer, "activation": "tanh", "weight_decay": 0.01, "clip_norm": 5.0, "epochs": 5}
    graphs = [teach(each, rows, "regression", **params).estimator_graph for each in ("torch", "tensorflow")]
    found = [run(graph, {"matrix": rows.validation})["prediction"] for graph in graphs if graph is not None]
    np.testing.assert_allclose(found[0], found[1], atol=2e-3)


@pytest.mark.parametrize("framework", BOTH)
def test_early_stopping_goes_back_to_the_best_epoch(matrix, framework: str) -> None:
    rows = matrix("values")
    settings = Model(name="m", trainer=f"{framework}_mlp", params=QUICK | {"epochs": 500, "learning_rate": 0.1},
                     early_stopping={"patience": 4})  # fmt: skip
    trained = train(rows, settings, "regression")
    losses = [each["validation_loss"] for each in trained.history]
    assert len(losses) < 500
    assert any(note.startswith("stopped after") for note in trained.notes)
    assert int(np.argmin(losses)) >= len(losses) - 6


@pytest.mark.parametrize("framework", BOTH)
def test_a_loss_that_is_no_number_is_told_with_a_remedy(matrix, framework: str) -> None:
    with pytest.raises(TrainingError, match=r"the loss is (nan|inf) after epoch \d+ with a learning rate of 1e\+12"):
        teach(framework, matrix("values"), "regression", optimizer="sgd", learning_rate=1e12, activation="identity")


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from conftest import make_matrix
from pipeline.spec.schema.spec import Model
from pipeline.steps.train.neural import learning
from pipeline.steps.train.results import Support
from pipeline.steps.train.training import train
learning.EVERY_S = 0.0
place = Path({place!r})
def save(name, content):
    (place / "part").write_bytes(content)
    (place / "part").rename(place / name)
    (place / "saved").touch()
settings = Model(name="m", trainer={trainer!r}, seed=3, params={params!r}, early_stopping=dict(patience=100000))
train(make_matrix("values"), settings, "regression", support=Support(save=save))
"""


@pytest.mark.parametrize(
    "framework", [BOTH[0], pytest.param("tensorflow", marks=[pytest.mark.extra("tensorflow"), pytest.mark.rare])]
)
def test_a_training_killed_by_kill_9_goes_on_and_ends_with_the_same_bytes(
    matrix, framework: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    params = QUICK | {"dropout": 0.2, "schedule": "cosine", "epochs": 2000}
    script = KILLED.format(
        tests=str(request.path.parent), place=str(tmp_path), trainer=f"{framework}_mlp", params=params
    )
    killed = subprocess.Popen([sys.executable, "-c", script], cwd=request.config.rootpath)
    try:
        deadline = time.monotonic() + 90
        while not (tmp_path / "saved").exists() and killed.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
    finally:
        killed.send_signal(signal.SIGKILL)
        killed.wait()
    assert killed.returncode == -signal.SIGKILL
    (left,) = [path for path in tmp_path.iterdir() if path.suffix == ".safetensors"]
    said: list[str] = []
    support = Support(load=lambda name: left.read_bytes() if name == left.name else None, say=said.append)
    settings = Model(name="m", trainer=f"{framework}_mlp", seed=3, params=params,
                     early_stopping={"patience": 100000})  # fmt: skip
    rows = matrix("values")
    resumed = train(rows, settings, "regression", support=support)
    assert len(said) == 1
    assert said[0].startswith("goes on after epoch ")
    whole = train(rows, settings, "regression")
    assert resumed.history == whole.history
    for graph in (resumed.estimator_graph, whole.estimator_graph):
        assert graph is not None
    assert resumed.estimator_graph.SerializeToString(deterministic=True) == whole.estimator_graph.SerializeToString(
        deterministic=True
    )


@pytest.mark.extra("torch")
@pytest.mark.parametrize("damage", [b"", b"\x08\0\0\0\0\0\0\0{}", b"\xff" * 100])
def test_a_damaged_checkpoint_is_not_used(matrix, damage: bytes) -> None:
    said: list[str] = []
    teach("torch", matrix("values"), "regression", Support(load=lambda _: damage, say=said.append))
    assert said == []


@pytest.mark.extra("torch")
def test_the_losses_are_told_while_the_training_goes_on(matrix) -> None:
    told: list[Any] = []
    trained = teach("torch", matrix("values"), "regression", Support(tell=told.extend), epochs=400)
    assert told
    assert told == list(trained.history[: len(told)])


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_schedule_begins_at_the_learning_rate_and_never_grows(schedule: str) -> None:
    rates = [rate_at(epoch, 12, 0.5, schedule, 0) for epoch in range(1, 13)]
    assert rates[0] == 0.5
    assert rates == sorted(rates, reverse=True)
    assert min(rates) >= 0


def test_a_warm_up_grows_to_the_learning_rate() -> None:
    assert [rate_at(epoch, 10, 0.4, "constant", 3) for epoch in range(1, 6)] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4])
