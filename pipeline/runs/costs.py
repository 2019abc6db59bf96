"""What was spent: each step's time, CPU and memory, measured, kept in the store, and added up.

A step that computes leaves one small note in the store, whether it ends well or not. So the record is shared by all
machines and pods that share the store, and outlives them; a step that reuses everything costs nothing and leaves none.
"""

from __future__ import annotations

import json
import resource
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.delivery.releases import Release
from pipeline.errors import StoreError
from pipeline.storage.artifacts import Store

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


@dataclass
class Cost:
    """What was used between entering and leaving ``measure``.

    Attributes
    ----------
    start_s : float
        Seconds since 1970-01-01 UTC.
    seconds : float
        Wall time.
    cpu_s : float
        Of this process, all its threads.
    peak_bytes : int
        Largest resident memory of this process.
    """

    start_s: float
    seconds: float = 0.0
    cpu_s: float = 0.0
    peak_bytes: int = 0


@contextmanager
def measure() -> Iterator[Cost]:
    """Measure what the block costs; the figures are there once it is left."""
    with suppress(OSError):
        _CLEAR.write_text("5")  # resets the peak, where the kernel knows how
    cost = Cost(time.time())
    began, cpu = time.perf_counter(), time.process_time()
    try:
        yield cost
    finally:
        cost.seconds = time.perf_counter() - began
        cost.cpu_s = time.process_time() - cpu
        cost.peak_bytes = _peak_bytes()


def _peak_bytes() -> int:
    with suppress(OSError):
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale


GIB = 2**30
MERGED = "merged"
"""Key of a note that holds many others: name → what it says."""
_HOUR_S = 3600.0


@dataclass(frozen=True)
class Usage:
    """What something took.

    Attributes
    ----------
    seconds : float
        Wall time; that of steps that ran side by side is added up.
    cpu_s : float
        CPU time of all threads.
    gib_hours : float
        Memory over time: each step's peak for as long as it ran, so an upper bound.
    """

    seconds: float = 0.0
    cpu_s: float = 0.0
    gib_hours: float = 0.0

    @classmethod
    def of(cls, seconds: float, cpu_s: float, peak_bytes: float) -> Usage:
        """Count one step."""
        return cls(seconds, cpu_s, peak_bytes / GIB * seconds / _HOUR_S)

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.seconds + other.seconds, self.cpu_s + other.cpu_s, self.gib_hours + other.gib_hours)

    def price(self, prices: Mapping[str, float]) -> float:
        """Compute the cost at prices for a ``cpu_hour`` and a ``gib_hour``."""
        return self.cpu_s / _HOUR_S * prices["cpu_hour"] + self.gib_hours * prices["gib_hour"]


@dataclass(frozen=True)
class Spent:
    """One step that computed something.

    Attributes
    ----------
    run : str
        The run's own id, which MLflow has as the tag ``modelrail.run``.
    started : str
        ISO 8601, UTC.
    peak_bytes : int
        Largest resident memory of its process.
    computed : int
        Partitions, or 1.
    done : bool
        False if it failed.
    prices : dict or None
        ``cpu_hour``, ``gib_hour`` and ``currency`` as they were then (``environment.prices``).
    """

    model: str
    step: str
    run: str
    started: str
    seconds: float
    cpu_s: float
    peak_bytes: int
    computed: int
    done: bool
    data_commit: str
    spec_commit: str
    environment: str | None
    trigger: str
    prices: Mapping[str, float | str] | None = None

    @property
    def usage(self) -> Usage:
        """What it took."""
        return Usage.of(self.seconds, self.cpu_s, self.peak_bytes)


@dataclass(frozen=True)
class Total:
    """What several steps took together.

    Attributes
    ----------
    name : str
        The model, commit, step, release or run.
    first, last : str
        When the first of them began, and the last.
    runs, steps, failed : int
        How many there were.
    peak_bytes : int
        The largest.
    amounts : dict
        Currency → price; empty if nothing was priced.
    """

    name: str
    models: tuple[str, ...]
    first: str
    last: str
    runs: int
    steps: int
    failed: int
    usage: Usage
    peak_bytes: int
    amounts: Mapping[str, float] = field(default_factory=dict)


