"""Which releases one server has, and what part of the requests each gets.

Only the standard library is imported: the supervisor reads this too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Track = Literal["live", "canary", "shadow"]


@dataclass(frozen=True)
class LineupEntry:
    """A release and its part.

    Attributes
    ----------
    bundle : Path
        Folder of the release.
    track : str
        ``live`` answers; ``canary`` answers a share of the requests of the live release of the same model;
        ``shadow`` is asked the same and its answers are only compared.
    share : float
        Of the requests, from 0 to 1; of a canary, and of a shadow.
    """

    bundle: Path
    track: Track = "live"
    share: float = 1.0

    def argument(self) -> str:
        """Return the form in which an entry is passed on: ``TRACK:SHARE:FOLDER``."""
        return f"{self.track}:{self.share!r}:{self.bundle}"


Lineup = tuple[LineupEntry, ...]
"""The first live one of a model answers; further live ones are asked by their version."""


def parse_entry(text: str) -> LineupEntry:
    """Read what `LineupEntry.argument` gave, or the bare folder of a live release."""
    track, _, rest = text.partition(":")
    share, _, folder = rest.partition(":")
    if track not in {"live", "canary", "shadow"} or not folder:
        return LineupEntry(Path(text))
    return LineupEntry(Path(folder), track, float(share))  # type: ignore[arg-type]  # it was just looked up


def lineup_of(entries: Path | LineupEntry | str | Iterable[Path | LineupEntry | str]) -> Lineup:
    """Return a lineup from a folder, or from several."""
    several: Sequence[Path | LineupEntry | str] = (
        [entries] if isinstance(entries, Path | LineupEntry | str) else list(entries)
    )
    return tuple(each if isinstance(each, LineupEntry) else parse_entry(str(each)) for each in several)
