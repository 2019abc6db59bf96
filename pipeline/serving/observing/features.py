"""Answered rows, counted in the bins of their release's reference.

A request leaves its rows and predictions in a list, and a thread counts whole blocks of them: what a row costs by
itself would be more than scoring it. The counts lie in shared memory, in a file for each release, track and worker, as
those of requests do (`pipeline.serving.observing.metrics`); a file begins with what it counts, so that each worker can
tell of all, also of a release that it never had. A label has the number of a bin, never a value of a row.
"""

from __future__ import annotations

import mmap
import struct
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakValueDictionary

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline.model.images.rules import ImageRule
from pipeline.model.reference import CategoryBins, PartBins, Reference, ReferenceFeature
from pipeline.model.signature import Signature
from pipeline.serving.observing.bins import (
    Places,
    bin_categories,
    bin_parts,
    claims,
    edges_of,
    hours,
    lengths,
    place_numbers,
    table_of,
    weekdays,
)
from pipeline.serving.observing.metrics import key_of, name_file
from pipeline.serving.rows.records import Rows
from pipeline.serving.scoring.served import Predictions

if TYPE_CHECKING:
    from pipeline.serving.observing.metrics import Key

BLOCK_S = 0.25
"""Longest time that an answered row waits to be counted."""
BLOCK_CELLS = 16 * 2**10
"""Values that wait to be counted; when there are more, it is not waited for the time."""
SHOWN_S = 3600.0
"""A release that is not served any more is still shown for so long after its last row, so that no scrape misses it."""
_MOST_BLOCKS = 8
KEPT_S = 86_400.0
"""After this time the file of its counts is removed, so that a server that lives for years does not read all it had."""
_HEAD = struct.Struct("<Q")
"""The length of what describes the counts, before it."""


class Counted(msgspec.Struct, frozen=True):
    """One feature as the file of its counts describes it."""

    name: str
    rows: int
    shares: tuple[float, ...]


class Described(msgspec.Struct, frozen=True):
    """The beginning of a file of counts: of what, and what is known of the release; when its data commit was made."""

    features: tuple[Counted, ...]
    metrics: dict[str, float]
    data_time_s: float | None = None

    @property
    def cells(self) -> int:
        """How many bins there are together."""
        return sum(len(each.shares) for each in self.features)


Find = Callable[[NDArray[np.float64] | None, Sequence[Sequence[str]], Predictions], Places]
"""Numbers, texts by column, predictions → the bin of each row."""


class FeatureMeter:
    """Counts the rows of one release on one track in one process; rows are offered by any thread."""

    def __init__(self, reference: Reference, signature: Signature, cells: Cells, counting: Counting) -> None:
        self._finds = tuple(_find(each, signature) for each in reference.features)
        self._sizes = [each.bins.count for each in reference.features]
        self.cells, self._counting = cells, counting
        self._width = max(len(signature.numbers) + len(signature.texts), 1)
        self._waiting: list[tuple[Rows, Predictions]] = []
        self._waiting_cells = 0
        self._listing, self._adding = threading.Lock(), threading.Lock()

    def offer(self, rows: Rows, predictions: Predictions) -> None:
        """Take answered rows, to be counted soon; where they come faster than that, they are counted now."""
        with self._listing:
            first = not self._waiting
            self._waiting.append((rows, predictions))
            self._waiting_cells += rows.count * self._width
            cells = self._waiting_cells
        if first:
            self._counting.wake(self)
        if cells >= _MOST_BLOCKS * BLOCK_CELLS:
            self.count()
        elif cells >= BLOCK_CELLS:
            self._counting.hurry()

    def count(self) -> None:
        """Count what is waiting."""
        with self._adding:
            with self._listing:
                waiting, self._waiting, self._waiting_cells = self._waiting, [], 0
            if waiting:
                self.cells.add(self._counts(waiting))

    def _counts(self, waiting: Sequence[tuple[Rows, Predictions]]) -> NDArray[np.int64]:
        numbers = _joined([rows.numbers for rows, _ in waiting])
        texts = _joined([rows.texts for rows, _ in waiting])
        listed = [] if texts is None else texts.T.tolist()
        predictions = Predictions.join([each for _, each in waiting])
        counts = [
            np.bincount(find(numbers, listed, predictions), minlength=size)
            for find, size in zip(self._finds, self._sizes, strict=True)
        ]
        return np.concatenate(counts)


