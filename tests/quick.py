"""Run the unit tests of what has changed since the branch ``main``, for a minute at most.

A changed test runs. A changed module ``pipeline/WING/...`` has the tests below ``tests/WING`` that import it, a changed
``conftest.py`` or program of the tests those beside it and below. What was chosen is printed.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

LIMIT_S = 60
OPTIONS = ["-m", "not (airflow or browser or cluster or rare)", "-n", "auto", "--dist", "loadgroup"]


def list_changed(since: str) -> list[Path]:
    """List the files that differ from where this branch has left another, committed or not."""
    base = _git("merge-base", since, "HEAD")[0]
    new = _git("ls-files", "--others", "--exclude-standard")
    return [Path(each) for each in (*_git("diff", "--name-only", base), *new)]


def _git(*arguments: str) -> list[str]:
    return subprocess.check_output(["git", *arguments], text=True).splitlines()


def choose(changed: Iterable[Path]) -> list[Path]:
    """Return the files of tests for changed files, given and found relative to the current folder."""
    return sorted({test for each in changed for test in _choose(each)})


def _choose(changed: Path) -> Iterator[Path]:
    match changed.parts:
        case ("tests", *_, name) if re.fullmatch(r"test_.*\.py", name):
            yield from [changed] if changed.exists() else []
        case ("tests", _, *_, _) if changed.suffix == ".py" and changed.parent != Path("tests"):
            yield from changed.parent.rglob("test_*.py")
        case ("pipeline", wing, *_) if changed.suffix == ".py":
            imports = _name(changed)
            folder = Path("tests") / wing
            yield from (each for each in folder.rglob("test_*.py") if imports.search(each.read_text()))


def _name(module: Path) -> re.Pattern[str]:
    """Return what matches an import of a module, by its own name or from its package."""
    *package, name = module.with_suffix("").parts
    if name == "__init__":
        return re.compile(rf"\b{re.escape('.'.join(package))} import\b")
    own = re.escape(".".join([*package, name]))
    return re.compile(rf"\b{own}\b|\b{re.escape('.'.join(package))} import [^\n]*\b{re.escape(name)}\b")


class Limit:
    """Ends the tests when their time is over; what has failed until then still counts."""

    def __init__(self, limit_s: float) -> None:
        self._deadline = time.monotonic() + limit_s

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        self._session = session

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logfinish(self) -> None:
        if time.monotonic() > self._deadline:
            failed = self._session.testsfailed > 0
            pytest.exit("a minute is over; make test runs the rest", returncode=int(failed))


def main() -> int:
    """Run what is chosen; returns pytest's exit status."""
    chosen = choose(list_changed("main"))
    print(f"{len(chosen)} files have tests of what has changed since main", *chosen, sep="\n  ", flush=True)
    return int(pytest.main([*OPTIONS, *map(str, chosen)], plugins=[Limit(LIMIT_S)])) if chosen else 0


if __name__ == "__main__":
    sys.exit(main())
