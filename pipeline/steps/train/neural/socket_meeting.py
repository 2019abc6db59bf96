"""Meetings at a socket of the first process, for frameworks that bring no way of their own to meet again after a loss.

Both sides prove that they know the meeting's word (HMAC-SHA256 of what the other has drawn), which itself is not sent.
On one machine the socket is a file in a folder that only its user reaches, and the word is empty.
"""

from __future__ import annotations

import hmac
import secrets
import select
import socket
import struct
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

from pipeline.steps.train.neural.group import TIMEOUT_S, LostError
from pipeline.steps.train.neural.meeting import Framework, tcp_place
from pipeline.steps.train.neural.socket_wire import SocketWire, receive

_GREETING_S = 10.0
"""Seconds that a newcomer has to prove itself, while others wait."""
_DRAWN = 32
_PROOF = 32
_RANK = struct.Struct("!I")


def _proof(word: str, role: bytes, drawn: bytes) -> bytes:
    return hmac.digest(word.encode(), role + drawn, "sha256")


class SocketMeeting:
    """`Meeting` at a socket that listens; the last one to come with a rank has its seat."""

    def __init__(self, listener: socket.socket, place: str, word: str, size: int) -> None:
        self.place = place
        self._listener, self._word, self._size = listener, word, size
        self._seats: dict[int, socket.socket] = {}

    def begin(self) -> None:  # noqa: D102
        self._leave_seats()

    def is_complete(self) -> bool:  # noqa: D102
        while select.select([self._listener], [], [], 0)[0]:
            self._greet(self._listener.accept()[0])
        return len(self._seats) == self._size - 1

    def _greet(self, newcomer: socket.socket) -> None:
        """Admit a worker that knows the shared secret, at its rank."""
        try:
            newcomer.settimeout(_GREETING_S)
            rank = _admit(newcomer, self._word)
        except (OSError, LostError):
            newcomer.close()
            return
        if not 0 < rank < self._size:
            newcomer.close()
            return
        if before := self._seats.pop(rank, None):
            before.close()
        self._seats[rank] = newcomer

    def connect(self) -> SocketWire:  # noqa: D102
        seats, self._seats = self._seats, {}
        return SocketWire(0, self._size, seats)

    def close(self) -> None:  # noqa: D102
        self._leave_seats()
        self._listener.close()

    def _leave_seats(self) -> None:
        for each in self._seats.values():
            each.close()
        self._seats = {}


def _admit(newcomer: socket.socket, word: str) -> int:
    """Greet who has come, as the first process; gives its rank, or -1 if it does not know the word."""
    drawn = secrets.token_bytes(_DRAWN)
    newcomer.sendall(drawn)
    told = bytes(receive(newcomer, bytearray(_RANK.size + _DRAWN + _PROOF)))
    rank, theirs, proof = told[: _RANK.size], told[_RANK.size : -_PROOF], told[-_PROOF:]
    if not hmac.compare_digest(proof, _proof(word, b"worker", rank + theirs + drawn)):
        return -1
    newcomer.sendall(_proof(word, b"first", theirs + drawn))
    return int(_RANK.unpack(rank)[0])


class SocketSeat:
    """`Seat` at a socket."""

    def __init__(self, place: str, rank: int, size: int, _address: str) -> None:
        self._parts, self._rank, self._size = urlsplit(place), rank, size
        self._word = self._parts.path.strip("/") if self._parts.scheme == "tcp" else ""

    def join(self) -> SocketWire:  # noqa: D102
        with ExitStack() as stack:
            connected = stack.enter_context(self._call())
            try:
                _introduce(connected, self._rank, self._word)
            except LostError as error:
                raise ConnectionError(f"nobody meets there any more: {error}") from error
            stack.pop_all()
        return SocketWire(self._rank, self._size, {0: connected})

    def _call(self) -> socket.socket:
        if self._parts.scheme == "tcp":
            return socket.create_connection((str(self._parts.hostname), int(self._parts.port or 0)), TIMEOUT_S)
        connected = socket.socket(socket.AF_UNIX)
        connected.settimeout(TIMEOUT_S)
        connected.connect(self._parts.path)
        return connected


def _introduce(connected: socket.socket, rank: int, word: str) -> None:
    """Greet the first process, and let it prove itself: what it says next is run."""
    theirs = bytes(receive(connected, bytearray(_DRAWN)))
    told, drawn = _RANK.pack(rank), secrets.token_bytes(_DRAWN)
    connected.sendall(told + drawn + _proof(word, b"worker", told + drawn + theirs))
    if not hmac.compare_digest(bytes(receive(connected, bytearray(_PROOF))), _proof(word, b"first", drawn + theirs)):
        raise ConnectionError("found somebody who does not know the word; expected the first process")


def meet_beside(path: Path, size: int) -> SocketMeeting:
    """Meet at a file."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(size)
    return SocketMeeting(listener, path.as_uri(), "", size)


def meet_at(address: str, word: str, size: int) -> SocketMeeting:
    """Listen on an address of this process's, on a port that is free."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.create_server((address, 0), family=family, backlog=max(size, 16))
    return SocketMeeting(listener, tcp_place(address, listener.getsockname()[1], word), word, size)


KERAS = Framework("pipeline.steps.train.neural.keras_worker", meet_beside, meet_at)
