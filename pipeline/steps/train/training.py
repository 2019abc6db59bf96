"""The step's function: a matrix and settings in, a model ready for release out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from pipeline.errors import DataError, TrainingError
from pipeline.model.task import Task
from pipeline.spec.catalogue.trainers import TRAINERS, trainer_name
from pipeline.spec.schema.spec import Model
from pipeline.steps.train.conversion import NotConvertibleError, convert, ensemble_trees
from pipeline.steps.train.model_fitting import fit
from pipeline.steps.train.parity import measure_parity, rows_to_compare, spread, unit_of
from pipeline.steps.train.results import (
    MAX_DIFFERENCE,
    NO_SUPPORT,
    Array,
    Fitted,
    Matrix,
    Parity,
    Scorer,
    Support,
    Trained,
)
from pipeline.steps.train.targets import Learnable, Rows, prepare
from pipeline.steps.train.task import FitRequest, effective_params
from pipeline.steps.train.trees import Tree, thresholds_by_column

if TYPE_CHECKING:
    from pipeline.steps.train.search import Outcome, Trial

_MIN_COMPARED = 100
_MAX_CELLS = 2_000_000_000
MAX_HISTORY = 1000


def train(
    matrix: Matrix,
    settings: Model,
    task: Task,
    *,
    flag: bool = False,
    scorer: Scorer | None = None,
    support: Support | None = None,
) -> Trained:
    """Train a model, search parameters if asked to, and write it as a graph that predicts the same.

    Parameters
    ----------
    settings : Model
        The ``model`` section of a spec.
    flag : bool
        Whether the target is a yes or no: its classes are then False and True.
    scorer : Scorer, optional
        Needed for ``model.search``.
    support : Support, optional
        For long trainings: checkpoints, and who is told of the losses meanwhile.

    Raises
    ------
    DataError
        Nothing can be learnt from these rows.
    TrainingError
        The trainer refuses the parameters, or diverges.
    """
    trainer = trainer_of(settings, task)
    data = _prepare(trainer, matrix, settings, task, flag=flag)
    fitted, params, trials = _fit(trainer, task, settings, data, scorer, support or NO_SUPPORT, matrix.columns)
    classes = len(data.classes or ())
    graph, parity, notes = _write_graph(trainer, task, fitted, matrix, classes, unit_of(data.train.target))
    return Trained(
        estimator_graph=graph,
        classes=data.classes,
        history=thin(fitted.history, MAX_HISTORY),
        params=params,
        trials=tuple(each.to_json() for each in trials),
        notes=(*data.notes, *fitted.notes, *notes),
        parity=parity,
        native=None if graph else _write_native(fitted),
        metrics=fitted.metrics,
        feature_importances=_importances(fitted.estimator, matrix.columns),
    )


def try_params(
    matrix: Matrix,
    settings: Model,
    task: Task,
    scorer: Scorer,
    *,
    rows: int,
    numbers: Collection[int],
    flag: bool = False,
    support: Support | None = None,
) -> dict[int, Outcome]:
    """Fit some parameter sets of ``model.search``, for another process that searches.

    Parameters
    ----------
    rows : int
        How many training rows each is fitted on.
    numbers : collection of int
        Of the parameter sets, in the order in which they are drawn.
    """
    if settings.search is None:
        raise TrainingError("train: found a trial of a spec without a search; expected one (model.search)")
    from pipeline.steps.train.search import try_some  # here and below: only where there is a search

    trainer = trainer_of(settings, task)
    data = _prepare(trainer, matrix, settings, task, flag=flag)
    teach = _teacher(trainer, task, settings, data, support or NO_SUPPORT, matrix.columns)
    return try_some(
        settings.search,
        teach,
        data.train,
        data.validation,
        scorer,
        classes=len(data.classes or ()),
        seed=settings.seed,
        rows=rows,
        numbers=numbers,
    )


def _prepare(trainer: str, matrix: Matrix, settings: Model, task: Task, *, flag: bool) -> Learnable:
    missing = TRAINERS[trainer].handles_missing
    return prepare(matrix, task, flag=flag, class_weight=settings.class_weight, handles_missing=missing)


def trainer_of(settings: Model, task: Task) -> str:
    """Return the key of `TRAINERS` that is to learn a task.

    Raises
    ------
    TrainingError
        There is none of that name, or it learns something else.
    """
    trainer = trainer_name(settings)
    if trainer is None:
        raise TrainingError(f"model.trainer: found '{settings.trainer}'; expected one of {', '.join(TRAINERS)}")
    info = TRAINERS[trainer]
    if task not in info.tasks:
        able = ", ".join(name for name, each in TRAINERS.items() if task in each.tasks)
        raise TrainingError(f"model.trainer: found {trainer} for {task}; expected one of {able}")
    if settings.class_weight and not info.class_weight:
        raise TrainingError(f"model.class_weight: found it with {trainer}; expected a trainer that weighs classes")
    return trainer


def _teacher(
    trainer: str, task: Task, settings: Model, data: Learnable, support: Support, columns: tuple[str, ...]
) -> Callable[[Mapping[str, Any], Rows], Fitted]:
    """Return what fits a model with drawn parameters to rows."""

    def fit_drawn(drawn: Mapping[str, Any], rows: Rows) -> Fitted:
        params = effective_params(trainer, task, {**settings.params, **drawn})
        return fit(
            FitRequest(
                trainer,
                task,
                params,
                rows,
                data.validation,
                settings.seed,
                columns,
                settings.early_stopping,
                support,
                data.classes,
            )
        )

    return fit_drawn


def _fit(
    trainer: str, task: Task, settings: Model, data: Learnable, scorer: Scorer | None, support: Support, columns: Any
) -> tuple[Fitted, dict[str, Any], tuple[Trial, ...]]:
    fit_drawn = _teacher(trainer, task, settings, data, support, columns)
    if settings.search is None:
        return fit_drawn({}, data.train), effective_params(trainer, task, settings.params), ()
    if scorer is None or not len(data.validation):
        raise DataError("train: found no validation rows; expected some for model.search (split.validation)")
    from pipeline.steps.train.search import look_for_best, tell_best

    best, trials = look_for_best(
        settings.search,
        fit_drawn,
        data.train,
        data.validation,
        scorer,
        classes=len(data.classes or ()),
        seed=settings.seed,
        elsewhere=support.elsewhere,
    )
    fitted = best.fitted or fit_drawn(best.params, data.train)
    fitted = replace(fitted, notes=(tell_best(best, trials, scorer.metric), *fitted.notes))
    return fitted, effective_params(trainer, task, {**settings.params, **best.params}), trials


def _write_graph(
    trainer: str, task: Task, fitted: Fitted, matrix: Matrix, classes: int, unit: float
) -> tuple[onnx.ModelProto | None, Parity, tuple[str, ...]]:
    """Convert a model; no graph, and a note that says why, where it would not predict the same."""
    columns = len(matrix.columns)
    try:
        graph = convert(trainer, task, fitted.estimator, columns, classes)
    except NotConvertibleError as reason:
        note = f"{trainer}: there is no graph for {reason}; released in its native format (skops) instead"
        return None, Parity(float("inf"), 0, 0), (note,)
    rows = rows_to_compare(matrix, _thresholds(ensemble_trees(trainer, fitted.estimator, classes), columns))
    parity = measure_parity(graph, fitted.predict, _affordable(trainer, rows, matrix), unit)
    if parity.holds:
        return graph, parity, ()
    differs = (
        f"{trainer}: the graph differs from the model by up to {parity.max_difference:.1e} (at most {MAX_DIFFERENCE:g} "
        f"allowed) and in {parity.labels_differing} labels of {parity.rows:,} rows"
    )
    if not fitted.is_native:
        raise TrainingError(f"train: {differs}; expected {fitted.mend} (model.params)")
    return None, parity, (f"{differs}; released in its native format (skops) instead",)


def _affordable(trainer: str, rows: Array, matrix: Matrix) -> Array:
    """Compare fewer rows where each of them is compared with every training row."""
    return spread(rows, max(_MIN_COMPARED, _MAX_CELLS // matrix.train.size)) if trainer == "k_neighbors" else rows


def _thresholds(trees: Sequence[Tree], columns: int) -> list[Any]:
    return thresholds_by_column(trees, columns) if trees else []


def _write_native(fitted: Fitted) -> bytes:
    import skops.io

    return bytes(skops.io.dumps(fitted.estimator))


def _importances(estimator: Any, columns: Sequence[str]) -> dict[str, float] | None:
    importances = getattr(estimator, "feature_importances_", None)
    if importances is None:
        weights = getattr(estimator, "coef_", getattr(estimator, "weights", None))
        if not isinstance(weights, np.ndarray):
            return None
        importances = np.abs(np.atleast_2d(weights)).mean(axis=0)
    return {name: float(each) for name, each in zip(columns, importances, strict=True)}


def thin(history: Sequence[dict[str, Any]], points: int) -> tuple[dict[str, Any], ...]:
    """Return at most that many points of a history, evenly spaced, with the first and the last."""
    if len(history) <= points:
        return tuple(history)
    return tuple(history[each] for each in np.linspace(0, len(history) - 1, points).astype(int))
