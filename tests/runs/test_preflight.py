"""What a run will need is asked for before anything is computed, and only by a run that will deploy."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.errors import InputError, ModelrailError, ReleaseError, explain_os_error
from pipeline.extras import EXTRAS, Extra
from pipeline.runs.request import RunRequest
from pipeline.runs.running import run
from tests.conftest import Commit, git
from tests.ports import CLOSED

SPEC = """
model: {name: line, trainer: linear_regression, target: y}
data: {files: "data/{part}.csv", columns: {x: float, y: float}}
evaluate: {metrics: [rmse], gate: {rmse: {at_most: 5}}, bootstrap: 0}
deploy: {port: 0}
"""
IMAGE = {"base": f"127.0.0.1:{CLOSED}/serving:1", "repository": f"127.0.0.1:{CLOSED}/models"}
CLUSTER = {"environment": {"platform": "kubernetes"}, "deploy": {"port": 8080, "image": IMAGE, "namespace": "models"}}


def part(slope: float) -> str:
    return "x,y\n" + "".join(f"{x / 10},{slope * x / 10 + 1}\n" for x in range(60))


@pytest.fixture
def spec(live_project: Path, commit: Commit, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Commit a spec, and an environment whose cluster and registry are not there."""
    monkeypatch.setenv("KUBECONFIG", str(live_project / "no-such-file"))
    files: dict[str, str | bytes] = {"models/line.yaml": SPEC, "environments/cluster.yaml": json.dumps(CLUSTER)}
    commit({**files, "data/1.csv": part(2), ".gitignore": ".modelrail/\n"})
    return live_project / "models/line.yaml"


def run_job(spec: Path, **changes: Any) -> str:
    return run(RunRequest(str(spec), **changes), report=lambda _: None)[0]


def refused(spec: Path, **changes: Any) -> ModelrailError:
    """Run, and return the error; nothing was computed, and nothing recorded."""
    state, before = spec.parent.parent / ".modelrail", git(spec.parent, "tag")
    made = list(state.glob("store/??/*"))
    with pytest.raises(ModelrailError) as caught:
        run_job(spec, **changes)
    assert list(state.glob("store/??/*")) == made
    assert git(spec.parent, "tag") == before
    return caught.value


def test_all_that_is_missing_is_said_at_once(spec: Path, commit: Commit, monkeypatch: pytest.MonkeyPatch) -> None:
    error = refused(spec, environment="cluster")
    assert isinstance(error, InputError), "a kubeconfig that is not there does not come by itself"
    said = str(error)
    assert "found no cluster (Invalid kube-config" in said
    assert f"registry 127.0.0.1:{CLOSED}: found " in said

    monkeypatch.setitem(EXTRAS, "torch", Extra(("no_module_of_this_name",), ()))  # type: ignore[arg-type]
    commit({"models/line.yaml": SPEC.replace("linear_regression", "torch_mlp")})
    said = str(refused(spec, environment="cluster"))
    assert "model.trainer: found 'torch_mlp', whose extra 'torch' is not installed" in said
    assert "found no cluster" in said


def test_a_run_that_will_not_deploy_asks_no_platform(spec: Path) -> None:
    (spec.parent.parent / "data/1.csv").write_text(part(3))
    assert run_job(spec, environment="cluster") == "not released"


def test_doctor_asks_the_same_of_what_is_not_committed(spec: Path) -> None:
    (spec.parent.parent / "data/1.csv").write_text(part(3))
    done = CliRunner().invoke(app, ["doctor", str(spec), "--environment", "cluster"])
    assert done.exit_code == 1
    assert "run in cluster" in done.stdout
    assert "    found no cluster (Invalid kube-config" in done.stdout
    fine = json.loads(CliRunner().invoke(app, ["doctor", str(spec), "--json"]).stdout)[-1]
    assert (fine["name"], fine["ok"], fine["found"]) == ("run", True, "ready")
    wrong = CliRunner().invoke(app, ["doctor", "--environment", "cluster"]).exception
    assert "--environment: found no spec; expected one" in str(wrong)


def test_a_run_without_news_asks_nothing(spec: Path, commit: Commit, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_job(spec) == "released"
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1 << 20))
    assert run_job(spec) == "unchanged"
    commit({"data/2.csv": part(3)})
    said = str(refused(spec))
    assert "found 1 MiB free; expected at least 32 MiB: free some, or name another disk (MODELRAIL_HOME)" in said
    assert "(MODELRAIL_STORE)" in said


def test_a_release_that_goes_to_a_new_environment_is_assigned_only_if_it_can_be(spec: Path) -> None:
    run_job(spec)
    assert "found no cluster" in str(refused(spec, environment="cluster"))


def test_the_right_to_push_tags_and_the_key_to_sign_with_are_asked_for(
    spec: Path, commit: Commit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(tmp_path, "init", "-q", "-b", "main", "--bare", "origin.git")
    git(spec.parent, "remote", "add", "origin", str(tmp_path / "origin.git"))
    commit({"models/line.yaml": SPEC.replace("port: 0", "port: 0, push_tags: true")})
    git(spec.parent, "config", "remote.origin.pushurl", str(tmp_path / "nowhere.git"))
    error = refused(spec)
    assert isinstance(error, ReleaseError)
    assert "git push of tags failed" in str(error)
    git(spec.parent, "config", "--unset", "remote.origin.pushurl")
    monkeypatch.setitem(EXTRAS, "signing", Extra((), ()))  # type: ignore[arg-type]
    monkeypatch.setenv("MODELRAIL_SIGNING_KEY_FILE", str(tmp_path / "key.pem"))
    assert "MODELRAIL_SIGNING_KEY_FILE: found no file" in str(refused(spec))
    monkeypatch.delenv("MODELRAIL_SIGNING_KEY_FILE")
    assert run_job(spec) == "released"
    assert git(tmp_path / "origin.git", "tag").split() == ["line#local#1", "line@v1.0.0"]


def test_a_store_that_cannot_be_written_is_named_by_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELRAIL_STORE", "/mnt/store")
    assert "(MODELRAIL_STORE)" in str(explain_os_error(PermissionError(13, "Permission denied", "/mnt/store/ab")))
    assert "(MODELRAIL_HOME)" in str(explain_os_error(PermissionError(13, "Permission denied", "/home/me")))
