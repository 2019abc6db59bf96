"""Interventions: what was done about a live release, as annotated tags ``MODEL#ENV#watch#N`` that say why.

A tag is made before what it says is done, and a number can be taken once: of two that decide the same at the same time
one wins, and the other decides anew. A hold stands until it is resumed; while it stands, nothing new goes live there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, get_args

from pipeline.delivery.releases import Release, facts_of, readable, with_facts
from pipeline.errors import InputError, ReleaseError
from pipeline.messages import one_line
from pipeline.retries import attempts
from pipeline.storage.git.repository import Repository
from pipeline.storage.git.tags import Tag, fetch_tags, list_names, list_tags, write_tag

Deed = Literal["alert", "retrain", "rollback", "hold", "resume"]

_NAME = re.compile(r"(?P<model>[A-Za-z][A-Za-z0-9_-]*)#(?P<environment>[A-Za-z0-9_-]+)#watch#(?P<number>\d+)")
_SUBJECTS: Mapping[Deed, str] = {
    "alert": "an alert on",
    "retrain": "trained anew, because of",
    "rollback": "rolled back from",
    "hold": "nothing goes live after",
    "resume": "releases go live again after",
}
_MOST = 20  # people and watchers may intervene at once


@dataclass(frozen=True)
class Intervention:
    """What was done about one release in one environment.

    Attributes
    ----------
    number : int
        Counts the interventions there, from 1.
    release : str
        Tag of the release that was live.
    evidence : mapping
        What it was decided by: the signal, since when, what the look said.
    """

    model: str
    environment: str
    number: int
    deed: Deed
    release: str
    who: str
    why: str
    evidence: Mapping[str, Any] = field(default_factory=dict)
    commit: str = ""
    date: datetime | None = field(default=None, compare=False)

    @property
    def tag(self) -> str:
        """Name of the Git tag, such as ``flight-delay#prod#watch#2``."""
        return f"{self.model}#{self.environment}#watch#{self.number}"


def interventions(repository: Repository, model: str, environment: str) -> list[Intervention]:
    """List what was done about a model in an environment, in order."""
    return interventions_of(list_tags(repository, f"{model}#{environment}#watch#*"))


def interventions_of(tags: Iterable[Tag]) -> list[Intervention]:
    """Read those of the tags that are interventions: by model and environment, then in order.

    One that has such a name but was not made by Modelrail is passed over.
    """
    return sorted(readable(intervention_in, tags), key=lambda each: (each.model, each.environment, each.number))


def standing_hold(history: Sequence[Intervention]) -> Intervention | None:
    """Find the hold of an environment that nobody has resumed."""
    last = next((each for each in reversed(history) if each.deed in ("hold", "resume")), None)
    return last if last and last.deed == "hold" else None


def refusal_of(hold: Intervention) -> str:
    """Say why nothing goes live while a hold stands, and what mends it."""
    return (
        f"{hold.environment} is on hold since {hold.tag} ({hold.why}): nothing new goes live there until 'modelrail "
        f"resume {hold.model} --environment {hold.environment} --why …'"
    )


def intervene(
    repository: Repository,
    release: Release,
    environment: str,
    deed: Deed,
    *,
    why: str,
    push: bool,
    who: str | None = None,
    evidence: Mapping[str, Any] | None = None,
    after: int | None = None,
) -> Intervention | None:
    """Record an intervention, which is then to be done.

    Parameters
    ----------
    release : Release
        What is live.
    push : bool
        Push the tag, and the release's, to the remote ``origin``: there it is decided who was faster.
    after : int, optional
        Number of the intervention that the decision was based on (0 for none).

    Returns
    -------
    Intervention or None
        None if another intervention than `after` is the last by now.
    """
    pattern = f"{release.model}#{environment}#watch#*"
    for _ in attempts(_MOST):
        if push:
            fetch_tags(repository, pattern)
        names = list_names(repository, pattern)
        last = max((int(match["number"]) for name in names if (match := _NAME.fullmatch(name))), default=0)
        if after not in (None, last):
            return None
        made = Intervention(
            model=release.model,
            environment=environment,
            number=last + 1,
            deed=deed,
            release=release.tag,
            who=one_line(who or repository.who()),
            why=one_line(why),
            evidence=evidence or {},
            commit=release.commit,
        )
        also = [release.tag] if push else ()
        if write_tag(repository, made.tag, release.commit, message(made), push=push, also=also):
            return made
    raise ReleaseError(
        f"{release.tag}: {_MOST} interventions in '{environment}' in a row were recorded by others meanwhile; run again"
    )


def message(made: Intervention) -> str:
    """Write an intervention's message: a subject, what a reader wants to know, and the facts as JSON."""
    lines = [
        f"{made.tag}: {_SUBJECTS[made.deed]} {made.release} in {made.environment}",
        "",
        f"By:   {made.who}",
        f"Why:  {made.why}",
        "",
        *made.evidence.get("said", ()),
        "",
    ]
    named = {key: getattr(made, key) for key in ("release", "environment", "deed", "who", "why")}
    return with_facts(lines, named | {"evidence": made.evidence})


def intervention_in(tag: Tag) -> Intervention | None:
    """Read an intervention's tag; None for a tag of another name.

    Raises
    ------
    ReleaseError
        If the tag has an intervention's name but was not made by Modelrail.
    """
    match = _NAME.fullmatch(tag.name)
    if match is None:
        return None
    try:
        facts = facts_of(tag)
        return Intervention(
            model=match["model"],
            environment=match["environment"],
            number=int(match["number"]),
            deed={each: each for each in get_args(Deed)}[facts["deed"]],
            release=str(facts["release"]),
            who=str(facts["who"]),
            why=str(facts["why"]),
            evidence=dict(facts["evidence"]),
            commit=tag.commit,
            date=tag.date,
        )
    except (ValueError, TypeError, KeyError, AttributeError, InputError) as error:
        raise ReleaseError(
            f"tag {tag.name}: found no intervention in its message ({error}); expected a tag that Modelrail made: "
            f"remove it ('git tag -d {tag.name}') or rename it"
        ) from error
