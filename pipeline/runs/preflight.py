"""What a run will need, asked for before anything is computed: extras, space, logins, registry, cluster, rights."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterator
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from pipeline.delivery.bundles import require_key
from pipeline.delivery.platforms.platforms import maker_of, platform_of
from pipeline.delivery.platforms.target import Target
from pipeline.errors import ModelrailError
from pipeline.extras import is_installed, require
from pipeline.home import store_address
from pipeline.messages import quote
from pipeline.preflight import Question, ask_all
from pipeline.runs.first_deployments import waiting_in
from pipeline.runs.job import Job
from pipeline.spec.catalogue.tasks import extras_of
from pipeline.spec.loading.loading import load_spec
from pipeline.storage.git.tags import require_push

_MIB = 1 << 20
_LEAST_FREE = 32 * _MIB
"""Beside the largest partition, which its artifacts have about once more: for a model, its plots, MLflow's records."""
_STEPS_OF = {"model": "train", "transform": "transform", "data": "clean"}
"""Section of the spec → the step that needs the extra which stands there."""


def require_extras(job: Job, in_pods: Collection[str] = ()) -> None:
    """Refuse a platform that there is not, and extras that are not installed; with them all else that is missing.

    Parameters
    ----------
    in_pods : collection of str
        Steps that run in pods, whose image has what they need.

    Raises
    ------
    InputError
        If anything is missing, with all that is.
    """
    maker_of(job.spec, f"{job.spec_path}: environment.platform")
    lacking = [
        partial(require, extra, ".".join(path), quote(by))
        for path, by, extra in extras_of(job.spec)
        if _STEPS_OF[path[0]] not in in_pods and not is_installed(extra)
    ]
    if lacking:
        ask_all([*lacking, *_questions(job, in_pods)])


def require_ready(job: Job, in_pods: Collection[str] = (), *, deploys: bool | None = None) -> None:
    """Ask for all that a run will need, at the same time.

    Of a platform nothing is asked where the run will not deploy, and of what pods need nothing but their own can tell.

    Parameters
    ----------
    deploys : bool, optional
        Whether the run may release and deploy; by default whether all that matters is committed.

    Raises
    ------
    ModelrailError
        If anything is missing, with all that is; a `TransientError` if nothing more is wrong than that something does
        not answer.
    """
    ask_all(list(_questions(job, in_pods, deploys=deploys)))


def _questions(job: Job, in_pods: Collection[str], *, deploys: bool | None = None) -> Iterator[Question]:
    yield partial(_require_space, job.state, _LEAST_FREE + max(file.bytes for file in job.partitions.values()))
    if not (job.kept_back is None if deploys is None else deploys):
        return
    if "release" not in in_pods:
        yield require_key
        if job.spec.deploy.push_tags:
            yield partial(require_push, job.repository, f"{job.model}@asked")
    if "deploy" not in in_pods:
        for target in _targets(job):
            yield partial(platform_of(target.spec).require_ready, target, packages=True)


def _targets(job: Job) -> Iterator[Target]:
    """Yield every place in which the run makes its release live: its own, and those that wait for a first one."""
    yield Target(job.spec, job.request.environment, job.state)
    path = Path(job.request.spec)
    for name in waiting_in(job.repository, path, job.model):
        if name != job.environment:
            yield Target(load_spec(path, name).spec, name, job.state)


def _require_space(state: Path, needed: int) -> None:
    """Refuse a disk with less than so many bytes free, or a folder that cannot be written."""
    store = store_address(state)
    folders = {"MODELRAIL_HOME": state, "MODELRAIL_STORE": None if urlsplit(store).scheme else Path(store)}
    ask_all([partial(_require_folder, folder, name, needed) for name, folder in folders.items() if folder])


def _require_folder(folder: Path, name: str, needed: int) -> None:
    there = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    if not os.access(there, os.W_OK | os.X_OK):
        raise ModelrailError(f"{there}: found a folder that cannot be written; expected one that can ({name})")
    if (free := shutil.disk_usage(there).free) < needed:
        raise ModelrailError(
            f"{there}: found {free // _MIB} MiB free; expected at least {needed // _MIB} MiB: free some, or name"
            f" another disk ({name})"
        )
