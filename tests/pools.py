"""Run all tests in pools beside each other, and close with the one line of pytest that holds for all of them.

``python -m tests.pools`` checks the code and runs two pools at once: tests that work, and tests that wait most of the
time, for Airflow, a browser or a cluster. An argument ``cluster=COMMAND`` gives the tests that need a cluster a pool of
their own, which this command runs.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

PYTEST = [sys.executable, "-m", "pytest", "--durations=25", "--durations-min=1"]
_CLOSING = re.compile(r"=+ (.*) in [\d.]+s.* =+")
_COUNT = re.compile(r"(\d+) (failed|passed|skipped|xfailed|xpassed|warning|error)")


@dataclass
class Pool:
    """A command, and what came of it.

    Attributes
    ----------
    cpu_s : float
        CPU time of the command and of those of its descendants that were waited for.
    """

    name: str
    command: Sequence[str]
    code: int = 1
    wall_s: float = 0
    cpu_s: float = 0
    counts: Counter[str] = field(default_factory=Counter)

    def run(self) -> None:
        """Run the command; what it prints is printed line by line, behind the pool's name."""
        began = time.monotonic()
        process = subprocess.Popen(self.command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert process.stdout is not None
        with process.stdout as printed:
            for line in printed:
                sys.stdout.write(f"{self.name:8} | {line}")
                sys.stdout.flush()
                self.counts += count(line)
        _, status, used = os.wait4(process.pid, 0)
        self.code = process.returncode = os.waitstatus_to_exitcode(status)
        self.wall_s, self.cpu_s = time.monotonic() - began, used.ru_utime + used.ru_stime
        if self.code and not self.counts["failed"] + self.counts["error"]:
            self.counts["error"] += 1  # it broke off, or was no pytest


def count(line: str) -> Counter[str]:
    """Return the outcomes that a closing line of pytest counts; none if it is another line."""
    found = _CLOSING.fullmatch(line.strip())
    return Counter({name: int(number) for number, name in _COUNT.findall(found[1])}) if found else Counter()


def make_pools(own: Mapping[str, str]) -> list[Pool]:
    """Return the pools; those in `own` bring their command and take the tests that are marked by their name."""
    waiting = " or ".join(each for each in ("airflow", "browser", "cluster") if each not in own)
    without = "".join(f" and not {each}" for each in ("rare", *own))
    return [
        Pool("check", ["make", "--no-print-directory", "check"]),
        # three on two cores: many of them wait for a process
        Pool("units", [*PYTEST, "-m", "not (airflow or browser or cluster or rare)", "-n", "3", "--dist", "loadgroup"]),
        Pool("services", [*PYTEST, "-m", f"({waiting}){without}", "-n", "2", "--dist", "loadfile"]),
        *(Pool(name, [command]) for name, command in own.items()),
    ]


def close(pools: Iterable[Pool], wall_s: float) -> str:
    """Return the line that closes all pools, in pytest's own form."""
    counts = sum((each.counts for each in pools), Counter[str]())
    told = [f"{counts[name]} {name}" for name in ("failed", "passed", "skipped", "xfailed", "xpassed") if counts[name]]
    told += [f"{counts[name]} {name}{'s' * (counts[name] > 1)}" for name in ("warning", "error") if counts[name]]
    minutes, seconds = divmod(int(wall_s), 60)
    return f" {', '.join(told)} in {wall_s:.2f}s ({minutes // 60}:{minutes % 60:02}:{seconds:02}) ".center(80, "=")


def run(pools: Sequence[Pool]) -> int:
    """Run pools at once; returns 0, or the exit status of one that failed."""
    began = time.monotonic()
    threads = [threading.Thread(target=each.run) for each in pools]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    sys.stdout.write("\npool      status   wall s    CPU s\n")
    sys.stdout.writelines(f"{each.name:8} {each.code:7} {each.wall_s:8.0f} {each.cpu_s:8.0f}\n" for each in pools)
    sys.stdout.write(close(pools, time.monotonic() - began) + "\n")
    return next((each.code for each in pools if each.code), 0)


if __name__ == "__main__":
    raise SystemExit(run(make_pools(dict(each.split("=", 1) for each in sys.argv[1:]))))
