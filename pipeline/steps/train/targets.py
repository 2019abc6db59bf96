"""From raw targets to what estimators learn: checked numbers, or class indices with weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from pipeline.errors import DataError, TrainingError
from pipeline.model.task import Task
from pipeline.steps.train.mapping import blocks, take_rows
from pipeline.steps.train.results import Array, Floats, Indices, Matrix

MAX_CLASSES = 1000
UNSEEN = -1


@dataclass(frozen=True)
class Rows:
    """Rows to learn from, or to judge by.

    Attributes
    ----------
    features : ndarray of float32, shape (rows, columns)
        In memory, or in a file (`pipeline.steps.train.mapping`).
    target : ndarray of shape (rows,)
        float64 values, or int64 class indices.
    weights : ndarray of float64, shape (rows,), or None
        None if all rows count the same.
    """

    features: Array
    target: Array
    weights: Floats | None = None

    def __len__(self) -> int:
        return len(self.target)

    def part(self, start: int, end: int) -> Rows:
        """Return the rows from one place up to another."""
        weights = None if self.weights is None else self.weights[start:end]
        return Rows(self.features[start:end], self.target[start:end], weights)

    def take(self, indices: Array) -> Rows:
        """Return some of the rows, in the order of the indices."""
        weights = None if self.weights is None else self.weights[indices]
        return Rows(take_rows(self.features, indices), self.target[indices], weights)


@dataclass(frozen=True)
class Learnable:
    """Both sides of a matrix, with targets encoded.

    Attributes
    ----------
    classes : tuple or None
        What the class indices stand for; None in regression.
    """

    train: Rows
    validation: Rows
    classes: tuple[Any, ...] | None
    notes: tuple[str, ...] = ()


def prepare(
    matrix: Matrix,
    task: Task,
    *,
    flag: bool = False,
    class_weight: Literal["balanced"] | Mapping[str, float] | None = None,
    handles_missing: bool = False,
) -> Learnable:
    """Check a matrix and encode its targets.

    Raises
    ------
    DataError
        Nothing can be learnt from such rows.
    """
    if not len(matrix.train_target):
        raise DataError("train: found no training rows; expected at least one (split, clean)")
    _check_features(matrix, handles_missing=handles_missing)
    if task == "regression":
        train, validation = (_as_numbers(each) for each in (matrix.train_target, matrix.validation_target))
        return Learnable(Rows(matrix.train, train), Rows(matrix.validation, validation), None)
    return _prepare_classes(matrix, flag, class_weight)


def _prepare_classes(matrix: Matrix, flag: bool, class_weight: Any) -> Learnable:  # noqa: FBT001  (private)
    train, validation = (_as_values(each) for each in (matrix.train_target, matrix.validation_target))
    found = _distinct(train)
    _check_classes(found, flag=flag)
    codes = [_encode(each, found) for each in (train, validation)]
    classes = tuple(_as_class(value, flag=flag) for value in found)
    weights = _weigh(classes, codes[0], class_weight)
    seen = codes[1] != UNSEEN
    judged = Rows(matrix.validation, codes[1], None if weights is None else weights[codes[1]])
    notes = () if seen.all() else (f"left out {(~seen).sum()} validation rows of classes that no training row has",)
    return Learnable(
        Rows(matrix.train, codes[0], None if weights is None else weights[codes[0]]),
        judged if seen.all() else judged.take(np.flatnonzero(seen)),
        classes,
        notes,
    )


def _distinct(values: Array) -> list[Any]:
    return sorted(set(values)) if values.dtype == object else np.unique(values).tolist()


def _encode(values: Array, found: Sequence[Any]) -> Indices:
    """Return each value's place among the classes found, which are sorted."""
    if values.dtype == object:  # comparing texts one by one takes longer than looking them up
        index = {value: position for position, value in enumerate(found)}
        return np.fromiter((index.get(value, UNSEEN) for value in values), dtype=np.int64, count=len(values))
    classes = np.asarray(found, dtype=np.float64)
    places = np.minimum(np.searchsorted(classes, values), len(classes) - 1)
    return np.where(classes[places] == values, places, UNSEEN).astype(np.int64)