def _joined(parts: Sequence[NDArray[Any] | None]) -> NDArray[Any] | None:
    present = [each for each in parts if each is not None]
    if not present:
        return None
    return present[0] if len(present) == 1 else np.concatenate(present)


def _find(feature: ReferenceFeature, signature: Signature) -> Find:
    """Build what finds the bins of a feature."""
    read, bins = _read(feature, signature), feature.bins
    if isinstance(bins, CategoryBins):
        table, place = table_of(bins), signature.texts.index(feature.column)
        return lambda _, texts, __: bin_categories(table, texts[place])
    if isinstance(bins, PartBins):
        return lambda *given: bin_parts(bins, read(*given))
    edges = edges_of(bins)
    return lambda *given: place_numbers(edges, read(*given))


def _read(feature: ReferenceFeature, signature: Signature) -> Callable[..., NDArray[np.float64]]:
    """Build what reads the numbers of a feature from numbers, texts by column, and predictions."""
    name, reading = feature.column, feature.reading
    if reading == "prediction":
        return lambda _, __, predictions: predictions.values.astype(np.float64)
    if reading == "score":
        return lambda _, __, predictions: _scores(predictions)
    if reading == "length":
        text = signature.texts.index(name)
        return lambda _, texts, __: lengths(texts[text])
    if reading == "brightness":
        rule = ImageRule.from_json(next(each.image or {} for each in signature.inputs if each.name == name))
        pixels = [signature.numbers.index(each) for each in ImageRule(("pixels",), rule.size, rule.color).names(name)]
        return lambda numbers, *_: numbers[:, pixels].mean(axis=1)
    place = signature.numbers.index(name) if name in signature.numbers else 0
    part = {"hour": hours, "weekday": weekdays}.get(reading)
    return lambda numbers, *_: numbers[:, place] if part is None else part(numbers[:, place])


def _scores(predictions: Predictions) -> NDArray[np.float64]:
    probabilities = predictions.probabilities
    if probabilities is None:
        return np.full(len(predictions.values), np.nan)
    return claims(probabilities)


class Waiting(Protocol):
    """What is to be counted soon."""

    def count(self) -> None:
        """Count what is waiting."""


class Counting:
    """The thread of a process in which rows are counted, for all its releases; it starts with the first row."""

    def __init__(self) -> None:
        self._awake: SimpleQueue[Waiting] = SimpleQueue()
        self._full = threading.Event()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def wake(self, meter: Waiting) -> None:
        """Have the waiting rows of a meter counted."""
        self._awake.put(meter)
        if self._thread is None:
            with self._starting:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._count_for_ever, name="features", daemon=True)
                    self._thread.start()

    def hurry(self) -> None:
        """Count now: there is a whole block."""
        self._full.set()

    def _count_for_ever(self) -> None:
        while True:
            meters = [self._awake.get()]
            self._full.wait(BLOCK_S)
            self._full.clear()
            while not self._awake.empty():
                meters.append(self._awake.get())
            for meter in meters:
                meter.count()


class Cells:
    """The counts of one file, in float64: the time of the last row, then the bins of one feature after the other."""

    def __init__(self, described: Described, path: Path | None) -> None:
        head = _write_head(described)
        size = len(head) + 8 * (described.cells + 1)
        if path is None:
            self._map = mmap.mmap(-1, size)
            self._map[: len(head)] = head
        else:
            if not path.exists():
                draft = path.with_suffix(".draft")
                draft.write_bytes(head + bytes(size - len(head)))
                draft.rename(path)
            with path.open("r+b") as file:
                self._map = mmap.mmap(file.fileno(), size)
        self._cells = np.frombuffer(self._map, np.float64, offset=len(head))

    def add(self, counts: NDArray[np.int64]) -> None:
        """Add to the counts."""
        self._cells[1:] += counts
        self._cells[0] = time.time()

    def read(self) -> bytes:
        """Return the file's content."""
        return self._map[:]


