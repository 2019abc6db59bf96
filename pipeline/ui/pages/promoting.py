"""Changing what is live from a page: what the form says, and doing it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar, get_args

from pipeline.delivery.promotion import promote, rollback
from pipeline.delivery.releases import Release
from pipeline.errors import InputError
from pipeline.messages import one_line
from pipeline.ui.pages.archive import Archive, RepositoryView
from pipeline.ui.pages.environments import find_statuses
from pipeline.ui.pages.formatting import number
from pipeline.ui.pages.model import ModelAction
from pipeline.ui.pages.specs import Source

W = TypeVar("W", bound=str)

MOST_LETTERS = 500
"""Of a reason."""


@dataclass(frozen=True)
class ChangePage:
    """The change that is asked for, next to what is live.

    Attributes
    ----------
    before : str
        Version that is live now, as Git says; empty if none is.
    facts : sequence of (name, before, after)
        What differs between the two, in words.
    """

    model: str
    action: ModelAction
    environment: str
    wanted: Release
    before: str
    facts: Sequence[tuple[str, str, str]]


def change_page(archive: Archive, source: Source, asked: Mapping[str, str]) -> ChangePage:
    """Read which change is asked for.

    Parameters
    ----------
    asked : mapping of str to str
        ``action``, ``environment`` and ``version``, from the address or the form.

    Raises
    ------
    InputError
        If there is no such action, environment or release, or it is live there already.
    """
    view = archive.view(source)
    action = _one_of(asked.get("action", ""), get_args(ModelAction), "action")
    wanted = _wanted(view, source.name, asked.get("version", ""))
    places = {place.environment: place for place in find_statuses(source, view)}
    environment = _one_of(asked.get("environment", ""), tuple(places), "environment")
    before = places[environment].version
    if before == f"v{wanted.version}":
        raise InputError(f"{wanted.tag} is live in {environment} already; expected another release")
    history = {f"v{each.version}": each for each in view.tags.releases(source.name)}
    facts = compare_releases(history.get(before), wanted)
    return ChangePage(source.name, action, environment, wanted, before, facts)


def change(archive: Archive, source: Source, form: Mapping[str, str], *, who: str) -> None:
    """Do what a form asks for: record it in Git, then make it live.

    Parameters
    ----------
    who : str
        The user, as the stage's tag shall name them.

    Raises
    ------
    InputError
        If the form does not fit what is there (any more).
    ModelrailError
        If Git or the platform refuses.
    """
    why = read_reason(form.get("why", ""))
    asked = change_page(archive, source, form)
    if form.get("before", "") != asked.before:
        raise InputError(f"{asked.before or 'nothing'} is live in {asked.environment} by now; expected"
                         f" {form.get('before') or 'nothing'}, as when the form was opened: look again")  # fmt: skip
    do = {"promote": promote, "rollback": rollback}[asked.action]
    do(source.name, f"v{asked.wanted.version}", asked.environment, why=why, who=who, root=source.path.resolve().parent)
    archive.answers.forget()


def read_reason(text: str) -> str:
    """Read the reason from a form: one paragraph, without control characters.

    Raises
    ------
    InputError
        If there is none, or it is too long.
    """
    why = one_line(text)
    if not why:
        raise InputError("why: found no reason; expected one: it is recorded with the change")
    if len(why) > MOST_LETTERS:
        raise InputError(f"why: found {len(why)} letters; expected at most {MOST_LETTERS}")
    return why


def compare_releases(before: Release | None, after: Release) -> list[tuple[str, str, str]]:
    """Put two releases side by side in words."""
    ours, theirs = _facts(after), _facts(before) if before else {}
    return [(name, theirs.get(name, ""), said) for name, said in ours.items()]


def _facts(release: Release) -> dict[str, str]:
    evidence = release.evidence
    told = {
        "Released": f"{release.date:%Y-%m-%d %H:%M} UTC" if release.date else "",
        "Data commit": evidence.data_commit[:10],
        "Partitions": f"{evidence.partitions:,}",
        "Spec commit": evidence.spec_commit[:10],
        "Code": evidence.code,
    }
    return told | {name: number(each.get("value")) for name, each in evidence.metrics.items()}


def _wanted(view: RepositoryView, model: str, version: str) -> Release:
    known = {f"v{each.version}": each for each in view.tags.releases(model)}
    return known[_one_of(version, tuple(known)[::-1], "version")]


def _one_of(found: str, known: Sequence[W], what: str) -> W:
    if (match := next((each for each in known if each == found), None)) is not None:
        return match
    raise InputError(f"{what}: found '{found[:80]}'; expected {' or '.join(known[:5])}")