def _check_features(matrix: Matrix, *, handles_missing: bool) -> None:
    infinite = _columns_with(np.isinf, matrix)
    if infinite:
        raise DataError(f"train: found infinite values in {_quote(infinite)}; expected finite ones (clean, transform)")
    missing = [] if handles_missing else _columns_with(np.isnan, matrix)
    if missing:
        raise DataError(
            f"train: found missing values in {_quote(missing)}; expected none with this trainer "
            "(clean.missing, or a model.trainer that takes them, such as hist_gradient_boosting)"
        )


def _columns_with(test: Callable[[Array], Array], matrix: Matrix) -> list[str]:
    """Name the columns that have a value of the kind; looks closer only at those whose sum is not finite."""
    found: set[int] = set()
    for features in (matrix.train, matrix.validation):
        for block in blocks(features):
            with np.errstate(invalid="ignore"):
                sums = block.sum(axis=0, dtype=np.float64)
            found |= {int(column) for column in np.flatnonzero(~np.isfinite(sums)) if test(block[:, column]).any()}
    return [matrix.columns[column] for column in sorted(found)]


def _quote(names: Sequence[Any]) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:5])
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown


def _is_text(target: Array) -> bool:
    return np.asarray(target).dtype.kind in "OUST"


def _reads_as_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _as_numbers(target: Array) -> Floats:
    if _is_text(target):
        texts = [each for each in np.asarray(target, dtype=object) if isinstance(each, str) and each]
        wrong = [each for each in texts if not _reads_as_number(each)] or texts
        among = f" among {len(texts) - len(wrong):,} numbers" if len(wrong) < len(texts) else ""
        raise DataError(
            f"train: found the texts {_quote(list(dict.fromkeys(wrong)))} in the target{among}; expected numbers for "
            "regression (model.target, or model.task: classification; where they mean a missing one, "
            "data.missing_values)"
        )
    numbers = np.asarray(target, dtype=np.float64)
    if not np.isfinite(numbers).all():
        count = int((~np.isfinite(numbers)).sum())
        raise DataError(
            f"train: found {count} missing or infinite targets; expected none (clean.missing, by target: drop)"
        )
    return numbers


def _as_values(target: Array) -> Array:
    """Return comparable values: texts, or floats."""
    values = np.asarray(target, dtype=object if _is_text(target) else np.float64)
    missing = int((values != values).sum())  # NaN differs from itself
    if values.dtype == object:
        missing += sum(1 for each in values if each is None or each == "")
    if missing:
        raise DataError(f"train: found {missing} missing targets; expected none (clean.missing, by target: drop)")
    return values


def _as_class(value: Any, *, flag: bool) -> Any:
    if isinstance(value, str):
        return value
    if flag:
        return bool(value)
    return int(value) if value.is_integer() else value


def _check_classes(found: Sequence[Any], *, flag: bool) -> None:
    if len(found) == 1:
        only = _as_class(found[0], flag=flag)
        name = str(only).lower() if isinstance(only, bool) else only
        raise DataError(
            f"train: found only class '{name}' in the training rows; expected at least two (model.target, clean, split)"
        )
    if len(found) > MAX_CLASSES:
        raise DataError(
            f"train: found {len(found):,} classes in the target; expected at most {MAX_CLASSES:,} "
            "(model.task: regression, if it is a quantity)"
        )


def _weigh(classes: Sequence[Any], codes: Indices, class_weight: Any) -> Floats | None:
    """Return the weight of each class; "balanced" is rows / (classes × rows of the class), as in scikit-learn."""
    if class_weight is None:
        return None
    if class_weight == "balanced":
        return np.asarray(len(codes) / (len(classes) * np.bincount(codes)), dtype=np.float64)
    keys = {_key(each): position for position, each in enumerate(classes)}
    unknown = [name for name in class_weight if _key(name) not in keys]
    if unknown:
        raise TrainingError(
            f"model.class_weight: found {_quote(unknown)}; expected classes of the target: {_quote(classes)} "
            "(model.class_weight)"
        )
    weights = np.ones(len(classes))
    for name, weight in class_weight.items():
        weights[keys[_key(name)]] = weight
    return weights


def _key(name: Any) -> Any:
    """Make "true" and True, "1", 1 and 1.0 the same."""
    text = str(name)
    try:
        return float(text)
    except ValueError:
        return text.lower() if text.lower() in {"true", "false"} else text
