"""Partitions among the files of a repository: the key in a path, by a template."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from pipeline.errors import InputError
from pipeline.storage.git.repository import File, FileGroup, base_of, readable


def key_in(template: str) -> Callable[[str], str | None]:
    """Build the function from a path to the partition's key, which returns None for a path that is no partition.

    Parameters
    ----------
    template : str
        A path in which ``{name}`` stands for the part that tells partitions apart: ``flights/{month}.csv``.
        A template without one is a single partition, named by the file. ``*`` stands for whatever part of a name, so
        that several files are one partition: ``digits/{part}/*/*.png``.
    """
    names = re.findall(r"{(\w+)}", template)
    alone = Path(base_of(template)).name or "all" if "*" in template else ""
    pieces = re.split(r"{\w+}", template)
    pattern = re.compile("([^/]+)".join(re.escape(each).replace(r"\*", "[^/]*") for each in pieces))

    def key(path: str) -> str | None:
        match = pattern.fullmatch(path)
        if match is None:
            return None
        return readable("/".join(match.groups()) if names else alone or Path(path).name)

    return key


def matching(files: Iterable[File], template: str) -> dict[str, File]:
    """Find the partitions among files: key → file, sorted by key.

    Parameters
    ----------
    template : str
        As for ``key_in``.

    Raises
    ------
    InputError
        If the names of two files are written alike.
    """
    key = key_in(template)
    found: dict[str, list[File]] = {}
    for file in files:
        if (name := key(file.path)) is not None:
            found.setdefault(name, []).append(file)
    if "*" in template:
        return {name: _together(name, each, template) for name, each in sorted(found.items())}
    return {name: _only(name, each) for name, each in sorted(found.items())}


def _only(key: str, files: Sequence[File]) -> File:
    if len(files) > 1:  # one that is named by the byte E7, and one by the letters \xe7
        raise InputError(f"{key}: found {len(files)} files that are written so; expected one: rename the others")
    return files[0]


def _together(key: str, files: Sequence[File], template: str) -> FileGroup:
    """Make one partition of several files."""
    parts = iter(key.split("/"))
    path = re.sub(r"{\w+}", lambda _: next(parts), template)
    return FileGroup.of(path, tuple(sorted(files, key=lambda file: file.path)))


def folder_of(template: str) -> str:
    """Find the folder below which every path of a template lies."""
    return template.split("{", maxsplit=1)[0].rpartition("/")[0]
