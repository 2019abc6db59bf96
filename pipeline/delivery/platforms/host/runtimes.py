"""What a host needs to serve: the server's own modules, and the list of what they need, each with its hash."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from pipeline.errors import InputError
from pipeline.home import CHECKOUT


@contextmanager
def collected(python: str, extras: Sequence[str]) -> Iterator[tuple[str, Path]]:
    """Yield a folder with code and requirements, and a name made of its content.

    Raises
    ------
    InputError
        If this is an installed package, without the lists and ``docker/``.
    """
    with tempfile.TemporaryDirectory(prefix="modelrail-runtime-") as place:
        folder = Path(place)
        for each in ("serving", *sorted(extras)):
            _copy(CHECKOUT / f"requirements-{each}.txt", folder)
        modules = CHECKOUT / "docker" / "modules.py"  # the same that the serving image is made of
        subprocess.run([sys.executable, modules, CHECKOUT / "pipeline", folder / "app" / "pipeline"], check=True)
        yield _name(folder, python), folder


def _copy(source: Path, folder: Path) -> None:
    if not source.exists():
        raise InputError(f"{source}: found no such file; expected a checkout of Modelrail, from which hosts are set up")
    shutil.copyfile(source, folder / source.name)


def _name(folder: Path, python: str) -> str:
    digest = sha256(python.encode())
    for each in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"\0{each.relative_to(folder)}\0".encode())
        digest.update(each.read_bytes())
    return digest.hexdigest()[:16]
