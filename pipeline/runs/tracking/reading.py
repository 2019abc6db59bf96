"""What MLflow knows of a run."""

from __future__ import annotations

from pathlib import Path

from pipeline.runs.tracking.faults import explain
from pipeline.runs.tracking.runs import open_client

_FILE = "sqlite:///"


def read_tags(tracking: str, run: str) -> dict[str, str] | None:
    """Read the tags of a run; None if MLflow has no such run.

    Raises
    ------
    ModelrailError
        If MLflow cannot be asked.
    """
    if tracking.startswith(_FILE) and not Path(tracking.removeprefix(_FILE)).exists():
        return None
    from mlflow.exceptions import MlflowException

    try:
        return dict(open_client(tracking).get_run(run).data.tags)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise explain(error, tracking) from error
