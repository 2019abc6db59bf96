"""Releases: annotated Git tags ``NAME@v1.2.3`` that carry their evidence.

The tag is the record: what is in it can be read by ``git show`` and by this module, and nothing about a
release is kept anywhere else. Its message ends in one JSON document, after a line of dashes.

A tag stands on the spec's commit. Where a release of the model stands there already (only the data changed, and they
are in another repository), the new one stands on an empty commit on top of it: the ``gto`` package, which reads these
tags as well, tells versions apart by their commits.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from pipeline.errors import InputError, ReleaseError
from pipeline.messages import count, one_line
from pipeline.retries import attempts
from pipeline.storage.git.repository import Repository
from pipeline.storage.git.tags import Tag, child_commit, fetch_tags, list_names, list_tags, write_tag

if TYPE_CHECKING:
    from pipeline.model.signature import Input, Signature

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*@v\d+\.\d+\.\d+")
_RULE = "-" * 8
_MOST = 20  # runs of several clones may release at once

T = TypeVar("T")


@dataclass(frozen=True, order=True)
class Version:
    """A semantic version: major, the signature changed; minor, spec or code; patch, only data."""

    major: int
    minor: int
    patch: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"

    @classmethod
    def parse(cls, text: str) -> Version:
        """Read ``1.2.3``, with or without a leading ``v``."""
        match = re.fullmatch(r"v?(\d+)\.(\d+)\.(\d+)", text)
        if match is None:
            raise InputError(f"found the version '{text}'; expected one such as v1.2.3")
        return cls(*map(int, match.groups()))


@dataclass(frozen=True)
class Evidence:
    """What stands behind a release.

    Attributes
    ----------
    artifacts : dict
        Step → key of its artifact in the store, for ``normalize``, ``train`` and ``evaluate``.
    model_digest : str
        Digest of the train artifact: two releases with the same one answer alike.
    recipe : str
        Digest of the spec's and the code's part in the model: where it is that of the earlier release, only the
        data changed.
    metrics : dict
        Metric → ``value``, ``low`` and ``high`` on the test rows.
    verdict : list
        The gate's judgement, a sentence a line.
    image : str or None
        Digest of the image that serves the release, where one was made before the release was recorded.
    made_with : dict
        Versions of Python, of the libraries that decide results, and the platform; empty in older releases.
    split : dict
        ``validation_from`` and ``test_from`` → the times that a split by time had in this run; empty for other splits.
    data_time : str or None
        When the data commit was made, in ISO 8601; None in older releases, and for data that have no commit.
    """

    data_repository: str
    data_commit: str
    spec_commit: str
    code: str
    spec_path: str
    environment: str | None
    as_of: str | None
    partitions: int
    artifacts: Mapping[str, str]
    model_digest: str
    recipe: str
    signature: Mapping[str, Any]
    metrics: Mapping[str, Mapping[str, float | None]]
    verdict: Sequence[str]
    mlflow_run: str | None
    who: str
    why: str
    image: str | None = None
    made_with: Mapping[str, str] = field(default_factory=dict)
    split: Mapping[str, str] = field(default_factory=dict)
    data_time: str | None = None


@dataclass(frozen=True)
class Release:
    """One released version of a model."""

    model: str
    version: Version
    evidence: Evidence
    commit: str = ""
    date: datetime | None = field(default=None, compare=False)

    @property
    def tag(self) -> str:
        """Name of the Git tag, such as ``flight-delay@v1.2.3``."""
        return f"{self.model}@v{self.version}"


def releases(repository: Repository, model: str) -> list[Release]:
    """List a model's releases by version, oldest first."""
    return releases_of(list_tags(repository, f"{model}@v*"))


def releases_of(tags: Iterable[Tag]) -> list[Release]:
    """Read those of the tags that are releases of one model: by version, oldest first.

    Anybody can make a tag: one that has a release's name but was not made by Modelrail is passed over.
    """
    return sorted(readable(release_in, tags), key=lambda release: release.version)


