"""Meetings at a socket of the first process, for frameworks that bring no way of their own to meet again after a loss.

Both sides prove that they know the shared secret (HMAC-SHA256 of what the other has drawn), which itself is not sent.
On one machine the socket is a file in a folder that only its user reaches, and the secret is empty.
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
from pipeline.steps.train.neural.rendezvous import Framework, tcp_place
from pipeline.steps.train.neural.socket_wire import SocketWire, receive

_GREETING_S = 10.0
"""Seconds that a newcomer has to prove itself, while others wait."""
_DRAWN = 32
_PROOF = 32
_RANK = struct.Struct("!I")


def _proof(secret: str, role: bytes, drawn: bytes) -> bytes:
    return hmac.digest(secret.encode(), role + drawn, "sha256")


class SocketRendezvous:
    """`Rendezvous` at a socket that listens; the last one to join with a rank counts."""

    def __init__(self, listener: socket.socket, place: str, secret: str, size: int) -> None:
        self.place = place
        self._listener, self._secret, self._size = listener, secret, size
        self._joined: dict[int, socket.socket] = {}

    def begin(self) -> None:  # noqa: D102
        self._dismiss()

    def is_complete(self) -> bool:  # noqa: D102
        while select.select([self._listener], [], [], 0)[0]:
            self._greet(self._listener.accept()[0])
        return len(self._joined) == self._size - 1

    def _greet(self, newcomer: socket.socket) -> None:
        """Admit a worker that knows the shared secret, at its rank."""
        try:
            newcomer.settimeout(_GREETING_S)
            rank = _admit(newcomer, self._secret)
        except (OSError, LostError):
            newcomer.close()
            return
        if not 0 < rank < self._size:
            newcomer.close()
            return
        if before := self._joined.pop(rank, None):
            before.close()
        self._joined[rank] = newcomer

    def connect(self) -> SocketWire:  # noqa: D102
        joined, self._joined = self._joined, {}
        return SocketWire(0, self._size, joined)

    def close(self) -> None:  # noqa: D102
        self._dismiss()
        self._listener.close()

    def _dismiss(self) -> None:
        for each in self._joined.values():
            each.close()
        self._joined = {}


def _admit(newcomer: socket.socket, secret: str) -> int:
    """Greet who has connected; return its rank, or -1 if it does not know the shared secret."""
    drawn = secrets.token_bytes(_DRAWN)
    newcomer.sendall(drawn)
    told = bytes(receive(newcomer, bytearray(_RANK.size + _DRAWN + _PROOF)))
    rank, theirs, proof = told[: _RANK.size], told[_RANK.size : -_PROOF], told[-_PROOF:]
    if not hmac.compare_digest(proof, _proof(secret, b"worker", rank + theirs + drawn)):
        return -1
    newcomer.sendall(_proof(secret, b"first", theirs + drawn))
    return int(_RANK.unpack(rank)[0])


class SocketMember:
    """`Member` at a socket."""

    def __init__(self, place: str, rank: int, size: int, _address: str) -> None:
        self._parts, self._rank, self._size = urlsplit(place), rank, size
        self._secret = self._parts.path.strip("/") if self._parts.scheme == "tcp" else ""

    def join(self) -> SocketWire:  # noqa: D102
        with ExitStack() as stack:
            connected = stack.enter_context(self._call())
            try:
                _introduce(connected, self._rank, self._secret)
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


def _introduce(connected: socket.socket, rank: int, secret: str) -> None:
    """Greet the first process, and let it prove itself: what it says next is run."""
    theirs = bytes(receive(connected, bytearray(_DRAWN)))
    told, drawn = _RANK.pack(rank), secrets.token_bytes(_DRAWN)
    connected.sendall(told + drawn + _proof(secret, b"worker", told + drawn + theirs))
    if not hmac.compare_digest(bytes(receive(connected, bytearray(_PROOF))), _proof(secret, b"first", drawn + theirs)):
        raise ConnectionError("found somebody who does not know the shared secret; expected the first process")


def open_here(path: Path, size: int) -> SocketRendezvous:
    """Meet at a file."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(size)
    return SocketRendezvous(listener, path.as_uri(), "", size)


def open_at(address: str, secret: str, size: int) -> SocketRendezvous:
    """Listen on an address of this process's, on a port that is free."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.create_server((address, 0), family=family, backlog=max(size, 16))
    return SocketRendezvous(listener, tcp_place(address, listener.getsockname()[1], secret), secret, size)


KERAS = Framework("pipeline.steps.train.neural.keras_worker", open_here, open_at)
