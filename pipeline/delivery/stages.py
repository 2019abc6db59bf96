"""Stages: which release each environment should have, as annotated tags ``MODEL#ENV#N`` that the ``gto`` package reads.

The tag with the greatest number says what should be live there now; every one before it says what was. So a rollback
is one tag more, never one less. A run without an overlay has the environment that its platform names (``local``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, get_args

from pipeline.delivery.interventions import intervention_in
from pipeline.delivery.releases import Release, Version, facts_of, readable, release_in, with_facts
from pipeline.errors import InputError, OvertakenError, ReleaseError
from pipeline.messages import one_line
from pipeline.retries import attempts
from pipeline.storage.git.repository import Repository
from pipeline.storage.git.tags import Tag, fetch_tags, list_names, list_tags, write_tag

Action = Literal["deploy", "promote", "rollback", "abort"]

_NAME = re.compile(r"(?P<model>[A-Za-z][A-Za-z0-9_-]*)#(?P<environment>[A-Za-z0-9_-]+)#(?P<number>\d+)")
_ENVIRONMENT = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?")
_ACTIONS: Mapping[str, Action] = {each: each for each in get_args(Action)}
_VERBS: Mapping[Action, str] = {
    "deploy": "deployed to",
    "promote": "promoted to",
    "rollback": "rolled back to in",
    "abort": "kept in",
}
_MOST = 20  # several people and runs may assign at once


@dataclass(frozen=True)
class Stage:
    """One release, assigned to one environment.

    Attributes
    ----------
    number : int
        Counts the model's assignments in that environment, from 1.
    action : str
        ``deploy``: a run did it; ``promote`` and ``rollback``: a person did; ``abort``: the release that came
        after it did worse on real requests.
    commit : str
        The release's commit.
    image : str or None
        The image that serves it there, by its digest, where the platform runs images.
    """

    model: str
    environment: str
    number: int
    version: Version
    action: Action
    who: str
    why: str
    commit: str = ""
    image: str | None = None
    date: datetime | None = field(default=None, compare=False)

    @property
    def tag(self) -> str:
        """Name of the Git tag, such as ``flight-delay#prod#4``."""
        return f"{self.model}#{self.environment}#{self.number}"

    @property
    def release(self) -> str:
        """Name of the release's tag."""
        return f"{self.model}@v{self.version}"


@dataclass(frozen=True)
class Standing:
    """What follows from the stages of one environment: what should be live, what a rollback goes to, what is withdrawn.

    Attributes
    ----------
    live : tuple of Version
        What is live, last, after what a rollback goes back to, step by step.
    withdrawn : frozenset of Version
        What was rolled back from, or aborted, and not promoted since: no run makes it live by itself.
    """

    live: tuple[Version, ...] = ()
    withdrawn: frozenset[Version] = frozenset()

    @property
    def current(self) -> Version | None:
        """What should be live."""
        return self.live[-1] if self.live else None

    @property
    def before(self) -> Version | None:
        """What a rollback goes back to."""
        return self.live[-2] if len(self.live) > 1 else None


def stages(repository: Repository, model: str, environment: str | None = None) -> list[Stage]:
    """List a model's stages, in one environment or in all: by environment, then in their order."""
    return stages_of(list_tags(repository, f"{model}#{environment or '*'}#*"))


def stages_of(tags: Iterable[Tag]) -> list[Stage]:
    """Read those of the tags that are stages: by environment, then in their order.

    One that has a stage's name but was not made by Modelrail is passed over.
    """
    return sorted(readable(stage_in, tags), key=lambda stage: (stage.model, stage.environment, stage.number))


def find_unreadable(repository: Repository, model: str) -> list[str]:
    """Name the tags of a model that look like Modelrail's but were not made by it, and the mend."""
    troubles = []
    for tag in list_tags(repository, f"{model}@v*", f"{model}#*#*"):
        try:
            release_in(tag) or stage_in(tag) or intervention_in(tag)
        except ReleaseError as error:
            troubles.append(str(error))
    return troubles


def current(repository: Repository, model: str, environment: str) -> Stage | None:
    """Find what should be live in an environment: its stage with the greatest number."""
    return next(iter(current_stages(repository, model, environment)), None)


def current_stages(repository: Repository, model: str, environment: str | None = None) -> list[Stage]:
    """List what should be live in each environment; earlier stages are not read."""
    return _read_newest(repository, model, environment, _newest(repository, model, environment))


def _newest(repository: Repository, model: str, environment: str | None) -> dict[str, tuple[int, str]]:
    """Find, by environment, the tag with the greatest number, whether or not a stage can be read from it."""
    newest: dict[str, tuple[int, str]] = {}
    for name in list_names(repository, f"{model}#{environment or '*'}#*"):
        if (match := _NAME.fullmatch(name)) and match["model"] == model:
            place, found = match["environment"], (int(match["number"]), name)
            newest[place] = max(found, newest.get(place, found))
    return newest


def _read_newest(
    repository: Repository, model: str, environment: str | None, newest: Mapping[str, tuple[int, str]]
) -> list[Stage]:
    standing = stages_of(list_tags(repository, *(name for _, name in newest.values()))) if newest else []
    if len(standing) == len(newest):
        return standing
    last = {stage.environment: stage for stage in stages(repository, model, environment)}  # some were passed over
    return [last[place] for place in sorted(last)]


def newer(repository: Repository, stage: Stage) -> Stage | None:
    """Return what should be live where a stage was, if another one was assigned after it."""
    names = list_names(repository, f"{stage.model}#{stage.environment}#*")
    numbers = [int(match["number"]) for name in names if (match := _NAME.fullmatch(name))]
    if max(numbers, default=0) <= stage.number:
        return None
    found = current(repository, stage.model, stage.environment)
    return found if found and found.number > stage.number else None  # a tag that is passed over has a number too


