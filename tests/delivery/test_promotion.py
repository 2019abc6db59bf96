"""Promotion and rollback on real repositories, with real runs and servers."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.delivery.platforms.local.deployments import deploy, live, stop, stop_all
from pipeline.delivery.promotion import promote, rollback
from pipeline.delivery.releases import find_release, releases
from pipeline.delivery.stages import current, stages
from pipeline.errors import AbortedError, DeploymentError, InputError, ReleaseError
from pipeline.runs.request import RunRequest
from pipeline.runs.results import StepResult
from pipeline.runs.running import run
from pipeline.serving.client import predict
from pipeline.storage.git.repository import open_repository
from tests.conftest import Commit, git

SPEC = """
model: {name: line, trainer: linear_regression, target: y}
data: {files: "data/{part}.csv", columns: {x: float, y: float}}
evaluate: {metrics: [rmse], gate: {rmse: {at_most: 5}}, bootstrap: 0}
deploy: {port: 0}
"""
PROD = "evaluate: {gate: {rmse: {at_most: 1}}}\n"


def part(slope: float, rows: int = 60, noise: float = 0.0) -> str:
    return "x,y\n" + "".join(f"{x / 10},{slope * x / 10 + 1 + noise * (-1) ** x}\n" for x in range(rows))


@pytest.fixture
def spec(live_project: Path, commit: Commit) -> Path:
    """Commit a spec, an environment and a first partition."""
    files: dict[str, str | bytes] = {"models/line.yaml": SPEC, "environments/prod.yaml": PROD}
    commit({**files, "data/1.csv": part(2), ".gitignore": ".modelrail/\n"})
    return live_project / "models/line.yaml"


def run_job(spec: Path, **changes: Any) -> dict[str, StepResult]:
    _, results = run(RunRequest(str(spec), **changes), report=lambda _: None)
    return {each.step: each for each in results}


def served(project: Path, name: str = "line") -> str:
    deployment = live(name, project / ".modelrail")
    assert deployment is not None
    return predict(deployment.address, {"x": 1.0}).version


def test_a_rollback_is_live_at_once_and_holds_what_it_left(spec: Path, project: Path, commit: Commit) -> None:
    run_job(spec)
    commit({"data/2.csv": part(3)})
    run_job(spec)
    assert served(project) == "1.0.1"

    change = rollback("line", None, None, why="it is steeper than it should be", who="Eve <eve@example.org>")
    assert change.seconds < 5
    assert (change.stage.tag, change.stage.action) == ("line#local#3", "rollback")
    assert change.stage.who == "Eve <eve@example.org>"
    assert served(project) == "1.0.0"
    assert "line#local#2" in git(project, "tag"), "nothing is deleted"

    again = run_job(spec)
    assert again["release"].action == "reused"
    assert again["evaluate"].action == "reused"
    assert again["deploy"].action == again["verify"].action == "skipped"
    assert again["deploy"].reason.startswith(
        "line@v1.0.1 is held, since local was rolled back from it; 'modelrail prom"
    )
    assert served(project) == "1.0.0"

    promote("line", "v1.0.1", "local", why="it was right after all")
    assert served(project) == "1.0.1"
    assert run_job(spec)["deploy"].action == "reused"


def test_a_newer_release_goes_live_after_a_rollback_and_is_judged_against_what_is_live(
    spec: Path, project: Path, commit: Commit
) -> None:
    run_job(spec)
    commit({"data/2.csv": part(3)})
    run_job(spec)
    rollback("line", None, None, why="no")
    commit({"data/3.csv": part(2)})
    made = run_job(spec)
    assert made["deploy"].facts.version.removeprefix("v") == "1.0.2"
    assert made["deploy"].facts.stage == "line#local#4"
    found = rollback("line", None, None, why="this neither")
    assert str(found.stage.version) == "1.0.0", "1.0.1 was withdrawn before"


def test_environments_live_side_by_side_and_each_has_its_gate(spec: Path, project: Path, commit: Commit) -> None:
    run_job(spec)
    run_job(spec, environment="prod")
    commit({"data/2.csv": part(2, noise=2.0)})
    run_job(spec)
    refused = run_job(spec, environment="prod")
    assert "not deployed: " in refused["deploy"].reason
    assert (served(project), served(project, "line#prod")) == ("1.0.1", "1.0.0")

    promote("line", "v1.0.1", "prod", why="the noise is known")
    assert served(project, "line#prod") == "1.0.1"
    assert run_job(spec, environment="prod")["deploy"].action == "reused"
    with pytest.raises(InputError, match="found line in the environments local, prod; expected --environment"):
        rollback("line", None, None, why="no")
    rollback("line", None, "prod", why="it is not")
    assert (served(project), served(project, "line#prod")) == ("1.0.1", "1.0.0")


def listed(*options: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(CliRunner().invoke(app, ["releases", "line", "--json", *options]).stdout)
    return found


def test_the_list_of_releases_says_for_each_environment_what_should_be_live_and_what_is(
    spec: Path, project: Path, commit: Commit
) -> None:
    run_job(spec)
    run_job(spec, environment="prod")
    commit({"data/2.csv": part(2, noise=2.0)})
    run_job(spec)
    found = listed()
    assert [(each["tag"], each["environments"]) for each in found["releases"]] == [
        ("line@v1.0.1", ["local"]),
        ("line@v1.0.0", ["prod"]),
    ]
    assert [(each["environment"], each["stage"], each["version"], each["state"]) for each in found["environments"]] == [
        ("local", "line#local#2", "1.0.1", "live"),
        ("prod", "line#prod#1", "1.0.0", "live"),
    ]

    state = project / ".modelrail"
    deploy(state / "releases/line/v1.0.1", model="line#prod", port=0, state=state)
    stop("line", state)
    down, other = listed()["environments"]
    assert (down["state"], down["answers"]) == ("down", None)
    assert (other["state"], other["version"], other["answers"]) == ("differs", "1.0.0", "1.0.1")
    told = CliRunner().invoke(app, ["releases", "line"]).stdout
    assert re.search(r"local +v1\.0\.1 .* nothing answers", told)
    assert re.search(r"prod +v1\.0\.0 .* v1\.0\.1 answers at http://127", told)

    git(project, "tag", "-d", "line#prod#1")
    assert re.search(r"prod +no stage in Git +live at http", CliRunner().invoke(app, ["releases", "line"]).stdout)


def test_what_another_machine_deployed_is_not_taken_for_dead(spec: Path, tmp_path: Path) -> None:
    run_job(spec)
    done = CliRunner(env={"MODELRAIL_HOME": str(tmp_path / "empty")}).invoke(app, ["releases", "line"])
    assert re.search(r"local +v1\.0\.0 .* not on this machine \('modelrail status'", done.stdout)


def test_a_promotion_that_fails_after_git_was_told_is_taken_back_and_told_until_something_goes_live(
    spec: Path, project: Path, commit: Commit
) -> None:
    run_job(spec)
    commit({"data/2.csv": part(3)})
    run_job(spec)
    graph = project / ".modelrail/releases/line/v1.0.0/model.onnx"
    intact = graph.read_bytes()
    graph.write_bytes(intact[:-1])
    with pytest.raises(AbortedError, match=r"line@v1\.0\.1 stays live, and Git says so"):
        rollback("line", None, None, why="no")
    graph.write_bytes(intact)
    last = stages(open_repository(project), "line", "local")[-2:]
    assert [(str(each.version), each.action) for each in last] == [("1.0.0", "rollback"), ("1.0.1", "abort")]
    assert served(project) == "1.0.1"
    for command in (["releases", "line"], ["status"]):
        said = CliRunner().invoke(app, command).stdout
        assert re.search(r"line@v1\.0\.0 could not be made live in local \(.*\): .*model\.onnx", said)
    (failed,) = listed()["failed"]
    assert (failed["release"], failed["environment"]) == ("line@v1.0.0", "local")

    assert run_job(spec)["deploy"].action == "reused", "what is live is what Git says"
    assert listed()["failed"] == []
    assert rollback("line", None, None, why="a rollback that was aborted held nothing").stage.release == "line@v1.0.0"


def test_a_run_says_why_its_release_is_not_live(spec: Path, commit: Commit) -> None:
    run_job(spec)
    commit({"data/2.csv": part(3)})
    run_job(spec)
    rollback("line", None, None, why="no")
    said = CliRunner().invoke(app, ["run", str(spec)]).stdout
    assert "not live: line@v1.0.1 is held, since local was rolled back from it" in said


def test_a_reverted_commit_makes_the_old_release_live_again_without_a_new_version(
    spec: Path, project: Path, commit: Commit
) -> None:
    run_job(spec)
    commit({"data/2.csv": part(3)})
    run_job(spec)
    git(project, "revert", "--no-edit", "HEAD")
    again = run_job(spec)
    assert [each.tag for each in releases(open_repository(project), "line")] == ["line@v1.0.0", "line@v1.0.1"]
    assert again["deploy"].facts.version.removeprefix("v") == "1.0.0"
    assert served(project) == "1.0.0"


def test_a_run_of_an_old_commit_does_not_replace_what_newer_data_made(
    spec: Path, project: Path, commit: Commit
) -> None:
    run_job(spec)
    commit({"data/2.csv": part(3)})
    run_job(spec)
    again = run_job(spec, data_commit="HEAD~1")
    assert "line@v1.0.0 was made from older data than line@v1.0.1" in again["deploy"].reason
    assert served(project) == "1.0.1"


def test_promoting_what_is_live_records_nothing_and_mends_what_is_not(spec: Path, project: Path) -> None:
    run_job(spec)
    stop_all(project / ".modelrail")
    change = promote("line", "1.0.0", None, why="again")
    assert change.stage.tag == "line#local#1"
    assert served(project) == "1.0.0"


WRONG = [
    (lambda: rollback("line", None, None, why="no"), InputError, "found nothing live of line in local before v1.0.0"),
    (lambda: rollback("line", "v2.0.0", None, why="no"), InputError, "found v2.0.0 while v1.0.0 is live of line"),
    (lambda: rollback("line", None, "prod", why="no"), InputError, "found nothing live of line in prod; expected"),
    (lambda: promote("line", "v9.9.9", None, why="no"), InputError, "found no release line@v9.9.9; expected one of"),
    (lambda: promote("line", "v1.0.0", None, why=" "), InputError, "--why: found no reason"),
    (
        lambda: promote("line", "v1.0.0", "stage", why="no"),
        InputError,
        "environment: found 'stage'; expected one of 'prod'",
    ),
    (lambda: promote("lime", "v1.0.0", None, why="no"), InputError, "found no model 'lime'.*'line'"),
]


def test_what_cannot_be_is_told_and_changes_nothing(spec: Path, project: Path) -> None:
    run_job(spec)
    before = git(project, "tag")
    for attempt, error, message in WRONG:
        with pytest.raises(error, match=message):
            attempt()
    assert git(project, "tag") == before


def test_a_release_that_cannot_be_served_is_recorded_nowhere(spec: Path, project: Path, commit: Commit) -> None:
    run_job(spec)
    commit({"data/2.csv": part(3)})
    run_job(spec)
    git(project, "clean", "-xfdq", ".modelrail/store", ".modelrail/releases")
    with pytest.raises(DeploymentError, match=r"line@v1\.0\.0: found no artifact .* in the store"):
        rollback("line", None, None, why="no")
    assert current(open_repository(project), "line", "local") == stages(open_repository(project), "line")[-1]
    assert served(project) == "1.0.1"


def test_a_rollback_that_the_remote_refuses_changes_nothing(
    spec: Path, project: Path, commit: Commit, tmp_path: Path
) -> None:
    git(tmp_path, "init", "-q", "-b", "main", "--bare", "origin.git")
    git(project, "remote", "add", "origin", str(tmp_path / "origin.git"))
    commit({"models/line.yaml": SPEC.replace("port: 0", "port: 0, push_tags: true")})
    run_job(spec)
    commit({"data/2.csv": part(3)})
    run_job(spec)
    hook = tmp_path / "origin.git/hooks/pre-receive"
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    with pytest.raises(ReleaseError, match=r"git push of line#local#3 failed"):
        rollback("line", None, None, why="no")
    assert served(project) == "1.0.1"
    assert str(find_release(open_repository(project), "line").version) == "1.0.1"
    hook.unlink()
    rollback("line", None, None, why="yes")
    assert "line#local#3" in git(tmp_path / "origin.git", "tag")


def test_an_aborted_canary_is_written_to_git_and_held_and_a_rollback_needs_none(
    spec: Path, project: Path, commit: Commit
) -> None:
    run_job(spec)
    commit({"data/2.csv": part(3)})
    run_job(spec)
    canary = (
        "deploy: {port: 0, strategy: canary, canary: {steps: [{weight: 20, hold_s: 0}], deadline_s: 1, every_s: 1}}"
    )
    commit({"models/line.yaml": SPEC.replace("deploy: {port: 0}", canary)})
    assert rollback("line", None, None, why="too steep").seconds < 1
    assert served(project) == "1.0.0"

    with pytest.raises(DeploymentError, match=r"line@v1.0.1: aborted: 0 of 200 requests were answered .* v1.0.0 stays"):
        promote("line", "v1.0.1", "local", why="look again")
    assert served(project) == "1.0.0"
    last = stages(open_repository(project), "line", "local")[-2:]
    assert [(str(each.version), each.action) for each in last] == [("1.0.1", "promote"), ("1.0.0", "abort")]
    assert "aborted: 0 of 200 requests" in last[-1].why
    assert run_job(spec)["deploy"].reason.startswith("line@v1.0.1 is held")

    commit({"data/2.csv": part(2.5)})
    with pytest.raises(DeploymentError, match=r"line@v1.\d.\d: aborted"):
        run_job(spec)
    assert stages(open_repository(project), "line", "local")[-1].action == "abort"
    assert served(project) == "1.0.0"
