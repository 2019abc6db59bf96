"""The signals of a process that watches over workers: SIGHUP to follow what is wanted, SIGTERM or SIGINT to end.

Only the standard library is imported: whoever watches over the workers stays small.
"""

from __future__ import annotations

import contextlib
import signal
import socket


class Signals:
    """What was asked for by signals.

    Attributes
    ----------
    wake : socket
        Can be read from once a signal has come, so that whoever waits on it wakes up.
    """

    def __init__(self) -> None:
        self.wake, self._signalled = socket.socketpair()
        self._wanted: set[int] = set()

    def listen(self) -> None:
        """Take signals from now on, in place of whatever took them before."""
        self.wake.setblocking(False)
        self._signalled.setblocking(False)
        signal.set_wakeup_fd(self._signalled.fileno())
        for sign in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
            signal.signal(
                sign, lambda number, _: self._wanted.add(signal.SIGTERM if number == signal.SIGINT else number)
            )

    def clear(self) -> None:
        """Make `wake` wait for the next signal."""
        with contextlib.suppress(BlockingIOError):
            self.wake.recv(1024)

    @property
    def ends(self) -> bool:
        """Whether it is time to end."""
        return signal.SIGTERM in self._wanted

    def take_hangup(self) -> bool:
        """Tell whether SIGHUP has come since the last time."""
        came = signal.SIGHUP in self._wanted
        self._wanted.discard(signal.SIGHUP)
        return came
