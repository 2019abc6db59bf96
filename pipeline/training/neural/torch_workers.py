"""A network that several processes on this machine learn together (``model.params.workers``)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.numpy import save_file

from pipeline.errors import TransientError
from pipeline.training.neural import torch_worker
from pipeline.training.neural.layers import Layer, Weights
from pipeline.training.neural.network import Batch, Params
from pipeline.training.neural.pieces import Pieces
from pipeline.training.neural.shards import Shard, shards
from pipeline.training.neural.torch_group import EPOCH, JOB, PIECE, STATE, TIMEOUT_S, Group, continue_epoch, ready
from pipeline.training.neural.torch_network import TorchNetwork
from pipeline.training.results import Array, Predict

LOSSES = 3
"""How often workers may be lost in one epoch."""
_GRACE_S = 5.0
_REPOSITORY = Path(__file__).parents[3]


@dataclass(frozen=True)
class Description:
    """What a worker needs to build the network.

    Attributes
    ----------
    layers : sequence of Layer
        Empty for a network of the user's own.
    """

    layers: Sequence[Layer]
    params: Params
    inputs: int
    outputs: int
    seed: int

    @property
    def threads(self) -> int:
        """Threads of each process."""
        return max((os.cpu_count() or 1) // int(self.params["workers"]), 1)

    def to_json(self) -> str:
        """Give it as the file that workers read."""
        return json.dumps(
            {
                "layers": [asdict(each) for each in self.layers],
                "params": dict(self.params),
                "inputs": self.inputs,
                "outputs": self.outputs,
                "seed": self.seed,
                "workers": self.params["workers"],
                "threads": self.threads,
            }
        )


class SharedNetwork:
    """A network in this process, and the other processes that learn it too.

    If a worker is lost, all are started anew, and the epoch begins again with the weights that it began with; so what
    comes out is the same, bit for bit.
    """

    def __init__(self, own: TorchNetwork, description: Description) -> None:
        self._own, self._description = own, description
        self._workers: list[subprocess.Popen[bytes]] = []
        self._group: Group | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._threads: int | None = None
        self._lost = 0

    @property
    def notes(self) -> tuple[str, ...]:
        """Where it is trained, and what happened meanwhile."""
        workers = int(self._description.params["workers"])
        lost = (f"workers were lost {self._lost} times, and started anew",) if self._lost else ()
        return (*self._own.notes, f"learnt by {workers} processes on this machine", *lost)

    def learn(self, pieces: Iterable[Batch], rate: float, seed: int) -> float:  # noqa: D102
        before = self._own.state()
        for left in reversed(range(LOSSES)):
            try:
                return self._learn_together(pieces, rate, seed)
            except RuntimeError as error:
                said = self._of_lost()
                if said is None:
                    raise
                self._lost += 1
                self.close()
                if not left:
                    raise TransientError(
                        f"train: found {LOSSES} losses of workers in one epoch, the last with {said}; expected them to "
                        "stay (memory of the machine, model.params.workers)"
                    ) from error
                self._own.restore(before)
        raise AssertionError("unreachable")

    def _learn_together(self, pieces: Iterable[Batch], rate: float, seed: int) -> float:
        group = self._group or self._start()
        count = pieces.count if isinstance(pieces, Pieces) else len(list(pieces))
        group.announce(EPOCH, count, rate, seed)
        return continue_epoch(self._own, group, rate, seed, self._dealt(group, pieces))

    def _dealt(self, group: Group, pieces: Iterable[Batch]) -> Iterator[Shard]:
        for piece in pieces:
            own, *others = shards(piece, self._description.params["batch_size"], group.size)
            group.announce(PIECE, len(piece.target), 0, 0)
            for rank, shard in enumerate(others, 1):
                group.send(shard, rank)
            yield own

    def _start(self) -> Group:
        size = int(self._description.params["workers"])
        self._folder = tempfile.TemporaryDirectory(prefix="modelrail-workers-")
        folder = Path(self._folder.name)
        (folder / JOB).write_text(self._description.to_json(), "utf-8")
        save_file(self._own.state(), folder / STATE)
        self._workers = [self._launch(folder, rank) for rank in range(1, size)]
        self._threads = torch.get_num_threads()
        torch.set_num_threads(self._description.threads)
        self._await(folder)
        self._group = Group(folder, 0, size)
        return self._group

    def _await(self, folder: Path) -> None:
        """Wait until the workers have loaded PyTorch, or one of them has ended."""
        deadline = time.monotonic() + TIMEOUT_S
        while any(not ready(folder, rank).exists() for rank in range(1, len(self._workers) + 1)):
            if time.monotonic() > deadline or any(each.poll() is not None for each in self._workers):
                raise RuntimeError("a worker did not begin")
            time.sleep(0.02)

    def _launch(self, folder: Path, rank: int) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", torch_worker.__name__, str(folder), str(rank)]
        paths = [str(_REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])]
        with (folder / f"{rank}.log").open("wb") as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | {"PYTHONPATH": ":".join(paths)},
            )

    def _of_lost(self) -> str | None:
        """Tell how a worker ended, and what it said last; None if none has."""
        deadline = time.monotonic() + _GRACE_S
        while time.monotonic() < deadline:
            for rank, each in enumerate(self._workers, 1):
                if each.poll() is not None:
                    return f"the exit code {each.returncode}{self._last_words(rank)}"
            time.sleep(0.05)
        return None

    def _last_words(self, rank: int) -> str:
        lines = (
            (Path(self._folder.name) / f"{rank}.log").read_text("utf-8", "replace").split("\n") if self._folder else []
        )
        said = [each.strip() for each in lines if each.strip()]
        return f" ({said[-1]})" if said else ""

    def close(self) -> None:
        """End the workers, who keep nothing, and remove their folder."""
        for each in self._workers:
            each.kill()
            each.wait()
        if self._threads is not None:
            torch.set_num_threads(self._threads)
        if self._folder is not None:
            self._folder.cleanup()
        self._group, self._folder, self._workers, self._threads = None, None, [], None

    def judge(self, rows: Batch) -> float:  # noqa: D102
        return self._own.judge(rows)

    def state(self) -> Weights:  # noqa: D102
        return self._own.state()

    def restore(self, state: Mapping[str, Array]) -> None:  # noqa: D102
        self.close()
        self._own.restore(state)

    def predictor(self) -> Predict:  # noqa: D102
        return self._own.predictor()

    def weights(self) -> Weights:  # noqa: D102
        return self._own.weights()
