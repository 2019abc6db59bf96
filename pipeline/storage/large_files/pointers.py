"""The two kinds of pointer, by their documented formats: pure.

- Git LFS: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md (a text below 1,024 bytes in place of the file);
  Git LFS itself reads one with CR LF, blank lines or extensions, so it is read here too.
- DVC: https://dvc.org/doc/user-guide/project-structure/dvc-files (``NAME.dvc`` next to the file or folder; for a
  folder, the content is a list of its files, https://dvc.org/doc/user-guide/project-structure/internal-files).
"""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pipeline.errors import DataError
from pipeline.messages import quote
from pipeline.storage.git.repository import File

Kind = Literal["Git LFS", "DVC"]
SUFFIX = ".dvc"
LFS_SIZES = range(100, 1024)
"""Bytes that an LFS pointer may have: a version, a hash and a size, and always below 1,024."""

_LFS_EXTENSIONS = rb"(?:ext-\d-\w+ sha256:[0-9a-f]{64}\n)*"
_LFS = re.compile(
    rb"(?!.*\next-(\d)-.*\next-\1-)"  # each has a number that no other has
    rb"version (?:http://git-media\.io/v/2|https://(?:hawser|git-lfs)\.github\.com/spec/v1)\n"
    + _LFS_EXTENSIONS + rb"oid sha256:(?P<oid>[0-9a-f]{64})\n"
    + _LFS_EXTENSIONS + rb"size (?P<size>\+?\d{1,18})",
    re.DOTALL,
)  # fmt: skip
_LFS_LINE_ENDS = re.compile(rb"(?:\r?\n)+")
_IDENTITY = re.compile(r"sha256:[0-9a-f]{64}|md5(?:-dos2unix)?:[0-9a-f]{32}(?:\.dir)?")
# As DVC itself writes it; what is written otherwise is read by a parser of YAML, which takes a hundred times as long.
_PLAIN = re.compile(r"outs:\n- (md5: [0-9a-f]{32}(?:\.dir)?\n(?:  [a-z]+: [^\n'\"#\[\]{}&*!|>%@`]+\n)+)")
_CHUNK = 2**20
_PRINTABLE = bytes(range(32, 127)) + b"\n\r\t\f\b"


@dataclass(frozen=True, order=True)
class LargeFile(File):
    """A file whose content is not in Git; ``id`` is the content's digest: ``sha256:…``, ``md5:…``, ``md5-dos2unix:…``.

    Paths on this machine and addresses are made of the digest, so nothing but a digest can be one.

    Attributes
    ----------
    pointer : str
        Path of what stands for it in Git.
    blob : str
        Git's id of that; empty for a file of a folder that one pointer stands for.
    at : str
        The commit; empty for the work tree.
    remote : str
        Name of the remote that the pointer itself asks for; empty for the configured one.

    Raises
    ------
    DataError
        If the digest is none, or the path leaves the repository.
    """

    kind: Kind = field(compare=False)
    pointer: str = field(compare=False)
    blob: str = field(default="", compare=False)
    at: str = field(default="", compare=False)
    remote: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        """Refuse what somebody else's pointer must not name."""
        if not _IDENTITY.fullmatch(self.id):
            raise DataError(
                f"{self.pointer}: found {quote(self.digest)} as the digest of {quote(self.path)}; expected "
                "hexadecimal digits, as 'dvc add' and Git LFS write them"
            )
        if self.path.startswith(("/", "../")) or self.path == "..":
            raise DataError(
                f"{self.pointer}: found {quote(self.path)}, which is not in the repository; expected a path in it"
            )

    @property
    def algorithm(self) -> str:
        """How the digest is made."""
        return self.id.partition(":")[0]

    @property
    def digest(self) -> str:
        """The digest, in hexadecimal digits."""
        return self.id.partition(":")[2]


