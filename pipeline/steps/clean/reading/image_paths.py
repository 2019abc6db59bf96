"""Images that rows name by their path: a partition is then an archive of the file of its rows and of the images."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pyarrow as pa

from pipeline.errors import DataError
from pipeline.model.images.decoding import encode_base64
from pipeline.spec.schema.spec import Data
from pipeline.steps.clean.reading.conversion import Converted, Misfit
from pipeline.storage.path_templates import below


def unpack_images(source: bytes, name: str, data: Data) -> tuple[bytes, dict[str, bytes]]:
    """Unpack the file of the rows, and the images by their path in the folder ``data.images``.

    Raises
    ------
    DataError
        It is no archive.
    """
    folder = below(data.images or "")
    try:
        with zipfile.ZipFile(io.BytesIO(source)) as archive:
            first, *images = archive.infolist()
            return archive.read(first), {folder.sub("", each.filename, count=1): archive.read(each) for each in images}
    except (zipfile.BadZipFile, ValueError) as error:
        raise DataError(f"read: {name}: found no archive of rows and images ({error}); expected one") from error


def fetch_images(converted: Mapping[str, Converted], images: Mapping[str, bytes], data: Data) -> dict[str, Converted]:
    """Replace each path, in columns of images, by the image in base64; a path without a file is a misfit."""
    return {name: _fetch(each, images, data) if each.type == "image" else each for name, each in converted.items()}


def _fetch(column: Converted, images: Mapping[str, bytes], data: Data) -> Converted:
    paths = column.values.to_pylist()
    texts = [encode_base64(images[path]) if path in images else None for path in paths]
    lost = np.array([path is not None and text is None for path, text in zip(paths, texts, strict=True)], dtype=bool)
    misfit = Misfit(lost, f"the path of a file in {data.images}", lambda row: repr(paths[row]))
    return replace(column, values=pa.chunked_array([pa.array(texts, pa.large_string())]), misfits=(misfit,))