def places_assigned(repository: Repository) -> list[tuple[str, str]]:
    """List every model and environment that ever had a release assigned."""
    found = [match for name in list_names(repository, "*#*#*") if (match := _NAME.fullmatch(name))]
    return sorted({(match["model"], match["environment"]) for match in found})


def standing_of(history: Sequence[Stage]) -> Standing:
    """Derive from the stages of one environment what is live, what was before it and what was withdrawn.

    A rollback that was aborted is as if it had not been: it holds nothing.
    """
    now = before = Standing()
    last: Action | None = None
    for stage in history:
        undone = (last, stage.action) == ("rollback", "abort") and before.current == stage.version
        now, before, last = before if undone else _after(now, stage), now, stage.action
    return now


def _after(standing: Standing, stage: Stage) -> Standing:
    """Say what stands after one more stage."""
    live, withdrawn = list(standing.live), set(standing.withdrawn)
    if stage.action in {"rollback", "abort"}:
        kept = live.index(stage.version) + 1 if stage.version in live else len(live) - 1
        withdrawn |= set(live[max(kept, 0) :])
        live = live[: max(kept, 0)]
    withdrawn.discard(stage.version)
    if stage.version in live:
        live.remove(stage.version)
    return Standing((*live, stage.version), frozenset(withdrawn))


def image_of(history: Sequence[Stage], version: Version) -> str | None:
    """Find the image that a version has, or had when it was last live; an aborted one never was.

    None if it had none.
    """
    aborted = {after.number - 1 for after in history if after.action == "abort"}
    held = [stage.image for stage in history if stage.version == version and stage.number not in aborted]
    return next((image for image in reversed(held) if image), None)


def check_environment(name: str) -> str:
    """Refuse a name that cannot be part of a stage's tag."""
    if not _ENVIRONMENT.fullmatch(name):
        raise InputError(f"environment: found '{name}'; expected letters, digits, '-' and '_', the last no '-' or '_'")
    return name


def assign(
    repository: Repository,
    release: Release,
    environment: str,
    *,
    action: Action,
    why: str,
    push: bool,
    who: str | None = None,
    after: int | None = None,
    image: str | None = None,
) -> Stage:
    """Record that an environment should have a release, unless that is what was recorded last.

    Two that assign at once get two numbers: the later one stands.

    Parameters
    ----------
    push : bool
        Push the tag, and the release's, to the remote ``origin``.
    who : str, optional
        The person who asked for it; by default the one that Git knows.
    after : int, optional
        Number of the stage that the decision was based on (0 for none): if another stands by now, nothing is recorded.
    image : str, optional
        The image that is to serve it.

    Returns
    -------
    Stage
        The stage that now stands: the new one, or the one that said so before.

    Raises
    ------
    OvertakenError
        If another stage stands than `after`.
    """
    check_environment(environment)
    pattern = f"{release.model}#{environment}#*"
    for _ in attempts(_MOST):
        if push:
            fetch_tags(repository, pattern)
        newest = _newest(repository, release.model, environment)
        last = next(iter(_read_newest(repository, release.model, environment, newest)), None)
        if last and (last.version, last.commit, last.image) == (release.version, release.commit, image):
            return last
        if after is not None and after != (last.number if last else 0):
            raise OvertakenError(
                f"{release.tag}: found that {last.tag if last else 'no stage'} says what {environment} should have by"
                " now; expected what was so when the run decided: run again"
            )
        number, _ = newest.get(environment, (0, ""))
        stage = Stage(
            model=release.model,
            environment=environment,
            number=number + 1,
            version=release.version,
            action=action,
            who=one_line(who or repository.who()),
            why=one_line(why),
            commit=release.commit,
            image=image,
        )
        text = message(stage, last)
        if write_tag(repository, stage.tag, release.commit, text, push=push, also=[release.tag] if push else ()):
            return stage
    raise ReleaseError(
        f"{release.tag}: {_MOST} stages of '{environment}' in a row were taken by others while this one was recorded"
    )


def message(stage: Stage, last: Stage | None) -> str:
    """Write a stage's message: a subject, what a reader wants to know, and the facts as JSON."""
    before = f", where v{last.version} was" if last else ", where nothing was"
    facts = {"release": stage.release, "before": last.release if last else None}
    named = {key: getattr(stage, key) for key in ("environment", "action", "who", "why", "image")}
    lines = [
        f"{stage.tag}: {stage.release} {_VERBS[stage.action]} {stage.environment}{before}",
        "",
        f"By:   {stage.who}",
        f"Why:  {stage.why or 'its gate was passed'}",
        "",
    ]
    return with_facts(lines, facts | named)


def stage_in(tag: Tag) -> Stage | None:
    """Read a stage's tag; None for a tag of another name.

    Raises
    ------
    ReleaseError
        If the tag has a stage's name but was not made by Modelrail.
    """
    match = _NAME.fullmatch(tag.name)
    if match is None:
        return None
    try:
        facts: dict[str, Any] = facts_of(tag)
        return Stage(
            model=match["model"],
            environment=match["environment"],
            number=int(match["number"]),
            version=Version.parse(facts["release"].rpartition("@")[2]),
            action=_ACTIONS[facts["action"]],
            who=facts["who"],
            why=facts["why"],
            commit=tag.commit,
            image=facts.get("image"),
            date=tag.date,
        )
    except (ValueError, TypeError, KeyError, AttributeError, InputError) as error:
        raise ReleaseError(
            f"tag {tag.name}: found no stage in its message ({error}); expected a tag that Modelrail made: remove it"
            f" ('git tag -d {tag.name}') or rename it"
        ) from error
