"""Free ports on loopback."""

from __future__ import annotations

import socket
from collections.abc import Collection

LOOPBACK = "127.0.0.1"


def choose_port(preferred: int, taken: Collection[int] = ()) -> int:
    """Choose the preferred port, else the next free one above it, else any free one.

    Parameters
    ----------
    preferred : int
        The port that users expect.
    taken : collection of int
        Ports promised to others that don't listen yet.
    """
    for port in range(preferred, min(preferred + 100, 65536)):
        if port not in taken and is_free(port):
            return port
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def is_free(port: int) -> bool:
    """Tell whether a server could listen on this port of every interface; no one else does on any of them."""
    with socket.socket() as probe:
        # as servers do: a port in TIME_WAIT is free, one that is listened on is not
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True
