"""What a cluster lacks is said before anything is computed, and before Git is told anything."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from pipeline.delivery.platforms.platforms import platform_of
from pipeline.delivery.promotion import find_slot, promote, rollback
from pipeline.delivery.stages import stages
from pipeline.errors import DeploymentError, InputError, ModelrailError, TransientError
from pipeline.storage.git.repository import open_repository
from tests.conftest import git
from tests.ports import CLOSED

from .conftest import REGISTRY, Project, modelrail, rows

NAME = "late-flights"


def artifacts(project: Project) -> list[Path]:
    return [each for each in (project.root / ".modelrail/store").glob("??/*") if each.is_dir()]


def refused(project: Project) -> ModelrailError:
    """Run, and return the error; nothing was computed, and nothing recorded."""
    with pytest.raises(ModelrailError) as caught:
        project.run()
    assert artifacts(project) == []
    assert git(project.root, "tag") == ""
    return caught.value


def test_what_is_missing_is_said_all_at_once_before_anything_is_computed(flights: Project) -> None:
    good = flights.settings["image"]
    flights.configure(namespace="nobody-made-this", image={**good, "base": f"{REGISTRY}/nothing:1"})
    error = refused(flights)
    assert isinstance(error, DeploymentError)
    first, second = sorted(str(error).splitlines())
    assert "cluster: found no namespace 'nobody-made-this'; expected it: 'kubectl create namespace" in first
    assert f"{REGISTRY}/nothing:1: found no such image; expected the serving image" in second

    flights.configure(namespace=flights.namespace, image={**good, "repository": f"127.0.0.1:{CLOSED}/models"})
    error = refused(flights)
    assert isinstance(error, TransientError), "a registry that is away may come back"
    assert re.search(r"registry 127\.0\.0\.1:\d+: found .*refused", str(error))

    flights.configure(image=good, gateway={"name": "front"}, context="nowhere")
    error = refused(flights)
    assert isinstance(error, InputError)
    assert "nowhere" in str(error)


def test_a_cluster_that_is_away_is_worth_another_try(
    flights: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    become(flights, tmp_path, monkeypatch, cluster={"server": f"https://127.0.0.1:{CLOSED}"})
    error = refused(flights)
    assert isinstance(error, TransientError)
    assert re.search(r"cluster https://127\.0\.0\.1:\d+: found .*refused.*; expected its API to answer", str(error))


def become(
    project: Project,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    user: dict[str, Any] | None = None,
    cluster: dict[str, Any] | None = None,
) -> None:
    """Use the cluster as somebody else, or another cluster."""
    config = json.loads(project.kubectl("config", "view", "--raw", "--minify", "--output", "json"))
    if user is not None:
        config["users"] = [{"name": config["users"][0]["name"], "user": user}]
    config["clusters"][0]["cluster"] |= cluster or {}
    (folder / "config.json").write_text(json.dumps(config))
    monkeypatch.setenv("KUBECONFIG", str(folder / "config.json"))


def test_rights_that_are_missing_are_named_and_the_printed_role_has_all(
    flights: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    role = modelrail(flights, "manifests", NAME, "--environment", "kubernetes", "--access").stdout
    flights.kubectl("apply", "--filename", "-", given=role)
    token = flights.kubectl("create", "token", "modelrail-deployer").strip()
    own = flights.kubectl("get", "role", "modelrail-deployer", "--output", "json")
    weak = json.loads(own)
    weak["rules"] = [each for each in weak["rules"] if each["resources"] not in (["leases"], ["services/proxy"])]
    flights.kubectl("apply", "--filename", "-", given=json.dumps(weak))
    with pytest.MonkeyPatch.context() as patch:
        become(flights, tmp_path, patch, user={"token": token})
        said = str(refused(flights))
        assert "found no right to get, create and patch leases.coordination.k8s.io, create services/proxy in" in said
        assert f"'{flights.namespace}'; expected the role that 'modelrail manifests {NAME} --environment" in said
    flights.kubectl("replace", "--force", "--filename", "-", given=own)
    become(flights, tmp_path, monkeypatch, user={"token": token})
    assert flights.run()["deploy"].action == "ran"
    become(flights, tmp_path, monkeypatch, user={"token": "nobody"})
    flights.commit({"data/2.csv": rows(600, shift=3)}, "more flights")
    made = len(artifacts(flights))
    with pytest.raises(DeploymentError, match=r"cluster: found no right to it .*Unauthorized"):
        flights.run()
    assert len(artifacts(flights)) == made


def test_a_promotion_and_a_rollback_that_cannot_be_write_no_stage(flights: Project, tmp_path: Path) -> None:
    flights.run()
    flights.commit({"data/2.csv": rows(600, shift=3)}, "more flights")
    flights.run()
    before = git(flights.root, "tag")
    with pytest.MonkeyPatch.context() as patch:
        become(flights, tmp_path, patch, user={"token": "nobody"})
        with pytest.raises(DeploymentError, match="Unauthorized"):
            rollback(NAME, None, "kubernetes", why="no")
        with pytest.raises(DeploymentError, match="Unauthorized"):
            promote(NAME, "v1.0.0", "kubernetes", why="no")
    assert git(flights.root, "tag") == before
    flights.configure(image={"base": f"{REGISTRY}/nothing:1", "repository": f"127.0.0.1:{CLOSED}/models"})
    with pytest.raises(DeploymentError, match="no such image"):
        promote(NAME, "v1.0.0", "kubernetes", why="no")
    assert git(flights.root, "tag") == before
    assert rollback(NAME, None, "kubernetes", why="its image is there").live.version == "1.0.0", "no registry is needed"


def test_what_fails_after_git_was_told_is_taken_back_and_told(flights: Project) -> None:
    flights.run()
    flights.commit({"data/2.csv": rows(600, shift=3)}, "more flights")
    flights.run()
    repository = open_repository(flights.root)
    # Whose the Service is shows only when it is applied: as if somebody had taken the name meanwhile.
    flights.kubectl("label", "service", NAME, "app.kubernetes.io/managed-by=hand", "--overwrite")
    with pytest.raises(DeploymentError, match=f"did not make.*{NAME}@v1.0.1 stays live, and Git says so"):
        rollback(NAME, None, "kubernetes", why="no")
    history = stages(repository, NAME, "kubernetes")
    assert [(str(each.version), each.action) for each in history[-2:]] == [("1.0.0", "rollback"), ("1.0.1", "abort")]
    standing = find_slot(repository, NAME, "kubernetes").standing()
    assert (str(standing.current), str(standing.before), standing.withdrawn) == ("1.0.1", "1.0.0", frozenset())
    for command in ("status", "releases"):
        told = modelrail(flights, command, *([NAME] if command == "releases" else [])).stdout
        assert re.search(rf"{NAME}@v1\.0\.0 could not be made live in kubernetes", told), told
    flights.kubectl("label", "service", NAME, "app.kubernetes.io/managed-by=modelrail", "--overwrite")
    assert str(rollback(NAME, None, "kubernetes", why="again").stage.version) == "1.0.0"
    assert "could not" not in modelrail(flights, "releases", NAME).stdout


def test_a_release_that_should_be_live_and_is_not_goes_live_with_the_next_run(flights: Project) -> None:
    flights.run()
    place = find_slot(open_repository(flights.root), NAME, "kubernetes")
    platform_of(place.spec).stop(place.target)
    again = flights.run()
    assert (again["release"].action, again["deploy"].action) == ("reused", "ran")
    assert platform_of(place.spec).live(place.target) is not None
