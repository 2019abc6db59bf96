"""What an evaluation found, as it is stored, judged and shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from pipeline.model.task import Task


@dataclass(frozen=True)
class Estimate:
    """A metric and the interval that 95 % of resamples fall into.

    Attributes
    ----------
    value : float or None
        None where the metric is undefined.
    low, high : float or None
        None where no interval was computed, or too few resamples have a value.
    """

    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Slice:
    """The test rows with one value in a column.

    Attributes
    ----------
    few : bool
        Whether there are too few rows to judge the model by.
    """

    rows: int
    metrics: Mapping[str, Estimate]
    few: bool = False


@dataclass(frozen=True)
class Evaluation:
    """How good a model was on the test rows.

    Attributes
    ----------
    rows : int
        Test rows that were judged.
    metrics : mapping of str to Estimate
        In the order of the spec.
    slices : mapping of str to mapping of str to Slice
        Column → value → what was found; the most frequent value first.
    classes : tuple or None
        In classification, what the class indices stand for.
    confusion : tuple of tuples of int or None
        In classification, rows by true class (down) and predicted class (across). A last row more than there are
        classes counts those of a class that training did not see.
    notes : tuple of str
        What a reader of the numbers must know, in plain words.
    """

    task: Task
    rows: int
    metrics: Mapping[str, Estimate]
    slices: Mapping[str, Mapping[str, Slice]] = field(default_factory=dict)
    classes: tuple[Any, ...] | None = None
    confusion: tuple[tuple[int, ...], ...] | None = None
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Write the form stored in ``evaluation.json``."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Evaluation:
        """Read what ``to_json`` gave."""
        return cls(
            task=data["task"],
            rows=data["rows"],
            metrics=_read_estimates(data["metrics"]),
            slices={column: _read_slices(values) for column, values in data["slices"].items()},
            classes=None if data["classes"] is None else tuple(data["classes"]),
            confusion=None if data["confusion"] is None else tuple(map(tuple, data["confusion"])),
            notes=tuple(data["notes"]),
        )


@dataclass(frozen=True)
class Importance:
    """How much worse the model gets without knowing a column.

    Attributes
    ----------
    drop : float
        Loss of quality in the metric when the column's values are shuffled; below 0 if that does no harm.
    """

    column: str
    drop: float


@dataclass(frozen=True)
class Importances:
    """The importance of each raw column, the most important first.

    Attributes
    ----------
    rows : int
        Test rows used.
    note : str
        Why there are none, if there are none.
    """

    metric: str
    rows: int
    columns: tuple[Importance, ...] = ()
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """Write the form stored in ``importances.json``."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Importances:
        """Read what ``to_json`` gave."""
        columns = tuple(Importance(**each) for each in data["columns"])
        return cls(metric=data["metric"], rows=data["rows"], columns=columns, note=data["note"])


def _read_estimates(data: Mapping[str, Any]) -> dict[str, Estimate]:
    return {name: Estimate(**each) for name, each in data.items()}


def _read_slices(data: Mapping[str, Any]) -> dict[str, Slice]:
    return {
        value: Slice(rows=each["rows"], metrics=_read_estimates(each["metrics"]), few=each["few"])
        for value, each in data.items()
    }
