"""From the JSON body of a request to the arrays that the graph reads.

Malformed JSON is refused as a whole (400); a body that is JSON but does not fit the signature is refused with every
problem, five at most (422). Where a key occurs twice in one object the last one counts, as in other JSON parsers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.model.images.headers import ImageError
from pipeline.model.signature import Input, Signature
from pipeline.model.texts import moment, uniform
from pipeline.serving.rows.faults import Fault, RejectedError, describe, shorten

if TYPE_CHECKING:  # the spec's schema costs more to import than all else here
    from pipeline.model.columns import ColumnType

MAX_PROBLEMS = 5
LARGEST_INTEGER = 2**53 - 1
"""Up to here every integer is a float64, and no other is rounded to it (`pipeline.model.columns`)."""

_PORTION = 4096
"""Rows that are converted at a stretch; between two portions other threads (the event loop) have their turn."""
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  # in UTC, as `moment` gives it
_MICROSECOND = timedelta(microseconds=1)
_NUMBERS = {int, float}
_KEYS = ("inputs", "probabilities")


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of one request as the graph reads them.

    Attributes
    ----------
    numbers : float64 array of shape (n, K) or None
        Numbers and times (seconds since 1970-01-01 UTC); NaN where a value is missing.
    texts : object array of shape (n, S) or None
        Uniform text; "" where a value is missing.
    count : int
        n.
    probabilities : bool
        Whether the caller asked for class probabilities too.
    """

    numbers: NDArray[np.float64] | None
    texts: NDArray[np.object_] | None
    count: int
    probabilities: bool = False


class _UnfitError(ValueError):
    """A value that its column cannot hold; says what was expected."""


Convert = Callable[[Any], Any]


def _float(_: Input) -> Convert:
    def convert(value: Any) -> float:
        if type(value) not in _NUMBERS:
            raise _UnfitError("a number")
        try:
            return float(value)
        except OverflowError:
            raise _UnfitError("a number up to 1.8e308") from None

    return convert


def _int(_: Input) -> Convert:
    def convert(value: Any) -> float:
        if type(value) not in _NUMBERS or value != value // 1 or abs(value) > LARGEST_INTEGER:
            raise _UnfitError("a whole number below 2**53")
        return float(value)

    return convert


def _bool(_: Input) -> Convert:
    def convert(value: Any) -> float:
        if type(value) is not bool:
            raise _UnfitError("true or false")
        return float(value)

    return convert


