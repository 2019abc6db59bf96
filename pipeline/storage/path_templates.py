"""Paths with ``{names}`` in them, which tell partitions apart."""

from __future__ import annotations

import re


def below(folder: str) -> re.Pattern[str]:
    """Match how a path of something in a folder begins; there is a group for each ``{name}``."""
    return re.compile("([^/]+)".join(map(re.escape, re.split(r"{\w+}", folder))) + "/")
