"""What Airflow needs of a spec, to make a DAG of it and to show it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.spec.schema.spec import Bound, Spec


@dataclass(frozen=True)
class DagFacts:
    """A spec as its DAG needs it.

    Attributes
    ----------
    cron : str
        When it runs by itself; empty if it does not.
    retries, timeout_s : int
        Of each task; the timeout in seconds.
    summary : tuple of (str, str)
        What the DAG's page says of the model: name and Markdown.
    """

    name: str
    description: str
    owner: str
    cron: str
    retries: int
    timeout_s: int
    tags: tuple[str, ...]
    summary: tuple[tuple[str, str], ...]


def facts_of(spec: Spec) -> DagFacts:
    """Read off a spec what its DAG needs."""
    from pipeline.spec.catalogue.tasks import task_of  # with the schema: half of the time to read a kept spec
    from pipeline.spec.catalogue.trainers import trainer_name

    trainer, task = trainer_name(spec.model), task_of(spec)
    said = {
        "predicts": spec.model.target,
        "trainer": trainer,
        "data": spec.data.repository and f"`{spec.data.repository}`",
        "files": spec.data.files and f"`{spec.data.files}`",
        "metrics": ", ".join(spec.evaluate.metrics),
        "gate": ", ".join(f"{name} ({_describe_bound(bound)})" for name, bound in spec.evaluate.gate.items()),
        "owner": spec.model.owner,
    }
    return DagFacts(
        name=spec.model.name,
        description=spec.model.description or "",
        owner=spec.model.owner or "",
        cron=spec.schedule.cron or "",
        retries=spec.tasks.retries,
        timeout_s=spec.tasks.timeout_s,
        tags=tuple(sorted({"model", spec.environment.platform, *filter(None, (trainer, task))})),
        summary=tuple((name, text) for name, text in said.items() if text),
    )


def _describe_bound(bound: Bound) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in bound if value is not None)
