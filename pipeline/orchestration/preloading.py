"""Import Modelrail before a fork, and drop it after the fork if a file of it has changed since.

LocalExecutor forks a task's process from the scheduler, which may have been up for days. What the scheduler has
imported costs a task nothing, but a task must run the code that is on disk: keys of artifacts are made of the files.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from pipeline.home import PACKAGE
from pipeline.orchestration.kept_facts import digest_of_code

_PACKAGE = __name__.partition(".")[0]
NAMES = (
    *(
        "runs.running",
        "runs.work.partitions",
        "runs.work.features",
        "runs.work.matrix",
        "runs.work.training",
        "runs.work.evaluation",
        "runs.tracking.runs",
        "runs.wording",
        "operations.backfill",
        "spec.loading.loading",
    ),
    *("delivery.platforms.local.deployments", "serving.process.workers", "steps.evaluate.plots"),
)

Stamps = Mapping[str, tuple[int, int, int]]


def preload() -> None:
    """Import what tasks need; from now on every fork checks whether the files on disk are still the same."""
    known = stamp(PACKAGE)  # before the first import: a file that changes meanwhile is told from what was imported
    for name in NAMES:
        with suppress(ImportError):  # the task that needs it says so
            importlib.import_module(f"{_PACKAGE}.{name}")
    digest_of_code()  # which every task asks for when it reads its DAG
    os.register_at_fork(after_in_child=lambda: forget_unless(known))


def stamp(folder: Path) -> Stamps:
    """Return a fingerprint of every file of a package, which changes when a file does.

    It is the inode and the time that the kernel has changed it, which no installer can set back, rather than the time
    of modification, which installers set to that of the package.
    """
    found = {}
    for parent, folders, names in os.walk(folder):
        folders[:] = [each for each in folders if each != "__pycache__"]
        for name in names:
            file = os.path.join(parent, name)  # noqa: PTH118 - a third of the time of Path
            state = os.stat(file)  # noqa: PTH116
            found[file] = (state.st_ino, state.st_ctime_ns, state.st_size)
    return found


def forget_unless(known: Stamps) -> None:
    """Forget everything of Modelrail that was imported, unless its files are unchanged."""
    with suppress(OSError):  # a file that goes meanwhile is a change
        if stamp(PACKAGE) == known:
            return
    for name in [name for name in sys.modules if name.partition(".")[0] == _PACKAGE]:
        del sys.modules[name]
    importlib.invalidate_caches()
