"""The one way in which a release goes live: it is packaged, assigned in Git, made live, and an abort is recorded.

The platform is asked first whether it is ready, then Git is told, then the release is made live. Where that still
fails, what was live stays live, and Git says so: a person's change is recorded as aborted. A run's stands, since the
next run tries it anew. What failed is noted in the store, for `modelrail status` and `releases`.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.delivery.applied_settings import note_failure, remember
from pipeline.delivery.bundles import bundle_of
from pipeline.delivery.interventions import Intervention, interventions, refusal_of, standing_hold
from pipeline.delivery.platforms.platforms import platform_of
from pipeline.delivery.platforms.target import Live, Target
from pipeline.delivery.releases import Release, Version, find_release
from pipeline.delivery.stages import Action, Stage, Standing, assign, image_of, newer, stages, standing_of
from pipeline.delivery.verification import ask, sample_of
from pipeline.errors import AbortedError, DeploymentError, HeldError, ModelrailError, OvertakenError
from pipeline.retries import attempts
from pipeline.spec.schema.spec import Spec
from pipeline.storage.artifacts import Artifact, Store
from pipeline.storage.git.repository import Repository

_NEW: frozenset[Action] = frozenset({"deploy", "promote"})
"""What a hold stops; going back to what was live before it does not."""


@dataclass(frozen=True)
class Slot:
    """One model in one environment: where one release at a time is live.

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

    def hold(self) -> Intervention | None:
        """Find the hold because of which nothing new may go live here."""
        return standing_hold(interventions(self.repository, self.model, self.environment))


@dataclass(frozen=True)
class DeploymentResult:
    """What making a release live came to.

    Attributes
    ----------
    stage : Stage
        What Git says now.
    live : Live
        What answers now.
    answering : Release
        The release that answers: another one where somebody has assigned it meanwhile.
    """

    stage: Stage
    live: Live
    answering: Release
    seconds: float


def go_live(
    slot: Slot,
    release: Release,
    action: Action,
    store: Store,
    *,
    why: str,
    who: str | None = None,
    after: int | None = None,
    twin: Artifact | None = None,
    verified_later: bool = False,
    standing: Standing | None = None,
) -> DeploymentResult:
    """Record that an environment should have a release, then make it live there.

    Parameters
    ----------
    who : str, optional
        The person who asked for it; by default the one that Git knows.
    after : int, optional
        Number of the stage that the decision was based on (0 for none): if another stands by now, nothing is recorded.
    twin : Artifact, optional
        As for `bundle_of`.
    verified_later : bool
        A run's further steps ask what is live about a real record, and its next run tries again; otherwise that is
        asked here, and an error says what a person can do.
    standing : Standing, optional
        What stands, as the caller knows it; by default Git is asked.

    Raises
    ------
    OvertakenError
        If another stage stands than `after`; or, unless that is verified later, if another release answers.
    HeldError
        If a hold stands there, and the release is not what should be live already.
    AbortedError
        If the release did worse than what was live, which stays: that is recorded too.
    DeploymentError
        If it cannot be made live.
    """
    began = time.monotonic()
    bundle = bundle_of(release, store, slot.target.state, twin)
    # Only a promotion and a run try something new: the image is made anew, and a canary may come first.
    tried_before = action != "promote" and not verified_later
    before, platform = slot.image(release.version) if tried_before else None, platform_of(slot.spec)
    if (standing or slot.standing()).current != release.version:
        if action in _NEW and (hold := slot.hold()):
            raise HeldError(f"{release.tag}: found that {refusal_of(hold)}")
        platform.require_ready(slot.target, packages=before is None)
    image, push = before or platform.package(slot.target, release, bundle), slot.spec.deploy.push_tags
    stage = assign(
        slot.repository, release, slot.environment, action=action, why=why, who=who, push=push, after=after, image=image
    )
    there = replace(slot, target=replace(slot.target, at_once=tried_before))
    make = _make_live if verified_later else _make_live_and_ask
    try:
        live, answering = make(there, stage, release, bundle, store)
    except OvertakenError:
        raise
    except ModelrailError as error:
        if isinstance(error, AbortedError):
            _record_abort(slot, stage, error)
        note_failure(store, release, slot.environment, str(error))
        raise
    return DeploymentResult(stage, live, answering, time.monotonic() - began)


def _make_live(slot: Slot, stage: Stage, release: Release, bundle: Path, store: Store) -> tuple[Live, Release]:
    """Make a release live; where Git says another one by then, that one, so that the last word in Git is what answers.

    Returns
    -------
    Live
        What answers now.
    Release
        What is live now.
    """
    spec = slot.spec
    platform = platform_of(spec)
    live = platform.deploy(slot.target, release, bundle, stage.image)
    while (now := newer(slot.repository, stage)) and now.version != release.version:
        stage, release = now, find_release(slot.repository, now.release)
        target = replace(slot.target, at_once=now.action == "rollback")
        live = platform.deploy(target, release, bundle_of(release, store, target.state), now.image)
    remember(store, release, slot.environment, spec)
    return live, release


def _make_live_and_ask(slot: Slot, stage: Stage, release: Release, bundle: Path, store: Store) -> tuple[Live, Release]:
    """Make a release live and ask it a question; say in an error what a person can do."""
    try:
        live, answering = _until_it_answers(slot, stage, release, bundle, store)
    except AbortedError:
        raise
    except DeploymentError as error:
        if stable := _find_stable(slot, stage):
            raise AbortedError(f"{error}; {stable} stays live, and Git says so", stable) from error
        raise DeploymentError(
            f"{error}; {stage.tag} says in Git that {release.tag} should be live: mend it and promote it again, or"
            f" 'modelrail rollback {slot.model} --environment {slot.environment} --why …'"
        ) from error
    if answering != release:
        raise OvertakenError(
            f"{stage.tag}: found that somebody has made {answering.tag} live in {slot.environment} at the same time;"
            f" expected {release.tag}: look at 'modelrail releases {slot.model}', and say it again if it still holds"
        )
    return live, answering


def _find_stable(slot: Slot, stage: Stage) -> str | None:
    """Find the release that was to be replaced, if it is live still."""
    before = standing_of([each for each in slot.history() if each.number < stage.number]).current
    with suppress(ModelrailError):  # the first error is the one to tell
        now = platform_of(slot.spec).live(slot.target)
        if now and now.version.removeprefix("v") == str(before) and before != stage.version:
            return f"{slot.model}@v{before}"
    return None


def _until_it_answers(slot: Slot, stage: Stage, release: Release, bundle: Path, store: Store) -> tuple[Live, Release]:
    """Make live and ask; once more where another answers, since somebody who was overtaken has not noticed yet."""
    platform = platform_of(slot.spec)
    for _ in attempts():
        live, answering = _make_live(slot, stage, release, bundle, store)
        sample = sample_of(answering, store)
        try:
            if sample:
                ask(platform, slot.target, answering, sample)
        except DeploymentError:
            now = platform.live(slot.target)
            if now is None or now.version.removeprefix("v") == str(answering.version):
                raise
        else:
            return live, answering
    raise OvertakenError(f"{release.tag}: found others that deploy to {slot.environment}; expected none: try again")


def _record_abort(slot: Slot, stage: Stage, error: AbortedError) -> None:
    """Record that what was live stays, since the release that a stage names was aborted.

    Unless somebody has assigned another one meanwhile: that stands.
    """
    if newer(slot.repository, stage):
        return
    kept = find_release(slot.repository, error.stable)
    image, push = slot.image(kept.version), slot.spec.deploy.push_tags
    assign(slot.repository, kept, stage.environment, action="abort", why=str(error), push=push, image=image)
