"""The built-in example: 100 points on a line, with noise."""

from __future__ import annotations

import random
from functools import cache

ROWS = 100
_NOISE = 0.1


@cache
def line_example() -> bytes:
    """Make a CSV file of x in [0, 1) and y = 2x + 1 + Gaussian noise of standard deviation 0.1."""
    noise = random.Random(0)  # noqa: S311 - an example, not a secret
    points = ((row / ROWS, 2 * row / ROWS + 1 + noise.gauss(0, _NOISE)) for row in range(ROWS))
    return b"x,y\n" + "".join(f"{x:.2f},{y:.6f}\n" for x, y in points).encode()
