"""What Airflow needs of each spec, kept in the state folder under what it was read from.

The DAG processor reads every spec again every half minute. A key is made of the spec's bytes and of the code that reads
it; under it stand the facts, with the digests of the files that the spec names. So nothing is stale: another text,
another file or another version of Modelrail is another key or no match, and the spec is read. It is a file a spec,
written whole or not at all, so several processes may read and write at once, and a reading that is cut short by
Airflow's time limit has kept what it has read. What is damaged, or cannot be kept, is read from the spec.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path

import msgspec

from pipeline.home import PACKAGE, prepare_home
from pipeline.orchestration.dag_facts import DagFacts, facts_of
from pipeline.spec.files import read_bytes

_DAY_S = 24 * 60 * 60
_UNUSED_S = 30 * _DAY_S
_LIBRARIES = ("msgspec", "pydantic", "pydantic-core", "pyyaml", "ruamel.yaml")


@dataclass(frozen=True)
class _Record:
    """The facts of a spec, and the SHA-256 of each file that it names."""

    facts: DagFacts
    files: Mapping[str, str]


class KeptFacts:
    """The facts of specs, kept below a state folder; what was not used for 30 days is removed.

    Parameters
    ----------
    state : Path
        Folder of all local state; made when something is kept.
    code : bytes
        Says which code reads: what other code has kept does not count.
    """

    def __init__(self, state: Path, code: bytes) -> None:
        self._state, self._folder, self._code = state, state / "cache" / "specs", code
        self._swept = False

    def read(self, path: Path) -> tuple[DagFacts, str]:
        """Read a spec's facts and its text.

        Raises
        ------
        SpecError
            With every problem of the spec.
        InputError
            If the file is not there or cannot be opened.
        """
        content = read_bytes(path)
        file = self._folder / hashlib.sha256(self._code + content).hexdigest()
        record = self._find(file)
        if record is not None and all(_digest_of(path.parent / name) == kept for name, kept in record.files.items()):
            return record.facts, content.decode()
        return self._read_spec(path, content, file)

    def _read_spec(self, path: Path, content: bytes, file: Path) -> tuple[DagFacts, str]:
        from pipeline.spec.companion_files import digests_of  # with the schema, which most readings do not need
        from pipeline.spec.loading.loading import load_spec

        loaded = load_spec(path)
        record = _Record(facts_of(loaded.spec), digests_of(loaded.spec))
        if loaded.text.encode() == content:  # else it was saved meanwhile
            with suppress(OSError):  # a full disk, or a folder of somebody else: then every reading takes as long
                self._keep(file, msgspec.json.encode(record))
        return record.facts, loaded.text

    def _find(self, file: Path) -> _Record | None:
        try:
            digest, _, body = file.read_bytes().partition(b"\n")
            if hashlib.sha256(body).hexdigest().encode() != digest:
                return None
            record = msgspec.json.decode(body, type=_Record)
            if time.time() - file.stat().st_mtime > _DAY_S:
                os.utime(file)
        except (OSError, msgspec.DecodeError):
            return None
        return record

    def _keep(self, file: Path, body: bytes) -> None:
        if not self._folder.is_dir():
            prepare_home(self._state)
            self._folder.mkdir(parents=True, exist_ok=True)
        scratch = file.with_name(f"{file.name}.{os.getpid()}")
        scratch.write_bytes(hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
        scratch.replace(file)
        if not self._swept:
            self._swept = True
            self._remove_unused()

    def _remove_unused(self) -> None:
        for each in os.scandir(self._folder):
            with suppress(FileNotFoundError):  # another process removes it too
                if time.time() - each.stat().st_mtime > _UNUSED_S:
                    os.unlink(each)  # noqa: PTH108 - as Path it would be made for each of thousands


def _digest_of(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return ""


@cache
def digest_of_code() -> bytes:
    """Return a digest of what reads a spec: all of Modelrail (9 ms), and the libraries that parse and check."""
    found = hashlib.sha256(" ".join(map(version, _LIBRARIES)).encode())
    for folder, folders, names in os.walk(PACKAGE):
        folders.sort()
        for name in sorted(each for each in names if each.endswith(".py")):
            file = Path(folder) / name
            found.update(f"\0{file.relative_to(PACKAGE)}\0".encode() + file.read_bytes())
    return found.digest()
