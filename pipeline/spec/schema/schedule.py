"""The section ``schedule``: when a model's DAG runs by itself."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, PositiveInt

from pipeline.spec.schema.section import Section

OnDataCommit: TypeAlias = Literal["every", "latest", "off"]


def _read_off(value: Any) -> Any:
    """Take YAML 1.1's ``off``, which is false, for the word."""
    return "off" if value is False else value


class Schedule(Section):
    """When the model's DAG runs by itself."""

    cron: str | None = None
    """Cron expression (UTC); by default the DAG runs only when triggered."""
    on_data_commit: Annotated[OnDataCommit, BeforeValidator(_read_off)] = "off"
    """Which new commits of the data start a run: `every` one that changes a partition, only the `latest`, or none."""
    replay: bool = False
    """Run the scheduled dates anew whose partitions a data commit has changed, by a backfill; nothing is released."""
    replay_limit: PositiveInt = 24
    """Most dates that one data commit runs anew, the oldest first; what is left out is said."""
