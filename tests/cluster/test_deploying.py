"""From a commit to pods that answer, on a real cluster."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipeline.delivery.bundles import bundle_of
from pipeline.delivery.platforms.kubernetes.manifests import selector_of
from pipeline.delivery.platforms.platforms import platform_of
from pipeline.delivery.promotion import find_slot, promote, rollback
from pipeline.delivery.releases import find_release
from pipeline.delivery.stages import current, stages
from pipeline.errors import AbortedError, DeploymentError, ModelrailError
from pipeline.storage.artifacts import open_store
from pipeline.storage.git.repository import open_repository

from .conftest import REGISTRY, Client, Project, modelrail, rows, wait_until

NAME = "late-flights"


def test_a_model_is_released_packaged_deployed_and_asked_from_another_pod(
    flights: Project, client: Callable[..., Client]
) -> None:
    made = flights.run()
    assert [made[step].action for step in ("release", "deploy", "verify")] == ["ran"] * 3
    assert made["deploy"].facts.address == f"http://{NAME}.{flights.namespace}.svc"
    (container,) = flights.get("deployment", NAME)["spec"]["template"]["spec"]["containers"]
    assert container["image"] == made["deploy"].facts.image
    assert "@sha256:" in container["image"], "a digest, never a tag"
    (stage,) = stages(open_repository(flights.root), NAME)
    assert stage.image == container["image"], "Git says which image"
    released = find_release(open_repository(flights.root), f"{NAME}@v1.0.0")
    assert released.evidence.image == container["image"], "and so does the release's own tag"

    asking = client()
    wait_until(lambda: asking.answered().get("1.0.0", 0) > 50, "fifty answers")
    assert asking.dropped() == {}
    assert flights.run()["deploy"].action == "reused"


def test_no_request_is_dropped_by_a_rollout_a_refusal_an_abort_and_a_rollback(
    flights: Project, client: Callable[..., Client]
) -> None:
    flights.configure(replicas=2)
    first = flights.run()["deploy"].facts.image
    asking = client()

    flights.commit({"data/2.csv": rows(600, shift=3)}, "more flights")
    assert flights.run()["deploy"].action == "ran"
    wait_until(lambda: asking.answered().get("1.0.1", 0) > 20, "answers of the new release")

    flights.commit({"data/3.csv": rows(600, flips=40)}, "worse labels")
    assert "not released" in flights.run()["release"].reason
    assert live_version(flights) == "1.0.1"

    graph = flights.root / f".modelrail/releases/{NAME}/v1.0.0/model.onnx"
    intact = graph.read_bytes()
    graph.write_bytes(intact[:-1])
    with pytest.raises(AbortedError, match=r"ends again and again, exit code 1: .*model.onnx.*version 1\.0\.1 stays"):
        promote(NAME, "v1.0.0", "kubernetes", why="try")
    graph.write_bytes(intact)
    stage = current(open_repository(flights.root), NAME, "kubernetes")
    assert stage is not None
    assert (stage.action, str(stage.version)) == ("abort", "1.0.1"), "the abort is in Git"
    assert flights.get("deployment", NAME)["status"]["availableReplicas"] == 2
    assert live_version(flights) == "1.0.1"

    began = time.monotonic()
    back = rollback(NAME, "v1.0.0", "kubernetes", why="too many false alarms")
    assert time.monotonic() - began < 10
    assert back.live.image == first, "the very image that it had"
    answered = asking.answered().get("1.0.0", 0)
    wait_until(lambda: asking.answered()["1.0.0"] > answered + 20, "answers of the old release")
    assert asking.dropped() == {}
    assert sum(asking.answered().values()) > 500


def live_version(flights: Project) -> str:
    place = find_slot(open_repository(flights.root), NAME, "kubernetes")
    live = platform_of(place.spec).live(place.target)
    assert live is not None
    return live.version


def test_what_keeps_pods_from_coming_up_is_said_and_what_was_live_stays(flights: Project) -> None:
    flights.run()
    repository = open_repository(flights.root)
    release = find_release(repository, NAME)
    found = find_slot(repository, NAME, "kubernetes")
    bundle = bundle_of(release, open_store(str(found.target.state / "store"), found.target.state), found.target.state)
    good = found.image(release.version)

    def refused(image: str | None = good, **deploy: object) -> str:
        flights.configure(ready_within_s=25, **deploy)
        place = find_slot(repository, NAME, "kubernetes")
        with pytest.raises(AbortedError) as caught:
            platform_of(place.spec).deploy(place.target, release, bundle, image)
        assert flights.get("deployment", NAME)["status"]["availableReplicas"] == 1
        return str(caught.value)

    missing = f"{REGISTRY}/{flights.namespace}/nothing@sha256:{'0' * 64}"
    assert re.search(
        rf"found an image that cannot be pulled, {missing} \(.*\); expected it in the reg", refused(missing)
    )
    small = {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "24Mi"}}
    assert "killed for want of memory (its limit is 24Mi); expected it to fit" in refused(resources=small)
    huge = {"requests": {"cpu": "100", "memory": "16Mi"}, "limits": {"memory": "256Mi"}}
    assert re.search(
        r"not ready within 25 s: pod .*: found no node for it \(.*Insufficient cpu", refused(resources=huge)
    )


def test_what_was_edited_by_hand_is_shown_and_undone(flights: Project) -> None:
    flights.run()
    assert json.loads(modelrail(flights, "status", "--json").stdout)["elsewhere"][0]["differences"] == []
    flights.kubectl("scale", f"deployment/{NAME}", "--replicas=3")
    flights.kubectl("set", "env", f"deployment/{NAME}", "EDITED=yes")
    said = modelrail(flights, "status").stdout
    assert f"{NAME}@v1.0.0 in kubernetes: live at http://{NAME}.{flights.namespace}.svc" in said
    assert "spec.replicas: found 3; expected 1" in said
    assert re.search(r"containers\.server\.env\.EDITED\S*: found a value \(set by kubectl-set", said)
    assert modelrail(flights, "deploy", NAME, "--dry-run").stdout in said.replace("  ! ", "")

    done = modelrail(flights, "deploy", NAME)
    assert done.returncode == 0, done.stderr
    (container,) = flights.get("deployment", NAME)["spec"]["template"]["spec"]["containers"]
    assert "env" not in container
    assert flights.get("deployment", NAME)["spec"]["replicas"] == 1
    assert modelrail(flights, "deploy", NAME, "--dry-run").stdout == "nothing would change\n"
    assert len(stages(open_repository(flights.root), NAME)) == 1, "Git said so before"


def test_of_two_that_deploy_at_once_the_last_word_in_git_is_what_answers(flights: Project) -> None:
    flights.run()
    flights.commit({"data/2.csv": rows(600, shift=3)}, "more flights")
    flights.run()

    def change(version: str) -> str:
        try:
            return promote(NAME, version, "kubernetes", why=f"{version} it is").stage.tag
        except ModelrailError as error:
            return str(error)

    with ThreadPoolExecutor(2) as both:
        said = list(both.map(change, ("v1.0.0", "v1.0.1")))
    stage = current(open_repository(flights.root), NAME, "kubernetes")
    assert stage is not None
    assert live_version(flights) == str(stage.version), said
    assert flights.get("deployment", NAME)["spec"]["template"]["spec"]["containers"][0]["image"] == stage.image, said


def test_an_autoscaler_adds_replicas_under_load_and_takes_them_away_again_and_drops_nothing(
    flights: Project, client: Callable[..., Client]
) -> None:
    limits = {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"cpu": "200m", "memory": "256Mi"}}
    scale = {"min_replicas": 1, "max_replicas": 3, "cpu": 0.5, "scale_down_after_s": 5}
    flights.configure(resources=limits, autoscale=scale)
    flights.run()
    asking = client()
    wait_until(lambda: flights.get("deployment", NAME)["status"].get("readyReplicas") == 3, "three replicas", 180)
    assert flights.run()["deploy"].action == "reused", "the number is the autoscaler's"
    assert flights.get("deployment", NAME)["spec"]["replicas"] > 1
    assert asking.dropped() == {}
    quiet = client("quiet", 0.5)
    asking.stop()
    wait_until(lambda: flights.get("deployment", NAME)["status"]["replicas"] == 1, "one replica again", 180)
    pods = selector_of(NAME)
    wait_until(lambda: len(flights.get("pods", "--selector", join(pods))["items"]) == 1, "the others to be gone")
    assert quiet.dropped() == {}


def test_the_deployers_account_deploys_and_may_do_nothing_else(
    flights: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flights.run()
    flights.kubectl("apply", "--filename", "-", given=modelrail(flights, "manifests", NAME, "--access").stdout)
    token = flights.kubectl("create", "token", "modelrail-deployer").strip()
    config = json.loads(flights.kubectl("config", "view", "--raw", "--minify", "--output", "json"))
    config["users"] = [{"name": config["users"][0]["name"], "user": {"token": token}}]
    (tmp_path / "deployer.json").write_text(json.dumps(config))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "deployer.json"))

    flights.configure(replicas=2, autoscale={"max_replicas": 3, "min_replicas": 2, "cpu": 0.9})
    assert promote(NAME, "v1.0.0", "kubernetes", why="with few rights").live.version == "1.0.0"
    flights.configure(autoscale=None)
    assert modelrail(flights, "deploy", NAME).returncode == 0
    assert json.loads(modelrail(flights, "status", "--json").stdout)["elsewhere"][0]["trouble"] == ""
    for right in ("get secrets", "create pods", "create pods/exec", "delete deployments", "delete services",
                  "create rolebindings", "get nodes", "create namespaces"):  # fmt: skip
        assert may(flights, right) == "no", right
    assert may(flights, "patch deployments", "--namespace", "default") == "no"
    place = find_slot(open_repository(flights.root), NAME, "kubernetes")
    with pytest.raises(
        DeploymentError, match=r"found no right to it \(.*cannot delete .*'modelrail manifests --access'"
    ):
        platform_of(place.spec).stop(place.target)


def join(labels: Mapping[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in labels.items())


def may(flights: Project, right: str, *more: str) -> str:
    command = ["kubectl", "--namespace", flights.namespace, "auth", "can-i", *right.split(), *more]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def test_stopping_a_model_removes_all_of_it_and_what_is_anothers_is_not_touched(flights: Project) -> None:
    flights.run()
    place = find_slot(open_repository(flights.root), NAME, "kubernetes")
    platform = platform_of(place.spec)
    assert platform.stop(place.target) is not None
    kinds = "deployment,service,configmap,networkpolicy,poddisruptionbudget,serviceaccount"
    assert flights.get(kinds, "--selector", join(selector_of(NAME)))["items"] == []
    assert platform.live(place.target) is None
    flights.kubectl("create", "deployment", NAME, "--image=none", "--replicas=0")
    with pytest.raises(DeploymentError, match="found a Deployment that Modelrail did not make"):
        promote(NAME, "v1.0.0", "kubernetes", why="try")
