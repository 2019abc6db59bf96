"""Columns by whose names a network knows what they are."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pipeline.errors import TrainingError


def match_all(columns: Sequence[str], pattern: re.Pattern[str], what: str, expected: str) -> list[re.Match[str]]:
    """Return what a pattern finds in each name.

    Parameters
    ----------
    what, expected : str
        What a column is not that has another name, and what is expected then.

    Raises
    ------
    TrainingError
        A column has another name.
    """
    found = []
    for name in columns:
        if (match := pattern.fullmatch(name)) is None:
            raise TrainingError(f"train: found the feature {name!r}, which is no {what}; expected {expected}")
        found.append(match)
    return found
