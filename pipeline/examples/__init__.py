"""Real data to try Modelrail with, made on this machine without a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path


def _make_flights(folder: Path) -> Path:
    from pipeline.examples.flights import make_flights  # the archive's modules are not needed to plan

    return make_flights(folder)


EXAMPLES: Mapping[str, Callable[[Path], Path]] = {"flights": _make_flights}
"""Name → what makes the example's Git repository in a folder."""
