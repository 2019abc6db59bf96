"""The digits example: 1,797 handwritten digits as PNG files of 8 × 8 pixels, in a folder for each digit.

They are those of scikit-learn (E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", 1998).
"""

from __future__ import annotations

import struct
import zlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.ui.examples.repository import Commit, is_complete, write_example

PARTS = 6
_DEEPEST = 16  # what scikit-learn gives as the darkest ink


def make_digits(folder: Path) -> Path:
    """Make the repository of digits: ``digits/part-1/7/0042.png`` …, a part in a commit of its own."""
    from sklearn.datasets import load_digits

    folder = folder.absolute()
    if not is_complete("digits", folder, PARTS):
        found = load_digits()
        files = [
            (f"{digit}/{number:04}.png", write_png(image * 255 // _DEEPEST))
            for number, (image, digit) in enumerate(
                zip(found.images.astype(int), found.target.tolist(), strict=True), start=1
            )
        ]
        write_example(folder, [_commit(files, part) for part in range(1, PARTS + 1)])
    return folder


def _commit(files: list[tuple[str, bytes]], part: int) -> Commit:
    first, last = (len(files) * each // PARTS for each in (part - 1, part))
    added = {f"digits/part-{part}/{name}": content for name, content in files[first:last]}
    return Commit(f"Add the digits {first + 1} to {last}", datetime(2024, part, 1, tzinfo=UTC), added)


def write_png(rows: Any) -> bytes:
    """Write gray values, 0 to 255, as a PNG file (ISO/IEC 15948), the same on every machine.

    Parameters
    ----------
    rows : array of int, shape (height, width)
    """
    height, width = len(rows), len(rows[0])
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    lines = b"".join(b"\0" + bytes(int(value) for value in row) for row in rows)
    # nothing is compressed, since how it is differs between versions of zlib
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines, 0)), (b"IEND", b""))
    written = (
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(written)
