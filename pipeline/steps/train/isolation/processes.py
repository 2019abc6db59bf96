"""A command in a process group of its own, with a time limit and a log."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_LOOK_EVERY_S = 1.0
_LAST_WORDS = 300


@dataclass(frozen=True)
class Order:
    """What is run, where, and for how long.

    Attributes
    ----------
    words : tuple of str
        The command; its first word is looked for in ``PATH`` of `environ`.
    environ : mapping
        All environment variables that it gets.
    log : Path
        Its output and its errors go here.
    """

    words: tuple[str, ...]
    folder: Path
    environ: Mapping[str, str]
    log: Path
    timeout_s: float


def run_order(order: Order, watch: Callable[[], None]) -> str | None:
    """Run a command to its end, or to its time limit; what it has started ends with it.

    Parameters
    ----------
    watch : callable
        Is called about once a second meanwhile.

    Returns
    -------
    str or None
        What was found wrong; None if it ended with 0.
    """
    order.log.parent.mkdir(parents=True, exist_ok=True)
    with order.log.open("wb") as log:
        try:
            process = subprocess.Popen(
                ["env", *order.words],  # so that its own PATH counts, not this process's
                cwd=order.folder,
                env=dict(order.environ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            return f"{error.strerror} for '{order.words[0]}'"
        try:
            code = _wait(process, order.timeout_s, watch)
        finally:
            _end(process)
    return explain_code(code, order)


def _wait(process: subprocess.Popen[bytes], timeout_s: float, watch: Callable[[], None]) -> int | None:
    """Return the exit code, or None if the time is over."""
    deadline = time.monotonic() + timeout_s
    while True:
        with suppress(subprocess.TimeoutExpired):
            return process.wait(max(0.0, min(_LOOK_EVERY_S, deadline - time.monotonic())))
        if time.monotonic() >= deadline:
            return None
        watch()


def _end(process: subprocess.Popen[bytes]) -> None:
    """End whatever is left of the group."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def explain_code(code: int | None, order: Order) -> str | None:
    """Say what is wrong with an exit code; None where nothing is."""
    name = f"'{' '.join(order.words)[:80]}'"
    said = last_words(order.log)
    if code is None:
        return f"{name} still at work after {order.timeout_s:g} s"
    if code < 0:
        return f"{name} killed by signal {-code} ({signal.Signals(-code).name}){said}"
    return f"{name} ended with exit code {code}{said}" if code else None


def last_words(log: Path) -> str:
    """Return the last line of a log, as the end of a sentence; empty if it has none."""
    lines = [line for line in log.read_text("utf-8", "replace").splitlines() if line.strip()] if log.exists() else []
    return f", saying: {lines[-1].strip()[:_LAST_WORDS]}" if lines else ""