def readable(read: Callable[[Tag], T | None], tags: Iterable[Tag]) -> Iterator[T]:
    """Yield what can be read of some tags; the others are passed over (`find_unreadable` names them)."""
    for tag in tags:
        with suppress(ReleaseError):
            if (found := read(tag)) is not None:
                yield found


def newest_releases(repository: Repository, model: str, count: int) -> tuple[list[Release], int]:
    """Read the newest of a model's releases, by version, oldest first; and count all of them."""
    # A glob for a name would find other models' tags too.
    found = [name for name in list_names(repository, f"{model}@v*") if _NAME.fullmatch(name)]
    names = [name for name in found if name.partition("@")[0] == model]
    if not names:
        return [], 0
    newest = sorted(names, key=lambda name: Version.parse(name.partition("@")[2]))[-count:]
    # So many patterns would each be held against every tag.
    made = releases_of(list_tags(repository, *newest)) if len(names) > count else []
    if len(made) < min(count, len(names)):  # also where some of the newest were passed over
        made = releases(repository, model)[-count:]
    return made, len(names)


def same_model(history: Sequence[Release], model_digest: str) -> Release | None:
    """Find the newest release of this very model, if it was ever released."""
    return next((each for each in reversed(history) if each.evidence.model_digest == model_digest), None)


def find_release(repository: Repository, reference: str) -> Release:
    """Find ``MODEL`` (its newest release) or ``MODEL@VERSION``.

    Raises
    ------
    InputError
        If there is no such release; the message lists those that there are.
    """
    model, _, wanted = reference.partition("@")
    history = releases(repository, model)
    if not history:
        raise InputError(f"found no release of '{model}' in {repository.root}; expected one: 'modelrail run' makes it")
    if not wanted:
        return history[-1]
    version = Version.parse(wanted)
    for release in history:
        if release.version == version:
            return release
    newest = ", ".join(f"v{each.version}" for each in history[:-6:-1])
    raise InputError(f"found no release {model}@v{version}; expected one of {newest} ('modelrail releases {model}')")


def next_version(previous: Release | None, evidence: Evidence) -> Version:
    """Decide the version of a new release from what changed since the previous one."""
    if previous is None:
        return Version(1, 0, 0)
    last = previous.version
    from pipeline.model.signature import Signature  # not needed to read releases

    if breaks_callers(
        Signature.from_json(dict(previous.evidence.signature)), Signature.from_json(dict(evidence.signature))
    ):
        return Version(last.major + 1, 0, 0)
    if evidence.recipe != previous.evidence.recipe:
        return Version(last.major, last.minor + 1, 0)
    return Version(last.major, last.minor, last.patch + 1)


def breaks_callers(old: Signature, new: Signature) -> bool:
    """Tell whether the new model may refuse a request that the old one answered, or answer it in another form."""

    def accepts(before: Input, after: Input) -> bool:
        same = (before.name, before.type, before.format) == (after.name, after.type, after.format)
        words, known = set(after.missing_values), set(before.missing_values)
        return same and known <= words and (after.nullable or (not before.nullable and words == known))

    same_outputs = old.task == new.task and old.classes == new.classes
    return not (
        same_outputs
        and len(old.inputs) == len(new.inputs)
        and all(accepts(before, after) for before, after in zip(old.inputs, new.inputs, strict=True))
    )


def record(
    repository: Repository,
    model: str,
    evidence: Evidence,
    *,
    push: bool = False,
    make_image: Callable[[Release], str | None] = lambda _: None,
) -> tuple[Release, bool]:
    """Record a release as a tag on the spec's commit.

    Two that release at once get two versions; if the other released the very same model, its release is
    given back instead.

    Parameters
    ----------
    push : bool
        Push the tag to the remote ``origin``.
    make_image : callable, optional
        Makes the release's image and gives it by its digest, for the tag to name; called again if another run took
        the version.

    Returns
    -------
    Release
        The release that now stands for this model.
    bool
        Whether it was made by this call.
    """
    evidence = replace(evidence, why=one_line(evidence.why), who=one_line(evidence.who))
    for _ in attempts(_MOST):
        if push:
            fetch_tags(repository, f"{model}@v*")
        tags = list_tags(repository, f"{model}@v*")
        history = releases_of(tags)
        if known := same_model(history, evidence.model_digest):
            return known, False
        previous = history[-1] if history else None
        release = Release(model, _free_version(model, next_version(previous, evidence), tags), evidence)
        if image := make_image(release):
            release = replace(release, evidence=replace(evidence, image=image))
        commit = _commit_of_its_own(repository, release, history)
        if write_tag(repository, release.tag, commit, message(release, previous), push=push):
            return replace(release, commit=commit), True
    raise ReleaseError(f"{model}: {_MOST} versions in a row were taken by other runs while this one was being released")


