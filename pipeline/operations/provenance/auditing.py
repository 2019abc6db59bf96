"""Who changed, approved, released, promoted and rolled back what: from Git, and from what Airflow tells.

An event is flagged where something is missing that a reviewer would want: a signature that holds, a second person, a
tag that must have been there.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Literal

from pipeline.delivery.interventions import Deed, Intervention, intervention_in
from pipeline.delivery.releases import Release, Version, release_in
from pipeline.delivery.stages import Action, Stage, stage_in
from pipeline.errors import ReleaseError
from pipeline.operations.provenance.airflow_log import read_entry
from pipeline.storage.git.repository import Repository
from pipeline.storage.git.tags import Tag, list_tags

Signature = Literal["good", "none", "bad", "unknown key", "not checked"]
WATCHED = ("models", "environments")

_GRADES: Mapping[str, Signature] = {"G": "good", "N": "none", "B": "bad", "R": "bad", "X": "bad", "Y": "bad",
                                    "U": "unknown key", "E": "unknown key"}  # fmt: skip
_REVIEWS = re.compile(r"^(?:Reviewed|Approved|Acked)-by: *(.+)$", re.IGNORECASE | re.MULTILINE)
_COMMIT = "//commit"  # no path can be this
_FORM = f"{_COMMIT}%x00%H%x00%P%x00%cI%x00%an <%ae>%x00%cn <%ce>%x00%G?%x00%s%x00%b%x00"
_FIELDS = 8
_ADDRESS = re.compile(r"<([^>]*)>")
_FIRST = ("changed", "approved", "released")
_VERBS: Mapping[Action, str] = {
    "deploy": "deployed",
    "promote": "promoted",
    "rollback": "rolled back",
    "abort": "aborted a canary, kept",
}
_DEEDS: Mapping[Deed, str] = {
    "alert": "raised an alert on",
    "retrain": "had trained anew",
    "rollback": "had rolled back",
    "hold": "held",
    "resume": "resumed",
}
_FLAGS: Mapping[Signature, str] = {
    "none": "unsigned",
    "bad": "the signature is bad",
    "unknown key": "signed by a key that is not trusted here",
}


@dataclass(frozen=True)
class Event:
    """Somebody did something.

    Attributes
    ----------
    action : str
        ``changed``, ``approved``, ``released``, ``deployed``, ``promoted``, ``rolled back``, ``missing``, or a verb
        for what Airflow's log says.
    what : str
        Files, a release, a stage, a DAG.
    id : str
        Commit or tag; empty for Airflow's.
    by : str
        Who made the commit or tag, if that is another than `who`.
    reviewers : tuple of str
        Of a change: who else has looked at it.
    flags : tuple of str
        What is missing.
    """

    when: datetime | None
    who: str
    action: str
    what: str
    id: str = ""
    why: str = ""
    source: Literal["git", "airflow"] = "git"
    by: str = ""
    signature: Signature | None = None
    reviewers: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Write a document for programs."""
        return asdict(self)


@dataclass(frozen=True)
class _Commit:
    id: str
    parents: tuple[str, ...]
    when: datetime
    author: str
    committer: str
    signature: Signature
    subject: str
    body: str
    paths: tuple[str, ...]


def audit(repository: Repository, since: datetime | None, airflow: Iterable[Mapping[str, Any]] = ()) -> list[Event]:
    """List what happened, oldest first.

    Parameters
    ----------
    since : datetime or None
        Only what happened then or later.
    airflow : iterable of dict
        Entries of Airflow's log, as its REST API gives them.
    """
    found = [*_changes(repository, since), *_tagged(repository, since), *map(_told_by_airflow, airflow)]
    kept = [each for each in found if since is None or each.when is None or each.when >= since]
    return sorted(kept, key=_order)


def _order(event: Event) -> tuple[bool, datetime, int]:
    """Order by time; within a second a change comes before its release, and that before what was done with it."""
    rank = _FIRST.index(event.action) if event.action in _FIRST else len(_FIRST)
    return event.when is not None, event.when or datetime.now(UTC), rank


