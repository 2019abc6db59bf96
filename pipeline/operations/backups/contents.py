"""Which files of a state a backup holds, and which it leaves out."""

from __future__ import annotations

import fnmatch
import os
import re
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from pipeline.errors import redact
from pipeline.home import store_address, tracking_address

LEFT_OUT = (
    *(".gitignore", "work.lock", "cache", "repositories", "logs", "services.*", "store/drafts", "history/*.lock"),
    *("airflow/logs", "airflow/*.pid", "airflow/config/__pycache__"),
    *("deployments/*/metrics", "deployments/*/*.log", "deployments/*/*.log.[0-9]", "deployments/*/*.lock"),
    *("mlflow.db-*", "mlflow.db.lock", "airflow/airflow.db-*"),
)
"""What can be made again, or says nothing on another day."""
_LEFT_OUT = re.compile("|".join(map(fnmatch.translate, LEFT_OUT)))


def find_files(state: Path) -> Iterator[Path]:
    """Yield every file that a backup holds, in a fixed order."""
    for path in _walk(state):
        with suppress(FileNotFoundError):  # gone meanwhile
            if stat.S_ISREG(path.lstat().st_mode):
                yield path


def find_links(state: Path) -> tuple[str, ...]:
    """Say which links are not followed."""
    links = (path for path in _walk(state) if path.is_symlink())
    return tuple(f"{path.relative_to(state)}: it is a link to {path.readlink()}" for path in links)


def is_repository(path: Path) -> bool:
    """Tell whether a folder is a Git repository, such as the example's data: Git is its backup."""
    return (path / ".git").exists()


def find_outside(state: Path) -> tuple[str, ...]:
    """Say what is kept elsewhere, by the settings."""
    places = (
        ("artifacts", "MODELRAIL_STORE", store_address(state), "file://"),
        ("MLflow's runs and models", "MLFLOW_TRACKING_URI", tracking_address(state), "sqlite:///"),
    )
    return tuple(
        f"{what}: they are kept at {redact(address)} ({variable})"
        for what, variable, address, scheme in places
        if not Path(address.removeprefix(scheme)).expanduser().absolute().is_relative_to(state)
    )


def _walk(state: Path) -> Iterator[Path]:
    """Yield every file and link that is not left out."""
    for place, folders, files in os.walk(state):
        inside = "" if place == str(state) else f"{Path(place).relative_to(state).as_posix()}/"
        linked = {name for name in folders if (Path(place) / name).is_symlink()}
        kept = (name for name in folders if name not in linked and not _LEFT_OUT.fullmatch(f"{inside}{name}"))
        folders[:] = sorted(name for name in kept if not is_repository(Path(place) / name))
        names = (name for name in sorted({*files, *linked}) if not _LEFT_OUT.fullmatch(f"{inside}{name}"))
        yield from (Path(place) / name for name in names)
