"""Real data to try Modelrail with; no data set needs more than the package index."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path


def _later(module: str, function: str) -> Callable[[Path], Path]:
    """Delay the import of the module that makes an example: planning needs none of it."""

    def make(folder: Path) -> Path:
        made: Path = getattr(import_module(f"pipeline.ui.examples.{module}"), function)(folder)
        return made

    return make


EXAMPLES: Mapping[str, Callable[[Path], Path]] = {
    "breast-cancer": _later("medical", "make_breast_cancer"),
    "credit": _later("credit", "make_credit"),
    "diabetes": _later("medical", "make_diabetes"),
    "digits": _later("digits", "make_digits"),
    "flights": _later("flights", "make_flights"),
    "texts": _later("texts", "make_texts"),
}
"""Name → what makes the example's Git repository in a folder."""
