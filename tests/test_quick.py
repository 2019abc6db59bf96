from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.home import CHECKOUT
from tests.quick import choose

FILES = {
    "tests/runs/test_running.py": "from pipeline.runs.running import run\n",
    "tests/runs/plan/test_planning.py": "from pipeline.runs import plan, running\n",
    "tests/runs/test_costs.py": "from pipeline.runs.running_costs import add_up\n",
    "tests/spec/test_loading.py": "from pipeline.runs.running import run\n",
    "tests/runs/plan/conftest.py": "",
    "tests/test_make.py": "",
}


@pytest.mark.parametrize(
    ("changed", "chosen"),
    [
        ("pipeline/runs/running.py", ["tests/runs/plan/test_planning.py", "tests/runs/test_running.py"]),
        ("pipeline/runs/__init__.py", ["tests/runs/plan/test_planning.py"]),
        ("tests/test_make.py", ["tests/test_make.py"]),
        ("tests/test_removed.py", []),
        ("tests/runs/plan/conftest.py", ["tests/runs/plan/test_planning.py"]),
        ("docs/runs.md", []),
    ],
)
def test_tests_are_chosen_by_what_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: str, chosen: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)
    assert [str(each) for each in choose([Path(changed)])] == chosen


@pytest.mark.parametrize(("first", "status"), [("assert True", 0), ("assert False", 1)])
def test_the_rest_is_left_when_the_time_is_over(tmp_path: Path, first: str, status: int) -> None:
    (tmp_path / "test_it.py").write_text(f"def test_one():\n    {first}\ndef test_two(): pass\n")
    code = "import pytest, sys; from tests.quick import Limit; sys.exit(pytest.main(sys.argv[1:], plugins=[Limit(0)]))"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        [sys.executable, "-c", code, "-p", "no:cacheprovider", "-n", "1", "--rootdir", ".", "test_it.py"],
        cwd=tmp_path, env=kept | {"PYTHONPATH": str(CHECKOUT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "make test runs the rest" in done.stdout, done.stdout + done.stderr
    assert done.returncode == status
