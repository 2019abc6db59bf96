"""What a step used: wall time, CPU time, the peak of memory."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


@dataclass
class Cost:
    """What was used between entering and leaving ``measure``.

    Attributes
    ----------
    start_s, end_s : float
        Seconds since 1970-01-01 UTC.
    cpu_s : float
        Of this process, all its threads.
    peak_bytes : int
        Largest resident memory of this process.
    """

    start_s: float
    end_s: float = 0.0
    cpu_s: float = 0.0
    peak_bytes: int = 0

    @property
    def seconds(self) -> float:
        """Wall time."""
        return self.end_s - self.start_s


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
        cost.end_s = cost.start_s + time.perf_counter() - began
        cost.cpu_s = time.process_time() - cpu
        cost.peak_bytes = _peak_bytes()


def _peak_bytes() -> int:
    with suppress(OSError):
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale
