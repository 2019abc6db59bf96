"""Amounts as Kubernetes writes them: ``500m``, ``2``, ``512Mi``."""

from __future__ import annotations

import re

_FACTORS = {"": 1.0, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12} | {
    f"{letter}i": 1024.0**power for power, letter in enumerate("KMGT", start=1)
}


def amount_of(text: str) -> float:
    """Read the number that a quantity stands for."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([A-Za-z]*)", text)
    if match is None or match[2] not in _FACTORS:
        raise ValueError(f"found the amount {text!r}; expected one such as 500m, 2 or 512Mi")
    return float(match[1]) * _FACTORS[match[2]]
