"""First deployments that are declared: an environment names a model before there is any release of it.

The model waits there, and goes live with its first release, whichever run makes it. From then on it is promoted, or
deployed by runs in that environment, like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from pipeline.delivery.deploying import DeploymentResult, Slot, go_live
from pipeline.delivery.platforms.platforms import platform_of
from pipeline.delivery.platforms.target import Target
from pipeline.delivery.releases import Release
from pipeline.delivery.stages import current_stages
from pipeline.runs.job import Job
from pipeline.spec.loading.declared_environments import find_declared
from pipeline.spec.loading.loading import load_spec
from pipeline.spec.loading.names import names_in
from pipeline.spec.schema.spec import Spec
from pipeline.storage.artifacts import Artifact, Store
from pipeline.storage.git.repository import Repository


@dataclass(frozen=True)
class First:
    """A model in an environment that it was never live in.

    Attributes
    ----------
    say : str
        What became of it.
    deployed : DeploymentResult or None
        None if it still waits.
    """

    environment: str
    say: str
    deployed: DeploymentResult | None = None


def deploy_first(
    job: Job, release: Release, refuse: Callable[[Spec], str | None], store: Store, twin: Artifact
) -> list[First]:
    """Make a release live in every environment that waits for one, but the job's own.

    Parameters
    ----------
    refuse : callable
        The spec in an environment → why the release may not be live there; None if it may.

    Raises
    ------
    DeploymentError
        If it cannot be made live; the next run tries again.
    """
    path = Path(job.request.spec)
    done = []
    for name in find_declared(path, job.model):
        slot = Slot(job.repository, name, Target(load_spec(path, name).spec, name, job.state))
        if name == job.environment or not _is_due(slot, release):
            continue
        if refusal := refuse(slot.spec):
            done.append(First(name, f"{name} waits: {refusal}"))
            continue
        why = job.request.reason or f"its first release: {name} names the model (environment.models)"
        made = go_live(slot, release, "deploy", store, why=why, twin=twin)
        done.append(First(name, f"for the first time live in {name} at {made.live.address}", made))
    return done


def find_waiting(repository: Repository, paths: Iterable[Path]) -> list[tuple[str, str]]:
    """List the models that environments name, and that were never live there: (model, environment)."""
    return [
        (model, environment)
        for path, model in names_in(paths).items()
        for environment in waiting_in(repository, path, model)
    ]


def waiting_in(repository: Repository, path: Path, model: str) -> list[str]:
    """List the environments in which a model waits for its first release."""
    declared = find_declared(path, model)
    assigned = {each.environment for each in current_stages(repository, model)} if declared else set()
    return [name for name in declared if name not in assigned]


def _is_due(slot: Slot, release: Release) -> bool:
    """Tell whether nothing was ever assigned there; or only this release, by a run that could not make it live."""
    history = slot.history()
    if not history:
        return True
    if len(history) > 1 or (history[0].action, history[0].version) != ("deploy", release.version):
        return False
    return platform_of(slot.spec).live(slot.target) is None