@contextmanager
def keep_cost(store: Store, **facts: Any) -> Iterator[Cost]:
    """Measure a block, and keep what it cost, even if it fails.

    Parameters
    ----------
    facts
        Those of `Spent` that are known before.
    """
    done, cost = False, None
    try:
        with measure() as cost:
            yield cost
        done = True
    finally:
        if cost is not None:
            started = datetime.fromtimestamp(cost.start_s, UTC).isoformat(timespec="milliseconds")
            spent = Spent(
                started=started,
                seconds=round(cost.seconds, 3),
                cpu_s=round(cost.cpu_s, 3),
                peak_bytes=cost.peak_bytes,
                done=done,
                **facts,
            )
            with suppress(*(() if done else (StoreError,))):  # a failed step's own error is the one to tell
                record(store, spent)


def record(store: Store, spent: Spent) -> None:
    """Keep what a step took; nobody else writes to that note, so any number may be written at once."""
    day, moment = spent.started[:10], spent.started[11:23].replace(":", "")
    name = f"costs/{spent.model}/{day}/{moment}-{spent.step}-{uuid.uuid4().hex[:8]}.json"
    store.write_note(name, json.dumps(asdict(spent)).encode())


def read_costs(store: Store, model: str | None = None, since: datetime | None = None) -> list[Spent]:
    """List what was spent, oldest first.

    Parameters
    ----------
    model : str, optional
        Only this one's.
    since : datetime, optional
        Only what began then or later; without a zone, in UTC.
    """
    notes = store.notes(f"costs/{model}" if model else "costs")
    parts = {part: each for name, content in notes.items() for part, each in parts_of(name, content).items()}
    found = sorted((_parse(name, each) for name, each in parts.items()), key=lambda each: each.started)
    if since is None:
        return found
    limit = (since if since.tzinfo else since.replace(tzinfo=UTC)).astimezone(UTC)
    return [each for each in found if datetime.fromisoformat(each.started) >= limit]


def parts_of(name: str, content: bytes) -> Mapping[str, Mapping[str, Any]]:
    """Read the parts of notes by name: a note is one part, or holds many. A part that is in several notes counts once.

    Raises
    ------
    StoreError
        If it cannot be read.
    """
    try:
        facts = json.loads(content)
        found: Mapping[str, Mapping[str, Any]] = facts.get(MERGED, {name: facts})
    except (ValueError, AttributeError) as error:
        raise _explain(name, error) from error
    return found


def _parse(name: str, facts: Mapping[str, Any]) -> Spent:
    try:
        return Spent(**facts)
    except TypeError as error:
        raise _explain(name, error) from error


def _explain(name: str, error: Exception) -> StoreError:
    return StoreError(f"store: notes/{name}: found {error}; expected what a step cost: remove that note")


Group = Callable[[Spent], str]
GROUPS: Mapping[str, Group] = {
    "model": lambda each: each.model,
    "commit": lambda each: each.data_commit,
    "step": lambda each: each.step,
    "run": lambda each: each.run,
}
"""What costs can be added up by; ``release`` needs the releases besides (``by_release``)."""


def by_release(released: Iterable[Release], spent: Iterable[Spent]) -> Group:
    """Assign each run to the release that it led to: the model's first one that was made after the run began.

    What refused and failed attempts took counts towards the release that came of them in the end.
    """
    dates = sorted((each.date, each.model, each.tag) for each in released if each.date is not None)
    began: dict[str, datetime] = {}
    for each in spent:
        start = datetime.fromisoformat(each.started).replace(microsecond=0)  # a tag's date has no fractions
        began[each.run] = min(start, began.get(each.run, start))

    def group(spent: Spent) -> str:
        later = (tag for date, model, tag in dates if model == spent.model and date >= began[spent.run])
        return next(later, f"{spent.model}: not released")

    return group


def add_up(spent: Iterable[Spent], group: Group) -> list[Total]:
    """Add costs up by group, in the order in which the groups first appear."""
    groups: dict[str, list[Spent]] = {}
    for each in spent:
        groups.setdefault(group(each), []).append(each)
    return [total(name, members) for name, members in groups.items()]


def total(name: str, members: Sequence[Spent]) -> Total:
    """Add up what several steps took; there is at least one."""
    amounts: dict[str, float] = {}
    for each in members:
        if each.prices is not None:
            currency, prices = str(each.prices["currency"]), {key: float(each.prices[key]) for key in _PRICED}
            amounts[currency] = amounts.get(currency, 0.0) + each.usage.price(prices)
    return Total(
        name=name,
        models=tuple(dict.fromkeys(each.model for each in members)),
        first=members[0].started,
        last=members[-1].started,
        runs=len({each.run for each in members}),
        steps=len(members),
        failed=sum(not each.done for each in members),
        usage=sum((each.usage for each in members), Usage()),
        peak_bytes=max(each.peak_bytes for each in members),
        amounts=amounts,
    )


_PRICED = ("cpu_hour", "gib_hour")
