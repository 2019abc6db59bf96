from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

from pipeline.errors import InputError
from pipeline.extras import EXTRAS, Extra, install_command, is_installed
from pipeline.home import CHECKOUT
from pipeline.runs.request import RunRequest
from pipeline.runs.running import run
from pipeline.spec.loading.loading import check_specs


def locked(lock: str) -> dict[str, set[str]]:
    """Return the versions of each distribution in a lock file."""
    found: dict[str, set[str]] = {}
    for name, version in re.findall(
        r"^([\w.-]+)(?:\[[^]]*\])?==([^ \\]+)", (CHECKOUT / lock).read_text(), re.MULTILINE
    ):
        found.setdefault(name, set()).add(version)
    return found


LOCKS = [*EXTRAS, "airflow"]  # the latter for an image: who sets up a clone has it


@pytest.mark.parametrize("extra", LOCKS)
def test_the_lock_of_an_extra_goes_on_top_of_the_main_one_and_of_every_other(extra: str) -> None:
    own = locked(f"requirements-{extra}.txt")
    for other in ("requirements.txt", "requirements-dev.txt", *(f"requirements-{each}.txt" for each in LOCKS)):
        there = locked(other)
        assert {name: there[name] for name in own if name in there} == {
            name: own[name] for name in own if name in there
        }
    assert set(EXTRAS[extra].decisive if extra in EXTRAS else ()) <= set(own)


@pytest.mark.parametrize("extra", LOCKS)
def test_a_lock_names_no_host_and_holds_a_digest_of_everything(extra: str) -> None:
    text = (CHECKOUT / f"requirements-{extra}.txt").read_text()
    assert "://" not in text
    assert all(f"{name}==" in text and "--hash=sha256:" in text.split(f"{name}==")[1][:300] for name in locked(
        f"requirements-{extra}.txt"))  # fmt: skip


def test_every_extra_is_declared_and_can_be_made() -> None:
    declared = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    made = re.search(r"^EXTRAS := (.*)$", (CHECKOUT / "Makefile").read_text(), re.MULTILINE)
    assert made is not None
    assert made[1].split() == list(EXTRAS)
    assert set(EXTRAS) <= set(declared)


def test_what_the_product_is_made_of_is_in_every_set_up() -> None:
    makes = {"kubernetes", "apache-airflow-providers-cncf-kubernetes"}
    assert makes <= locked("requirements.txt").keys()
    assert "kubernetes" in locked("requirements-pipeline.txt"), "a pod deploys and trains with others"


def test_what_speaks_to_clusters_is_not_imported_where_none_is_asked(tmp_path: Path) -> None:
    code = (
        "import sys; from pipeline.cli import main; sys.argv[1:] = ['--help']\ntry: main()\nfinally: print(sorted("
        "{each.partition('.')[0] for each in sys.modules} & {'kubernetes', 'kubernetes_asyncio', 'airflow'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert "doctor" in done.stdout, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.fixture
def spec(commit, project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a spec whose trainer needs an extra that is nowhere installed."""
    monkeypatch.setitem(EXTRAS, "torch", Extra(("no_module_of_this_name",), ()))  # type: ignore[arg-type]
    commit({"models/m.yaml": "model:\n  name: m\n  trainer: torch_mlp\n"})
    return project / "models" / "m.yaml"


def test_check_says_at_the_line_which_extra_is_missing_and_what_installs_it(spec: Path) -> None:
    (problem,) = check_specs([spec])
    assert str(problem) == (
        f"{spec}:3:12: model.trainer: found 'torch_mlp', whose extra 'torch' is not installed; expected it installed: "
        "make extra-torch"
    )


def test_run_says_it_before_anything_is_computed(spec: Path) -> None:
    with pytest.raises(
        InputError, match=r"model\.trainer: found 'torch_mlp'.* expected it installed: make extra-torch"
    ):
        run(RunRequest(str(spec)), lambda _: None)


def test_a_module_that_is_being_imported_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(EXTRAS, "images", Extra(("half",), ()))  # type: ignore[arg-type]
    half = ModuleType("half")
    half.__spec__ = None  # as OpenCV has it meanwhile
    monkeypatch.setitem(sys.modules, "half", half)
    assert is_installed("images")


def test_elsewhere_the_command_names_the_clone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert install_command("images") == f"make -C {CHECKOUT} extra-images"


def test_outside_of_a_clone_the_command_is_that_of_a_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("pipeline.extras.__file__", str(tmp_path / "pipeline" / "extras.py"))
    assert install_command("images") == "pip install 'modelrail[images]'"
