"""How data-parallel workers find each other: rank, rendezvous, shared secret.

They meet in rounds. A round is one attempt to connect: the first process begins it, each worker joins it with its rank,
and when all have joined they connect. Who was started in place of a lost worker joins the next round.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pipeline.steps.train.neural.group import Wire


class Rendezvous(Protocol):
    """The first process's side."""

    @property
    def place(self) -> str:
        """Where the others find it: ``file:///PATH``, or ``tcp://HOST:PORT/SECRET``."""

    def begin(self) -> None:
        """Begin a round; the last one is over."""

    def is_complete(self) -> bool:
        """Tell whether every worker has joined."""

    def connect(self) -> Wire:
        """Connect with the others of a complete round; raises LostError if one is gone by then."""

    def close(self) -> None:
        """Let nobody find it any more; who is connected stays so."""


class Member(Protocol):
    """A worker's side."""

    def join(self) -> Wire:
        """Connect with the others of the next round.

        Raises
        ------
        LostError
            One of them is gone; there will be another round.
        OSError, RuntimeError
            There will be none: nobody is at the place, or no round has begun for `TIMEOUT_S`.
        """


@dataclass(frozen=True)
class Framework:
    """What a framework brings for workers.

    Attributes
    ----------
    module : str
        That a worker runs: ``python -m MODULE PLACE INDEX SIZE ADDRESS``.
    open_here : callable
        Opens a rendezvous of so many processes of this machine, at a path that only their user reaches.
    open_at : callable
        Opens a rendezvous of so many processes, served on an address of this one's; a worker must know the secret.
    """

    module: str
    open_here: Callable[[Path, int], Rendezvous]
    open_at: Callable[[str, str, int], Rendezvous]


LOOPBACK = "127.0.0.1"


def tcp_place(address: str, port: int, secret: str) -> str:
    """Build the address of a rendezvous, with the secret that only its workers share."""
    host = f"[{address}]" if ":" in address else address
    return f"tcp://{host}:{port}/{secret}"
