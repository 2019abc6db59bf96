"""A network in PyTorch."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.steps.train.neural.group import Group
from pipeline.steps.train.neural.layers import Layer, Weights
from pipeline.steps.train.neural.network import Batch, Params
from pipeline.steps.train.neural.shards import Shard
from pipeline.steps.train.neural.torch_text import Embedding, SequenceConv, SequencePool
from pipeline.steps.train.results import Array, Floats, Predict

_ACTIVATIONS: Mapping[str, Callable[[], nn.Module]] = {
    "gelu": nn.GELU,
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
}
_MODULES: Mapping[str, Callable[[Layer], nn.Module]] = {
    "image": lambda layer: nn.Unflatten(1, layer.size),
    "conv": lambda layer: nn.Conv2d(*layer.size, padding=layer.size[2] // 2),
    "pool": lambda layer: nn.MaxPool2d(layer.size[0]),
    "flatten": lambda _: nn.Flatten(),
    "embedding": Embedding,
    "sequence_conv": lambda layer: SequenceConv(layer, _ACTIVATIONS.get(layer.how, nn.Identity)()),
    "sequence_pool": SequencePool,
    "dense": lambda layer: nn.Linear(*layer.size),
    "activation": lambda layer: _ACTIVATIONS[layer.how](),
    "dropout": lambda layer: nn.Dropout(layer.rate),
}
_LOSSES: Mapping[str, Callable[[Params], nn.Module]] = {
    "mse": lambda _: nn.MSELoss(reduction="none"),
    "huber": lambda params: nn.HuberLoss(reduction="none", delta=params["huber_delta"]),
    "cross_entropy": lambda _: nn.CrossEntropyLoss(reduction="none"),
}
# A fused step updates all weights in one call: small networks spend half of their time between calls.
_OPTIMIZERS: Mapping[str, Callable[[list[nn.Parameter], Params], torch.optim.Optimizer]] = {
    "adam": lambda weights, params: torch.optim.Adam(weights, lr=params["learning_rate"], fused=True),
    "rmsprop": lambda weights, params: torch.optim.RMSprop(
        weights, lr=params["learning_rate"], alpha=0.9, momentum=params["momentum"]
    ),
    "sgd": lambda weights, params: torch.optim.SGD(
        weights, lr=params["learning_rate"], momentum=params["momentum"], fused=True
    ),
}
_PART_ROWS = 256
"""Rows that are predicted or judged at a time: a convolution's values stay in the cache, 4,096 took twice as long."""


def build_module(layers: Sequence[Layer], weights: Weights) -> nn.Module:
    """Build the module of some layers; the place of a layer is the place of its module."""
    module = nn.Sequential(*(_MODULES[layer.kind](layer) for layer in layers))
    module.load_state_dict({name: torch.from_numpy(each) for name, each in weights.items()})
    return module


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _copied(tensor: Tensor) -> Array:
    copied: Array = tensor.detach().cpu().numpy().copy()
    return copied


