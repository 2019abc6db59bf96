"""The networks that are trained: their rows, and how each framework's tutorials build them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

ROWS, COLUMNS, EPOCHS, LAYERS = 50_000, 30, 10, (128, 64)
IMAGES, SIDE, FILTERS, DENSE = 8_000, 16, (16, 32), 32
TEXTS, WORDS, VOCABULARY, EMBEDDED = 20_000, 60, 8_000, 64


@dataclass(frozen=True)
class Kind:
    """A network that is trained with and without Modelrail.

    Attributes
    ----------
    rows : callable
        Makes features float32[n, columns], and float32 values or int64 classes.
    names : sequence of str
        Names of the columns.
    params : mapping
        Modelrail's parameters.
    torch, keras : callable
        Build the network as the framework's tutorials do.
    """

    rows: Callable[[], tuple[Any, Any]]
    names: Sequence[str]
    params: Mapping[str, Any]
    torch: Callable[[], Any]
    keras: Callable[[], Any]


def make_numbers() -> tuple[Any, Any]:
    random = np.random.default_rng(0)
    features = random.normal(size=(ROWS, COLUMNS)).astype(np.float32)
    target = np.sin(features[:, 0]) + features[:, 1] * features[:, 2] + random.normal(0, 0.1, ROWS)
    return features, target.astype(np.float32)


def make_images() -> tuple[Any, Any]:
    random = np.random.default_rng(0)
    target = random.integers(0, 10, IMAGES)
    images = random.uniform(0, 0.6, (IMAGES, SIDE, SIDE)).astype(np.float32)
    images[np.arange(IMAGES), target] += 0.4
    return images.reshape(IMAGES, -1), target


def make_texts() -> tuple[Any, Any]:
    random = np.random.default_rng(0)
    words = random.zipf(1.2, (TEXTS, WORDS)).clip(1, VOCABULARY - 2).astype(np.float32) + 1
    words[np.arange(WORDS) >= random.integers(5, WORDS, TEXTS)[:, None]] = 0
    return words, (words % 97 == 5).any(axis=1).astype(np.int64)


def torch_perceptron() -> Any:
    from torch import nn

    sizes = (COLUMNS, *LAYERS)
    hidden = [each for pair in zip(sizes, LAYERS, strict=False) for each in (nn.Linear(*pair), nn.ReLU())]
    return nn.Sequential(*hidden, nn.Linear(LAYERS[-1], 1))


def keras_perceptron() -> Any:
    from pipeline.steps.train.neural.quiet_keras import keras

    hidden = [keras.layers.Dense(size, activation="relu") for size in LAYERS]
    return keras.Sequential([keras.Input((COLUMNS,)), *hidden, keras.layers.Dense(1)])


def torch_convolutions() -> Any:
    from torch import nn

    first, second = FILTERS
    return nn.Sequential(
        nn.Unflatten(1, (1, SIDE, SIDE)),
        *(nn.Conv2d(1, first, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(first, second, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(second * (SIDE // 4) ** 2, DENSE), nn.ReLU(), nn.Linear(DENSE, 10)),
    )


def keras_convolutions() -> Any:
    from pipeline.steps.train.neural.quiet_keras import keras

    layers = keras.layers
    folds = [
        each
        for size in FILTERS
        for each in (layers.Conv2D(size, 3, padding="same", activation="relu"), layers.MaxPooling2D(2))
    ]
    shaped = [keras.Input((SIDE * SIDE,)), layers.Reshape((SIDE, SIDE, 1))]
    return keras.Sequential(
        [*shaped, *folds, layers.Flatten(), layers.Dense(DENSE, activation="relu"), layers.Dense(10)]
    )


def torch_reader(*, folds: bool) -> Callable[[], Any]:
    def build() -> Any:
        import torch
        from torch import nn

        class Reader(nn.Module):  # type: ignore[misc]
            def __init__(self) -> None:
                super().__init__()
                self.vectors = nn.Embedding(VOCABULARY, EMBEDDED, padding_idx=0)
                self.fold = nn.Conv1d(EMBEDDED, EMBEDDED, 3, padding=1)
                self.last = nn.Sequential(nn.Linear(EMBEDDED, DENSE), nn.ReLU(), nn.Linear(DENSE, 2))

            def forward(self, rows: Any) -> Any:
                tokens = rows.long()
                vectors = self.vectors(tokens)
                if folds:
                    return self.last(torch.relu(self.fold(vectors.transpose(1, 2))).amax(2))
                return self.last(vectors.sum(1) / (tokens > 0).sum(1, keepdim=True).clamp(min=1))

        return Reader()

    return build


def keras_reader(*, folds: bool) -> Callable[[], Any]:
    def build() -> Any:
        from pipeline.steps.train.neural.quiet_keras import keras

        layers = keras.layers
        pooled = (
            [layers.Conv1D(EMBEDDED, 3, padding="same", activation="relu"), layers.GlobalMaxPooling1D()]
            if folds
            else [layers.GlobalAveragePooling1D()]
        )
        return keras.Sequential(
            [
                *(keras.Input((WORDS,)), layers.Embedding(VOCABULARY, EMBEDDED, mask_zero=not folds), *pooled),
                *(layers.Dense(DENSE, activation="relu"), layers.Dense(2)),
            ]
        )

    return build


_WORDS = tuple(f"text@{place}" for place in range(WORDS))
_READING = {"embedding": EMBEDDED, "layers": [DENSE], "epochs": EPOCHS}
KINDS: Mapping[str, Kind] = {
    "mlp": Kind(
        make_numbers,
        [f"x{place}" for place in range(COLUMNS)],
        {"layers": list(LAYERS), "epochs": EPOCHS},
        torch_perceptron,
        keras_perceptron,
    ),
    "cnn": Kind(
        make_images,
        [f"image[0,{y},{x}]" for y in range(SIDE) for x in range(SIDE)],
        {"filters": list(FILTERS), "layers": [DENSE], "epochs": 2 * EPOCHS},
        torch_convolutions,
        keras_convolutions,
    ),
    "text": Kind(make_texts, _WORDS, _READING, torch_reader(folds=False), keras_reader(folds=False)),
    "text, convolution": Kind(
        make_texts,
        _WORDS,
        {**_READING, "filters": [EMBEDDED], "pooling": "max"},
        torch_reader(folds=True),
        keras_reader(folds=True),
    ),
}
