"""Free ports for servers of the tests."""

from __future__ import annotations

import socket

CLOSED = 1
"""A port on which no machine listens."""


def free_port() -> int:
    """Return a port that the system has given: tests that count up from one number at once would meet."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