class TorchNetwork:
    """A module, its loss and its optimizer, on the GPU if there is one.

    Parameters
    ----------
    threads : int, optional
        With which the CPU learns; by default PyTorch's own choice.
    """

    def __init__(
        self, module: nn.Module, params: Params, device: str | None = None, threads: int | None = None
    ) -> None:
        self._threads = threads
        self._device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self._module = module.to(self._device)
        self._learnt = [each for each in module.parameters() if each.requires_grad]
        self._loss = _LOSSES[params["loss"]](params)
        self._optimizer = _OPTIMIZERS[params["optimizer"]](self._learnt, params)
        self._params = params
        self._mixed = params["precision"] == "mixed" and self._device.type == "cuda" and torch.cuda.is_bf16_supported()
        self.notes = tuple(self._notes())

    def _notes(self) -> Iterator[str]:
        if self._device.type == "cpu":
            found = "several workers need no GPU" if torch.cuda.is_available() else "PyTorch found no GPU"
            yield f"{found}: trained on the CPU"
        if self._params["precision"] == "mixed" and not self._mixed:
            yield "precision mixed needs a GPU with bfloat16: trained in single precision"

    def learn(self, pieces: Iterable[Batch], rate: float, seed: int) -> float:  # noqa: D102
        self._begin(rate)
        total, count = torch.zeros((), dtype=torch.float64, device=self._device), 0
        with self._random(seed), _threads(self._threads):
            for rows in pieces:
                self._learn_piece(rows, rate, total)
                count += len(rows.target)
        return float(total) / count

    def _begin(self, rate: float) -> None:
        self._module.train()
        for each in self._optimizer.param_groups:
            each["lr"] = rate

    def _learn_piece(self, rows: Batch, rate: float, total: Tensor) -> None:
        features, target, weights = self._tensors(rows)
        size = self._params["batch_size"]
        for start in range(0, len(rows.target), size):
            part = slice(start, start + size)
            loss = self._mean_loss(features[part], target[part], None if weights is None else weights[part])
            self._optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self._step(rate)
            total.add_(loss.detach(), alpha=len(target[part]))

    def learn_shards(self, shards: Iterable[Shard], rate: float, seed: int, group: Group) -> tuple[float, int]:  # noqa: D102
        self._begin(rate)
        total, count = torch.zeros((), dtype=torch.float64, device=self._device), 0
        with self._random(seed), _threads(self._threads):
            for shard in shards:
                features, target, _ = self._tensors(shard.rows)
                shares = torch.from_numpy(shard.shares).to(self._device)
                for part, size in zip(shard.parts, shard.sizes, strict=True):
                    loss = (self._losses(features[part], target[part]) * shares[part]).sum()
                    self._optimizer.zero_grad(set_to_none=True)
                    loss.backward()
                    self._join(group)
                    self._step(rate)
                    total.add_(loss.detach(), alpha=size)
                count += sum(shard.sizes)
        return float(total), count

    def _join(self, group: Group) -> None:
        """Replace gradients by their sums over all processes, in one message."""
        gradients = [torch.zeros_like(each) if each.grad is None else each.grad for each in self._learnt]
        flat = torch.cat([each.reshape(-1) for each in gradients])
        group.add_up(flat.numpy())
        for each, summed in zip(self._learnt, flat.split([each.numel() for each in gradients]), strict=True):
            each.grad = summed.view_as(each).to(each.dtype)

    def _step(self, rate: float) -> None:
        if self._params["clip_norm"] is not None:
            nn.utils.clip_grad_norm_(self._learnt, self._params["clip_norm"])
        if decay := self._params["weight_decay"]:
            with torch.no_grad():
                for each in self._learnt:
                    each.mul_(1 - rate * decay)
        self._optimizer.step()

    @contextmanager
    def _random(self, seed: int) -> Iterator[None]:
        """Draw what is dropped by the epoch's seed, and leave everybody else's random numbers alone."""
        devices = [self._device] if self._device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(seed)
            yield

    def _losses(self, features: Tensor, target: Tensor) -> Tensor:
        with self._precision():
            outputs = self._module(features)
        outputs = outputs.float() if outputs.dtype != torch.float64 else outputs
        losses: Tensor = self._loss(outputs if target.dtype == torch.int64 else outputs[:, 0], target)
        return losses

    def _mean_loss(self, features: Tensor, target: Tensor, weights: Tensor | None) -> Tensor:
        return self._mean(self._losses(features, target), weights)

    def _mean(self, losses: Tensor, weights: Tensor | None) -> Tensor:
        return losses.mean() if weights is None else (losses * weights).sum() / weights.sum()

    def _precision(self) -> AbstractContextManager[object]:
        return torch.autocast(self._device.type, dtype=torch.bfloat16) if self._mixed else nullcontext()

    def _tensors(self, rows: Batch) -> tuple[Tensor, Tensor, Tensor | None]:
        features, target = (torch.from_numpy(each).to(self._device) for each in (rows.features, rows.target))
        return features, target, None if rows.weights is None else torch.from_numpy(rows.weights).to(self._device)

    def judge(self, rows: Batch) -> float:  # noqa: D102
        self._module.eval()
        features, target, weights = self._tensors(rows)
        with torch.no_grad():
            parts = zip(features.split(_PART_ROWS), target.split(_PART_ROWS), strict=True)
            losses = torch.cat([self._losses(*part) for part in parts])
            return float(self._mean(losses, weights))

    def state(self) -> Weights:  # noqa: D102
        kept = {f"module.{name}": each for name, each in self._module.state_dict().items()}
        for place, values in self._optimizer.state_dict()["state"].items():
            kept |= {f"optimizer.{place}.{name}": each for name, each in values.items() if each is not None}
        return {name: _copied(torch.as_tensor(each)) for name, each in kept.items()}

    def restore(self, state: Mapping[str, Array]) -> None:  # noqa: D102
        module, optimizer = {}, self._optimizer.state_dict()
        optimizer["state"] = {}
        for name, value in state.items():
            kind, _, rest = name.partition(".")
            if kind == "module":
                module[rest] = torch.from_numpy(value.copy())
            elif kind == "optimizer":
                place, _, key = rest.partition(".")
                optimizer["state"].setdefault(int(place), {})[key] = torch.from_numpy(value.copy())
        self._module.load_state_dict(module)
        self._optimizer.load_state_dict(optimizer)

    def close(self) -> None:
        """Nothing else learns with it."""

    def predictor(self) -> Predict:  # noqa: D102
        exact = copy.deepcopy(self._module).to("cpu", torch.float64).eval()

        def predict(features: Array) -> Floats:
            rows = torch.from_numpy(features.astype(np.float64))
            with torch.no_grad():
                return np.concatenate([exact(part).numpy() for part in rows.split(_PART_ROWS)])

        return predict

    def weights(self) -> Weights:  # noqa: D102
        return {name: _copied(each) for name, each in self._module.state_dict().items()}