def _last(path: Path) -> float:
    """Return when a row was counted last, or the file was made; now if another worker has just removed it."""
    try:
        content, made = path.read_bytes(), path.stat().st_mtime
    except FileNotFoundError:
        return time.time()
    last = np.frombuffer(content, np.float64, 1, _HEAD.unpack_from(content)[0] + _HEAD.size)
    return max(float(last[0]), made)


def _write_head(described: Described) -> bytes:
    text = msgspec.json.encode(described)
    text += b" " * (-(_HEAD.size + len(text)) % 8)
    return _HEAD.pack(len(text)) + text


@lru_cache(256)
def _read_head(head: bytes) -> Described:
    return msgspec.json.decode(head, type=Described)


@dataclass
class Reading:
    """The counts of a release on a track, of all workers."""

    described: Described
    last: float
    counts: NDArray[np.float64]


@dataclass(frozen=True)
class FeatureMeters:
    """The feature meters of one process, and how to find those of the others.

    Attributes
    ----------
    folder, worker
        As of `pipeline.serving.observing.metrics.Meters`.
    known : mapping
        Release, track and what is counted → the meter, as long as the release is in memory; its file stays.
    """

    folder: Path | None
    worker: int
    known: WeakValueDictionary[tuple[Key, str], FeatureMeter] = field(default_factory=WeakValueDictionary)
    counting: Counting = field(default_factory=Counting)

    def of(
        self, key: Key, reference: Reference | None, signature: Signature, data_time_s: float | None = None
    ) -> FeatureMeter | None:
        """Return the meter of a release on a track, the same one each time; None where nothing is to be counted."""
        if reference is None or not reference.features:
            return None
        described = Described(
            tuple(Counted(each.name, each.rows, each.shares) for each in reference.features),
            reference.metrics,
            data_time_s,
        )
        digest = sha256(msgspec.json.encode(described)).hexdigest()[:8]
        if (known := self.known.get((key, digest))) is not None:
            return known
        name = name_file(key, digest, f"{self.worker}.features")
        cells = Cells(described, self.folder / name if self.folder else None)
        made = self.known[key, digest] = FeatureMeter(reference, signature, cells, self.counting)
        return made

    def count(self) -> None:
        """Count what is waiting in this process."""
        for meter in list(self.known.values()):
            meter.count()

    def readings(self, served: Collection[Key]) -> dict[Key, Reading]:
        """Add up the counts of all workers, of what is served and of what was a short time ago."""
        self.count()
        found: dict[tuple[Key, str], Reading] = {}
        for key, digest, content in self._contents():
            length = _HEAD.unpack_from(content)[0] + _HEAD.size
            described, cells = _read_head(content[_HEAD.size : length]), np.frombuffer(content, np.float64, -1, length)
            before = found.get((key, digest))
            last, counts = float(cells[0]), cells[1:].copy()
            if before is not None:
                last, counts = max(last, before.last), counts + before.counts
            found[key, digest] = Reading(described, last, counts)
        oldest = time.time() - SHOWN_S
        newest = sorted(found.items(), key=lambda each: each[1].last)
        return {key: each for (key, _), each in newest if key in served or each.last > oldest}

    def remove_old(self, served: Collection[Key]) -> None:
        """Remove the counts of what is not served any more and has not been asked for long."""
        if self.folder is None:
            return
        oldest = time.time() - KEPT_S
        for path in self.folder.glob("*.features"):
            if key_of(path) not in served and _last(path) < oldest:
                path.unlink(missing_ok=True)

    def _contents(self) -> Iterator[tuple[Key, str, bytes]]:
        if self.folder is None:
            yield from ((*key, meter.cells.read()) for key, meter in list(self.known.items()))
            return
        for path in sorted(self.folder.glob("*.features")):
            with suppress(FileNotFoundError):  # another worker has just removed it
                yield key_of(path), path.name.split("@")[3], path.read_bytes()
