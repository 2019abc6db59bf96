"""What differs between two specs, or parts of them: key by key, from what to what."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_MOST_CHARS = 60


@dataclass(frozen=True)
class Change:
    """One key whose value differs.

    Attributes
    ----------
    path : str
        Dotted, such as ``model.params.max_iter``.
    before, after : object
        JSON values; None for a key that was, or is, not there.
    """

    path: str
    before: Any
    after: Any

    @property
    def sides(self) -> tuple[str, str]:
        """Both values, short enough to be shown."""
        return _show(self.before), _show(self.after)

    def __str__(self) -> str:
        return f"{self.path}: {' → '.join(self.sides)}"


def compare(before: Any, after: Any, path: str = "") -> Iterator[Change]:
    """Find the deepest keys at which two JSON values differ; a list counts as one value."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in dict.fromkeys([*before, *after]):
            yield from compare(before.get(key), after.get(key), f"{path}.{key}" if path else str(key))
    elif before != after:
        yield Change(path, before, after)


def _show(value: Any) -> str:
    if value is None:
        return "none"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _MOST_CHARS else f"{text[: _MOST_CHARS - 1]}…"
