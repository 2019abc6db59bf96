"""Each example, as its page says: data made, a model trained, gated, released and asked."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from pipeline.home import CHECKOUT
from pipeline.spec.files import list_yaml
from tests.test_documents import EXAMPLES, find_missing, own_environment, read_blocks, run_shell

GALLERY = CHECKOUT / "docs" / "examples.md"


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Return a repository with this one's specs, as a clone has them, and nothing else."""
    folder = tmp_path / "clone"
    for name in ("models", "examples"):
        shutil.copytree(CHECKOUT / name, folder / name)
    environment = own_environment(tmp_path)
    for command in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-q", "-m", "The specs"]):
        subprocess.run(["git", *command], cwd=folder, env=environment, check=True)
    return folder


@pytest.mark.parametrize("page", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_gives_what_its_page_promises(clone: Path, page: Path) -> None:
    said = everything = ""
    try:
        for block in read_blocks(page):
            place = f"{page.name}:{block.line}"
            if block.kind == "sh":
                said, _ = run_shell(block.text, clone, place)
                everything += said
            elif block.kind == "text":
                missing = find_missing(block.text, said)
                assert missing is None, f"{place}: found no line with '{missing}' in:\n{said}"
        for name, value in promised_metrics(page):
            found = re.search(rf"^ +{name} +([\d.]+)", everything, re.MULTILINE)
            assert found, f"examples.md: {page.name} has no {name}"
            assert float(found[1]) == pytest.approx(value, abs=0.01), f"examples.md: {name} of {page.name}"
    finally:
        subprocess.run(["modelrail", "down"], cwd=clone, env=own_environment(clone.parent), check=False)


def promised_metrics(page: Path) -> list[tuple[str, float]]:
    """List what the gallery says that an example reaches."""
    (row,) = [line for line in GALLERY.read_text("utf-8").splitlines() if f"({page.name})" in line]
    return [(name, float(value)) for name, value in re.findall(r"`(\w+)` ([\d.]+)", row)]


def test_every_example_with_a_spec_of_its_own_has_a_page() -> None:
    specs = {path.stem for path in (CHECKOUT / "examples").glob("*.yaml")}
    assert {path.stem.removeprefix("example-") for path in EXAMPLES} == specs


def test_the_models_of_this_repository_are_the_one_that_make_run_runs() -> None:
    assert [path.name for path in list_yaml(CHECKOUT / "models")] == ["flight-delay.yaml"]
