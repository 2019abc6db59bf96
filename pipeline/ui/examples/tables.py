"""Tables cut into partitions: an example's rows in their order, a CSV file and a commit for each part."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from pipeline.ui.examples.repository import Commit

Row = Sequence[object]


def write_csv(header: Sequence[str], rows: Iterable[Row]) -> bytes:
    """Write a table as CSV in UTF-8; a float gets the fewest digits that identify it."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode()


def commit_parts(noun: str, header: Sequence[str], rows: Sequence[Row], parts: int) -> list[Commit]:
    """Cut a table into parts of nearly the same size, and number its rows from 1 in a first column.

    Parameters
    ----------
    noun : str
        What a row is: name of the first column; the files are ``NOUNs/1.csv`` ….
    """
    ends = [len(rows) * part // parts for part in range(parts + 1)]
    return [
        Commit(
            f"Add the {noun}s {ends[part - 1] + 1} to {ends[part]}",
            datetime(2024, part, 1, tzinfo=UTC),
            {f"{noun}s/{part}.csv": write_csv([noun, *header], _numbered(rows, ends[part - 1], ends[part]))},
        )
        for part in range(1, parts + 1)
    ]


def _numbered(rows: Sequence[Row], first: int, last: int) -> list[list[object]]:
    return [[number, *row] for number, row in enumerate(rows[first:last], start=first + 1)]
