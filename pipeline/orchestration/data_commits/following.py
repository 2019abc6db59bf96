"""What a model reads of a commit and of its changes; a DVC pointer counts as the files that it names.

Contents are told apart by Git's ids, and by DVC's digests; a pointer of Git LFS has the path of its file, and changes
with it. A pointer that cannot be read here hides nothing: the run that it starts says what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.errors import DataError, InputError
from pipeline.orchestration.data_commits.history import DataCommit, FileChange, Stretch
from pipeline.storage.git.repository import File, Repository
from pipeline.storage.large_files import LargeFile, Layout
from pipeline.storage.large_files.fetching import list_folder
from pipeline.storage.large_files.finding import is_pointer, unfold, unknown
from pipeline.storage.large_files.pointers import read_dvc
from pipeline.storage.large_files.remotes import Remotes


@dataclass(frozen=True)
class View:
    """A repository, as a model with this layout sees it; lists of folders are kept below ``state``."""

    repository: Repository
    layout: Layout
    state: Path
    remotes: Remotes

    def files(self, commit: str | None) -> dict[str, str]:
        """Read path → content of what the model reads at a commit; nothing for no commit."""
        if commit is None:
            return {}
        files = self.repository.files(commit, *self.layout.places)
        found = {file.path: file.id for file in files}
        for file in self._pointers(files):
            del found[file.path]
        for files_there in self._read(self._pointers(files)).values():
            found.update(files_there)
        return {path: content for path, content in sorted(found.items()) if self.layout.key(path) is not None}

    def follow(self, stretch: Stretch) -> Stretch:
        """Replace changes of pointers by the changes of the files that they name."""
        changes = [change for commit in (*stretch.commits, *stretch.undone) for change in commit.changes]
        ids = {File(each.path, name, 0) for each in changes for name in (each.before, each.after) if name}
        read = self._read(self._pointers(ids))
        if not read:
            return stretch
        unfolded = {(file.path, file.id): files for file, files in read.items()}

        def follow(commits: Iterable[DataCommit]) -> tuple[DataCommit, ...]:
            return tuple(replace(each, changes=tuple(_unfold(each.changes, unfolded))) for each in commits)

        return replace(stretch, commits=follow(stretch.commits), undone=follow(stretch.undone))

    def _pointers(self, files: Iterable[File]) -> list[File]:
        return [file for file in files if is_pointer(file.path, self.layout.files)]

    def _read(self, pointers: Iterable[File]) -> dict[File, dict[str, str]]:
        """Read path → content of the files that each pointer names."""
        contents = self.repository.read_all(pointers)
        return {file: {each.path: each.id for each in self._files(file, contents[file])} for file in contents}

    def _files(self, pointer: File, content: bytes) -> Iterator[File]:
        try:
            outs = read_dvc(content, pointer, "HEAD")
        except DataError:
            return iter([replace(pointer, path=pointer.path.removesuffix(".dvc"))])
        return unfold(outs, self.layout.files, self._list)

    def _list(self, folder: LargeFile) -> list[LargeFile]:
        try:
            return list(list_folder(folder, self.repository, self.state, self.remotes))
        except (DataError, InputError):
            return [unknown(folder, self.layout.files)]


def _unfold(
    changes: Iterable[FileChange], unfolded: Mapping[tuple[str, str], Mapping[str, str]]
) -> Iterator[FileChange]:
    for change in changes:
        before, after = (unfolded.get((change.path, name)) if name else None for name in (change.before, change.after))
        if before is None and after is None:
            yield change
        else:
            old, new = before or {}, after or {}
            yield from (FileChange(path, old.get(path), new.get(path)) for path in {**old, **new})
