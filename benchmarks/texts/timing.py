"""CPU time of what does the same work, in turn."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.measuring import interleave

OURS = "Modelrail"


def cpu_s(work: Callable[[], Any]) -> float:
    """Return the CPU time of this process."""
    began = time.process_time()
    work()
    return time.process_time() - began


def compare(title: str, works: Mapping[str, Callable[[], float]], texts: int, rounds: int) -> None:
    """Print what a text takes, ours beside each other; a work gives its own CPU time."""
    interleave(works, 1)
    found = {name: statistics.median(times) for name, times in interleave(works, rounds).items()}
    for name, seconds in found.items():
        if name != OURS:
            beside = f"{title}, beside {name}" if len(found) > 2 else title
            ours, theirs = (1e6 * each / texts for each in (found[OURS], seconds))
            print(f"{beside:48}  {ours:9.1f} µs  {theirs:9.1f} µs  {theirs / ours:6.2f}", flush=True)
