"""A clean project to measure in: the spec, the flights, an empty store."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.measuring import environment

ROOT = Path(__file__).resolve().parents[1]
MODELRAIL = Path(sys.executable).with_name("modelrail")
SPEC = Path("models/flight-delay.yaml")
_STOP = (
    "import sys; from pathlib import Path; "
    "from pipeline.delivery.platforms.local.deployments import stop_all; stop_all(Path(sys.argv[1]))"
)


def make_flights(cache: Path) -> Path:
    """Make the data repository, once."""
    folder = cache / "flights"
    call(MODELRAIL, "example", "flights", folder)
    return folder


def make_project(folder: Path, flights: Path | None) -> Path:
    """Make a Git repository with the spec committed, and a clone of the data where the spec expects it."""
    spec = folder / SPEC
    spec.parent.mkdir(parents=True)
    spec.write_text(re.sub(r"port: \d+", "port: 0", (ROOT / SPEC).read_text()))  # 0: any that is free
    (folder / ".gitignore").write_text(".modelrail/\n")
    commit(folder, "A spec", initial=True)
    if flights is not None:
        call("git", "clone", "--quiet", flights, folder / ".modelrail" / "flights")
    return folder


def commit(folder: Path, message: str, *, initial: bool = False) -> None:
    """Commit all that is in a folder."""
    if initial:
        call("git", "-C", folder, "init", "--quiet", "--initial-branch", "main")
    call("git", "-C", folder, "add", "--all")
    who = ("-c", "user.name=Benchmark", "-c", "user.email=benchmark@localhost")
    call("git", "-C", folder, *who, "commit", "--quiet", "--message", message)


def remove_project(folder: Path) -> None:
    """Stop what a run made live, and remove the project."""
    call(sys.executable, "-c", _STOP, folder / ".modelrail")
    shutil.rmtree(folder)


def call(*command: str | Path) -> None:
    """Run a command that is not measured."""
    subprocess.run([str(each) for each in command], check=True, env=environment(), stdout=subprocess.DEVNULL)
