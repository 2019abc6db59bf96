"""How the learning rate changes from epoch to epoch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

_LAST = 0.01
"""Share of the first rate at the end of an exponential schedule."""

# Share of the epochs that are over → share of the learning rate.
SCHEDULES: Mapping[str, Callable[[float], float]] = {
    "constant": lambda _: 1.0,
    "cosine": lambda over: (1 + math.cos(math.pi * over)) / 2,
    "exponential": lambda over: _LAST**over,
    "linear": lambda over: 1 - over,
    "step": lambda over: 0.1 ** math.floor(over * 3),
}


def rate_at(epoch: int, epochs: int, rate: float, schedule: str, warmup: int) -> float:
    """Return the learning rate of an epoch, counted from 1; it grows evenly over `warmup` epochs, then follows.

    Loshchilov and Hutter, "SGDR" (2017), for the cosine.
    """
    if epoch <= warmup:
        return rate * epoch / (warmup + 1)
    return rate * SCHEDULES[schedule]((epoch - warmup - 1) / max(epochs - warmup, 1))
