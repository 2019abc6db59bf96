"""An environment names a model before there is a release: it waits, and goes live with the first one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.delivery.platforms.local.deployments import live
from pipeline.delivery.releases import releases
from pipeline.delivery.stages import assign, current_stages
from pipeline.operations.review import review
from pipeline.runs.request import RunRequest
from pipeline.runs.results import StepResult
from pipeline.runs.running import run
from pipeline.serving.client import predict
from pipeline.spec.loading.loading import check_specs
from pipeline.storage.git.repository import open_repository
from pipeline.ui.pages.archive import Archive
from pipeline.ui.pages.fleet import fleet_page
from tests.conftest import Commit

SPEC = """
model: {name: line, trainer: ridge, target: y}
data: {files: "data/{part}.csv", columns: {x: float, y: float}}
evaluate: {metrics: [rmse], gate: {rmse: {at_most: 1000}}, bootstrap: 0}
deploy: {port: 0}
"""
PROD = "environment: {models: [line]}\nevaluate: {gate: {rmse: {at_most: 1}}}\n"


def part(noise: float) -> str:
    return "x,y\n" + "".join(f"{x / 10},{2 * x / 10 + 1 + noise * (-1) ** x}\n" for x in range(60))


@pytest.fixture
def spec(live_project: Path, commit: Commit) -> Path:
    commit({"models/line.yaml": SPEC, "environments/prod.yaml": PROD, ".gitignore": ".modelrail/\n"})
    return live_project / "models/line.yaml"


def run_job(spec: Path, **changes: Any) -> dict[str, StepResult]:
    _, results = run(RunRequest(str(spec), **changes), report=lambda _: None)
    return {each.step: each for each in results}


def told(*command: str) -> Any:
    done = CliRunner().invoke(app, [*command, "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def states() -> dict[str, str]:
    return {each["environment"]: each["state"] for each in told("releases", "line")["environments"]}


def served(project: Path, name: str) -> str:
    deployment = live(name, project / ".modelrail")
    assert deployment is not None
    return predict(deployment.address, {"x": 1.0}).version


def on_the_page(project: Path) -> dict[str, str]:
    (row,) = fleet_page(Archive(project / "models"), lambda _: True, lambda _: {}).rows
    return {each.environment: each.state for each in row.places}


def test_a_model_that_an_environment_names_waits_and_goes_live_with_its_first_release(
    spec: Path, project: Path, commit: Commit
) -> None:
    commit({"data/1.csv": part(0.0)})
    assert states() == {"prod": "waiting"}
    assert told("status")["waiting"] == [{"model": "line", "environment": "prod"}]
    assert on_the_page(project)["prod"] == "waiting"
    said = CliRunner().invoke(app, ["releases", "line"]).stdout
    assert "waiting for its first release" in said
    assert "line in prod: waiting for its first release" in CliRunner().invoke(app, ["status"]).stdout
    assert "; prod would get its first" in review(RunRequest(str(spec))).say

    deployed = run_job(spec)["deploy"]
    assert deployed.facts.first == {"prod": "line#prod#1"}
    assert "for the first time live in prod at http://127.0.0.1:" in deployed.reason
    assert (served(project, "line"), served(project, "line#prod")) == ("1.0.0", "1.0.0")
    assert states() == {"local": "live", "prod": "live"}
    assert told("status")["waiting"] == []
    stage = next(each for each in current_stages(open_repository(project), "line") if each.environment == "prod")
    assert (stage.action, stage.why) == ("deploy", "its first release: prod names the model (environment.models)")

    again = run_job(spec)["deploy"]
    assert (again.action, again.facts.first) == ("reused", {})
    commit({"data/2.csv": part(0.1)})
    run_job(spec)
    assert (served(project, "line"), served(project, "line#prod")) == ("1.0.1", "1.0.0"), (
        "only the first goes by itself"
    )


def test_the_gate_of_the_environment_decides_and_it_waits_until_one_passes(
    spec: Path, project: Path, commit: Commit
) -> None:
    commit({"data/1.csv": part(9.0)})
    refused = run_job(spec)["deploy"]
    assert refused.facts.first == {"prod": None}
    assert "; prod waits: the one bound of the gate is missed" in refused.reason.replace(
        "1 of 1 bounds", "the one bound"
    )
    assert states() == {"local": "live", "prod": "waiting"}
    commit({"data/1.csv": part(0.0)})
    assert run_job(spec)["deploy"].facts.first == {"prod": "line#prod#1"}
    assert served(project, "line#prod") == "1.0.1"


def test_what_was_recorded_but_not_made_live_is_made_live_by_the_next_run(
    spec: Path, project: Path, commit: Commit
) -> None:
    commit({"data/1.csv": part(0.0), "environments/prod.yaml": "deploy: {workers: 1}\n"})
    run_job(spec)
    commit({"environments/prod.yaml": PROD})
    repository = open_repository(project)
    (first,) = releases(repository, "line")
    assign(repository, first, "prod", action="deploy", why="a process that was killed then", push=False)
    assert states()["prod"] == "unknown"
    assert run_job(spec)["deploy"].facts.first == {"prod": "line#prod#1"}
    assert served(project, "line#prod") == "1.0.0"


def test_a_name_that_is_no_models_is_a_mistake_of_the_environment(spec: Path, project: Path) -> None:
    (project / "environments/prod.yaml").write_text("environment:\n  models: [line, lime]\n")
    (found,) = check_specs([spec])
    assert str(found).endswith(
        "environments/prod.yaml:2:18: environment.models: found 'lime'; expected a model of line; did you mean 'line'?"
    )
    (project / "environments/prod.yaml").unlink()
    spec.write_text(SPEC + "environment: {models: [line]}\n")
    (found,) = check_specs([spec])
    assert "environment.models: found a list of models in a spec; expected it in a file of environments/" in str(found)
