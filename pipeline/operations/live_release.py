"""What the live release was made from, as a plan compares with it: key by key, partition by partition."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.delivery.releases import Release
from pipeline.runs.at_commit import job_behind
from pipeline.runs.job import Job
from pipeline.runs.plan.last_runs import History
from pipeline.runs.plan.planning import data_inputs
from pipeline.runs.plan.reasons import Before, Took
from pipeline.runs.plan.recipes import Method, methods_of
from pipeline.storage.artifacts import Artifact


@dataclass(frozen=True)
class LiveRelease:
    """The live release, in the form that a plan compares with.

    How long a step takes is read from this machine's history.

    Attributes
    ----------
    methods : dict
        Step → how it worked then, as far as the spec of that release says.
    partitions : dict
        (First) partition → what `clean` read of it and those packed with it.
    inputs : dict
        Step → the inputs of the artifact that the release names, where the store has it.
    """

    release: Release
    methods: Mapping[str, Method]
    partitions: Mapping[str, Mapping[str, str]]
    inputs: Mapping[str, Mapping[str, str]]
    history: History

    def knows(self, step: str) -> bool:  # noqa: ARG002, D102
        return True

    def last(self, step: str, partition: str | None) -> Before | None:
        """Return what a step worked with then; None for a partition that there was not."""
        if partition is not None and partition not in self.partitions:
            return None
        here = self.history.last(step, partition)
        clean = self.partitions[partition] if step == "clean" and partition is not None else None
        return Before(
            settings=self.methods[step].settings,
            key=self.release.evidence.artifacts.get(step),
            inputs=clean or self.inputs.get(step),
            libraries=self._libraries(step),
            since=self.release.tag,
            took=here.took if here else None,
        )

    def typical(self, step: str) -> Took | None:
        """Return what a step usually takes on this machine."""
        return self.history.typical(step)

    def _libraries(self, step: str) -> Mapping[str, str] | None:
        then = self.release.evidence.made_with
        names = self.methods[step].libraries
        return {name: then[name] for name in names} if set(names) <= set(then) else None


def read_live_release(job: Job, live: Release, history: History, find: Callable[[str], Artifact | None]) -> LiveRelease:
    """Find out what the live release was made from.

    Parameters
    ----------
    find : callable
        Key → artifact, or None.

    Raises
    ------
    ModelrailError
        If its commits are not here, or today's Modelrail refuses its spec.
    """
    behind = job_behind(live, job.repository)
    artifacts = {step: find(key) for step, key in live.evidence.artifacts.items()}
    return LiveRelease(
        release=live,
        methods=methods_of(behind.spec),
        partitions={first: data_inputs(behind, keys) for first, keys in behind.packs.items()},
        inputs={step: _inputs(each.manifest) for step, each in artifacts.items() if each},
        history=history,
    )


def _inputs(manifest: Mapping[str, Any]) -> Mapping[str, str]:
    recipe: Mapping[str, Any] = manifest.get("recipe") or {}
    found: Mapping[str, str] = recipe.get("inputs") or {}
    return found
