"""Where the pages read from: the specs of a folder, and for each its repository, its store and its state."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from pipeline.home import home, store_address
from pipeline.operations.provenance.commits import Lookup, lookup_for
from pipeline.runs.costs import Spent, read_costs
from pipeline.storage.artifacts import Artifact, Store, open_store
from pipeline.storage.git.repository import open_repository
from pipeline.ui.pages.slow_answers import RecentAnswers
from pipeline.ui.pages.specs import Source, Sources
from pipeline.ui.pages.tag_cache import TagCache


@dataclass(frozen=True)
class RepositoryView:
    """What the pages read of the models of one repository."""

    tags: TagCache
    store: Store
    state: Path
    answers: RecentAnswers

    def find(self, key: str) -> Artifact | None:
        """Look an artifact up by its key; None if there is none (any more)."""
        return _find(self.store, key) if key else None

    def look_up(self, source: Source) -> Lookup:
        """Return the function that looks up the model's data commits."""
        return lookup_for(source.spec.data.repository if source.spec else None, self.tags.repository, self.state)

    def spent(self, model: str) -> list[Spent]:
        """List what the model's steps took, oldest first; what is being read just now may be missing."""
        return self.answers.ask(("costs", model), lambda: read_costs(self.store, model), [])


class Archive:
    """The specs of a folder and all that is kept for them.

    Parameters
    ----------
    models : Path
        Folder of the specs.
    """

    def __init__(self, models: Path) -> None:
        self.sources = Sources(models)
        self.answers = RecentAnswers()
        self._lock = threading.Lock()
        self._views: dict[Path, RepositoryView] = {}

    def view(self, source: Source) -> RepositoryView:
        """Return the view of a model's repository: its tags, store and state.

        Raises
        ------
        InputError
            If no Git repository holds the spec.
        """
        folder = source.path.resolve().parent
        with self._lock:
            if folder not in self._views:
                state = home(source.path.resolve())
                store = open_store(store_address(state), state)
                self._views[folder] = RepositoryView(TagCache(open_repository(folder)), store, state, self.answers)
            return self._views[folder]


@lru_cache(maxsize=4096)
def _known(store: Store, key: str) -> Artifact:
    found = store.find(key)
    if found is None:
        raise KeyError(key)
    return found


def _find(store: Store, key: str) -> Artifact | None:
    """Remember the artifacts that exist, since they never change; a missing one is looked for again."""
    try:
        return _known(store, key)
    except KeyError:
        return None
