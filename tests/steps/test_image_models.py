"""Images from files in Git to a prediction."""

from __future__ import annotations

import base64
import json
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.delivery.platforms.local.deployments import live, stop_all
from pipeline.runs.request import RunRequest
from pipeline.runs.results import StepResult
from pipeline.runs.running import run
from pipeline.ui.examples.digits import write_png
from tests.conftest import Commit

pytestmark = pytest.mark.extra("images")

SPEC = """
model: {name: halves, trainer: logistic_regression, target: folder}
data:
  files: images/{day}/*/*.png
  key: [file]
  columns:
    image: {type: image, nullable: false, image: {features: [pixels, edges], size: [8, 8]}}
    folder: str
    file: str
features: {select: [image]}
evaluate: {metrics: [accuracy], gate: {accuracy: {at_least: 0.8}}, bootstrap: 20}
deploy: {port: 0}
"""


def draw(random: np.random.Generator, half: str) -> bytes:
    image = random.integers(0, 80, (16, 16))
    image[slice(8) if half == "upper" else slice(8, 16), 4:12] += 150
    return write_png(image)


def day(name: str, seed: int, rows: int = 60) -> dict[str, bytes]:
    random = np.random.default_rng(seed)
    halves = ["upper" if random.random() < 0.5 else "lower" for _ in range(rows)]
    return {f"images/{name}/{half}/{name}-{row}.png": draw(random, half) for row, half in enumerate(halves)}


@pytest.fixture
def spec(live_project: Path, commit: Commit) -> Path:
    commit({"models/halves.yaml": SPEC, ".gitignore": ".modelrail/\n", **day("mon", 1), **day("tue", 2)})
    return live_project / "models/halves.yaml"


def run_job(spec: Path) -> tuple[str, dict[str, StepResult]]:
    outcome, results = run(RunRequest(str(spec)), report=lambda _: None)
    return outcome, {each.step: each for each in results}


def ask(address: str, body: Any) -> Any:
    request = urllib.request.Request(  # noqa: S310
        f"{address}/api/predict", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        return json.load(answer)


def test_images_in_git_become_a_released_model_that_is_asked_with_an_image(
    spec: Path, commit: Commit, project: Path
) -> None:
    outcome, results = run_job(spec)
    assert outcome == "released", results["release"].reason
    assert results["clean"].rows == 120
    assert results["verify"].reason.endswith("the same as in evaluation")
    (deployed,) = [live("halves", project / ".modelrail")]
    assert deployed is not None
    random = np.random.default_rng(9)
    halves = ["upper", "lower", "lower", "upper"]
    inputs = [{"image": base64.b64encode(draw(random, half)).decode()} for half in halves]
    assert ask(deployed.address, {"inputs": inputs})["outputs"] == halves
    # one new file makes its partition anew, and no other
    commit({"images/tue/lower/more.png": draw(random, "lower")})
    _, again = run_job(spec)
    assert (again["clean"].ran, again["clean"].reused) == (1, 1)
    assert again["clean"].rows == 121


NAMED = """
model: {name: named, trainer: logistic_regression, target: half}
data:
  files: rows/{day}.csv
  images: photos/{day}
  key: [photo]
  columns:
    photo: {type: image, nullable: false, image: {features: [pixels, edges], size: [8, 8]}}
    half: str
features: {select: [photo]}
evaluate: {metrics: [accuracy], gate: {accuracy: {at_least: 0.8}}, bootstrap: 20}
deploy: {port: 0}
"""


def named_day(name: str, seed: int, rows: int = 60) -> dict[str, bytes]:
    random = np.random.default_rng(seed)
    halves = ["upper" if random.random() < 0.5 else "lower" for _ in range(rows)]
    table = "photo,half\n" + "".join(f"{name}-{row}.png,{half}\n" for row, half in enumerate(halves))
    images = {f"photos/{name}/{name}-{row}.png": draw(random, half) for row, half in enumerate(halves)}
    return {f"rows/{name}.csv": table.encode(), **images}


def test_images_that_rows_name_by_path_are_part_of_their_partition(
    project: Path, commit: Commit, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.chdir(project)
    files = {"models/named.yaml": NAMED, ".gitignore": ".modelrail/\n", **named_day("mon", 1), **named_day("tue", 2)}
    commit(files)
    spec = project / "models/named.yaml"
    try:
        outcome, results = run_job(spec)
        assert outcome == "released", results["release"].reason
        assert results["clean"].rows == 120
        assert results["verify"].reason.endswith("the same as in evaluation")
        # other images under the same names, here in the work tree only, make their partition anew, and no other
        random = np.random.default_rng(7)
        for row in range(20):
            (project / f"photos/tue/tue-{row}.png").write_bytes(draw(random, "lower"))
        outcome, again = run_job(spec)
        assert outcome == "not released"
        assert "photos/tue/tue-0.png" in again["release"].reason
        assert (again["clean"].ran, again["clean"].reused) == (1, 1)
    finally:
        stop_all(project / ".modelrail")