def _datetime(column: Input) -> Convert:
    pattern = column.format
    expected = f"a time written as {pattern}" if pattern else "a time in ISO 8601, such as 2013-01-31T08:15:00Z"

    def convert(value: Any) -> float:
        if type(value) is not str:
            raise _UnfitError(expected)
        try:
            return ((moment(value, pattern) - _EPOCH) // _MICROSECOND) / 1e6
        except (ValueError, OverflowError):
            raise _UnfitError(expected) from None

    return convert


def _str(column: Input) -> Convert:
    rule, nullable = column.text or {}, column.nullable

    def convert(value: Any) -> str:
        if type(value) is not str:
            raise _UnfitError("text")
        text = uniform(value, rule)
        if not text and not nullable:
            raise _UnfitError("text that is not empty")
        return text

    return convert


def _image(column: Input) -> Convert:
    from pipeline.model.images.decoding import read_image  # nobody else needs OpenCV
    from pipeline.model.images.rules import ImageRule

    rule = ImageRule.from_json(column.image or {})

    def convert(value: Any) -> NDArray[np.float64]:
        if type(value) is not str:
            raise _UnfitError("an image, its file in base64")
        try:
            return read_image(value, rule)
        except ImageError as error:
            raise _UnfitError(str(error)) from None

    return convert


_CONVERTERS: Mapping[ColumnType, Callable[[Input], Convert]] = {
    "float": _float,
    "int": _int,
    "bool": _bool,
    "datetime": _datetime,
    "str": _str,
    "image": _image,
}


def _accept_missing(column: Input, convert: Convert) -> Convert:
    is_missing = _tell_missing(column)
    nothing: Any = "" if column.kind == "text" else math.nan
    if column.image is not None:
        nothing = np.full(len(column.columns), math.nan)
    if not column.nullable:

        def refuse(value: Any) -> Any:
            if is_missing(value):
                raise _UnfitError("a value (the column is not nullable)")
            return convert(value)

        return refuse
    return lambda value: nothing if is_missing(value) else convert(value)


def _tell_missing(column: Input) -> Callable[[Any], bool]:
    """Return what tells whether a value is missing; for most texts, and for images, only null is."""
    words, numbers = column.missing.words, column.missing.numbers
    if column.kind == "image" or (column.kind == "text" and not column.missing_values):
        return lambda value: value is None  # that a text is not empty is looked at once it is uniform
    if column.kind == "text":
        return lambda value: value is None or (type(value) is str and value in words)
    if not numbers:
        return lambda value: value is None or (type(value) is str and value.strip() in words)
    return lambda value: value is None or column.missing.has(value)


class Reader:
    """Reads bodies for one signature; everything that depends on the signature alone is prepared here."""

    def __init__(self, signature: Signature) -> None:
        self.inputs = signature.inputs
        self._names = tuple(each.name for each in signature.inputs)
        self.name_set = frozenset(self._names)
        self.converts = tuple(_accept_missing(each, _CONVERTERS[each.type](each)) for each in signature.inputs)
        self._plain = tuple(each.type == "float" and not each.missing.numbers for each in signature.inputs)
        self.numbers = tuple(i for i, each in enumerate(signature.inputs) if each.kind != "text")
        self.width = len(signature.numbers)
        self.places = tuple(_places(signature.inputs[i] for i in self.numbers))
        self.texts = tuple(i for i, each in enumerate(signature.inputs) if each.kind == "text")
        self._classifies = signature.task == "classification"

    def read(self, body: bytes | bytearray) -> Rows:
        """Read the body of a request.

        Raises
        ------
        RejectedError
            With status 400 if it is not JSON, 422 if it does not fit the signature.
        """
        from pipeline.serving.rows.bodies import parse  # needs msgspec, which a model in MLflow does without

        rows, probabilities = self.open(parse(body))
        return self.arrays(rows, probabilities=probabilities)

    def open(self, request: Any) -> tuple[Sequence[Any], bool]:
        """Check the outer object: its keys, and that there are rows; return them, and whether probabilities are wanted.

        Raises
        ------
        RejectedError
            With status 422 if it is not such an object.
        """
        if type(request) is dict and len(request) == 1 and type(request.get("inputs")) is list:
            return request["inputs"], False
        faults = list(self._outer_faults(request))
        if faults:
            raise rejected(faults)
        return request["inputs"], request.get("probabilities", False)

    def _outer_faults(self, request: Any) -> Iterator[Fault]:
        if type(request) is not dict:
            yield Fault(describe(request), 'an object such as {"inputs": [[0.5]]}')
            return
        unknown = [key for key in request if key not in _KEYS]
        yield from (Fault(f"the key '{shorten(key)}'", " or ".join(_KEYS)) for key in unknown[:MAX_PROBLEMS])
        if type(request.get("inputs")) is not list:
            found = describe(request["inputs"]) if "inputs" in request else "no key 'inputs'"
            yield Fault(found, "an array of rows under 'inputs'")
        wanted = request.get("probabilities", False)
        if type(wanted) is not bool:
            yield Fault(f"'probabilities' is {describe(wanted)}", "true or false")
        elif wanted and not self._classifies:
            yield Fault("'probabilities' is true", "no probabilities, since this model predicts a number")

    def arrays(self, rows: Sequence[Any], *, probabilities: bool = False) -> Rows:
        """Convert rows, or records, that are Python values already; errors as in `read`."""
        numbers = np.empty((len(rows), self.width)) if self.numbers else None
        texts = np.empty((len(rows), len(self.texts)), dtype=object) if self.texts else None
        try:
            for start in range(0, len(rows), _PORTION):
                portion = rows if len(rows) <= _PORTION else rows[start : start + _PORTION]
                columns = self._converted(portion, type(rows[0]))
                _fill(numbers, start, columns, self.numbers, self.places)
                _fill(texts, start, columns, self.texts, range(len(self.texts)))
        except (_UnfitError, OverflowError):
            raise rejected(self._row_faults(rows)) from None
        return Rows(numbers, texts, len(rows), probabilities)

    def _converted(self, rows: Sequence[Any], form: type) -> list[Sequence[Any]]:
        return [
            _convert_column(column, convert, plain=plain)
            for column, convert, plain in zip(self._columns(rows, form), self.converts, self._plain, strict=True)
        ]

    def _columns(self, rows: Sequence[Any], form: type) -> Sequence[Sequence[Any]]:
        """Turn rows into columns; refuse if a row has another form or length than it should."""
        if set(map(type, rows)) == {form}:
            if form is list and set(map(len, rows)) == {len(self._names)}:
                return list(zip(*rows, strict=True))
            if form is dict and all(row.keys() == self.name_set for row in rows):
                return [[row[name] for row in rows] for name in self._names]
        raise _UnfitError

    def _row_faults(self, rows: Sequence[Any]) -> Iterator[Fault]:
        by_name = isinstance(rows[0], dict)
        for number, row in enumerate(rows):
            if isinstance(row, dict) and by_name:
                yield from self._record_faults(number, row)
            elif isinstance(row, list) and not by_name:
                yield from self._array_faults(number, row)
            else:
                yield Fault(describe(row), "an object" if by_name else self._row_form(), number)

    def _record_faults(self, number: int, row: Mapping[str, Any]) -> Iterator[Fault]:
        for name in self._names:
            if name not in row:
                yield Fault("no such key", "a value, or null", number, name)
        for name in row:
            if name not in self.name_set:
                yield Fault("an unknown key", f"only {self.listed()}", number, shorten(name))
        for name, convert in zip(self._names, self.converts, strict=True):
            if name in row:
                yield from _cell_faults(number, name, row[name], convert)

    def _array_faults(self, number: int, row: Sequence[Any]) -> Iterator[Fault]:
        if len(row) != len(self._names):
            yield Fault(f"{len(row)} value{'' if len(row) == 1 else 's'}", self._row_form(), number)
            return
        for name, value, convert in zip(self._names, row, self.converts, strict=True):
            yield from _cell_faults(number, name, value, convert)

    def _row_form(self) -> str:
        return f"an array of {len(self._names)}: {self.listed()}"

    def listed(self) -> str:
        """List the columns' names, ten at most."""
        shown = ", ".join(self._names[:10])
        return shown if len(self._names) <= 10 else f"{shown}, … ({len(self._names)} columns)"


def _places(inputs: Iterable[Input]) -> Iterator[int | slice]:
    """Yield where each number stands in a row of the matrix; those of an image stand side by side."""
    start = 0
    for each in inputs:
        width = len(each.columns)
        yield start if each.image is None else slice(start, start + width)
        start += width


def _fill(
    matrix: NDArray[Any] | None,
    start: int,
    columns: Sequence[Sequence[Any]],
    which: Sequence[int],
    places: Sequence[int | slice],
) -> None:
    """Write the chosen columns into the matrix, from row `start` on; the matrix is the caller's own."""
    if matrix is None:
        return
    for place, index in zip(places, which, strict=True):
        matrix[start : start + len(columns[index]), place] = columns[index]


def _convert_column(column: Sequence[Any], convert: Convert, *, plain: bool) -> Sequence[Any]:
    if plain and set(map(type, column)) <= _NUMBERS:
        return column
    return [convert(value) for value in column]


def _cell_faults(number: int, name: str, value: Any, convert: Convert) -> Iterator[Fault]:
    try:
        convert(value)
    except _UnfitError as unfit:
        yield Fault(describe(value), str(unfit), number, name)


def rejected(faults: Iterable[Fault]) -> RejectedError:
    """Build the refusal of rows that do not fit, with every problem, `MAX_PROBLEMS` at most."""
    shown = tuple(islice(faults, MAX_PROBLEMS))
    return RejectedError(422, "; ".join(map(str, shown)), shown)
