"""A network that several processes learn together (``model.params.workers``)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Protocol

from pipeline.errors import TransientError
from pipeline.steps.train.neural.group import EPOCH, PIECE, Group, LostError, Sharing, continue_epoch
from pipeline.steps.train.neural.layers import Layer, Weights
from pipeline.steps.train.neural.network import Batch, Network, Params
from pipeline.steps.train.neural.pieces import Pieces
from pipeline.steps.train.neural.shards import Shard, shards
from pipeline.steps.train.results import Array, Predict

LOSSES = 3
"""How often workers may be lost in one epoch."""


@dataclass(frozen=True)
class Description:
    """What a worker needs to build the network.

    Attributes
    ----------
    layers : sequence of Layer
        Empty for a network of the user's own.
    threads : int or None
        With which a worker learns; None for as many as its environment says.
    """

    layers: Sequence[Layer]
    params: Params
    inputs: int
    outputs: int
    seed: int
    threads: int | None

    def to_json(self) -> bytes:
        """Return it as workers are told it."""
        return json.dumps({**asdict(self), "params": dict(self.params)}).encode()

    @classmethod
    def from_json(cls, told: bytes) -> Description:
        """Read what `to_json` gave."""
        facts = json.loads(told)
        layers = tuple(Layer(**{**each, "size": tuple(each["size"])}) for each in facts.pop("layers"))
        return cls(layers, **facts)


class Crew(Protocol):
    """The other processes, wherever they are."""

    @property
    def where(self) -> str:
        """Where all of them are, in words."""

    @property
    def threads(self) -> int | None:
        """Threads that each works with; None for as many as its environment says."""

    def gather(self) -> Group:
        """Start who is missing, wait until all are there, and connect.

        Raises
        ------
        LostError
            One was lost meanwhile.
        ModelrailError
            They cannot be had, and another try would end the same.
        """

    def explain(self) -> str | None:
        """Say how a worker was lost; None if none was."""

    def disband(self) -> None:
        """End the group; `gather` begins the next one."""

    def close(self) -> None:
        """End the processes, who keep nothing."""


class SharedCopy(Network, Sharing, Protocol):
    """The first process's copy of the network."""


class SharedNetwork:
    """A network in this process, and the other processes that learn it too.

    If a worker is lost, the epoch begins again in a new group, with the weights that it began with; so what comes out
    is the same, bit for bit.
    """

    def __init__(self, own: SharedCopy, description: Description, crew: Crew) -> None:
        self._own, self._description, self._crew = own, description, crew
        self._group: Group | None = None
        self._lost = 0

    @property
    def notes(self) -> tuple[str, ...]:
        """Where it is trained, and what happened meanwhile."""
        lost = (f"workers were lost {self._lost} times, and started anew",) if self._lost else ()
        return (*self._own.notes, f"learnt by {self._crew.where}", *lost)

    def learn(self, pieces: Iterable[Batch], rate: float, seed: int) -> float:  # noqa: D102
        before = self._own.state()
        for left in reversed(range(LOSSES)):
            try:
                return self._learn_together(pieces, rate, seed)
            except LostError as error:
                said = self._crew.explain()
                if said is None:
                    raise
                self._lost += 1
                self._disband()
                if not left:
                    raise TransientError(
                        f"train: found {LOSSES} losses of workers in one epoch, the last with {said}; expected them to "
                        "stay (memory of the machine, model.params.workers)"
                    ) from error
                self._own.restore(before)
        raise AssertionError("unreachable")

    def _learn_together(self, pieces: Iterable[Batch], rate: float, seed: int) -> float:
        group = self._group or self._gather()
        count = pieces.count if isinstance(pieces, Pieces) else len(list(pieces))
        group.announce(EPOCH, count, rate, seed)
        return continue_epoch(self._own, group, rate, seed, self._dealt(group, pieces))

    def _gather(self) -> Group:
        from safetensors.numpy import save  # comes with a framework's extra

        self._group = self._crew.gather()
        self._group.share(self._description.to_json())
        self._group.share(save(self._own.state()))
        return self._group

    def _dealt(self, group: Group, pieces: Iterable[Batch]) -> Iterator[Shard]:
        for piece in pieces:
            own, *others = shards(piece, self._description.params["batch_size"], group.size)
            group.announce(PIECE, len(piece.target), 0, 0)
            for rank, shard in enumerate(others, 1):
                group.send(shard, rank)
            yield own

    def _disband(self) -> None:
        if self._group is not None:
            self._group.leave()
        self._group = None
        self._crew.disband()

    def close(self) -> None:
        """End the workers, who keep nothing."""
        self._disband()
        self._crew.close()

    def judge(self, rows: Batch) -> float:  # noqa: D102
        return self._own.judge(rows)

    def state(self) -> Weights:  # noqa: D102
        return self._own.state()

    def restore(self, state: Mapping[str, Array]) -> None:  # noqa: D102
        self._disband()
        self._own.restore(state)

    def predictor(self) -> Predict:  # noqa: D102
        return self._own.predictor()

    def weights(self) -> Weights:  # noqa: D102
        return self._own.weights()
