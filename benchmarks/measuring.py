"""Timing commands side by side, and the memory of all their processes."""

from __future__ import annotations

import os
import platform
import resource
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import psutil

SAMPLE_S = 0.05
_VERSIONS = ("pandas", "numpy", "scikit-learn", "mlflow", "onnxruntime")


@dataclass(frozen=True)
class Run:
    """What one command cost.

    Attributes
    ----------
    seconds : float
        Wall time.
    cpu_s : float
        CPU time of the command and of those of its descendants that have ended; less moved by a busy machine.
    peak_mb : float
        Largest sum of the proportional set sizes (PSS) of the command and its descendants; 0 if not sampled.
    """

    seconds: float
    cpu_s: float
    peak_mb: float
    output: str


def environment(**more: str) -> dict[str, str]:
    """Return this process's environment, with compiled bytecode and without telemetry for everybody."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "1", **more}


def run(command: Sequence[str | Path], cwd: Path, env: Mapping[str, str] | None = None, *, memory: bool = False) -> Run:
    """Run a command to its end; one that fails ends the benchmark with what it said."""
    began, cpu_s = time.perf_counter(), _cpu_of_children()
    process = subprocess.Popen(
        [str(each) for each in command],
        cwd=cwd,
        env=dict(env or environment()),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    watch = _Watch(process.pid) if memory else None
    output, errors = process.communicate()
    seconds = time.perf_counter() - began
    peak_mb = watch.stop() if watch else 0.0
    if process.returncode:
        raise SystemExit(f"{' '.join(map(str, command))} ended with {process.returncode}:\n{output}{errors}")
    return Run(seconds, _cpu_of_children() - cpu_s, peak_mb, output)


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class _Watch:
    """Adds up, every 50 ms, the memory of a process and of all that descend from it."""

    def __init__(self, pid: int) -> None:
        self._seen = {pid: psutil.Process(pid)}
        self._peak = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def stop(self) -> float:
        self._over.set()
        self._thread.join()
        return self._peak / 1e6

    def _sample(self) -> None:
        while not self._over.wait(SAMPLE_S):
            for parent in list(self._seen.values()):  # one that outlives its parent was seen before
                with suppress(psutil.Error):
                    self._seen |= {each.pid: each for each in parent.children(recursive=True)}
            self._peak = max(self._peak, sum(_pss(each) for each in self._seen))


def _pss(pid: int) -> int:
    with suppress(OSError, ValueError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def interleave(actions: Mapping[str, Callable[[], float]], runs: int) -> dict[str, list[float]]:
    """Do all actions in turn, several times (A B A B), so that a busy moment hits each alike."""
    found: dict[str, list[float]] = {name: [] for name in actions}
    for _ in range(runs):
        for name, action in actions.items():
            found[name].append(action())
    return found


def say(title: str, found: Mapping[str, Sequence[float]], unit: str = "s", against: str | None = None) -> None:
    """Print medians, ranges, and ratios to one of them."""
    print(f"\n{title}")
    middle = {name: statistics.median(values) for name, values in found.items() if values}
    for name, value in middle.items():
        spread = f"{min(found[name]):9.3f} to {max(found[name]):.3f}"
        ratio = f"  {value / middle[against]:6.2f} x {against}" if against in middle and name != against else ""
        print(f"  {name:24} {value:9.3f} {unit}   {spread}{ratio}", flush=True)


def say_machine(more: Iterable[str] = (), *, timed: bool = True) -> None:
    """Print what the figures depend on; times depend on the load."""
    versions = ", ".join(f"{each} {metadata.version(each)}" for each in (*_VERSIONS, *more))
    load = os.getloadavg()[0]
    print(f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {os.cpu_count()} cores, {platform.machine()}, load {load:.2f}")
    print(f"Python {platform.python_version()}, {versions}", flush=True)
    if timed and load > 0.7:
        print("The machine is busy: these figures are no good; repeat them when its load is below 0.7.", flush=True)
