"""The results of a step: for the store, for MLflow, and for whoever started it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
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
class DeliveryFacts:
    """What release, deploy and verify have to say besides; what a step does not know is None or empty.

    Attributes
    ----------
    released : bool or None
        Whether there is a release that the run makes live; None for the steps before.
    version, tag : str or None
        Of the release.
    verdict : sequence of str
        The gate's lines.
    metrics, gate : mapping
        Of the model, by name; the bounds that they are held against.
    address, replaced, stage, image : str or None
        Where the release answers, the version that was live before, the tag that assigns it, its container image.
    refusal : str or None
        Why the release is not made live: it is held, say.
    first : mapping
        Environment that waited for its first release → the tag that assigns it; None if it still waits.
    record, prediction, prediction_id, truth, curl
        The question that was asked, its answer, what would have been right, and how to ask again.
    """

    released: bool | None = None
    version: str | None = None
    tag: str | None = None
    verdict: Sequence[str] = ()
    metrics: Mapping[str, Any] = field(default_factory=dict)
    gate: Mapping[str, Any] = field(default_factory=dict)
    address: str | None = None
    replaced: str | None = None
    stage: str | None = None
    image: str | None = None
    refusal: str | None = None
    first: Mapping[str, str | None] = field(default_factory=dict)
    record: Any = None
    prediction: Any = None
    prediction_id: str | None = None
    truth: Any = None
    curl: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return what is known."""
        return {name: each for name, each in asdict(self).items() if each not in (None, (), {})}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> DeliveryFacts:
        """Read what ``to_json`` returned, also from among other things."""
        return cls(**{each.name: data[each.name] for each in fields(cls) if each.name in data})


@dataclass(frozen=True)
class StepResult:
    """What a step did: small, plain values only, since they travel through Airflow's database.

    Attributes
    ----------
    reason : str
        What happened, in one sentence.
    ran, reused : int
        Partitions (or the one whole) computed, and taken from the store.
    warnings : tuple of str
        What a user must know of the artifacts, whether they were made or reused.
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
    facts: DeliveryFacts = DeliveryFacts()
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Write a flat document: the facts stand at the same level as the rest."""
        plain = asdict(self)
        del plain["facts"]
        if not self.warnings:
            del plain["warnings"]
        return self.facts.to_json() | plain

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> StepResult:
        """Read what ``to_json`` returned."""
        own = {each.name: data[each.name] for each in fields(cls) if each.name in data}
        own["warnings"] = tuple(data.get("warnings", ()))
        return cls(**own, facts=DeliveryFacts.from_json(data))
