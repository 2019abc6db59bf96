"""Counts of what was served, cheap to write in a request and read by Prometheus.

A meter is a row of float64 cells in shared memory: one per model, version and worker process. With several workers
the cells lie in files of one folder, so that whichever worker is asked answers for all; a worker that takes the place
of a dead one goes on with its file, so that counters never fall.
"""

from __future__ import annotations

import mmap
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

BUCKETS_S = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the histogram of durations, in seconds."""
STATUSES = (200, 400, 405, 408, 413, 422, 499, 500)
"""What a prediction request can end with; 499 is a caller who went away."""

_IN_FLIGHT, _SECONDS = 0, 1
_FIRST_STATUS = 2
_FIRST_BUCKET = _FIRST_STATUS + len(STATUSES)
_CELLS = _FIRST_BUCKET + len(BUCKETS_S) + 1
_SLOT_OF = {status: _FIRST_STATUS + position for position, status in enumerate(STATUSES)}
_LABELS = ("model", "version")


class Meter:
    """Counts the requests of one model version in one process; written by the event loop only."""

    def __init__(self, path: Path | None = None) -> None:
        size = 8 * _CELLS
        if path is None:
            self._cells = memoryview(mmap.mmap(-1, size)).cast("d")
            return
        path.touch()
        with path.open("r+b") as file:
            file.truncate(size)
            self._cells = memoryview(mmap.mmap(file.fileno(), size)).cast("d")
        self._cells[_IN_FLIGHT] = 0

    def begin(self) -> None:
        """Count a request as in flight."""
        self._cells[_IN_FLIGHT] += 1

    def end(self, status: int, seconds: float) -> None:
        """Count a request as answered with `status` after `seconds`."""
        cells = self._cells
        cells[_IN_FLIGHT] -= 1
        cells[_SECONDS] += seconds
        cells[_SLOT_OF[status]] += 1
        cells[_FIRST_BUCKET + bisect_left(BUCKETS_S, seconds)] += 1

    def read(self) -> list[float]:
        """Give all cells."""
        return list(map(float, self._cells))


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
    known: dict[tuple[str, str], Meter]

    def of(self, model: str, version: str) -> Meter:
        """Give the meter of a model version; the same one each time."""
        key = (model, version)
        if key not in self.known:
            name = f"{quote(model, safe='')}@{quote(version, safe='')}@{self.worker}.cells"
            self.known[key] = Meter(self.folder / name if self.folder else None)
        return self.known[key]

    def totals(self) -> dict[tuple[str, str], list[float]]:
        """Add up the cells of all workers, by model and version."""
        totals: dict[tuple[str, str], list[float]] = {}
        for key, cells in self._cells():
            totals[key] = [a + b for a, b in zip(totals.get(key, [0.0] * _CELLS), cells, strict=True)]
        return totals

    def _cells(self) -> Iterator[tuple[tuple[str, str], list[float]]]:
        if self.folder is None:
            yield from ((key, meter.read()) for key, meter in self.known.items())
            return
        for path in sorted(self.folder.glob("*.cells")):
            content = path.read_bytes()
            if len(content) == 8 * _CELLS:  # else a worker is just about to make it
                model, version, _ = path.name.split("@")
                yield (unquote(model), unquote(version)), list(map(float, memoryview(content).cast("d")))


def exposition(meters: Meters, accept: str) -> tuple[bytes, str]:
    """Write everything in the format that a scraper accepts.

    Returns
    -------
    tuple of bytes and str
        The text and its content type.
    """
    # Imported with the first scrape: it costs a sixth of the start.
    from prometheus_client import CollectorRegistry
    from prometheus_client.exposition import choose_encoder

    class Totals:
        def collect(self) -> Iterable[Metric]:
            return _families(meters)

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Totals())
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


def _families(meters: Meters) -> Sequence[Metric]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

    requests = CounterMetricFamily("ml_inference_requests", "Prediction requests", labels=(*_LABELS, "status"))
    in_flight = GaugeMetricFamily("ml_inference_in_flight", "Requests being answered", labels=_LABELS)
    seconds = HistogramMetricFamily("ml_inference_duration_seconds", "Time to answer a request", labels=_LABELS)
    for (model, version), cells in meters.totals().items():
        for status in STATUSES:
            requests.add_metric((model, version, str(status)), cells[_SLOT_OF[status]])
        in_flight.add_metric((model, version), cells[_IN_FLIGHT])
        seconds.add_metric((model, version), _cumulative(cells), cells[_SECONDS])
    return requests, in_flight, seconds


def _cumulative(cells: Sequence[float]) -> list[tuple[str, float]]:
    bounds = [*map(str, BUCKETS_S), "+Inf"]
    below, result = 0.0, []
    for bound, count in zip(bounds, cells[_FIRST_BUCKET:], strict=True):
        below += count
        result.append((bound, below))
    return result
