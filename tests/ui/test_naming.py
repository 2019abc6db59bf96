"""One way to name a model, a version and a spec, whatever the command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from ruamel.yaml import YAML
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.errors import InputError
from tests.conftest import Commit
from tests.ports import CLOSED
from tests.runs.test_preflight import IMAGE, SPEC, part

CLUSTER = {"environment": {"platform": "kubernetes"}, "deploy": {"port": 8080, "image": IMAGE}}


def ask(*words: str) -> Result:
    return CliRunner().invoke(app, words)


def done(*words: str) -> str:
    result = ask(*words)
    assert result.exception is None, result.exception
    return result.stdout


@pytest.fixture(params=["models/line.yaml", "line.yaml", "lines/any.yaml"])
def released(request: pytest.FixtureRequest, live_project: Path, commit: Commit) -> str:
    """Return the path of a spec with two releases: where specs are, at the root, or elsewhere."""
    files: dict[str, str | bytes] = {request.param: SPEC, "environments/cluster.yaml": json.dumps(CLUSTER)}
    commit({**files, "data/1.csv": part(2), ".gitignore": ".modelrail/\n"})
    done("run", request.param)
    commit({"data/2.csv": part(3)})
    done("run", request.param)
    return str(request.param)


def test_a_version_and_a_spec_are_named_alike_by_every_command(released: str) -> None:
    assert "line@v1.0.0 is live in local" in done("rollback", "line@v1.0.0", "--why", "a try")
    assert "line@v1.0.1 is live in local" in done("promote", "line@v1.0.1", "--why", "a try")
    assert "line@v1.0.0 is live in local" in done("rollback", released, "--why", "a try")
    assert "nothing would change" in done("deploy", "line", "--dry-run")
    assert "v1.0.0" in done("diff", "line@v1.0.0", f"{released}@v1.0.1")
    for words, said in (
        (["promote", "line", "--why", "no"], "found 'line' without a version; expected one, such as line@v1.0.0"),
        (["diff", "line@v1.0.0", "other@v1.0.1"], "found releases of line and of other"),
    ):
        error = ask(*words).exception
        assert isinstance(error, InputError)
        assert said in str(error)


def test_manifests_offline_ask_no_registry_and_leave_a_digest_open(released: str) -> None:
    error = ask("manifests", "line", "--environment", "cluster").exception
    assert "'modelrail promote line@VERSION --environment cluster" in str(error), "nothing was ever live there"
    error = ask("manifests", "line@v1.0.0", "--environment", "cluster").exception
    assert f"registry 127.0.0.1:{CLOSED}" in str(error)
    text = done("manifests", "line@v1.0.0", "--environment", "cluster", "--offline")
    assert f"image:  # left open: 127.0.0.1:{CLOSED}/models/line@sha256:…, which 'modelrail manifests' without" in text
    deployment = next(each for each in YAML(typ="safe").load_all(text) if each["kind"] == "Deployment")
    (container,) = container_of(deployment)
    assert container["image"] is None, "a cluster refuses it"
    assert deployment["metadata"]["annotations"]["modelrail.dev/version"] == "1.0.0"


def container_of(deployment: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = deployment["spec"]["template"]["spec"]["containers"]
    return found
