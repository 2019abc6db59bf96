"""The pipeline image, of small locks: what extras may bring."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from pipeline.delivery.images.building import BUILDERS, build_command
from pipeline.home import CHECKOUT

from .conftest import BASE_IMAGE, BUILD, REGISTRY

NEWER = """
RUN mkdir --parents /app/site/newer && echo 'def later[T(:' > /app/site/newer/later.py
# A package index"""
"""A package with a file that this Python cannot read."""
LOOK = """
FROM build
RUN PYTHONPATH=/app/site python -c "from importlib.util import find_spec; \\
    missing = [name for name in ('google.auth', 'google.protobuf') if not find_spec(name)]; assert not missing, missing"
"""
"""A last stage, so that it is what is built, with nothing but the installed packages."""


def locked(lock: str, *names: str) -> str:
    """Return what a lock file says of some packages."""
    said = re.split(r"\n(?=\S)", (CHECKOUT / lock).read_text("utf-8"))
    return "\n".join(each for each in said if each.partition("==")[0] in names) + "\n"


def test_an_extra_leaves_what_shares_its_folders_and_may_have_files_for_a_newer_python(tmp_path: Path) -> None:
    for folder in ("docker", "pipeline"):
        (tmp_path / folder).mkdir()
    shutil.copy(CHECKOUT / "pyproject.toml", tmp_path)
    dockerfile = (CHECKOUT / "docker/pipeline.Dockerfile").read_text("utf-8")
    (tmp_path / "docker/pipeline.Dockerfile").write_text(dockerfile.replace("# A package index", NEWER, 1) + LOOK)
    (tmp_path / "requirements-pipeline.txt").write_text(
        locked("requirements-pipeline.txt", "google-auth", "typing-extensions")
    )
    (tmp_path / "requirements-tensorflow.txt").write_text(
        locked("requirements-tensorflow.txt", "protobuf", "typing-extensions")
    )
    program = next(name for name in BUILDERS if shutil.which(name))
    tag, options = f"{REGISTRY}/pipeline:shared-folders", (*BUILD, "--build-arg", "EXTRAS=tensorflow")
    command = build_command("pipeline", tag, program, BASE_IMAGE, options)
    done = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    subprocess.run([program, "rmi", tag], check=False, capture_output=True)
