"""What has happened to a model that somebody may want to be told: found in Git and in the looks that are kept.

So a fact is told by whoever looks first after it happened, also where the process that made it has ended at once. Words
are those of the looks, of the gate and of people's reasons: never a value of the data.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pipeline.delivery.interventions import Deed, Intervention
from pipeline.delivery.releases import Release
from pipeline.delivery.stages import Action, Stage
from pipeline.monitoring.history import MOST, KeptLook
from pipeline.monitoring.onset import row_of
from pipeline.runs.results import StepResult
from pipeline.spec.schema.notify import Happened

_STAGES: Mapping[Action, tuple[Happened, str]] = {
    "rollback": ("rolled_back", "is live again: {place} was rolled back to it"),
    "abort": ("aborted", "stays in {place}: what came after it was aborted"),
}
_DEEDS: Mapping[Deed, tuple[Happened, str]] = {
    "hold": ("held", "nothing new goes live in {place}"),
    "resume": ("resumed", "releases go live again in {place}"),
}
_FOUND: Mapping[str, Happened] = {
    "failures": "failures",
    "refusals": "refusals",
    "quality": "quality",
    "drift": "drift",
}


@dataclass(frozen=True)
class Fact:
    """Something that happened.

    Attributes
    ----------
    id : str
        The same for the same fact, however often it is found.
    at : float
        When, in seconds since 1970.
    lines : tuple of str
        What there is to say of it besides its title.
    """

    happened: Happened
    id: str
    at: float
    title: str
    lines: tuple[str, ...] = ()


def refused(model: str, results: Sequence[StepResult], at: float) -> list[Fact]:
    """Tell of a model that was not released; once for one model, in however many runs."""
    release = next((each for each in results if each.step == "release"), None)
    if release is None or release.facts.released is not False:
        return []
    key = next((each.key for each in results if each.step == "train" and each.key), "")
    lines = tuple(release.facts.verdict)
    return [Fact("refused", f"{key} {release.reason}", at, f"{model}: {release.reason}", lines)]


def failed(model: str, run: str, what: str, at: float) -> Fact:
    """Tell of a run that failed; errors stay where they are, since they may quote the data.

    Parameters
    ----------
    run : str
        What tells it from other runs.
    what : str
        A step, or the kind of error.
    """
    said = "what the command, or the task's log, says tells more"
    return Fact("failed", run, at, f"{model}: a run failed ({what})", (said,))


def find_news(
    environment: str,
    releases: Sequence[Release],
    stages: Sequence[Stage],
    interventions: Sequence[Intervention],
    looks: Sequence[KeptLook],
) -> list[Fact]:
    """List what happened to a model in an environment, in no order."""
    return [
        *_released(releases),
        *_staged(environment, stages),
        *_intervened(environment, interventions),
        *_seen(looks),
    ]


def _released(releases: Sequence[Release]) -> Iterator[Fact]:
    for each in releases:
        why, at = each.evidence.why or "by its gate", each.date.timestamp() if each.date else 0.0
        lines = (f"{each.evidence.who}: {why}", *each.evidence.verdict)
        yield Fact("released", each.tag, at, f"{each.tag} was released", lines)


def _staged(environment: str, stages: Sequence[Stage]) -> Iterator[Fact]:
    for each in stages:
        if each.action in _STAGES and each.date:
            happened, said = _STAGES[each.action]
            title = f"{each.release} {said.format(place=environment)}"
            yield Fact(happened, each.tag, each.date.timestamp(), title, (f"{each.who}: {each.why}",))


def _intervened(environment: str, interventions: Sequence[Intervention]) -> Iterator[Fact]:
    for each in interventions:
        if each.deed in _DEEDS and each.date:
            happened, said = _DEEDS[each.deed]
            lines = (f"{each.who}: {each.why}", *map(str, each.evidence.get("said", ())))
            title = f"{each.model}: {said.format(place=environment)}"
            yield Fact(happened, each.tag, each.date.timestamp(), title, lines)


def _seen(looks: Sequence[KeptLook]) -> Iterator[Fact]:
    """Tell of what the last look found, once for all windows in a row; and of the first quiet one after it."""
    row = row_of(looks)
    if not row or len(row) == MOST:  # when so many windows in a row began is not known any more
        return
    first, earlier = row[0], looks[: len(looks) - len(row)]
    title, *lines = first.lines or (first.verdict,)
    if first.verdict in _FOUND:
        yield Fact(_FOUND[first.verdict], f"{first.verdict} {first.at}", first.at, title, tuple(lines))
    elif earlier:
        yield Fact("recovered", f"recovered {first.at}", first.at, title, (f"before: {earlier[-1].verdict}",))
