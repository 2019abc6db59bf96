"""What is inferred of a model's data: each column's type, and the choices that may be wrong."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.model.columns import ColumnType
from pipeline.runs.job import open_job
from pipeline.runs.request import RunRequest
from pipeline.steps.clean.reading import read


@dataclass(frozen=True)
class Inferred:
    """The columns of a model's newest partition as a run would read them.

    Attributes
    ----------
    columns : dict
        Column → its type; None where it has no value to tell it by.
    declared : frozenset of str
        Those whose type the spec says.
    notes : tuple of str
        What else a reader may want to know, such as columns that are left out.
    doubts : tuple of str
        Choices that may be wrong, with the rows that made them and the key that decides.
    """

    model: str
    partition: str
    columns: dict[str, ColumnType | None]
    declared: frozenset[str]
    notes: tuple[str, ...]
    doubts: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Write a document for programs."""
        columns = [{"name": name, "type": type_, "declared": name in self.declared}
                   for name, type_ in self.columns.items()]  # fmt: skip
        told = {"notes": list(self.notes), "doubts": list(self.doubts)}
        return {"model": self.model, "partition": self.partition, "columns": columns, **told}


def infer_columns(spec: Path, environment: str | None = None) -> Inferred:
    """Read the newest partition of a model's data, and say as what.

    Raises
    ------
    SpecError, InputError
        As for `open_job`.
    DataError
        If the partition cannot be read, or breaks the contract.
    """
    job = open_job(RunRequest(str(spec), environment))
    partition = next(reversed(list(job.partitions)))
    data = job.spec.data
    found = read(job.read(partition), job.partitions[partition].path, data)
    return Inferred(job.model, partition, found.columns, frozenset(data.columns), found.notes, found.warnings)
