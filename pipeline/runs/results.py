"""The results of a step: for the store, for MLflow, and for whoever started it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Made:
    """What the work of a step leaves, besides the files in its draft.

    Attributes
    ----------
    say : str
        One sentence for the log.
    rows : int or None
        Rows that the artifact holds.
    manifest : dict
        What later steps or a reader want to know without opening a file.
    files : tuple of str
        Names of the files that MLflow keeps too.
    metrics, params, curves, headline, children
        For MLflow, as in ``StepDone``.
    """

    say: str
    rows: int | None = None
    manifest: Mapping[str, Any] = field(default_factory=dict)
    files: tuple[str, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    curves: Mapping[str, list[tuple[int, float]]] = field(default_factory=dict)
    headline: Mapping[str, float] = field(default_factory=dict)
    children: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True)
class StepResult:
    """What a step did: small, plain values only, since they travel through Airflow's database.

    Attributes
    ----------
    reason : str
        What happened, in one sentence.
    ran, reused : int
        Partitions (or the one whole) computed, and taken from the store.
    facts : dict
        What else the step has to say: the verdict, metrics, the address.
    """

    step: str
    action: Literal["ran", "reused", "skipped"]
    reason: str
    seconds: float = 0.0
    rows: int | None = None
    ran: int = 0
    reused: int = 0
    key: str | None = None
    mlflow_run: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Write a flat document: the facts stand at the same level as the rest."""
        plain = asdict(self)
        facts: dict[str, Any] = plain.pop("facts")
        return facts | plain
