"""What was answered, remembered for a while, so that the truth can be held against it when it comes.

Of each row its prediction and the bin of its score are kept, by the id of its request, in a ring: the newest row takes
the place of the oldest. What callers sent is not kept. When the truth of a row comes, to whichever worker, it is
counted, once, and the row is marked. Rings and counts lie in a file for each release, track and worker, beside the
other counts (`pipeline.serving.observing.features`); one lock is held where any of them is written.

=============== ============================================================================================
model           counted
=============== ============================================================================================
with classes    ``rows`` and, of them, ``true``, by the bin of the score: of two classes those that are of the
                second, of more those that were predicted right
with numbers    ``rows``; ``over`` and ``under``, the sums of errors by their sign; those of ``square`` and
                ``fourth``, their powers
=============== ============================================================================================
"""

from __future__ import annotations

import fcntl
import mmap
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline.model.reference import NumberBins, Reference
from pipeline.model.signature import Signature
from pipeline.serving.observing.bins import claims, edges_of, place_numbers
from pipeline.serving.observing.features import SHOWN_S, Counting
from pipeline.serving.observing.metrics import key_of, name_file
from pipeline.serving.rows.faults import Fault, RejectedError, describe
from pipeline.serving.scoring.served import Predictions

if TYPE_CHECKING:
    from pipeline.serving.observing.metrics import Key

_LARGEST, _MOST_FAULTS, _MOST_NAMED = 1e75, 100, 20
KEPT_S = 7 * 86_400.0
"""So long after its last answer or truth the file of a release that is served no more is kept."""
_ENTRY = np.dtype([("digits", "<u8"), ("value", "<f8"), ("row", "<u4"), ("place", "<u2"), ("known", "?"), ("", "u1")])
_OF_CLASSES, _OF_NUMBERS = ("rows", "true"), ("rows", "over", "under", "square", "fourth")
_LAST, _NEXT, _FIRST = range(3)
"""Cells before the counts: when anything came last, and which place of the ring is the next."""


class Answered(msgspec.Struct, frozen=True):
    """What the file of a release begins with: what its answers can be, and in how many bins they are counted."""

    classes: tuple[Any, ...] | None
    bins: int = 1

    @property
    def counted(self) -> tuple[str, ...]:
        """What is counted, in each bin."""
        return _OF_NUMBERS if self.classes is None else _OF_CLASSES

    def read(self, truth: Any) -> float | None:
        """Return a truth as predictions are kept: a number, or the index of a class; None if it is neither."""
        if self.classes is not None:
            known = (place for place, each in enumerate(self.classes) if _is_same(each, truth))
            return next((float(place) for place in known), None)
        is_number = isinstance(truth, int | float) and not isinstance(truth, bool)
        return float(truth) if is_number and abs(truth) < _LARGEST else None

    @property
    def expected(self) -> str:
        """What a truth may be, in words."""
        return (
            "a number" if self.classes is None else f"one of {msgspec.json.encode(self.classes[:_MOST_NAMED]).decode()}"
        )

    def sizes(self, value: float, truth: float) -> list[float]:
        """Compute what one row adds to each of `counted`."""
        if self.classes is None:
            error = min(max(value - truth, -_LARGEST), _LARGEST)
            return [1.0, max(error, 0.0), max(-error, 0.0), error**2, error**4]
        return [1.0, float(truth == (1 if len(self.classes) == 2 else value))]


class Ring:
    """The answers of one file, and the counts of those whose truth came; written by whoever holds the lock."""

    def __init__(self, answered: Answered, memory: mmap.mmap, offset: int) -> None:
        counts = len(answered.counted) * answered.bins
        self.answered, self._memory = answered, memory
        self.cells = np.frombuffer(memory, np.float64, _FIRST + counts, offset)
        self.counts = self.cells[_FIRST:].reshape(len(answered.counted), answered.bins)
        self.entries = np.frombuffer(memory, _ENTRY, -1, offset + self.cells.nbytes)

    def remember(self, new: NDArray[Any]) -> None:
        """Put answers into the ring, in their order."""
        size, start = len(self.entries), int(self.cells[_NEXT])
        new = new[-size:]
        self.entries[(start + np.arange(len(new))) % size] = new
        self.cells[_NEXT] = (start + len(new)) % size
        self.cells[_LAST] = time.time()

    def count(self, place: int, truth: float) -> None:
        """Count the truth of the answer in a place, and mark it."""
        entry = self.entries[place]
        self.counts[:, entry["place"]] += self.answered.sizes(float(entry["value"]), truth)
        entry["known"] = True
        self.cells[_LAST] = time.time()

    @property
    def last(self) -> float:
        """When anything came last."""
        return float(self.cells[_LAST])


