"""The specs of a folder as the pages know them: read again only when a file has changed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import ModelrailError
from pipeline.orchestration.dag_texts import guess_name
from pipeline.spec.files import find_environments, list_yaml
from pipeline.spec.loading.loading import load_spec
from pipeline.spec.schema.spec import Spec


@dataclass(frozen=True)
class Source:
    """A model's spec, or what is wrong with it.

    Attributes
    ----------
    name : str
        The model's name, which is also its DAG's.
    spec : Spec or None
        None where it cannot be read; then there are problems.
    environments : mapping of str to Spec
        Overlay → the spec with it; those that do not fit are left out.
    problems : tuple of str
        One line each, with file and line.
    """

    name: str
    path: Path
    spec: Spec | None
    environments: tuple[tuple[str, Spec], ...] = ()
    problems: tuple[str, ...] = ()


_Stamp = tuple[tuple[str, int, int], ...]


class Sources:
    """The specs of one folder.

    Parameters
    ----------
    models : Path
        Its YAML files are specs; the overlays are where the command line finds them.
    """

    def __init__(self, models: Path) -> None:
        self.models = models
        self._lock = threading.Lock()
        self._read: dict[Path, tuple[_Stamp, Source]] = {}

    def all(self) -> list[Source]:
        """List every model, by name."""
        with self._lock:
            overlays = tuple(_stamps(self.models.parent / "environments")) + tuple(
                _stamps(self.models / "environments")
            )
            files = list_yaml(self.models)
            self._read = {path: self._reread(path, overlays) for path in files}
            sources = [source for _, source in self._read.values()]
        return sorted(sources, key=lambda each: (each.name.casefold(), each.path))

    def find(self, name: str) -> Source | None:
        """Find one model, by its name or its DAG's."""
        return next((each for each in self.all() if each.name == name), None)

    def _reread(self, path: Path, overlays: _Stamp) -> tuple[_Stamp, Source]:
        stamp = (*_stamps(path), *overlays)
        known = self._read.get(path)
        return known if known and known[0] == stamp else (stamp, _read(path))


def _stamps(place: Path) -> Iterator[tuple[str, int, int]]:
    for each in list_yaml(place) if place.is_dir() else (place,):
        try:
            stat = each.stat()
        except OSError:
            continue
        yield str(each), stat.st_mtime_ns, stat.st_size


def _read(path: Path) -> Source:
    try:
        spec = load_spec(path).spec
    except ModelrailError as error:
        return Source(guess_name(path), path, None, problems=tuple(str(error).splitlines()))
    overlays: list[tuple[str, Spec]] = []
    problems: list[str] = []
    for name in find_environments(path, None):
        try:
            overlays.append((name, load_spec(path, name).spec))
        except ModelrailError as error:
            problems += str(error).splitlines()
    return Source(spec.model.name, path, spec, tuple(overlays), tuple(problems))
