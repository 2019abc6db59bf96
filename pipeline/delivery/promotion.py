"""Promote and roll back: record in Git what an environment should have, then make it live there.

Git comes first. Where the platform then fails, what was live stays live, Git says what should be, and the same command
again (or the model's next run) tries anew.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.delivery.applied_settings import remember
from pipeline.delivery.bundles import bundle_of
from pipeline.delivery.platforms.platforms import platform_of
from pipeline.delivery.platforms.target import Live, Platform, Target
from pipeline.delivery.releases import Release, Version, find_release
from pipeline.delivery.stages import Action, Stage, Standing, assign, current, image_of, stages, standing_of
from pipeline.errors import AbortedError, DeploymentError, InputError, OvertakenError
from pipeline.home import home, store_address
from pipeline.serving.client import Answer, predict
from pipeline.spec.files import find_environments
from pipeline.spec.loading.loading import load_spec
from pipeline.spec.loading.names import find_spec_of
from pipeline.spec.schema.spec import Spec
from pipeline.storage.artifacts import Artifact, Store, open_store
from pipeline.storage.git.repository import Repository, open_repository
from pipeline.storage.git.tags import fetch_tags, settle

# Largest difference between the served and the expected answer, as for the parity of a conversion.
_TOLERANCE = 1e-5
_TRIES = 5


@dataclass(frozen=True)
class Place:
    """One model in one environment.

    Attributes
    ----------
    environment : str
        Name of the stage: that of the overlay, or without one that of the platform.
    target : Target
        The same for a platform.
    """

    repository: Repository
    environment: str
    target: Target

    @property
    def model(self) -> str:
        """Name of the model."""
        return self.target.model

    @property
    def spec(self) -> Spec:
        """The spec, with the environment laid over it."""
        return self.target.spec

    def history(self) -> list[Stage]:
        """List what was assigned here, in order."""
        return stages(self.repository, self.model, self.environment)

    def image(self, version: Version) -> str | None:
        """Return the image that a version has here, or had last; None if it had none."""
        return image_of(self.history(), version)

    def standing(self) -> Standing:
        """Say what should be live here, and what was withdrawn."""
        return standing_of(self.history())


@dataclass(frozen=True)
class Change:
    """What a promotion or a rollback came to.

    Attributes
    ----------
    stage : Stage
        What Git says now.
    live : Live
        What answers now.
    """

    stage: Stage
    live: Live
    seconds: float


def promote(
    model: str, version: str, environment: str | None, *, why: str, who: str | None = None, root: Path | None = None
) -> Change:
    """Make a release live in an environment, whatever was live there.

    Parameters
    ----------
    version : str
        Such as ``v1.2.0``.
    environment : str or None
        Name of the overlay; None for the only one that the model is in.
    who : str, optional
        The person who asked for it; by default the one that Git knows.
    root : Path, optional
        A folder of the repository that holds the spec; by default the current one.

    Raises
    ------
    InputError
        If there is no such model, release or environment, or no reason is given.
    ReleaseError, TransientError
        If Git cannot record it; then nothing has changed.
    DeploymentError
        If it was recorded, but cannot be made live.
    """
    place = _open(model, environment, why, root)
    return go_live(place, find_release(place.repository, f"{model}@{version}"), "promote", why=why, who=who)


def rollback(
    model: str,
    to: str | None,
    environment: str | None,
    *,
    why: str,
    who: str | None = None,
    root: Path | None = None,
) -> Change:
    """Make an earlier release live again; what is left is held until it is promoted, or a newer release comes.

    Parameters
    ----------
    to : str or None
        A version; None for the one that was live before.

    Raises
    ------
    InputError, ReleaseError, TransientError, DeploymentError
        As for `promote`; also if nothing was live before.
    """
    place = _open(model, environment, why, root)
    version = goal_of(place, Version.parse(to) if to else None)
    return go_live(place, find_release(place.repository, f"{model}@{version}"), "rollback", why=why, who=who)


def goal_of(place: Place, to: Version | None) -> Version:
    """Decide which version a rollback goes to."""
    standing, where = place.standing(), f"{place.model} in {place.environment}"
    now, goal = standing.current, to or standing.before
    if now is None:
        raise InputError(f"rollback: found nothing live of {where}; expected a release ('modelrail run', 'promote')")
    if goal is None:
        raise InputError(f"rollback: found nothing live of {where} before v{now}; expected --to with a version")
    if goal >= now and goal not in standing.live[:-1]:
        raise InputError(
            f"rollback: found v{goal} while v{now} is live of {where}; expected an earlier version (or 'modelrail"
            f" promote {place.model} v{goal} --environment {place.environment} --why …')"
        )
    return goal


def go_live(
    place: Place, release: Release, action: Action, *, why: str, who: str | None = None, twin: Artifact | None = None
) -> Change:
    """Record that an environment should have a release, make it live, and ask it a question.

    Only a promotion makes its image anew; otherwise it has the very image that it had there before.
    """
    began = time.monotonic()
    store = open_store(store_address(place.target.state), place.target.state)
    bundle = bundle_of(release, store, place.target.state, twin)
    before = place.image(release.version) if action != "promote" else None
    image = before or platform_of(place.spec).package(place.target, release, bundle)
    push = place.spec.deploy.push_tags
    stage = assign(
        place.repository, release, place.environment, action=action, why=why, who=who, push=push, image=image
    )
    try:
        live, answering = _make_live_and_ask(place, release, bundle, store, at_once=action in {"rollback", "deploy"})
    except AbortedError as error:
        record_abort(place.repository, stage, error, push=push)
        raise
    except DeploymentError as error:
        raise DeploymentError(
            f"{error}; {stage.tag} says in Git that {release.tag} should be live: mend it and promote it again, or"
            f" 'modelrail rollback {place.model} --environment {place.environment} --why …'"
        ) from error
    if answering != release:
        raise OvertakenError(
            f"{stage.tag}: found that somebody has made {answering.tag} live in {place.environment} at the same time;"
            f" expected {release.tag}: look at 'modelrail releases {place.model}', and say it again if it still holds"
        )
    return Change(stage, live, time.monotonic() - began)


def record_abort(repository: Repository, stage: Stage, error: AbortedError, *, push: bool) -> None:
    """Record that what was live stays, since the release that a stage names was aborted.

    Unless somebody has assigned another one meanwhile: that stands.
    """
    now = current(repository, stage.model, stage.environment)
    if now and now.number == stage.number:
        kept = find_release(repository, error.stable)
        image = image_of(stages(repository, stage.model, stage.environment), kept.version)
        assign(repository, kept, stage.environment, action="abort", why=str(error), push=push, image=image)


def _make_live_and_ask(
    place: Place, release: Release, bundle: Path, store: Store, *, at_once: bool
) -> tuple[Live, Release]:
    """Make live and ask; once more where another answers, since somebody who was overtaken has not noticed yet."""
    platform = platform_of(place.spec)
    for _ in range(_TRIES):
        live, answering = make_live(place, release, bundle, store, at_once=at_once)
        sample = sample_of(answering, store)
        try:
            if sample:
                ask(platform, place.target, answering, sample)
        except DeploymentError:
            now = platform.live(place.target)
            if now is None or now.version.removeprefix("v") == str(answering.version):
                raise
        else:
            return live, answering
    raise OvertakenError(f"{release.tag}: found others that deploy to {place.environment}; expected none: try again")


def make_live(
    place: Place, release: Release, bundle: Path, store: Store, *, at_once: bool = False
) -> tuple[Live, Release]:
    """Make a release live; where Git says another one by then, that one, so that the last word in Git is what answers.

    Parameters
    ----------
    at_once : bool
        Without a canary.

    Returns
    -------
    Live
        What answers now.
    Release
        What is live now.
    """
    platform = platform_of(place.spec)
    image = place.image(release.version)
    live = platform.deploy(replace(place.target, at_once=at_once), release, bundle, image)
    while (stage := current(place.repository, place.model, place.environment)) and stage.version != release.version:
        release = find_release(place.repository, stage.release)
        target = replace(place.target, at_once=stage.action == "rollback")
        live = platform.deploy(target, release, bundle_of(release, store, place.target.state), stage.image)
    remember(store, release, place.environment, place.spec)
    return live, release


def sample_of(release: Release, store: Store) -> Mapping[str, Any] | None:
    """Return a real record with the answer that is expected, where the store still has it."""
    artifact = store.find(release.evidence.artifacts.get("evaluate", ""))
    sample: Mapping[str, Any] | None = artifact.manifest.get("example") if artifact else None
    return sample


def ask(platform: Platform, target: Target, release: Release, sample: Mapping[str, Any]) -> tuple[Live, Answer]:
    """Ask what is live about a real record.

    Raises
    ------
    DeploymentError
        If nothing is live, another release answers, or the answer is not what was computed before.
    """
    live = platform.live(target)
    if live is None:
        raise DeploymentError(
            f"verify: found no live deployment of {release.model}; expected {release.tag}: deploy first"
        )
    answer = predict(live.address, sample["record"], send=platform.post(target))
    if answer.version.removeprefix("v") != str(release.version):
        raise DeploymentError(f"verify: {live.address} answers as {answer.version}; expected v{release.version}")
    if not _agree(answer.outputs[0], sample["output"]):
        raise DeploymentError(
            f"verify: {live.address} predicts {answer.outputs[0]} for a test record; expected {sample['output']}"
        )
    return live, answer


def find_place(repository: Repository, model: str, environment: str | None) -> Place:
    """Find a model's spec, and lay an environment over it.

    Parameters
    ----------
    environment : str or None
        Name of the overlay, or of the platform of the spec as it is; None for the only one that has a stage.
    """
    path = find_spec_of(model, repository.root / "models")
    plain = load_spec(path).spec
    default = plain.environment.platform
    if environment is None:
        environment = _only({each.environment for each in stages(repository, model)}, model) or default
    overlay = None if environment == default and environment not in find_environments(path) else environment
    spec = load_spec(path, overlay).spec if overlay else plain
    return Place(repository, environment, Target(spec, overlay, home(repository.root)))


def _only(environments: set[str], model: str) -> str | None:
    if len(environments) > 1:
        names = ", ".join(sorted(environments))
        raise InputError(f"found {model} in the environments {names}; expected --environment with one of them")
    return next(iter(environments), None)


def _open(model: str, environment: str | None, why: str, root: Path | None) -> Place:
    if not why.strip():
        raise InputError("--why: found no reason; expected one, since it is kept in Git")
    place = find_place(open_repository(root or Path.cwd()), model, environment)
    if place.spec.deploy.push_tags:
        settle(place.repository)
        fetch_tags(place.repository, f"{model}@v*", f"{model}#{place.environment}#*")
    return place


def _agree(found: Any, expected: Any) -> bool:
    if isinstance(expected, float):
        return bool(abs(found - expected) <= _TOLERANCE * max(1.0, abs(expected)))
    return bool(found == expected)