def _changes(repository: Repository, since: datetime | None) -> Iterator[Event]:
    """Tell of every commit that changed a spec or an environment, and of who approved it."""
    if not repository.has_commits():
        return
    merges = _merges(repository, since)
    # Of a merge, --cc names what is as in none of its parents: a change that came in by the merge itself.
    listed = _log(repository, since, "--cc", "--name-only", "--", *WATCHED)
    for commit in (each for each in listed if each.paths):
        trailers = [(name.strip(), commit.when) for name in _REVIEWS.findall(commit.body)]
        merge = merges.get(commit.id)
        merged = [(merge.author, merge.when)] if merge else []
        approved = {name: when for name, when in [*trailers, *merged] if not _same_person(name, commit.author)}
        flags = (*_doubts(commit.signature), *(() if approved else ("not reviewed",)))
        files = ", ".join(commit.paths)
        by = commit.committer if not _same_person(commit.committer, commit.author) else ""
        yield Event(commit.when, commit.author, "changed", files, commit.id, commit.subject, by=by,
                    signature=commit.signature, reviewers=tuple(approved), flags=flags)  # fmt: skip
        for name, when in approved.items():
            how = f"merged by {merge.id[:10]}" if merge and (name, when) in merged else "named as reviewer"
            yield Event(when, name, "approved", files, commit.id, how)


def _merges(repository: Repository, since: datetime | None) -> dict[str, _Commit]:
    """Find the merge that brought each commit into the branch: commit → merge."""
    found: dict[str, _Commit] = {}
    for merge in reversed(list(_log(repository, since, "--merges", "--first-parent"))):  # the oldest first
        brought = repository.ask("rev-list", *merge.parents[1:], f"^{merge.parents[0]}").split()
        for commit in brought:
            found.setdefault(commit, merge)
    return found


def _log(repository: Repository, since: datetime | None, *options: str) -> Iterator[_Commit]:
    """List commits. Fields end with NUL, which no message can hold, so that none can pass for another commit."""
    limit = [f"--since={since.isoformat()}"] if since else []
    parts = iter(repository.ask("log", "-z", f"--format={_FORM}", *limit, *options).split("\0"))
    found: list[list[str]] = []
    for part in parts:
        if part.lstrip("\n") == _COMMIT:
            found.append(list(islice(parts, _FIELDS)))
        elif path := part.lstrip("\n"):
            found[-1].append(path)
    for name, parents, when, author, committer, grade, subject, body, *paths in found:
        moment, signature = datetime.fromisoformat(when).astimezone(UTC), _GRADES.get(grade, "unknown key")
        yield _Commit(name, tuple(parents.split()), moment, author, committer, signature, subject, body, tuple(paths))


def _tagged(repository: Repository, since: datetime | None) -> Iterator[Event]:
    """Tell of every release and stage, of tags that only have such a name, and of those that are missing."""
    tags = list_tags(repository, "*@v*", "*#*#*")
    signatures = _verify(repository, [each for each in tags if since is None or each.date >= since])
    released: dict[str, Release] = {}
    assigned: dict[str, Stage] = {}
    intervened: dict[str, Intervention] = {}
    for tag in tags:
        try:
            if release := release_in(tag):
                released[release.tag] = release
            elif stage := stage_in(tag):
                assigned[stage.tag] = stage
            elif intervention := intervention_in(tag):
                intervened[intervention.tag] = intervention
        except ReleaseError as error:
            yield _foreign(tag, str(error))
    recent = {each.name: each for each in tags if each.name in signatures}
    for name, tag in recent.items():
        if name in released:
            yield _release(released[name], tag, signatures[name])
        elif name in assigned:
            yield _stage(assigned[name], tag, signatures[name], released.keys())
        elif name in intervened:
            yield _intervention(intervened[name], tag, signatures[name])
    yield from _missing(list(released.values()), list(assigned.values()), list(intervened.values()))


def _foreign(tag: Tag, trouble: str) -> Event:
    flag = "a release's or stage's name, but not made by Modelrail"
    return Event(tag.date, tag.tagger, "tagged", tag.name, tag.name, trouble, flags=(flag,))


def _release(release: Release, tag: Tag, signature: Signature) -> Event:
    evidence = release.evidence
    return Event(release.date, evidence.who, "released", release.tag, release.tag, evidence.why or "by its gate",
                 by=_other(tag.tagger, evidence.who), signature=signature, flags=_doubts(signature))  # fmt: skip


