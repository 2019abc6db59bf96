"""A worker, whatever its framework: it finds the others, and learns what the first process tells it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from typing import Any, Protocol

import numpy as np
from safetensors.numpy import load

from pipeline.steps.train.neural.group import Group, LostError, Sharing, follow
from pipeline.steps.train.neural.rendezvous import Member
from pipeline.steps.train.neural.workers import Description


class Copy(Sharing, Protocol):
    """A worker's copy of the network."""

    def restore(self, state: Any) -> None:
        """Go back to a state."""


Build = Callable[[Description], Copy]
"""Builds the network that the first process describes, with any weights."""


def work(arguments: Sequence[str], member: Callable[[str, int, int, str], Member], build: Build) -> None:
    """Follow the first process, from one round to the next, until it is gone.

    Parameters
    ----------
    arguments : sequence of str
        Place, index, size and address: where the others are, which worker of a group of what size this one is, and
        the address that it listens on.
    """
    place, index, size, address = arguments
    own = member(place, int(index) + 1, int(size), address)
    while True:
        with suppress(LostError), closing(own.join()) as wire:
            _follow(Group(wire), build)
        if place.startswith("file:"):  # who started this one starts another
            return


def _follow(group: Group, build: Build) -> None:
    """Build the network that the first process describes, with its weights, and learn it until a process is lost."""
    description, state = Description.from_json(group.share()), load(group.share())
    network = build(description)
    network.restore(state)
    params = description.params
    target = np.int64 if params["loss"] == "cross_entropy" else np.float32
    follow(network, group, params["batch_size"], description.inputs, target)
