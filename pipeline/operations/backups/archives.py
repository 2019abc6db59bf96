"""Archives: many files in one, with the digest of each. A damaged or incomplete archive is refused.

An archive is a tar, so that any machine can look into it. Its first member says what it is. Its last member names
every file with its digest, so an archive that was cut off lacks it. It isn't compressed, since most files already are.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import IO, Any

from pipeline.errors import InputError, ModelrailError

FORMAT = 1
"""Grows when an older Modelrail could not read what this one writes."""
FACTS, LISTING, CONTENT = "modelrail-backup.json", "modelrail-digests.json", "home"
_MOST_FACTS = 1 << 20
_CHUNK = 1 << 20
_EXAMPLES = 5


def pack(archive: Path, facts: Mapping[str, Any], files: Iterable[tuple[str, Path]]) -> int:
    """Write an archive that only this user can read; return the number of its files.

    Parameters
    ----------
    facts : mapping
        What the archive tells of itself.
    files : iterable of (str, Path)
        Name in the archive, and where the file is; one that is gone by now is left out.

    Raises
    ------
    ModelrailError
        If a file became shorter while it was read.
    """
    listing: dict[str, dict[str, Any]] = {}
    descriptor = os.open(archive, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as target:
        with tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT) as tar:
            facts = {"format": FORMAT, **facts}
            _add_document(tar, FACTS, facts)
            for name, path in files:
                if entry := _add_file(tar, f"{CONTENT}/{name}", path):
                    listing[name] = entry
            _add_document(tar, LISTING, {"sha256": _seal(facts, listing), "files": listing})
        target.flush()
        os.fsync(target.fileno())
    return len(listing)


def unpack(archive: Path, folder: Path) -> dict[str, Any]:
    """Write an archive's files into an empty folder; return the archive's facts.

    Raises
    ------
    InputError
        If the archive is none, is damaged, cut off or from a newer Modelrail, or holds what no backup holds. What is in
        the folder then is of no use.
    """
    try:
        with tarfile.open(archive, "r:") as tar:
            facts = _read_facts(archive, tar)
            found, listing = _unpack_all(archive, tar, folder)
    except (tarfile.TarError, EOFError) as error:
        raise _damaged(archive, str(error)) from error
    except (FileNotFoundError, IsADirectoryError) as error:
        raise InputError(f"{archive}: found no such file; expected one that 'modelrail backup' has written") from error
    files = listing.get("files")
    if not isinstance(files, dict) or listing.get("sha256") != _seal(facts, files):
        raise _damaged(archive, "its list of files is not what was written")
    _compare(archive, found, files)
    for name, entry in files.items():
        (folder / name).chmod(entry["mode"] & 0o777)
    return facts


def _seal(facts: Mapping[str, Any], listing: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps([facts, listing], sort_keys=True).encode()).hexdigest()


def _add_document(tar: tarfile.TarFile, name: str, content: Mapping[str, Any]) -> None:
    text = json.dumps(content, indent=1).encode()
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(text), 0o600
    tar.addfile(info, io.BytesIO(text))


def _add_file(tar: tarfile.TarFile, name: str, path: Path) -> dict[str, Any] | None:
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return None
    with file:
        stat = os.fstat(file.fileno())
        info = tarfile.TarInfo(name)
        info.size, info.mode, info.mtime = stat.st_size, stat.st_mode & 0o777, stat.st_mtime
        digesting = _Digesting(file)
        try:
            tar.addfile(info, digesting)  # type: ignore[arg-type]  # reading is all that it does
        except OSError as error:
            if error.errno is not None:  # such as a full disk
                raise
            raise ModelrailError(f"{path}: became shorter while it was read; run the backup again") from error
    return {"bytes": stat.st_size, "sha256": digesting.digest, "mode": info.mode}


class _Digesting:
    """A file that is digested as it is read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._hash = file, hashlib.sha256()

    def read(self, size: int) -> bytes:
        content = self._file.read(size)
        self._hash.update(content)
        return content

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()


def _read_facts(archive: Path, tar: tarfile.TarFile) -> dict[str, Any]:
    member = tar.next()
    if member is None or member.name != FACTS or not member.isreg() or member.size > _MOST_FACTS:
        raise InputError(f"{archive}: found no backup; expected a file that 'modelrail backup' has written")
    facts = _parse(archive, _content(tar, member).read())
    if not isinstance(facts.get("format"), int) or facts["format"] > FORMAT:
        raise InputError(
            f"{archive}: found format {facts.get('format')}, written by Modelrail {facts.get('modelrail')}; expected"
            f" at most {FORMAT}: restore it with that version of Modelrail or a newer one"
        )
    return facts


def _unpack_all(archive: Path, tar: tarfile.TarFile, folder: Path) -> tuple[dict[str, tuple[int, str]], dict[str, Any]]:
    """Write the files; return the size and digest of each, and the archive's own list of them."""
    found: dict[str, tuple[int, str]] = {}
    while member := tar.next():
        if member.name == LISTING and member.isreg():
            return found, _parse(archive, _content(tar, member).read())
        name = _check(archive, member)
        if name in found:
            raise _damaged(archive, f"'{name}' is in it twice")
        found[name] = _write(_content(tar, member), member, folder / name)
        tar.members.clear()  # type: ignore[attr-defined]  # else a million files are a million entries in memory
    raise _damaged(archive, "its end is missing")


def _check(archive: Path, member: tarfile.TarInfo) -> str:
    """Check a file's name and return it; refuse all that could lead out of the folder or is no plain file."""
    path = PurePosixPath(member.name)
    parts = path.parts
    leads_out = path.is_absolute() or ".." in parts or parts[:1] != (CONTENT,) or len(parts) < 2 or "\0" in member.name
    if leads_out or str(path) != member.name or not member.isreg() or member.issparse():
        raise InputError(f"{archive}: found the member {member.name!r}; expected only plain files below '{CONTENT}/'")
    return "/".join(parts[1:])


def _write(source: IO[bytes], member: tarfile.TarInfo, target: Path) -> tuple[int, str]:
    target.parent.mkdir(parents=True, exist_ok=True)
    digesting, size = _Digesting(source), 0
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        while content := digesting.read(_CHUNK):
            size += file.write(content)
    os.utime(target, (member.mtime, member.mtime))
    return size, digesting.digest


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    content = tar.extractfile(member)
    if content is None:
        raise tarfile.ReadError(f"'{member.name}' is no file")
    return content


def _parse(archive: Path, content: bytes) -> dict[str, Any]:
    try:
        parsed = json.loads(content)
    except ValueError as error:
        raise _damaged(archive, str(error)) from error
    if not isinstance(parsed, dict):
        raise _damaged(archive, "its description is no mapping")
    return parsed


def _compare(archive: Path, found: Mapping[str, tuple[int, str]], listing: Mapping[str, Mapping[str, Any]]) -> None:
    wrong = [
        name
        for name in sorted({*found, *listing})
        if name not in listing or found.get(name) != (listing[name].get("bytes"), listing[name].get("sha256"))
    ]
    if wrong:
        more = f" and {len(wrong) - _EXAMPLES} more" if len(wrong) > _EXAMPLES else ""
        raise _damaged(archive, f"{', '.join(wrong[:_EXAMPLES])}{more} differ from what was written")


def _damaged(archive: Path, why: str) -> InputError:
    return InputError(f"{archive}: found it damaged or cut off ({why}); expected a whole backup: take another")