def _free_version(model: str, version: Version, tags: Iterable[Tag]) -> Version:
    """Count on while a tag that is no release has the name."""
    taken = {each.name for each in tags}
    while f"{model}@v{version}" in taken:
        version = replace(version, patch=version.patch + 1)
    return version


def _commit_of_its_own(repository: Repository, release: Release, history: Sequence[Release]) -> str:
    commit = release.evidence.spec_commit
    if all(each.commit != commit for each in history):
        return commit
    data = release.evidence.data_commit[:12]
    return child_commit(repository, commit, f"{release.tag}: the spec of {commit[:12]} on the data of {data}\n")


def message(release: Release, previous: Release | None) -> str:
    """Write a tag's message: a subject, what a reader wants to know, and the evidence as JSON."""
    evidence = release.evidence
    partitions = count(evidence.partitions, "partition")
    changed = f" (after v{previous.version})" if previous else " (the first release)"
    lines = [
        f"{release.tag}{changed}: {evidence.why or 'released by its gate'}",
        "",
        f"Data:    {evidence.data_commit[:12]}, {partitions}, from {evidence.data_repository}",
        f"Spec:    {evidence.spec_path} at {evidence.spec_commit[:12]}",
        f"Code:    {evidence.code}",
        f"By:      {evidence.who}",
        *(["MLflow:  run " + evidence.mlflow_run] if evidence.mlflow_run else []),
        *(["Image:   " + evidence.image] if evidence.image else []),
        "",
        *(f"{name}: {_interval(value)}" for name, value in evidence.metrics.items()),
        "",
        *evidence.verdict,
        "",
    ]
    return with_facts(lines, asdict(evidence))


def with_facts(lines: Sequence[str], facts: Mapping[str, Any]) -> str:
    """Write a tag's message: lines for people, then facts for programs."""
    return "\n".join([*lines, _RULE, json.dumps(facts, indent=1, ensure_ascii=False)]) + "\n"


def facts_of(tag: Tag) -> dict[str, Any]:
    """Read what `with_facts` wrote.

    Raises
    ------
    ValueError
        If there is none.
    """
    # The last line of dashes: one before it may be what somebody typed, and no JSON document has such a line.
    _, _, document = tag.message.rpartition(f"\n{_RULE}\n")
    # A signature may stand behind the document; the decoder stops where the document ends.
    facts, _ = json.JSONDecoder().raw_decode(document)
    return dict(facts)


def _interval(estimate: Mapping[str, float | None]) -> str:
    value, low, high = (estimate.get(key) for key in ("value", "low", "high"))
    if value is None:
        return "undefined"
    return f"{value:.4f}" + (f" [{low:.4f}, {high:.4f}]" if low is not None and high is not None else "")


def release_in(tag: Tag) -> Release | None:
    """Read a release's tag; None for a tag of another name.

    Raises
    ------
    ReleaseError
        If the tag has a release's name but was not made by Modelrail.
    """
    if not _NAME.fullmatch(tag.name):
        return None
    model, _, version = tag.name.partition("@")
    try:
        # A newer Modelrail may have written more than this one knows: that is left out.
        evidence = msgspec.convert(facts_of(tag), Evidence)
    except (ValueError, TypeError) as error:
        raise ReleaseError(
            f"tag {tag.name}: found no evidence of a release in its message ({error}); expected a tag that Modelrail"
            f" made: remove it ('git tag -d {tag.name}') or rename it"
        ) from error
    return Release(model, Version.parse(version), evidence, tag.commit, tag.date)
