"""How long short commands take: ``python -m benchmarks.startup [--runs 15]``."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks.measuring import interleave, run, say, say_machine
from benchmarks.project import MODELRAIL, SPEC, make_flights, make_project, remove_project


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "modelrail-benchmarks")
    given = parser.parse_args()
    say_machine()
    commands = {
        "python -c pass": (sys.executable, "-c", "pass"),
        "import pipeline.spec": (sys.executable, "-c", "import pipeline.spec.loading.loading"),
        "modelrail --help": (MODELRAIL, "--help"),
        "modelrail check": (MODELRAIL, "check"),
        "modelrail plan": (MODELRAIL, "plan", SPEC),
        "modelrail run, unchanged": (MODELRAIL, "run", SPEC),
    }
    flights = make_flights(given.cache)
    with tempfile.TemporaryDirectory() as scratch:
        project = make_project(Path(scratch) / "project", flights)
        try:
            run((MODELRAIL, "run", SPEC), project)
            actions = {name: (lambda each=each: run(each, project).seconds) for name, each in commands.items()}
            say("Wall time, median (least to most)", interleave(actions, given.runs))
        finally:
            remove_project(project)


if __name__ == "__main__":
    main()
