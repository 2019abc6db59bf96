"""What training takes and what it gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx

from pipeline.errors import InputError

Floats: TypeAlias = npt.NDArray[np.floating[Any]]
Indices: TypeAlias = npt.NDArray[np.int64]
Array: TypeAlias = npt.NDArray[Any]
Predict: TypeAlias = Callable[[Array], Array]


@dataclass(frozen=True)
class Matrix:
    """The features that the preprocessing graph gave, and the targets.

    Attributes
    ----------
    train, validation : ndarray of float32, shape (rows, columns), C-contiguous
        NaN where a value is missing and ``clean.missing: keep`` left it so.
    train_target, validation_target : ndarray of shape (rows,)
        Numbers (NaN is missing) or text ("" is missing).
    columns : tuple of str
        Name of each feature.
    """

    train: npt.NDArray[np.float32]
    train_target: Array
    validation: npt.NDArray[np.float32]
    validation_target: Array
    columns: tuple[str, ...]


@dataclass(frozen=True)
class Scorer:
    """How a search compares trials.

    Attributes
    ----------
    metric : str
        Key of ``METRICS``; it tells what `measure` is given as the prediction, and which way is better.
    measure : callable
        ``measure(truth, prediction)``: for classification class indices and, by the metric, labels (int64, (rows,)) or
        probabilities (float64, (rows, classes)); for regression values (float64, (rows,)).
    """

    metric: str
    measure: Callable[[Array, Array], float]


@dataclass(frozen=True)
class Parity:
    """How far the graph is from the model that was trained.

    Attributes
    ----------
    max_difference : float
        Largest |a − b| of a probability, or |a − b| / max(s, |b|) of a value, where s is the standard deviation of the
        training target; infinite if one of them is NaN.
    labels_differing : int
        Rows for which another class is predicted.
    rows : int
        Rows compared.
    """

    max_difference: float
    labels_differing: int
    rows: int

    @property
    def holds(self) -> bool:
        """Whether the graph may stand for the model."""
        return self.max_difference <= MAX_DIFFERENCE and self.labels_differing == 0


MAX_DIFFERENCE = 1e-5


@dataclass(frozen=True)
class Fitted:
    """A model as its trainer left it.

    Attributes
    ----------
    estimator : object
        For the conversion: scikit-learn's, or our own.
    predict : callable
        float32 matrix → values (rows,), or probabilities (rows, classes); float64.
    history : tuple of dict
        ``{"step", "loss", "validation_loss"}`` a round, for trainers that learn in rounds.
    notes : tuple of str
        What the user should know.
    is_native : bool
        Whether there is a safe native format (skops) for it, where no graph has parity.
    metrics : mapping
        What a program of the user's has measured itself.
    mend : str
        What is to be expected instead, where a graph differs and there is no native format.
    """

    estimator: Any
    predict: Predict
    history: tuple[dict[str, Any], ...] = ()
    notes: tuple[str, ...] = ()
    is_native: bool = True
    metrics: Mapping[str, float] = field(default_factory=dict)
    mend: str = "a smaller or smoother model"


def _read_nothing(name: str, _digest: str) -> bytes:
    raise InputError(f"train: found no '{name}'; expected a spec in a repository, with the file beside it")


class WorkerPods(Protocol):
    """Pods beside the one that this process runs in, as many as wanted."""

    @property
    def address(self) -> str:
        """Where those pods reach this one."""

    def start(self, count: int, module: str, place: str) -> None:
        """Start ``python -m MODULE PLACE INDEX SIZE ADDRESS`` in pods, which are replaced when they are lost.

        Parameters
        ----------
        count : int
            How many; each is told its index among them, a size of one more, and its own address.
        """

    def wait(self, until: Callable[[], bool]) -> None:
        """Wait until something is so; raises a ModelrailError if the pods have a trouble that keeps them from it."""

    def explain(self) -> str:
        """Say what may have happened to a pod that does not answer."""

    def end(self) -> None:
        """Remove them all."""


@dataclass(frozen=True)
class Support:
    """What a long training is given from outside; by default nothing is kept and nobody is told.

    Attributes
    ----------
    save, load : callable
        Keep a checkpoint under a name; give it again, or None.
    tell : callable
        Is given new points of the history, about once a second.
    say : callable
        Is given a sentence for the log.
    read : callable
        Gives the content of a file beside the spec, by its path and its digest (SHA-256).
    state : Path or None
        Where environments and logs are kept; by default in `pipeline.home.home`.
    elsewhere : callable or None
        Fits a search's trials in other processes (`pipeline.steps.train.search`).
    pods : WorkerPods or None
        Where the workers of a network learn; by default they are processes on this machine.
    """

    save: Callable[[str, bytes], None] = lambda _name, _content: None
    load: Callable[[str], bytes | None] = lambda _name: None
    tell: Callable[[Sequence[Mapping[str, Any]]], None] = lambda _points: None
    say: Callable[[str], None] = lambda _sentence: None
    read: Callable[[str, str], bytes] = _read_nothing
    state: Path | None = None
    elsewhere: Callable[[int, Sequence[int]], Mapping[int, tuple[float | None, str | None]]] | None = None
    pods: WorkerPods | None = None


NO_SUPPORT = Support()


@dataclass(frozen=True)
class Trained:
    """A trained model, ready to be released.

    Attributes
    ----------
    estimator_graph : onnx.ModelProto or None
        Input ``matrix`` float32[rows, columns]; outputs for regression ``prediction`` float[rows], for classification
        ``label`` int64[rows] (index into `classes`) and ``probabilities`` float[rows, classes]. None if `native` is
        needed.
    classes : tuple or None
        What the class indices stand for: booleans, numbers or texts.
    history : tuple of dict
        ``{"step", "loss", "validation_loss"}``, at most 1,000 of them.
    params : dict
        Every parameter of the trainer, as used.
    trials : tuple of dict
        ``{"trial", "round", "rows", "params", "score", "error"}`` of a search; `score` in the metric's own sign.
    notes : tuple of str
        What the user should know: warnings, an early stop, the native format.
    parity : Parity
        The graph compared with the model, also where it failed.
    native : bytes or None
        The model in skops' format, where no graph has parity.
    metrics : mapping
        What a program of the user's has measured itself.
    feature_importances : mapping or None
        Feature → importance by the model itself: impurity decrease of trees, mean |coefficient| of linear models.
    """

    estimator_graph: onnx.ModelProto | None
    classes: tuple[Any, ...] | None
    history: tuple[dict[str, Any], ...]
    params: dict[str, Any]
    trials: tuple[dict[str, Any], ...]
    notes: tuple[str, ...]
    parity: Parity
    native: bytes | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    feature_importances: Mapping[str, float] | None = field(default=None)
