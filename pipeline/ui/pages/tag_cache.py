"""What Git says of releases and stages, read again only when a tag has changed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

from pipeline.delivery.interventions import Intervention, interventions_of
from pipeline.delivery.releases import Release, releases
from pipeline.delivery.stages import Stage, stages
from pipeline.storage.git.repository import Repository
from pipeline.storage.git.tags import list_ids, list_tags

T = TypeVar("T")


class TagCache:
    """The tags of one repository.

    Every question costs one listing of names and object ids (10 ms for 1,000 tags); the messages, with the evidence in
    them, are read only after a change. So nothing shown is ever stale, and nothing is read twice.
    """

    def __init__(self, repository: Repository) -> None:
        self.repository = repository
        self._lock = threading.Lock()
        self._known: dict[str, tuple[set[str], list[Any]]] = {}

    def releases(self, model: str) -> list[Release]:
        """List a model's releases, oldest first."""
        return self._once(f"{model}@v*", lambda: releases(self.repository, model))

    def stages(self, model: str) -> dict[str, list[Stage]]:
        """List the model's stages by environment, oldest first."""
        found: dict[str, list[Stage]] = {}
        for stage in self._once(f"{model}#*", lambda: stages(self.repository, model)):
            found.setdefault(stage.environment, []).append(stage)
        return found

    def interventions(self, model: str) -> dict[str, list[Intervention]]:
        """List what was done about the model by environment, oldest first."""
        found: dict[str, list[Intervention]] = {}
        pattern = f"{model}#*#watch#*"
        for made in self._once(pattern, lambda: interventions_of(list_tags(self.repository, pattern))):
            found.setdefault(made.environment, []).append(made)
        return found

    def _once(self, pattern: str, read: Callable[[], list[T]]) -> list[T]:
        state = list_ids(self.repository, pattern)
        with self._lock:
            if pattern not in self._known or self._known[pattern][0] != state:
                self._known[pattern] = (state, read())
            return list(self._known[pattern][1])
