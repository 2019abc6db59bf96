"""What the parameters of the trainers in an environment of their own may be."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.steps.train.accepting import Table, integer, number, option, sizes

_FILE = {"default": None, "accepts": [{"kind": "file"}, {"kind": "none"}]}
_TIMEOUT = integer(3600, 1)

_OWN: Mapping[str, Table] = {
    "container": {
        "command": {"default": ["python", "train.py"], "accepts": [{"kind": "words"}]},
        "files": {"default": ["train.py"], "accepts": [{"kind": "files"}]},
        "requirements": {"default": "requirements.txt", "accepts": [{"kind": "file"}]},
        "image": {"default": None, "accepts": [{"kind": "image"}, {"kind": "none"}]},
        "python": {"default": None, "accepts": [{"kind": "version"}, {"kind": "none"}]},
        "arguments": {"default": {}, "accepts": [{"kind": "mapping"}]},
        "timeout_s": _TIMEOUT,
    },
    "mxnet": {
        "layers": sizes([64]),
        "activation": option("relu", ["identity", "relu", "sigmoid", "softsign", "tanh"]),
        "dropout": number(0.0, 0, high=1),
        "optimizer": option("adam", ["adam", "rmsprop", "sgd"]),
        "learning_rate": number(0.001, 0, "neither"),
        "epochs": integer(100, 1),
        "batch_size": integer(32, 1),
        "symbol": _FILE,
        "weights": _FILE,
        "shape": {"default": None, "accepts": [{"kind": "sizes"}, {"kind": "none"}]},
        "timeout_s": _TIMEOUT,
    },
}


def container_parameters(trainer: str) -> Table:
    """Return the parameters of such a trainer, as ``trainers.json`` keeps them."""
    return _OWN[trainer]
