"""Single files that are no artifacts, from an object store."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.errors import InputError, StoreError, TransientError


def download(address: str, target: Path, options: Mapping[str, Any]) -> bool:
    """Copy one file that is no artifact, such as ``s3://bucket/folder/x``; False if it is not there.

    Parameters
    ----------
    options : mapping
        For fsspec: where the service is, and credentials.

    Raises
    ------
    StoreError
        If the address cannot be opened.
    InputError
        If the service refuses to give it.
    TransientError
        If it does not answer, or breaks off.
    """
    import fsspec

    try:
        files, path = fsspec.core.url_to_fs(address, **options)
    except (ImportError, ValueError) as error:
        raise StoreError(
            f"{address}: cannot be opened ({error}); expected its library (pip install 'modelrail[s3]')"
        ) from error
    try:
        files.get_file(path, str(target))
    except FileNotFoundError:
        return False
    except PermissionError as error:
        raise InputError(f"{address}: reading it is refused ({error}); expected credentials that may") from error
    except Exception as error:  # every service's client has errors of its own
        raise TransientError(f"{address}: reading it failed: {type(error).__name__}: {error}; run again") from error
    return True
