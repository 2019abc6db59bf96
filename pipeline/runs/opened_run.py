"""An opened run: which commits it is about, and what its plan found. It travels between the steps' tasks as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from pipeline.errors import InputError
from pipeline.runs.request import RunRequest

VERSION = 1
"""Of the JSON: it goes up when another Modelrail could misread it."""

_FOR_OTHERS = ("version", "request", "data_commit", "spec_digest", "run", "mlflow_run", "methods")


@dataclass(frozen=True)
class StepPlan:
    """What was planned of one step, all its partitions together.

    Attributes
    ----------
    action : str
        ``run`` if any partition must run, else ``wait`` if any waits for its input, else ``reuse``.
    run, wait, reuse : int
        Partitions of each kind (or the one whole).
    reason : str
        Why it must run; the first three reasons.
    estimate_s : float or None
        Seconds that it is expected to take; None if that is not known.
    """

    step: str
    action: str
    run: int
    wait: int
    reuse: int
    reason: str
    estimate_s: float | None


@dataclass(frozen=True)
class OpenedRun:
    """What every step of a run needs to know, and what a reader wants to know of its plan.

    Attributes
    ----------
    spec_digest : str
        Of the spec as it was when the run began.
    run : str
        Id of the run; all its tasks share it.
    mlflow_run : str or None
        None where nothing is recorded, since nothing is computed.
    mlflow_experiment : str
        Id of that run's experiment; empty where there is none.
    methods : mapping
        Step → what tells whether another machine works by the same code; empty where no step leaves this one.
    repository : str
        URL from which pods clone the spec.
    dirty : bool
        Whether anything that matters is not committed: then nothing is released.
    partitions : int
        All of them.
    batches : tuple of tuple of str
        Partitions to clean and transform, in at most ``run.batches`` groups.
    steps : tuple of StepPlan
        What was planned of each step.
    pods, led : tuple of str
        Steps that run in pods; those of them that share the pod of another.
    """

    request: RunRequest
    data_commit: str
    spec_digest: str
    run: str
    mlflow_run: str | None = None
    methods: Mapping[str, str] = field(default_factory=dict)
    mlflow_experiment: str = ""
    model: str = ""
    spec_path: str = ""
    spec_commit: str = ""
    repository: str = ""
    dirty: bool = False
    partitions: int = 0
    batches: tuple[tuple[str, ...], ...] = ()
    steps: tuple[StepPlan, ...] = ()
    pods: tuple[str, ...] = ()
    led: tuple[str, ...] = ()
    version: int = VERSION

    def to_json(self) -> dict[str, Any]:
        """Return the form that ``from_json`` reads: lists, maps and plain values only."""
        found = asdict(self)
        lists = {name: list(found[name]) for name in ("steps", "pods", "led")}
        return found | lists | {"batches": [list(each) for each in self.batches], "methods": dict(self.methods)}

    def for_others(self) -> dict[str, Any]:
        """Return the part that another machine needs to do a step; ``from_json`` reads it too."""
        whole = self.to_json()
        return {name: whole[name] for name in _FOR_OTHERS}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> OpenedRun:
        """Read what ``to_json`` or ``for_others`` returned.

        Raises
        ------
        InputError
            If another version of Modelrail wrote it.
        """
        if data.get("version") != VERSION:
            raise InputError(
                f"opened run: found version {data.get('version')}; expected {VERSION}: another version of Modelrail "
                "began this run: start it anew, and have one version on all machines"
            )
        known = {each.name for each in fields(cls)}
        opened = cls(**{name: value for name, value in data.items() if name in known})
        return replace(
            opened,
            request=RunRequest.from_json(data["request"]),
            batches=tuple(tuple(each) for each in opened.batches),
            steps=tuple(StepPlan(**each) for each in data.get("steps", ())),
            pods=tuple(opened.pods),
            led=tuple(opened.led),
        )