def open_ring(path: Path | None, answered: Answered | None = None, rows: int = 0) -> Ring:
    """Open the file of a ring, or make it; without a path it is memory of this process.

    Parameters
    ----------
    answered, rows
        Of a file that is made. Without these, it is there.

    Raises
    ------
    FileNotFoundError
        If another worker has just removed it.
    """
    if answered is not None and (path is None or not path.exists()):
        text = msgspec.json.encode(answered)
        text += b" " * (-(8 + len(text)) % 8)
        head = len(text).to_bytes(8, "little") + text
        cells = 8 * (_FIRST + len(answered.counted) * answered.bins)
        content = head + bytes(cells + rows * _ENTRY.itemsize)
        if path is None:
            memory = mmap.mmap(-1, len(content))
            memory[:] = content
            return Ring(answered, memory, len(head))
        draft = path.with_suffix(".draft")
        draft.write_bytes(content)
        draft.rename(path)
    assert path is not None  # noqa: S101 - without one it has just been made
    with path.open("r+b") as file:
        memory = mmap.mmap(file.fileno(), 0)
    offset = 8 + int.from_bytes(memory[:8], "little")
    return Ring(msgspec.json.decode(memory[8:offset], type=Answered), memory, offset)


class TruthMeter:
    """Remembers the answers of one release on one track in one process; they are offered by any thread."""

    def __init__(self, ring: Ring, edges: NDArray[np.float64] | None, meters: TruthMeters) -> None:
        self.ring, self._edges, self._meters = ring, edges, meters
        self._waiting: list[tuple[Predictions, Sequence[str], Sequence[int]]] = []
        self._rows = 0
        self._listing = threading.Lock()

    def offer(self, predictions: Predictions, ids: Sequence[str], counts: Sequence[int]) -> None:
        """Take the answers to some requests, each with its id and its number of rows."""
        with self._listing:
            first = not self._waiting
            self._waiting.append((predictions, ids, counts))
            self._rows += len(predictions.values)
            full = self._rows >= len(self.ring.entries)
        if first:
            self._meters.counting.wake(self)
        if full:
            self.count()

    def count(self) -> None:
        """Put what is waiting into the ring."""
        with self._listing:
            waiting, self._waiting, self._rows = self._waiting, [], 0
        if waiting:
            new = self._entries(waiting)
            with self._meters.locked():
                self.ring.remember(new)

    def _entries(self, waiting: Sequence[tuple[Predictions, Sequence[str], Sequence[int]]]) -> NDArray[Any]:
        predictions = Predictions.join([each for each, _, _ in waiting])
        counts = np.array([count for _, _, counts in waiting for count in counts])
        digits = np.frombuffer(bytes.fromhex("".join(each[-32:-16] for _, ids, _ in waiting for each in ids)), "<u8")
        new = np.zeros(len(predictions.values), _ENTRY)
        new["digits"], new["value"] = np.repeat(digits, counts), predictions.values
        new["row"] = np.arange(len(new)) - np.repeat(np.cumsum(counts) - counts, counts)
        if self._edges is not None and predictions.probabilities is not None:
            new["place"] = place_numbers(self._edges, claims(predictions.probabilities))
        return new


@dataclass(frozen=True)
class Told:
    """The truth of one row, as it was told: of which release, by which digits of the id, of which row."""

    model: str
    version: str
    digits: int
    row: int
    truth: Any


@dataclass(frozen=True)
class Outcome:
    """What became of truths.

    Attributes
    ----------
    counted, repeated : int
        Those that are counted now, and those that were before.
    unknown : list of int
        Places of those whose answer is not remembered.
    """

    counted: int
    repeated: int
    unknown: list[int]


@dataclass
class TruthReading:
    """What is counted of a release on a track, by all workers."""

    answered: Answered
    last: float
    counts: NDArray[np.float64]


