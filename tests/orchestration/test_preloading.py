"""What a fork of a long-lived process runs is what is on disk."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

import pipeline
from pipeline.orchestration.preloading import NAMES

SCRIPT = """
import os, sys
from pathlib import Path
from pipeline.orchestration.preloading import preload

preload()
import pipeline.model.texts
exec(sys.argv[1])
if os.fork() == 0:
    had = "pipeline.runs.running" in sys.modules
    import pipeline.model.texts
    print("imported" if had else "forgotten", getattr(pipeline.model.texts, "CHANGED", "as before"), flush=True)
    os._exit(0)
os.wait()
"""
HERE = "text = Path(pipeline.model.texts.__file__); "
CHANGES = {
    "nothing": "",
    "an edit with the old time": HERE
    + "before = text.stat(); text.write_text(text.read_text() + '\\nCHANGED = 1\\n'); "
    + "os.utime(text, ns=(before.st_atime_ns, before.st_mtime_ns))",
    "another file in its place": HERE
    + "new = text.with_name('new'); new.write_text(text.read_text() + '\\nCHANGED = 1\\n'); new.replace(text)",
    "a module beside it": "Path(pipeline.__file__).with_name('extra.py').write_text('')",
}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("nothing", "imported as before"),
        ("an edit with the old time", "forgotten 1"),
        ("another file in its place", "forgotten 1"),
        ("a module beside it", "forgotten as before"),
    ],
)
def test_a_fork_keeps_what_was_imported_only_while_the_files_are_the_same(
    change: str, expected: str, tmp_path: Path
) -> None:
    ours = Path(pipeline.__file__).parent
    for file in ours.rglob("*"):
        if file.is_file() and "__pycache__" not in file.parts:
            copy = tmp_path / "pipeline" / file.relative_to(ours)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(file.read_bytes())
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, script, CHANGES[change]], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.stdout.strip() == expected, done.stderr


def test_every_step_finds_its_work_imported_before_the_fork() -> None:
    code = (
        "import os, sys; from pipeline.orchestration.preloading import preload; preload()\n"
        "from pipeline.runs.work.table import LOADERS\n"
        "before = set(sys.modules)\n"
        "for load in LOADERS.values(): load()\n"
        "print(sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("name", NAMES)
def test_what_is_preloaded_is_there(name: str) -> None:
    assert importlib.util.find_spec(f"pipeline.{name}")
