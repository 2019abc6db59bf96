"""How the processes of a group find each other: what a framework brings for it.

They meet in rounds. A round is one attempt to connect: the first process begins it, each worker takes its seat in it,
and when all seats are taken they connect. Who was started in place of a lost worker takes its seat in the next round.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pipeline.steps.train.neural.group import Wire


class Meeting(Protocol):
    """The first process's side."""

    @property
    def place(self) -> str:
        """Where the others find it: ``file:///PATH``, or ``tcp://HOST:PORT/WORD``."""

    def begin(self) -> None:
        """Begin a round; the last one is over."""

    def is_complete(self) -> bool:
        """Tell whether every worker has its seat."""

    def connect(self) -> Wire:
        """Connect with the others of a complete round; raises LostError if one is gone by then."""

    def close(self) -> None:
        """Let nobody find it any more; who is connected stays so."""


class Seat(Protocol):
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
    meet_beside : callable
        Gives a meeting of so many processes of this machine, at a path that only their user reaches.
    meet_at : callable
        Gives a meeting of so many processes, served on an address of this one's; who comes must know the word.
    """

    module: str
    meet_beside: Callable[[Path, int], Meeting]
    meet_at: Callable[[str, str, int], Meeting]


LOOPBACK = "127.0.0.1"


def tcp_place(address: str, port: int, word: str) -> str:
    """Name a place that a process serves; the word is what only those who belong together know."""
    host = f"[{address}]" if ":" in address else address
    return f"tcp://{host}:{port}/{word}"
