"""Where Modelrail keeps its state on this machine."""

from __future__ import annotations

import os
from pathlib import Path


def home(beside: Path | None = None) -> Path:
    """Give the folder of all local state: ``MODELRAIL_HOME``, else ``.modelrail`` at the Git root.

    Parameters
    ----------
    beside : Path, optional
        A file or folder of the project; by default the current folder.
    """
    if configured := os.environ.get("MODELRAIL_HOME"):
        return Path(configured).expanduser().resolve()
    start = (beside or Path.cwd()).resolve()
    return next((each for each in (start, *start.parents) if (each / ".git").exists()), Path.cwd()) / ".modelrail"


def prepare_home(state: Path) -> None:
    """Make the folder, and keep Git from ever taking it for part of the project."""
    ignore = state / ".gitignore"
    if not ignore.exists():
        state.mkdir(parents=True, exist_ok=True)
        ignore.write_text("*\n")


def store_address(state: Path) -> str:
    """Give the artifact store's address: ``MODELRAIL_STORE``, else a folder in ``state``."""
    return os.environ.get("MODELRAIL_STORE") or str(state / "store")


def tracking_address(state: Path) -> str:
    """Give MLflow's tracking address: ``MLFLOW_TRACKING_URI``, else a SQLite file in ``state``."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{state / 'mlflow.db'}"
