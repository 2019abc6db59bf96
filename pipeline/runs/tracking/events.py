"""What MLflow is told of: plain values, so that they can be told to another process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class RunOpened:
    """A run begins.

    Attributes
    ----------
    dataset : dict
        ``name``, ``digest`` (the data commit) and ``source`` of the rows.
    """

    model: str
    name: str
    tags: Mapping[str, str]
    dataset: Mapping[str, str]
    run: str | None = None


@dataclass(frozen=True)
class StepDone:
    """A step ended; it becomes a child run.

    Attributes
    ----------
    start_s, end_s : float
        Seconds since 1970-01-01 UTC.
    curves : dict
        Metric → (step, value) pairs, such as the loss by epoch.
    files : dict
        Path on this machine → folder in the run's artifacts.
    headline : dict
        Metrics that belong to the whole run as well.
    children : list
        Trials of a search: name, params and metrics of each.
    """

    name: str
    start_s: float
    end_s: float
    tags: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    curves: Mapping[str, list[tuple[int, float]]] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    headline: Mapping[str, float] = field(default_factory=dict)
    children: list[Mapping[str, Any]] = field(default_factory=list)
    run: str | None = None


@dataclass(frozen=True)
class Learning:
    """A long step reports its progress: the first of these events opens its child run, each adds to its curves.

    Attributes
    ----------
    curves : dict
        Metric → new (step, value) pairs.
    """

    name: str
    start_s: float
    curves: Mapping[str, list[tuple[int, float]]]
    tags: Mapping[str, str] = field(default_factory=dict)
    run: str | None = None


@dataclass(frozen=True)
class Released:
    """A model was released; it becomes a registered version with the alias ``champion``.

    Attributes
    ----------
    bundle : str
        Folder with ``model.onnx`` (or the native model), ``signature.json`` and ``release.json``.
    marker : str
        File to make once it is registered.
    private : list of str
        Columns whose values must not be shown, not even in an example.
    """

    model: str
    version: str
    bundle: str
    marker: str
    tags: Mapping[str, str]
    private: list[str] = field(default_factory=list)
    run: str | None = None


@dataclass(frozen=True)
class LookedBack:
    """A scheduled date was replayed; its metrics are added to the walk-forward evaluation of its data commit and spec.

    Attributes
    ----------
    metrics : dict
        Metric → value; ``NAME.low`` and ``NAME.high`` are its interval.
    spec : str
        Digest of the spec: dates that ran different ones are never one curve.
    spec_commit : str
        Where that spec is from.
    """

    model: str
    data_commit: str
    as_of: str
    metrics: Mapping[str, float]
    run: str | None = None
    spec: str = ""
    spec_commit: str = ""


@dataclass(frozen=True)
class UnseenEvaluated:
    """A release was evaluated on rows that came after it; they are a point of its prequential curve.

    Attributes
    ----------
    at_s : float
        When the data commit with these rows was made, in seconds since 1970.
    metrics : dict
        Metric → value; ``NAME.low`` and ``NAME.high`` are its interval, ``rows`` how many they are of.
    tested : dict
        Metric → what the release reached on its test rows.
    """

    model: str
    release: str
    data_commit: str
    at_s: float
    metrics: Mapping[str, float]
    tested: Mapping[str, float]
    run: str | None = None


@dataclass(frozen=True)
class RunClosed:
    """A run ended: ``FINISHED``, ``FAILED`` or ``KILLED``."""

    status: str
    tags: Mapping[str, str]
    run: str | None = None


Event = RunOpened | Learning | StepDone | Released | LookedBack | UnseenEvaluated | RunClosed
EVENTS: Mapping[str, type[Event]] = {
    each.__name__: each for each in (RunOpened, Learning, StepDone, Released, LookedBack, UnseenEvaluated, RunClosed)
}