def _stage(stage: Stage, tag: Tag, signature: Signature, released: Container[str]) -> Event:
    gone = () if stage.release in released else (f"the tag {stage.release} is gone",)
    return Event(stage.date, stage.who, _VERBS[stage.action], f"{stage.release} in {stage.environment}", stage.tag,
                 stage.why or "by its gate", by=_other(tag.tagger, stage.who), signature=signature,
                 flags=(*_doubts(signature), *gone))  # fmt: skip


def _intervention(made: Intervention, tag: Tag, signature: Signature) -> Event:
    return Event(made.date, made.who, _DEEDS[made.deed], f"{made.release} in {made.environment}", made.tag, made.why,
                 by=_other(tag.tagger, made.who), signature=signature, flags=_doubts(signature))  # fmt: skip


def _missing(
    released: Sequence[Release], assigned: Sequence[Stage], intervened: Sequence[Intervention]
) -> Iterator[Event]:
    """Find tags that are missing: numbers are given out one by one, and a tag is never taken back later."""
    numbers: dict[tuple[str, str], set[int]] = {}
    counted = [(each.tag, each.number, "a stage") for each in assigned]
    counted += [(each.tag, each.number, "an intervention") for each in intervened]
    for tag, number, what in counted:
        numbers.setdefault((tag.removesuffix(str(number)), what), set()).add(number)
    for (series, what), found in numbers.items():
        for number in sorted(set(range(1, max(found))) - found):
            yield _gone(f"{series}{number}", what)
    versions: dict[str, set[Version]] = {}
    for release in released:
        versions.setdefault(release.model, set()).add(release.version)
    for model, known in versions.items():
        for version in sorted(_expected(known) - known):
            yield _gone(f"{model}@v{version}", "a release")


def _expected(known: Iterable[Version]) -> set[Version]:
    """List the versions that must have come before those that are known."""
    found: set[Version] = set()
    for version in known:
        found |= {Version(version.major, version.minor, patch) for patch in range(version.patch)}
        found |= {Version(version.major, minor, 0) for minor in range(version.minor)}
        found |= {Version(major, 0, 0) for major in range(1, version.major)}
    return found


def _gone(tag: str, what: str) -> Event:
    return Event(None, "", "missing", tag, tag, f"later ones are there, so {what} of that name was deleted or not"
                 " fetched ('git fetch --tags')", flags=("deleted or not fetched",))  # fmt: skip


def _verify(repository: Repository, tags: Sequence[Tag]) -> dict[str, Signature]:
    """Check the signatures of tags; git is asked only about those that have one."""
    signed = [each.name for each in tags if each.signed]
    with ThreadPoolExecutor(4) as pool:
        found = dict(zip(signed, pool.map(lambda name: _verify_one(repository, name), signed), strict=True))
    return {each.name: found.get(each.name, "none") for each in tags}


def _verify_one(repository: Repository, name: str) -> Signature:
    done = repository.attempt("verify-tag", "--raw", name)
    if done.succeeded:
        return "good"
    return "bad" if re.search(r"BADSIG|incorrect signature|Could not verify signature", done.message) else "unknown key"


def _told_by_airflow(entry: Mapping[str, Any]) -> Event:
    run = f" {entry['run_id']}" if entry.get("run_id") else ""
    task = f" {entry['task_id']}" if entry.get("task_id") else ""
    what = f"{entry.get('dag_id') or ''}{run}{task}".strip()
    when = datetime.fromisoformat(entry["when"]).astimezone(UTC)
    verb, said = read_entry(entry)
    return Event(when, entry.get("owner") or "", verb, what, why=said, source="airflow")


def _doubts(signature: Signature) -> tuple[str, ...]:
    return (_FLAGS[signature],) if signature in _FLAGS else ()


def _other(tagger: str, who: str) -> str:
    return "" if _same_person(tagger, who) else tagger


def _same_person(one: str, other: str) -> bool:
    """Tell whether two names stand for one person: by the address, where both have one."""
    addresses = [match[1].casefold() for text in (one, other) if (match := _ADDRESS.search(text))]
    return addresses[0] == addresses[1] if len(addresses) == 2 else one.casefold() == other.casefold()
