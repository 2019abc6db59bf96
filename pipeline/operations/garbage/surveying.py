"""What the store holds, and what needs it: releases, today's specs, runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from pipeline.answers import asking_once
from pipeline.delivery.releases import Release, release_in
from pipeline.errors import InputError, ModelrailError
from pipeline.home import home, store_address
from pipeline.operations.garbage.deciding import Fate, Needs, decide, is_over, made_at, model_of, needed_by_runs
from pipeline.operations.garbage.merging import Merge, find_merges
from pipeline.runs.at_commit import open_job_at
from pipeline.runs.job import open_job
from pipeline.runs.plan.recipes import STEPS
from pipeline.runs.request import RunRequest
from pipeline.runs.session import Session
from pipeline.spec.files import find_environments
from pipeline.spec.loading.names import names_in, require_specs
from pipeline.storage.artifacts import Entry, Store, open_store
from pipeline.storage.artifacts.claims import CLAIM_LASTS, Claim, cut, read_claims
from pipeline.storage.git.repository import Repository, open_repository
from pipeline.storage.git.tags import fetch_tags, list_names, list_tags, settle


@dataclass(frozen=True)
class Survey:
    """What would stay, and what would go.

    Attributes
    ----------
    fates : tuple of Fate
        The artifacts of this repository's models.
    others : tuple of Entry
        What belongs to other repositories that share the store: it is left alone.
    leftovers : tuple of Entry
        What is no artifact, and was not touched for a day: from a process that was killed.
    over : tuple of Claim
        Notes of what runs needed once.
    merges : tuple of Merge
        Notes of costs that can be one.
    blind : dict
        Model → why what its spec would reuse is not known: all of it stays.
    """

    store: Store
    limit: datetime
    fates: tuple[Fate, ...]
    others: tuple[Entry, ...]
    leftovers: tuple[Entry, ...]
    over: tuple[Claim, ...]
    merges: tuple[Merge, ...]
    blind: Mapping[str, str] = field(default_factory=dict)

    @property
    def has_work(self) -> bool:
        """Whether anything can be removed or merged."""
        return bool(self.goes or self.leftovers or self.over or self.merges)

    @property
    def goes(self) -> list[Fate]:
        """What nothing needs."""
        return [each for each in self.fates if each.why is None]


def survey(folder: Path, keep: timedelta, now: datetime) -> Survey:
    """Find what nothing needs any more.

    Parameters
    ----------
    folder : Path
        In the repository that holds the specs.
    keep : timedelta
        What was made, or needed by a run, within this time stays; a day at least, since a run may go on for as long.

    Raises
    ------
    InputError
        If a spec is so broken that not even its model's name is known.
    TransientError
        If a remote that must be asked does not answer.
    """
    repository = open_repository(folder)
    state = home(repository.root)
    store = open_store(store_address(state), state)
    limit = now - max(keep, CLAIM_LASTS)
    _learn_releases(repository)
    blind: dict[str, str] = {}
    with asking_once():
        sessions = list(_sessions(repository, blind))
        nodes = (node for each in sessions for step in STEPS for node in each.chain.nodes(step))
        planned = [node.recipe.key for node in nodes if node.recipe]
    # A tag that cannot be read ends it: nobody knows what it needs.
    released = [found for tag in list_tags(repository, "*@v*") if (found := release_in(tag))]
    claims, entries = read_claims(store), store.entries()  # in this order: what is made meanwhile is new
    names = {each.job.model for each in sessions} | {*blind} | {each.model for each in released}
    own = _is_own(store_address(state), repository)
    mine, others = _part(entries, repository, None if own else names)
    needs = Needs(
        release=_needed_by_releases(released, claims),
        plan=frozenset(map(cut, planned)),
        run=needed_by_runs(claims, limit, now),
        blind=frozenset(blind),
    )
    return Survey(
        store=store,
        limit=limit,
        fates=tuple(decide(mine, needs, limit)),
        others=tuple(others),
        leftovers=tuple(each for each in entries if each.manifest is None and _is_old(each, now)),
        over=tuple(each for each in claims if is_over(each, limit, now) and (own or each.model in names)),
        merges=tuple(find_merges(store, names, now.date())),
        blind=blind,
    )


def _sessions(repository: Repository, blind: dict[str, str]) -> Iterator[Session]:
    """Open what each spec would run today, in each environment.

    Parameters
    ----------
    blind : dict
        Model → why what it needs is not known: filled in here.

    Raises
    ------
    InputError
        If a spec is so broken that not even the name of its model is known.
    """
    for path in require_specs(repository.root):  # without any, nothing would be needed
        name = names_in([path]).get(path)
        for environment in (None, *find_environments(path)):
            try:
                yield from _open(path, environment, repository)
            except ModelrailError as error:
                if name is None:
                    raise InputError(
                        f"gc: nothing is removed, since nobody knows whose spec this is: {error}"
                    ) from error
                blind.setdefault(name, str(error))


def _open(path: Path, environment: str | None, repository: Repository) -> Iterator[Session]:
    """Open a spec as the work tree has it, and where that is not committed, as the newest commit has it."""
    request = RunRequest(str(path), environment)
    session = Session(open_job(request))
    yield session
    if session.job.uncommitted and repository.has_commits() and repository.files("HEAD", session.job.spec_path):
        yield Session(open_job_at(request, "HEAD"))


def _learn_releases(repository: Repository) -> None:
    """Fetch what other clones have released and pushed; without a remote nobody has."""
    if not repository.attempt("remote", "get-url", "origin").succeeded:
        return
    released = (name.partition("@")[0] for name in list_names(repository, "*@v*"))
    models = dict.fromkeys([*names_in(require_specs(repository.root)).values(), *released])
    settle(repository)
    fetch_tags(repository, *(pattern for model in models for pattern in (f"{model}@v*", f"{model}#*")))


def _needed_by_releases(released: Iterable[Release], claims: Iterable[Claim]) -> frozenset[str]:
    tags = {cut(key) for each in released for key in each.evidence.artifacts.values()}
    return frozenset(tags.union(*(use.keys for use in claims if use.day is None)))


def _is_own(address: str, repository: Repository) -> bool:
    """Tell whether the store lies in the repository's own folder, so that nobody else uses it."""
    place = Path(address.removeprefix("file://")).expanduser()
    return "://" not in str(place) and place.resolve().is_relative_to(repository.root)


def _part(entries: Sequence[Entry], repository: Repository, names: set[str] | None) -> tuple[list[Entry], list[Entry]]:
    """Separate this repository's artifacts from others', by the model's name and by whether the spec's commit is here.

    Parameters
    ----------
    names : set of str or None
        This repository's models; None where all that is in the store is its own.
    """
    artifacts = [each for each in entries if each.manifest is not None]
    if names is None:
        return artifacts, []
    here = repository.holding({_commit(each) for each in artifacts if model_of(each) in names})
    mine = {each.key for each in artifacts if model_of(each) in names and _commit(each) in here}
    return [each for each in artifacts if each.key in mine], [each for each in artifacts if each.key not in mine]


def _commit(entry: Entry) -> str:
    commits = (entry.manifest or {}).get("commits")
    return str(commits.get("spec") or "") if isinstance(commits, dict) else ""


def _is_old(entry: Entry, now: datetime) -> bool:
    made = made_at(entry)
    return made is not None and made < now - CLAIM_LASTS
