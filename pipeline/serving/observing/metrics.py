"""Counts of what was served, cheap to write in a request and read by Prometheus.

A meter is a row of float64 cells in shared memory: one for each model, version, track and worker process. The cells of
several workers lie in files of one folder, so any worker can answer for all. A worker that replaces a dead one goes on
with its file, so counters never fall.
"""

from __future__ import annotations

import mmap
import time
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from pipeline.serving.observing.bounds import BUCKETS_S

if TYPE_CHECKING:
    from pipeline.serving.observing.features import FeatureMeters
    from pipeline.serving.observing.truth import TruthMeters

BUCKETS_ROWS = (1, 2, 5, 10, 20, 50, 100, 1_000, 10_000, 100_000, 1_000_000)
"""Upper bounds of the histogram of rows a request."""
OUTPUT_BOUNDS = tuple(
    sign * 2.0**power * (1 + eighth / 8)
    for sign, powers, eighths in ((-1, range(30, -11, -1), range(7, -1, -1)), (1, range(-10, 31), range(8)))
    for power in powers
    for eighth in eighths
)
"""Lower bounds of the cells that predictions are counted in, whatever their scale: an eighth of a power of two wide.

What is nearer to 0 than a thousandth lies in one cell, above the largest negative bound."""
STATUSES = (200, 400, 401, 403, 404, 405, 408, 413, 415, 422, 429, 499, 500, 503)
"""What a prediction request can end with; 499 is a caller who went away."""
EXEMPLAR_EVERY_S = 1.0

IN_FLIGHT, SECONDS, ROWS, SHADOW_ROWS, SHADOW_DIFFERENT = range(5)
FIRST_STATUS = 5
FIRST_BUCKET = FIRST_STATUS + len(STATUSES)
FIRST_ROWS_BUCKET = FIRST_BUCKET + len(BUCKETS_S) + 1
FIRST_OUTPUT = FIRST_ROWS_BUCKET + len(BUCKETS_ROWS) + 1
EXEMPLAR_SECONDS = FIRST_OUTPUT + len(OUTPUT_BOUNDS) + 1
EXEMPLAR_TIME = EXEMPLAR_SECONDS + 1
EXEMPLAR_ID = EXEMPLAR_TIME + 1
CELLS = EXEMPLAR_ID + 2
SLOT_OF = {status: FIRST_STATUS + position for position, status in enumerate(STATUSES)}

Key = tuple[str, str, str]
"""Model, version, track."""


def name_file(key: Key, *rest: str) -> str:
    """Name the file of what is counted of a release on a track; nothing in the key can lead out of its folder."""
    return "@".join([*(quote(part, safe="") for part in key), *rest])


def key_of(path: Path) -> Key:
    """Read of which release and track such a file is."""
    model, version, track, *_ = path.name.split("@")
    return unquote(model), unquote(version), unquote(track)


class Meter:
    """Counts the requests of one release on one track in one process; written by the event loop only."""

    def __init__(self, path: Path | None = None) -> None:
        size = 8 * CELLS
        if path is None:
            self._bytes = memoryview(mmap.mmap(-1, size))
        else:
            path.touch()
            with path.open("r+b") as file:
                file.truncate(size)
                self._bytes = memoryview(mmap.mmap(file.fileno(), size))
        self._cells = self._bytes.cast("d")
        self._cells[IN_FLIGHT] = 0
        self._next_exemplar = 0.0

    def begin(self) -> None:
        """Count a request as in flight."""
        self._cells[IN_FLIGHT] += 1

    def end(self, status: int, seconds: float, rows: int = 0, request: str = "", output: float | None = None) -> None:
        """Count a request as answered with `status` after `seconds`.

        Parameters
        ----------
        output : float, optional
            What was predicted for one of the rows.
        request : str
            32 hexadecimal digits by which the request can be found; now and then one is kept as an example.
        """
        cells = self._cells
        cells[IN_FLIGHT] -= 1
        cells[SECONDS] += seconds
        cells[SLOT_OF.get(status, FIRST_STATUS)] += 1
        cells[FIRST_BUCKET + bisect_left(BUCKETS_S, seconds)] += 1
        if status == 200:
            cells[ROWS] += rows
            cells[FIRST_ROWS_BUCKET + bisect_left(BUCKETS_ROWS, rows)] += 1
            if output is not None:
                cells[FIRST_OUTPUT + bisect_right(OUTPUT_BOUNDS, output)] += 1
            if request and (now := time.time()) >= self._next_exemplar:
                self._next_exemplar = now + EXEMPLAR_EVERY_S
                cells[EXEMPLAR_SECONDS], cells[EXEMPLAR_TIME] = seconds, now
                self._bytes[8 * EXEMPLAR_ID :] = bytes.fromhex(request)

    def compare(self, rows: int, different: int) -> None:
        """Count the rows that a shadow was asked for, and those that it answered differently."""
        self._cells[SHADOW_ROWS] += rows
        self._cells[SHADOW_DIFFERENT] += different

    def read(self) -> bytes:
        """Return all cells."""
        return bytes(self._bytes)


@dataclass(frozen=True)
class Meters:
    """The meters of one process, and how to find those of the others.

    Attributes
    ----------
    folder : Path or None
        Where the cells of all workers lie; None if this is the only one.
    worker : int
        Number of this worker, unique among the living.
    """

    folder: Path | None
    worker: int
    known: dict[Key, Meter]

    @cached_property
    def features(self) -> FeatureMeters:
        """The meters of what the answered rows hold."""
        from pipeline.serving.observing.features import FeatureMeters  # NumPy: a reader of the bounds needs none

        return FeatureMeters(self.folder, self.worker)

    @cached_property
    def truth(self) -> TruthMeters:
        """What was answered, and what came true of it."""
        from pipeline.serving.observing.truth import TruthMeters  # as above

        return TruthMeters(self.folder, self.worker, self.features.counting)

    def of(self, model: str, version: str, track: str = "live") -> Meter:
        """Return the meter of a release on a track; the same one each time."""
        key = (model, version, track)
        if key not in self.known:
            name = name_file(key, f"{self.worker}.cells")
            self.known[key] = Meter(self.folder / name if self.folder else None)
        return self.known[key]

    def readings(self) -> Iterator[tuple[Key, bytes]]:
        """Yield the cells of all workers."""
        if self.folder is None:
            yield from ((key, meter.read()) for key, meter in self.known.items())
            return
        for path in sorted(self.folder.glob("*.cells")):
            content = path.read_bytes()
            if len(content) == 8 * CELLS:  # else a worker is just about to make it
                yield key_of(path), content
