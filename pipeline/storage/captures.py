"""Captured requests, in a folder or an object store: files ``captures/MODEL/VERSION/DAY/SECONDS-….jsonl``.

A prediction server writes them, so nothing but the standard library is imported; an object store needs fsspec with the
library of its kind.
"""

from __future__ import annotations

import json
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from pipeline.errors import StoreError, redact

_FOLDER = "captures"


class CaptureFiles:
    """The captures of one address.

    Parameters
    ----------
    address : str
        A folder, or a URL such as ``s3://bucket/folder``.

    Raises
    ------
    StoreError
        If there is no library for it.
    """

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/")
        self._files: Any = None
        self._root = f"{self.address}/{_FOLDER}"
        if "://" in address:
            import fsspec  # only here: a folder needs no such library

            try:
                self._files, self._root = fsspec.core.url_to_fs(self._root)
            except (ImportError, ValueError) as error:
                raise self._failed(error) from error

    def write(self, model: str, version: str, content: bytes, now: float | None = None) -> None:
        """Write lines that were captured in one file of the day.

        Raises
        ------
        StoreError
            If that cannot be done.
        """
        now = time.time() if now is None else now
        day = datetime.fromtimestamp(now, UTC).date().isoformat()
        name = f"{self._root}/{model}/{version}/{day}/{int(now)}-{uuid.uuid4().hex[:8]}.jsonl"
        try:
            if self._files is not None:
                self._files.pipe_file(name, content)
            else:
                Path(name).parent.mkdir(parents=True, exist_ok=True)
                Path(name).write_bytes(content)
        except Exception as error:  # every object store's client has errors of its own
            raise self._failed(error) from error

    def read(self, model: str, version: str | None = None, since: float = 0.0) -> Iterator[dict[str, Any]]:
        """Yield the captured rows of a model, or of one of its releases, the oldest file first.

        Parameters
        ----------
        since : float
            Seconds since 1970: rows that were answered before are left out.

        Raises
        ------
        StoreError
            If they cannot be read.
        """
        first = datetime.fromtimestamp(since, UTC).date()
        wanted = {version, f"v{version}"} if version else None
        days = [each for each in self._days(model) if each[2] >= first and (wanted is None or each[1] in wanted)]
        names = [name for folder, _, _ in days for name in self._list(folder) if name.endswith(".jsonl")]
        for name in sorted(names, key=lambda each: each.rpartition("/")[2]):
            for line in self._content(name).splitlines():
                row: dict[str, Any] = json.loads(line)
                if row["time"] >= since:
                    yield row

    def remove_before(self, model: str, first: date) -> int:
        """Remove the days of a model that lie before one, of whichever release; return how many.

        Raises
        ------
        StoreError
            If that cannot be done.
        """
        old = [folder for folder, _, day in self._days(model) if day < first]
        for folder in old:
            self._remove(folder)
        return len(old)

    def _days(self, model: str) -> list[tuple[str, str, date]]:
        """List the folders of a model's days, each with its version."""
        found = []
        for version in self._list(f"{self._root}/{model}"):
            for folder in self._list(version):
                with suppress(ValueError):  # somebody else's
                    day = date.fromisoformat(folder.rpartition("/")[2])
                    found.append((folder, version.rpartition("/")[2], day))
        return found

    def _list(self, folder: str) -> list[str]:
        try:
            if self._files is None:
                return sorted(map(str, Path(folder).iterdir()))
            return sorted(str(name).rstrip("/") for name in self._files.ls(folder, detail=False, refresh=True))
        except (FileNotFoundError, NotADirectoryError):
            return []
        except Exception as error:
            raise self._failed(error) from error

    def _content(self, name: str) -> bytes:
        try:
            content: bytes = Path(name).read_bytes() if self._files is None else self._files.cat_file(name)
        except FileNotFoundError:  # removed by its age meanwhile
            return b""
        except Exception as error:
            raise self._failed(error) from error
        return content

    def _remove(self, folder: str) -> None:
        try:
            if self._files is None:
                shutil.rmtree(folder)
            else:
                self._files.rm(folder, recursive=True)
        except FileNotFoundError:  # another worker was faster
            return
        except Exception as error:
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> StoreError:
        expected = "expected a folder, or an address that is open to this process, such as s3://bucket/folder"
        return StoreError(f"captures: {redact(self.address)}: {type(error).__name__}: {error}; {expected}")