@dataclass(frozen=True)
class TruthMeters:
    """The rings of one process, and how to find those of the others.

    Attributes
    ----------
    folder, worker
        As of `pipeline.serving.observing.metrics.Meters`.
    """

    folder: Path | None
    worker: int
    counting: Counting
    known: dict[tuple[Key, str], TruthMeter] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def of(self, key: Key, signature: Signature, reference: Reference | None, rows: int) -> TruthMeter | None:
        """Return the ring of a release on a track, of so many rows, the same one each time; None for none."""
        if not rows or key[2] == "shadow":
            return None
        edges = _score_edges(reference)
        classes = None if signature.classes is None else tuple(signature.classes)
        answered = Answered(classes, 1 if edges is None else len(edges) + 2)
        digest = sha256(msgspec.json.encode([answered, rows])).hexdigest()[:8]
        if (known := self.known.get((key, digest))) is not None:
            return known
        name = name_file(key, digest, f"{self.worker}.truth")
        ring = open_ring(self.folder / name if self.folder else None, answered, rows)
        made = self.known[key, digest] = TruthMeter(ring, edges, self)
        return made

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep all other threads and workers from writing."""
        with self._lock:
            if self.folder is None:
                yield
                return
            with (self.folder / "truth.lock").open("w") as file:  # whoever is killed has lost it
                fcntl.flock(file, fcntl.LOCK_EX)
                yield

    def count(self) -> None:
        """Put into the rings what was answered up to now in this process."""
        for meter in list(self.known.values()):
            meter.count()

    def rings(self) -> Iterator[tuple[Key, Ring]]:
        """Yield those of all workers."""
        if self.folder is None:
            yield from ((key, meter.ring) for (key, _), meter in list(self.known.items()))
            return
        for path in sorted(self.folder.glob("*.truth")):
            with suppress(FileNotFoundError):  # another worker has just removed it
                yield key_of(path), open_ring(path)

    def readings(self, served: Collection[Key]) -> dict[Key, TruthReading]:
        """Add up the counts of all workers, of what is served and of what was a short time ago."""
        found: dict[Key, TruthReading] = {}
        for key, ring in self.rings():
            before = found.get(key)
            if before is None or before.answered != ring.answered:
                found[key] = TruthReading(ring.answered, ring.last, ring.counts.copy())
            else:
                found[key] = TruthReading(ring.answered, max(before.last, ring.last), before.counts + ring.counts)
        oldest = time.time() - SHOWN_S
        return {key: each for key, each in found.items() if key in served or each.last > oldest}

    def tell(self, told: Sequence[Told]) -> Outcome:
        """Count the truth of rows whose answers are remembered, each once; all of them, or none if one is no truth.

        Raises
        ------
        RejectedError
            With status 422 if a truth is nothing that the release could have answered.
        """
        self.count()
        with self.locked():
            index = _index(self.rings(), told)
            found = [index.get((each.model, each.version, each.digits, each.row)) for each in told]
            values = [
                None if at is None else at[0].answered.read(each.truth) for each, at in zip(told, found, strict=True)
            ]
            _refuse_faults(told, found, values)
            counted = 0
            for at, value in zip(found, values, strict=True):
                if at is not None and value is not None and not at[0].entries[at[1]]["known"]:
                    at[0].count(at[1], value)
                    counted += 1
        unknown = [place for place, at in enumerate(found) if at is None]
        return Outcome(counted, len(told) - counted - len(unknown), unknown)

    def remove_old(self, served: Collection[Key]) -> None:
        """Remove the rings of what is not served any more and has neither answered nor been told of for long."""
        oldest = time.time() - KEPT_S
        for key, ring in self.rings():
            if key not in served and ring.last < oldest:
                for path in self.folder.glob(name_file(key, "*.truth")) if self.folder else ():
                    path.unlink(missing_ok=True)
                for each in [each for each in self.known if each[0] == key]:
                    del self.known[each]


def _is_same(known: Any, truth: Any) -> bool:
    """Tell whether two values of JSON are the same class: ``1`` and ``1.0`` are, ``1`` and ``true`` are not."""
    return isinstance(known, bool) == isinstance(truth, bool) and bool(known == truth)


_Place = tuple[Ring, int]


def _index(rings: Iterable[tuple[Key, Ring]], told: Sequence[Told]) -> dict[tuple[str, str, int, int], _Place]:
    """Find where the answers to some requests are remembered, by release, digits and row."""
    wanted = np.array([each.digits for each in told if each.digits], np.uint64)  # 0 is a place without an answer
    found = {}
    for (model, version, _), ring in rings:
        for place in np.flatnonzero(np.isin(ring.entries["digits"], wanted)).tolist():
            entry = ring.entries[place]
            found[model, version.removeprefix("v"), int(entry["digits"]), int(entry["row"])] = (ring, place)
    return found


def _refuse_faults(told: Sequence[Told], found: Sequence[_Place | None], values: Sequence[float | None]) -> None:
    faults = [
        Fault(describe(each.truth), at[0].answered.expected, place)
        for place, (each, at, value) in enumerate(zip(told, found, values, strict=True))
        if at is not None and value is None
    ]
    if faults:
        raise RejectedError(422, str(faults[0]), faults[:_MOST_FAULTS])


def _score_edges(reference: Reference | None) -> NDArray[np.float64] | None:
    features = reference.features if reference else ()
    bins = next((each.bins for each in features if each.reading == "score"), None)
    return edges_of(bins) if isinstance(bins, NumberBins) else None
