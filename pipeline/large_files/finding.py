"""The partitions of a commit, or of the work tree, with pointers read: a pointer stands for the file that it names.

Nothing is downloaded for it, but for DVC's list of the files of a folder.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from pipeline.errors import InputError
from pipeline.large_files.pointers import LFS_SIZES, SUFFIX, LargeFile, read_dvc, read_lfs
from pipeline.repository import File, Repository, folder_of, key_in, matching

List = Callable[[LargeFile], Iterable[LargeFile]]
"""A folder that one DVC pointer stands for → its files."""


def find_partitions(repository: Repository, commit: str, template: str, list_folder: List) -> dict[str, File]:
    """Find the partitions at a commit, sorted by key; large ones as ``LargeFile``.

    Parameters
    ----------
    commit : str
        Empty for the work tree.
    template : str
        As for ``key_in``.

    Raises
    ------
    InputError
        If a partition is there twice: as a file and by a pointer.
    DataError
        If a pointer is damaged, or the list of a folder cannot be had.
    """
    places = places_of(template)
    files = repository.files(commit, *places) if commit else repository.work_tree_files(*places)
    plain = matching(files, template)
    small = [each for each in plain.values() if each.bytes in LFS_SIZES]
    pointers = [each for each in files if is_pointer(each.path, template)]
    contents = repository.read_all([*small, *pointers])
    large = {each.path: pointer for each in small if (pointer := read_lfs(contents[each], each, commit))}
    found: dict[str, File] = {key: large.get(file.path, file) for key, file in plain.items()}
    outs = (out for each in pointers for out in read_dvc(contents[each], each, commit))
    for file in unfold(outs, template, list_folder):
        _add(found, key_in(template)(file.path), file)
    return dict(sorted(found.items()))


def places_of(template: str) -> list[str]:
    """Name the places in a repository that may hold partitions: a folder, and pointers that may stand for it."""
    folder = folder_of(template)
    parts = folder.split("/") if folder else []
    return [folder, *("/".join(parts[: place + 1]) + SUFFIX for place in range(len(parts)))]


def is_pointer(path: str, template: str) -> bool:
    """Tell a pointer of DVC that may stand for partitions."""
    folder, *above = places_of(template)
    return path.endswith(SUFFIX) and (path in above or not folder or path.startswith(f"{folder}/"))


def unfold(outs: Iterable[LargeFile], template: str, list_folder: List) -> Iterator[LargeFile]:
    """Give the files among what pointers stand for that a template can match; folders as the files in them."""
    for out in outs:
        if not out.digest.endswith(".dir"):
            yield out
        elif _may_hold(out.path, template):
            yield from list_folder(out)


def unknown(folder: LargeFile, template: str) -> LargeFile:
    """Give one file that stands for a folder of which no list can be had."""
    return replace(folder, path=re.sub(r"{\w+}", "?", template))


def _add(found: dict[str, File], key: str | None, file: LargeFile) -> None:
    if key is None:
        return
    if key in found:
        raise InputError(
            f"{file.path}: found it twice, there and by {file.pointer}; expected one of them: 'git rm' the other"
        )
    found[key] = file


def _may_hold(folder: str, template: str) -> bool:
    names, patterns = folder.split("/"), template.split("/")
    return folder == "." or (len(names) < len(patterns) and all(map(_fits, names, patterns)))


def _fits(name: str, pattern: str) -> bool:
    pieces: Sequence[str] = re.split(r"{\w+}", pattern)
    return re.fullmatch(".+".join(map(re.escape, pieces)), name) is not None
