"""Callers outside the cluster: what they ask, and what they were answered."""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from .conftest import wait_until


def ask(connection: http.client.HTTPConnection, headers: Mapping[str, str]) -> str:
    """Ask once; gives the version that answered, or what happened instead."""
    try:
        connection.request("POST", "/api/predict", json.dumps({"inputs": [[random.random()]]}), dict(headers))
        answer = connection.getresponse()
        content = answer.read()
    except (OSError, http.client.HTTPException) as error:
        connection.close()
        return f"dropped: {error!r}"
    return str(json.loads(content)["version"]) if answer.status == 200 else f"status {answer.status}"


def dropped(answers: Mapping[str, int]) -> dict[str, int]:
    """Return what no version answered."""
    return {name: count for name, count in answers.items() if name.startswith(("dropped", "status"))}


@dataclass
class Callers:
    """What callers of one address were answered, and when (by the monotonic clock)."""

    address: str
    headers: Mapping[str, str]
    pause_s: float
    answers: list[tuple[float, str]] = field(default_factory=list)

    def counted(self, since: float = 0.0, until: float = float("inf")) -> Counter[str]:
        """Return how often each version answered between two moments."""
        return Counter(name for moment, name in list(self.answers) if since <= moment < until)

    def go_on(self, over: threading.Event, *, keep: bool) -> None:
        """Ask without end, on one connection or on a new one each time."""
        connection = http.client.HTTPConnection(self.address, timeout=20)
        while not over.wait(self.pause_s):
            began = time.monotonic()
            self.answers.append((began, ask(connection, self.headers)))
            if not keep:
                connection.close()
        connection.close()


@contextmanager
def calling(
    address: str, headers: Mapping[str, str], first: str, pause_s: float = 0.005, count: int = 4
) -> Iterator[Callers]:
    """Ask from so many threads until the block ends; every second one keeps its connection.

    Parameters
    ----------
    first : str
        The version that must have answered before the block begins; what came before that does not count.
    """
    callers, over = Callers(address, headers, pause_s), threading.Event()
    running = [threading.Thread(target=callers.go_on, args=(over,), kwargs={"keep": n % 2 == 0}) for n in range(count)]
    for each in running:
        each.start()
    try:
        wait_until(lambda: callers.counted()[first] > 20, f"answers of {first} at {address}")
        callers.answers.clear()
        yield callers
    finally:
        over.set()
        for each in running:
            each.join()
