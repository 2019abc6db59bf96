"""What MLflow's errors mean: whether a retry can help, or something must be mended."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from pipeline.errors import ModelrailError, TransientError

_BUSY = frozenset({429, 502, 503, 504})
"""Statuses of an MLflow server that is there and cannot answer now."""


def explain(error: Exception, tracking: str) -> ModelrailError:
    """Translate an error of MLflow into one of ours, whose type says whether a retry can help.

    Parameters
    ----------
    error : Exception
        What a call of MLflow has raised.
    tracking : str
        MLflow's address.
    """
    # SQLAlchemy's words around SQLite's, and MLflow's around those, do not say what is wrong
    told = next((each for each in _causes(error) if isinstance(each, sqlite3.Error)), error)
    text = f"{type(told).__name__}: {told}".strip().splitlines()[0]
    if any(map(_can_pass, _causes(error))):
        return TransientError(
            f"tracking: MLflow at {tracking} did not answer ({text}); run again: what is done is kept"
        )
    return ModelrailError(
        f"tracking: MLflow at {tracking} failed ({text}); mend it or set MLFLOW_TRACKING_URI, and run again:"
        " what is done is kept"
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _can_pass(error: BaseException) -> bool:
    import requests
    from mlflow.exceptions import MlflowException

    match error:
        case sqlite3.OperationalError():
            # extended codes, such as SQLITE_BUSY_SNAPSHOT, have the plain one in their low byte
            return error.sqlite_errorcode & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
        case MlflowException() if error.__cause__ is None:  # else the cause tells: not every fault of SQLite passes
            return error.get_http_status_code() in _BUSY
        case requests.ConnectionError() | requests.Timeout() | requests.exceptions.RetryError():
            return True
    # SQLAlchemy's, of a database server that has gone away
    return bool(getattr(error, "connection_invalidated", False))
