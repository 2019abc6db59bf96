"""Networks on the examples' real data, with the specs that the pages show."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from pipeline.delivery.platforms.local.deployments import live
from pipeline.home import CHECKOUT
from pipeline.runs.request import RunRequest
from pipeline.runs.running import run
from pipeline.ui.examples.digits import make_digits
from pipeline.ui.examples.texts import make_texts
from tests.steps.test_image_models import ask
from tests.test_documents import read_blocks

from .conftest import Commit

FRAMEWORKS = [
    pytest.param("torch", marks=pytest.mark.extra("torch", "images")),
    pytest.param("tensorflow", marks=[pytest.mark.extra("tensorflow", "images"), pytest.mark.rare]),
]


def answers(folder: Path, commit: Commit, page: str, framework: str, inputs: list[dict[str, Any]]) -> list[Any]:
    """Release what a page's spec says, trained by a framework, and ask it."""
    (spec,) = [each.text for each in read_blocks(CHECKOUT / "docs" / page) if "trainer: torch_" in each.text]
    (folder / ".modelrail").mkdir(exist_ok=True)
    commit(
        {
            "models/shown.yaml": spec.replace("trainer: torch_", f"trainer: {framework}_") + "deploy: {port: 0}\n",
            ".gitignore": ".modelrail/\n",
        }
    )
    outcome, results = run(RunRequest(str(folder / "models/shown.yaml")), report=lambda _: None)
    assert outcome == "released", [each.reason for each in results]
    (name,) = [line.split()[1] for line in spec.splitlines() if line.startswith("  name: ")]
    deployed = live(name, folder / ".modelrail")
    assert deployed is not None
    found: list[Any] = ask(deployed.address, {"inputs": inputs})["outputs"]
    return found


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_network_reads_real_texts(live_project: Path, commit: Commit, framework: str) -> None:
    make_texts(live_project / ".modelrail/texts")
    asked = ["a terrible waste of money", "What a wonderful, moving film!", "日本", "boring " * 5000]
    found = answers(live_project, commit, "example-sentiment.md", framework, [{"text": each} for each in asked])
    assert found[:2] == [False, True]
    assert len(found) == 4


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_network_sees_real_digits(live_project: Path, commit: Commit, framework: str) -> None:
    digits = make_digits(live_project / ".modelrail/digits")
    images = [next(digits.glob(f"digits/part-*/{digit}/*.png")) for digit in range(10)]
    inputs = [{"image": base64.b64encode(each.read_bytes()).decode()} for each in images]
    assert answers(live_project, commit, "images.md", framework, inputs) == [str(digit) for digit in range(10)]
