"""Image files: a partition is a folder of them; the name of an image's own folder says what it shows."""

from __future__ import annotations

import base64
import io
import zipfile
from collections.abc import Sequence
from pathlib import PurePosixPath

import pyarrow as pa

from pipeline.errors import DataError
from pipeline.spec.schema.spec import Data
from pipeline.steps.clean.reading.parsed import Parsed, choose_columns

COLUMNS = ("image", "folder", "file")


def parse_images(source: bytes, name: str, data: Data) -> Parsed:
    """Parse the files of a partition, which their reader has packed as a ZIP archive.

    Each gives a row: ``image`` (its bytes in base64), ``folder`` (the name of the folder that it is in) and ``file``
    (its path below the partition's).

    Raises
    ------
    DataError
        It is no archive.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(source)) as archive:
            files = [(each.filename, archive.read(each)) for each in archive.infolist() if not each.is_dir()]
    except (zipfile.BadZipFile, OSError) as error:
        raise DataError(f"read: {name}: found no archive of images ({error}); expected image files") from error
    columns, notes = choose_columns(COLUMNS, name, data)
    values = {
        "image": [base64.b64encode(content).decode() for _, content in files],
        "folder": [PurePosixPath(path).parent.name for path, _ in files],
        "file": [path for path, _ in files],
    }
    table = pa.table({each: pa.array(values[each], pa.large_string()) for each in columns})
    return Parsed.from_table(table, {}, lambda positions: _pick(files, positions), notes)


def _pick(files: Sequence[tuple[str, bytes]], positions: Sequence[int]) -> dict[int, str]:
    return {each: files[each - 1][0] for each in positions}
