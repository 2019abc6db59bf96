"""The partitions of a commit, or of the work tree; a pointer stands for the file that it names.

Nothing is downloaded except DVC's list of the files of a folder.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from pipeline.errors import InputError
from pipeline.storage.git.partitions import matching
from pipeline.storage.git.repository import File, FileGroup, LinkAstray, Repository
from pipeline.storage.large_files.layout import Layout
from pipeline.storage.large_files.pointers import LFS_SIZES, SUFFIX, LargeFile, read_dvc, read_lfs

List = Callable[[LargeFile], Iterable[LargeFile]]
"""A folder that one DVC pointer stands for → its files."""


def find_partitions(
    repository: Repository, commit: str, files: Sequence[File], layout: Layout, list_folder: List
) -> dict[str, File]:
    """Find the partitions at a commit, sorted by key; large ones as ``LargeFile``.

    Parameters
    ----------
    commit : str
        Empty for the work tree.
    files : sequence of File
        Those at or below the layout's places there.

    Raises
    ------
    InputError
        If a partition is there twice, as a file and by a pointer, or is a link out of the repository.
    DataError
        If a pointer is damaged, or the list of a folder cannot be had.
    """
    template = layout.files
    plain = matching(files, template)
    whole = [*plain.values(), *(each for each in files if layout.images and layout.key_of_image(each.path))]
    _refuse_links([each for file in whole for each in _members(file)])
    small = [each for file in whole for each in _members(file) if each.bytes in LFS_SIZES]
    pointers = [each for each in files if is_pointer(each.path, template)]
    contents = repository.read_all([*small, *pointers])
    large = {each.path: pointer for each in small if (pointer := read_lfs(contents[each], each, commit))}
    found = {key: _in_place(file, large) for key, file in plain.items()}
    outs = (out for each in pointers for out in read_dvc(contents[each], each, commit))
    for file in unfold(outs, template, list_folder):
        _add(found, layout.key_of_rows(file.path), file)
    if layout.images:
        found = _with_images(found, [large.get(each.path, each) for each in files], layout)
    return dict(sorted(found.items()))


def _refuse_links(files: Iterable[File]) -> None:
    if stray := next((each for each in files if isinstance(each, LinkAstray)), None):
        raise InputError(
            f"{stray.path}: found a symbolic link that leads to no file of the repository; expected one to a file in "
            "it, or the file itself"
        )


def _members(file: File) -> Sequence[File]:
    return file.members if isinstance(file, FileGroup) else (file,)


def _in_place(file: File, large: Mapping[str, LargeFile]) -> File:
    """Put large files where their pointers stand."""
    if isinstance(file, FileGroup):
        return FileGroup.of(file.path, tuple(large.get(each.path, each) for each in file.members))
    return large.get(file.path, file)


def is_pointer(path: str, template: str) -> bool:
    """Tell a pointer of DVC that may stand for partitions."""
    folder, *above = Layout(template).places
    return path.endswith(SUFFIX) and (path in above or not folder or path.startswith(f"{folder}/"))


def unfold(outs: Iterable[LargeFile], template: str, list_folder: List) -> Iterator[LargeFile]:
    """Yield the files behind pointers that a template can match; a folder counts as the files in it."""
    for out in outs:
        if not out.digest.endswith(".dir"):
            yield out
        elif _may_hold(out.path, template):
            yield from list_folder(out)


def unknown(folder: LargeFile, template: str) -> LargeFile:
    """Build one file that stands for a folder whose list cannot be read."""
    return replace(folder, path=re.sub(r"{\w+}", "?", template))


def _with_images(found: Mapping[str, File], files: Iterable[File], layout: Layout) -> dict[str, File]:
    """Put the images of each partition behind the file of its rows."""
    images: dict[str, list[File]] = {key: [] for key in found}
    for each in files:
        if (key := layout.key_of_image(each.path)) in images and key is not None:
            images[key].append(each)
    return {key: FileGroup.of(rows.path, (rows, *images[key])) for key, rows in found.items()}


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
