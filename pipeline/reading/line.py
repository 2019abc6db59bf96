"""The built-in example for specs without data: points on a line, with noise."""

from __future__ import annotations

import random

LINE_PARTITION = "line"
LINE_FILE = "line.csv"

_ROWS = 100
_SLOPE, _INTERCEPT, _NOISE_SD = 2.0, 1.0, 0.1


def line_example() -> bytes:
    """Give a CSV file of 100 points (x, y) with x evenly in [0, 1) and y = 2x + 1 + noise (Gaussian, sd 0.1).

    The standard library's generator is used, since its sequence for a seed is part of Python's promises.
    """
    generator = random.Random(0)  # noqa: S311 (an example, no secret)
    points = [(step / _ROWS, generator.gauss(0, _NOISE_SD)) for step in range(_ROWS)]
    lines = [f"{x:.2f},{_SLOPE * x + _INTERCEPT + noise:.6f}" for x, noise in points]
    return "\n".join(["x,y", *lines, ""]).encode()
