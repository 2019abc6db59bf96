"""The Makefile, where it decides something."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipeline.home import CHECKOUT


@pytest.mark.parametrize(
    ("there", "taken"),
    [
        (["python3.13", "python3.12"], "python3.12"),
        (["python3", "python3.13"], "python3.13"),
        (["python3"], "python3"),
        (["python3.11", "python3"], "python3.11"),
    ],
)
def test_set_up_takes_the_oldest_python_that_is_there_and_will_do(there: list[str], taken: str, tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in there:
        (programs / name).symlink_to(sys.executable)
    make = shutil.which("make")
    assert make is not None
    for name in ("Makefile", "pyproject.toml", "requirements.txt"):
        shutil.copy(CHECKOUT / name, tmp_path)
    path = {"PATH": str(programs)}
    commands = subprocess.check_output([make, "--dry-run", "setup"], cwd=tmp_path, env=path, text=True)
    assert f"{programs / taken} -m venv .venv" in commands


UV = """#!/bin/sh
case "$*" in
  *editable*) exit 0 ;;
esac
printf 'Using Python 3.11\\nResolved 2 packages\\nBytecode compiled 9 files in 2ms\\n + one==1\\n' >&2
"""


REFUSING_UV = """#!/bin/sh
echo "error: no such package" >&2
exit 2
"""


def set_up(folder: Path, lock: str, uv: str = UV) -> subprocess.CompletedProcess[str]:
    """Run ``make setup`` in a folder with an installer that only says what the real one says."""
    make = shutil.which("make")
    assert make is not None
    shutil.copy(CHECKOUT / "Makefile", folder)
    (folder / "pyproject.toml").touch()
    (folder / "requirements.txt").write_text(lock)
    for program, text in (("bin/uv", uv), (".venv/bin/python", "#!/bin/sh\n")):
        (folder / program).parent.mkdir(parents=True)
        (folder / program).write_text(text)
        (folder / program).chmod(0o755)
    environment = os.environ | {"PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    command = [make, "setup", f"PYTHON={sys.executable}"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_set_up_says_a_line_a_phase(tmp_path: Path) -> None:
    done = set_up(tmp_path, "one==1 \\\n    --hash=sha256:0\ntwo==2\n")
    assert done.returncode == 0, done.stderr
    *phases, end = done.stdout.splitlines()
    assert phases == [
        "Installing the 2 packages of requirements.txt (downloaded the first time, then compiled) ...",
        "  Resolved 2 packages",
        "  Bytecode compiled 9 files in 2ms",
    ]
    assert re.fullmatch(r"Done in \d+ s", end)
    assert (tmp_path / ".venv" / "run.done").exists()


def test_set_up_says_what_the_installer_refused_and_is_not_done(tmp_path: Path) -> None:
    done = set_up(tmp_path, "one==1\n", REFUSING_UV)
    assert done.returncode != 0
    assert "  error: no such package\n" in done.stdout
    assert not (tmp_path / ".venv" / "run.done").exists()


def test_the_hooks_before_a_commit_are_the_gate() -> None:
    (local,) = YAML(typ="safe").load(CHECKOUT / ".pre-commit-config.yaml")["repos"]
    hooks = [re.sub(r"^bash -c '(.*)'$", r"\1", hook["entry"]) for hook in local["hooks"]]
    gate = (CHECKOUT / "Makefile").read_text().partition("\ncheck: ")[2].partition("\n\n")[0].splitlines()[1:]
    assert hooks == [line.strip().replace("$(MODELRAIL)", ".venv/bin/modelrail") for line in gate]
    assert local["repo"] == "local"
    assert {hook["language"] for hook in local["hooks"]} == {"system"}