def read_lfs(content: bytes, file: File, at: str) -> LargeFile | None:
    """Read an LFS pointer, with the line ends and extensions that Git LFS itself takes; None if it is none."""
    found = _LFS.fullmatch(_LFS_LINE_ENDS.sub(b"\n", content.strip()))
    if found is None:
        return None
    return LargeFile(
        file.path, f"sha256:{found['oid'].decode()}", int(found["size"]), "Git LFS", file.path, file.id, at
    )


def read_dvc(content: bytes, file: File, at: str) -> list[LargeFile]:
    """Read a ``.dvc`` file: each file or folder that it stands for; the digest of a folder ends in ``.dir``.

    Raises
    ------
    DataError
        If it is damaged, or gives no MD5.
    """
    document = _parse(content, file)
    base = posixpath.join(posixpath.dirname(file.path), str(document.get("wdir", ".")))
    return [_read_out(each, base, file, at) for each in document["outs"]]


def _read_out(out: Mapping[str, Any], base: str, file: File, at: str) -> LargeFile:
    digest, path = str(out.get("md5", "")), out.get("path")
    if not re.fullmatch(r"[0-9a-f]{32}(\.dir)?", digest) or not path:
        raise _explain(file, "an entry without a path or an 'md5'")
    # DVC 2 normalized the line ends of texts before it hashed them, and named no hash.
    algorithm = "md5" if out.get("hash") == "md5" else "md5-dos2unix"
    where = posixpath.normpath(posixpath.join(base, str(path)))
    named = (file.path, file.id, at, str(out.get("remote", "")))
    return LargeFile(where, f"{algorithm}:{digest}", int(out.get("size", 0)), "DVC", *named)


def _parse(content: bytes, file: File) -> Mapping[str, Any]:
    text = content.decode("utf-8", "replace")
    if plain := _PLAIN.fullmatch(text):
        pairs = (line.strip().partition(": ") for line in plain[1].splitlines())
        return {"outs": [{name: value for name, _, value in pairs}]}
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        document = YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        raise _explain(file, f"no YAML ({str(error).splitlines()[0]})") from error
    outs = document.get("outs") if isinstance(document, dict) else None
    if not isinstance(outs, list) or not all(isinstance(each, dict) for each in outs):
        raise _explain(file, "no list 'outs'")
    return document  # type: ignore[no-any-return]


def _explain(file: File, found: str) -> DataError:
    return DataError(f"{file.path}: found {found}; expected what 'dvc add' writes: add the file again")


def read_listing(content: bytes, folder: LargeFile) -> Iterator[LargeFile]:
    """Read what DVC keeps of a folder: its files, each with its digest.

    Raises
    ------
    DataError
        If it is no such list.
    """
    try:
        entries = [(str(each["relpath"]), str(each["md5"])) for each in json.loads(content)]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{folder.pointer}: found a damaged list of its files; expected DVC's: 'dvc add' again"
        ) from error
    for relative, digest in entries:
        path = posixpath.normpath(posixpath.join(folder.path, relative))
        identity = f"{folder.algorithm}:{digest}"
        yield LargeFile(path, identity, 0, "DVC", folder.pointer, "", folder.at, folder.remote)


def digest_of(content: bytes, algorithm: str) -> str:
    """Hash a content, in hexadecimal digits."""
    return _DIGESTS[algorithm](content)


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _md5_of_text(content: bytes) -> str:
    """Hash as DVC 2 did: of what looks like a text, CR LF counts as LF, within pieces of a mebibyte each."""
    if not _looks_like_text(content[:512]):
        return _md5(content)
    hashing = hashlib.md5(usedforsecurity=False)
    for start in range(0, len(content), _CHUNK):
        hashing.update(content[start : start + _CHUNK].replace(b"\r\n", b"\n"))
    return hashing.hexdigest()


def _looks_like_text(start: bytes) -> bool:
    return b"\0" not in start and len(start.translate(None, _PRINTABLE)) <= 0.3 * len(start)


_DIGESTS: Mapping[str, Callable[[bytes], str]] = {
    "sha256": lambda content: hashlib.sha256(content).hexdigest(),
    "md5": _md5,
    "md5-dos2unix": _md5_of_text,
}
